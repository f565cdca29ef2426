"""What commands print: lines that may repeat what stands in somebody else's posts and files, and must stay lines."""

import sys

from ..post.text import printable


def say(text: str) -> None:
    """Print on standard output, line ends included. No character of the text is obeyed by the terminal."""
    sys.stdout.write(printable(text))


def warn(text: str) -> None:
    """The same on standard error."""
    sys.stderr.write(printable(text))


__all__ = ["say", "warn"]
