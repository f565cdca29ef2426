"""Text files as they come: plain or gzipped, and with or without the byte order mark that Windows programs begin them with."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from .errors import Errors, RivegaError

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
    RAISES (OSError): As `open`. RAISES (RivegaError): E059, also while it is read, if a gzipped file is damaged.
    """
    path = Path(path)
    with open(path, "rb") as file:
        packed = file.read(2) == GZIP
    raw: Any = _Packed(path, "rb") if packed else open(path, "rb")
    try:
        head = raw.peek(4)[:4]
    except BaseException:
        raw.close()
        raise
    return io.TextIOWrapper(raw, encoding=encoding_of(head), errors=errors, newline=newline)


class _Packed(gzip.GzipFile):
    """A gzipped file that says by name what is wrong with it: gzip's own errors are of four kinds, and none of them names the file."""

    def read(self, size: int | None = -1) -> bytes:
        with self._told():
            return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        with self._told():
            return super().read1(size)

    def peek(self, n: int) -> bytes:
        with self._told():
            return super().peek(n)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise RivegaError(Errors.E059.format(path=self.name, reason=error)) from error


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
