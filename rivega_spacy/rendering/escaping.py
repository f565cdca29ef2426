"""Text within HTML: never markup, and without the control characters that HTML does not allow."""

import re
from html import escape

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def html_text(text: str) -> str:
    """A text as it may stand in an element, or in an attribute within quotes of either kind.

    text (str): Controls but for tabs and line ends become U+FFFD, so that it shows that something was there.
    """
    return escape(_CONTROLS.sub("\ufffd", text))


__all__ = ["html_text"]
