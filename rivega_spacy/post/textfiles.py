"""Text files as they come: plain or gzipped, and with or without the byte order mark that Windows programs begin them with."""

import codecs
import gzip
import io
from pathlib import Path
from typing import Any, TextIO

# The mark of UTF-32 begins with that of UTF-16, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = "\ufeff"


def open_text(path: str | Path, *, errors: str = "strict", newline: str | None = None) -> TextIO:
    """Open a text file for reading. A byte order mark says how it is encoded and is no content; without one it is UTF-8.

    path (Union[str, Path]): The file, gzipped or not, whatever its name ends in.
    errors (str), newline (Optional[str]): As for `open`.
    RAISES (OSError, EOFError): As `open`, and if a gzipped file is damaged.
    """
    path = Path(path)
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP
    raw: Any = gzip.open(path, "rb") if packed else open(path, "rb")
    try:
        head = raw.peek(4)[:4]
    except BaseException:
        raw.close()
        raise
    return io.TextIOWrapper(raw, encoding=encoding_of(head), errors=errors, newline=newline)


def encoding_of(head: bytes) -> str:
    """How a file is encoded, by its first four bytes (after unpacking)."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def read_text(path: str | Path, *, errors: str = "strict") -> str:
    """All of a text file, as `open_text` reads it; line ends become "\\n".

    path (Union[str, Path]): The file.
    errors (str): As for `open`.
    """
    with open_text(path, errors=errors) as file:
        return file.read()
