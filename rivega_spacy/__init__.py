"""Named entities in posts with a picture, and the pixels that show them, as a spaCy pipeline.

Importing the package registers the Doc and Span extensions (extensions.py). spaCy itself imports PyTorch if it is installed,
so the registration waits until spaCy's tokens are imported, and happens at once where they already are: `import rivega_spacy`
alone stays light, and `doc._.image` is there in whichever order the two are imported. Networks are loaded by the components that
need them, through entry points (setup.cfg).
"""

import logging
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

from .post.moved import install as install_moved
from .post.versions import set_aside_spacy_transformers

__version__ = "0.8.0"
__all__ = ["__version__", "load_ipython_extension", "register_extensions", "render"]

# What failed on a post is noted there; who wants the traceback too sets up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def register_extensions() -> None:
    """Register the Doc and Span extensions; calling it again changes nothing."""
    from .post.extensions import register_extensions as register

    register()


def render(docs: Any, style: Any = "post", *, jupyter: bool | None = None, **options: Any) -> Any:
    """Show posts, in the manner of displaCy: `rivega_spacy.rendering.notebook.render`, which explains the arguments."""
    from .rendering.notebook import render

    return render(docs, style, jupyter=jupyter, **options)


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext rivega_spacy`: a doc with a picture at the end of a cell is shown as its post."""
    from .rendering.notebook import register_formatter

    register_formatter(ipython)


def _register_once_imported(_: ModuleType) -> None:
    register_extensions()


def _look_past_what_does_not_fit(_: ModuleType) -> None:
    set_aside_spacy_transformers()


register_post_import_hook(_register_once_imported, "spacy.tokens")
# spaCy's registries; before the first pipeline is made, which reads all entry points.
register_post_import_hook(_look_past_what_does_not_fit, "catalogue")
install_moved()
