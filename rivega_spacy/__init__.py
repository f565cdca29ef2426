"""Named entities in posts with a picture, and the pixels that show them, as a spaCy pipeline.

Importing the package registers the Doc and Span extensions (extensions.py). spaCy itself imports PyTorch where it is installed,
so the registration waits until spaCy's tokens are imported, and happens at once where they already are: `import rivega_spacy`
alone stays light, and `doc._.image` is there in whichever order the two are imported. Networks are loaded by the components that
need them, through entry points (setup.cfg).
"""

import logging
from types import ModuleType

from wrapt import register_post_import_hook

from .post.moved import install as install_moved

__version__ = "0.6.0"
__all__ = ["__version__", "register_extensions"]

# What failed on a post is noted there; who wants the traceback too sets up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def register_extensions() -> None:
    """Register the Doc and Span extensions; calling it again changes nothing."""
    from .post.extensions import register_extensions as register

    register()


def _register_once_imported(_: ModuleType) -> None:
    register_extensions()


register_post_import_hook(_register_once_imported, "spacy.tokens")
install_moved()
