"""Every error this package raises, and every message it raises, warns with or records on posts.

    ValueError
    └── RivegaError         all errors of this package
        ├── ImageError      a picture cannot be read
        ├── PostError       a post (one JSON line or dict) is malformed
        ├── OutputError     a file cannot be written: no room, no permission
        └── SetupError      weights, an extra or a device is missing: no post can be processed before that is fixed

What is wrong with one post is recorded on it (`doc._.rivega_errors`) and the others go on; a SetupError is raised at once. Warnings are
plain UserWarnings. Messages are kept in one table a room, each beginning with its code ("[E001] The picture ..."): a message used in
several rooms stands with the first of them. All of them, with what to do, are listed in docs/errors.md.
"""

from ..text import printable
from .backends import BackendsMessages
from .cli import CLIMessages
from .corpus import CorpusMessages
from .export import ExportMessages
from .jobs import JobsMessages
from .llm import LLMMessages
from .pipes import PipesMessages
from .post import PostMessages
from .recipes import RecipesMessages
from .rendering import RenderingMessages
from .scoring import ScoringMessages
from .serve import ServeMessages
from .stages import StagesMessages
from .tables import TablesMessages
from .training import TrainingMessages


class RivegaError(ValueError):
    """Base of all errors raised by rivega_spacy. Messages repeat what stands in posts and files: no terminal that shows them obeys it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(printable(value) if isinstance(value, str) else value for value in arguments))


class ImageError(RivegaError):
    """A picture could not be read."""


class PostError(RivegaError):
    """A post (one JSON line or dict) is malformed."""


class OutputError(RivegaError):
    """A file cannot be written: no room, no permission."""


class SetupError(RivegaError):
    """The pipeline cannot work at all: weights, an extra or a device is missing. Raised at once, never recorded on posts."""


class Errors(
    PostMessages,
    LLMMessages,
    PipesMessages,
    BackendsMessages,
    StagesMessages,
    CorpusMessages,
    TrainingMessages,
    ScoringMessages,
    RecipesMessages,
    TablesMessages,
    RenderingMessages,
    ExportMessages,
    JobsMessages,
    ServeMessages,
    CLIMessages,
):
    """All messages, in the order of the rooms: what was wrong, in which post, and what to do."""


__all__ = ["Errors", "ImageError", "OutputError", "PostError", "RivegaError", "SetupError"]
