"""JSON lines, read and written one at a time; a line that is none does not end the file."""

import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import Errors, RivegaError
from .files import open_input, open_output
from .text import printable, replace_surrogates, replace_surrogates_in
from .textfiles import BYTE_ORDER_MARK, GZIP, encoding_of

# Longer lines are no posts: they would be held in memory several times over.
MAX_LINE = 64 * 1024 * 1024
# Deeper than any post, and far from where Python ends a program's recursion.
MAX_DEPTH = 100
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def read_lines(path: str | Path, *, repair: bool = True) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Objects of a JSON lines file.

    path (Union[str, Path]): UTF-8, with or without a byte order mark (UTF-16 with one), gzipped or not, whatever its name ends in;
        empty lines are skipped.
    repair (bool): Replace halves of surrogate pairs, and bytes that are no UTF-8, by U+FFFD; else both are lone surrogates.
    YIELDS (Tuple[int, Union[Dict[str, Any], str]]): The line's number with its object, or with what is wrong with it. Where a
        compressed file breaks off, that is the last thing said.
    RAISES (RivegaError): E020 if there is no such file, E051 if it is a folder.
    """
    with open_input(path) as file:
        yield from object_lines(Unpacked(file), repair=repair)


def object_lines(source: "Unpacked", *, repair: bool = True) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """The same of a file that is open."""
    for number, line in text_lines(source):
        if isinstance(line, RivegaError):
            yield number, str(line)
        elif line.strip().strip(BYTE_ORDER_MARK):
            yield number, parse_object(line, repair=repair)


def read_text_lines(path: str | Path, *, newline: str | None = None) -> Iterator[tuple[int, str | RivegaError]]:
    """Lines of a text file, read as `read_lines` does.

    path (Union[str, Path]): The file; "-" for what is piped in.
    newline (Optional[str]): As for `open`.
    YIELDS (Tuple[int, Union[str, RivegaError]]): The line's number with the line, without its end; or with E055 where it is too long,
        E054 where a compressed file breaks off. Bytes that are no UTF-8 are lone surrogates (Python's "surrogateescape").
    """
    with open_input(path) as file:
        yield from text_lines(Unpacked(file), newline=newline)


def text_lines(source: "Unpacked", *, newline: str | None = None) -> Iterator[tuple[int, str | RivegaError]]:
    """The same of a file that is open; with `newline=""` lines keep their ends."""
    lines = source.text(newline=newline)
    number = 0
    while True:
        line = lines.readline(MAX_LINE + 1)
        if not line:
            break
        number += 1
        whole = line.endswith("\n")
        if not whole and len(line) > MAX_LINE:
            rest = line
            while rest and not rest.endswith("\n"):
                rest = lines.readline(MAX_LINE)
            yield number, RivegaError(Errors.E055.format(limit=MAX_LINE))
            continue
        if not whole and source.damage is not None and isinstance(parse_object(line), str):
            number -= 1  # what is left of the line in which the file breaks off
            break
        yield number, line if newline == "" else line.rstrip("\n")
    if source.damage is not None:
        yield number + 1, RivegaError(Errors.E054.format(reason=source.damage))


def parse_object(line: str, *, repair: bool = True) -> dict[str, Any] | str:
    """The JSON object of a line, or what is wrong with it; `repair` as in `read_lines`."""
    try:
        # Files that were put together of several hold their byte order marks too.
        value = json.loads(line.lstrip(BYTE_ORDER_MARK))
    except json.JSONDecodeError as error:
        return str(error)
    except ValueError:  # Python converts no whole number of more than some thousand digits
        return "a number in it has too many digits"
    except RecursionError:
        return Errors.E056.format(limit=MAX_DEPTH)
    if not isinstance(value, dict):
        return f"it is a {type(value).__name__}"
    if line.count("[") + line.count("{") > MAX_DEPTH and nested_deeper(value, MAX_DEPTH):
        return Errors.E056.format(limit=MAX_DEPTH)
    if repair and _ESCAPED_SURROGATE.search(line):
        value, _ = replace_surrogates_in(value)
    return value


def nested_deeper(value: Any, limit: int) -> bool:
    """Whether lists and dicts are nested in each other more than so many levels deep; one that holds itself is."""
    level: dict[int, Any] = {id(value): value}
    for _ in range(limit + 1):
        items = (item for held in level.values() for item in (held.values() if isinstance(held, dict) else held))
        level = {id(item): item for item in items if isinstance(item, (dict, list, tuple))}
        if not level:
            return False
    return True


def dump_line(value: Any) -> str:
    """A value as one line of JSON, with its end, that UTF-8 can write and every JSON reader reads.

    value (Any): Dicts, lists, strings, numbers, None. Halves of surrogate pairs become U+FFFD, numbers that are not finite null. Characters
        that a terminal obeys, or that end a line for some programs (U+0085, U+2028), are spelled out: "\\u0085".
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False)
    # Of what is to be spelled out, JSON's own signs are none: all of it stands within strings.
    return printable(replace_surrogates(text)) + "\n"


def write_lines(path: str | Path, rows: Iterable[Any]) -> int:
    """Write a JSON lines file, whole or not at all, while the rows come.

    path (Union[str, Path]): The file; gzipped where its name ends in .gz.
    rows (Iterable[Any]): One a line, see `dump_line`.
    RETURNS (int): How many.
    RAISES (OutputError): E052 if the file system will not have it.
    """
    count = 0
    with open_output(path) as out:
        for row in rows:
            out.write(dump_line(row))
            count += 1
    return count


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Unpacked(io.RawIOBase):
    """Bytes of a file, unpacked where they are gzip's (`packed`). Where those break off the file ends, and `damage` says why.

    file (IO[bytes]): At its start; the name says nothing about what is in it. It can be peeked into.
    """

    def __init__(self, file: Any) -> None:
        self.damage: str | None = None
        self.packed: bool = file.peek(2)[:2] == GZIP
        self._file: Any = gzip.GzipFile(fileobj=file, mode="rb") if self.packed else file
        self._buffered = io.BufferedReader(self, 1 << 16)

    @property
    def head(self) -> bytes:
        """How the file begins: one byte of it or some thousands, as they come."""
        return self._buffered.peek(1 << 16)

    def text(self, *, newline: str | None = None) -> io.TextIOWrapper:
        """Its characters from where it stands. A byte order mark says how they are encoded; bytes that are no UTF-8 are lone surrogates."""
        encoding = encoding_of(self.head[:4])
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        return io.TextIOWrapper(self._buffered, encoding=encoding, errors=errors, newline=newline)

    def all(self) -> bytes:
        """What is left of it."""
        return self._buffered.read()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.damage is not None:
            return 0
        try:
            data = self._file.read1(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self.damage = str(error) or type(error).__name__
            return 0
        buffer[: len(data)] = data
        return len(data)
