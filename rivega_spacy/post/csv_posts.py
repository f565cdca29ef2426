"""Posts of a CSV file, one a row. A row that is broken, or that a stray quote begins, does not take the rows after it along."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import Errors, PostError, RivegaError
from .jsonl import MAX_LINE, Unpacked, text_lines
from .text import brief, has_lone_surrogate
from .textfiles import BYTE_ORDER_MARK

DELIMITERS = (",", ";", "\t", "|")
# Cells of these columns that hold JSON are read as such.
_NESTED = ("ents", "expansions")
# A text goes over some lines, not over more than these: then its closing quote is missing.
_MAX_LINES = 1000


def has_text_column(head: str, name: str) -> bool:
    """Whether what a file begins with is the head of a CSV file with a column of that name."""
    return name in _head(head.splitlines()[0])[0] if head else False


def read_csv(path: str | Path, source: Unpacked, columns: Mapping[str, str]) -> Iterator[dict[str, Any] | PostError]:
    """Rows of a CSV file as posts.

    path (Union[str, Path]): Of the file, for messages.
    source (Unpacked): The file; the first line names the columns, and shows what stands between cells.
    columns (Mapping[str, str]): Field -> column.
    YIELDS (Union[Dict[str, Any], PostError]): The cells by column, those that are empty left out (but for the text); or E823 for a row
        that is broken, E824 for one that is not UTF-8.
    RAISES (RivegaError): E822 if there is no column for a field, E824 if the head is not UTF-8.
    """
    # Of the module as a whole, and lower than what a picture in a cell takes.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    lines = _Lines(source)
    text_column = columns.get("text", "text")
    head_line = next((line for line in lines if line.strip()), "")
    if has_lone_surrogate(head_line):
        raise RivegaError(Errors.E824.format(path=path, line=lines.number, byte=_first_byte(head_line)))
    head, delimiter = _head(head_line.lstrip(BYTE_ORDER_MARK), text_column)
    for name in (text_column, *columns.values()):
        if name not in head:
            raise RivegaError(Errors.E822.format(path=path, column=name, columns=brief(head, 300), field=_field_of(columns, name)))
    while True:
        lines.begin()
        try:
            cells, reason = _cells(lines, delimiter), None
        except StopIteration:
            break
        except (csv.Error, RivegaError) as error:
            cells, reason = [], str(error)
        # Where a row of several lines has another number of cells, a stray quote has taken rows together.
        if any(cells[len(head) :]) or (cells and len(cells) != len(head) and lines.several):
            reason = f"it has {len(cells)} cells, and there are {len(head)} columns"
        if lines.unclosed:
            reason = "a quote opens a cell and none closes it"
        if reason is not None:
            yield PostError(Errors.E823.format(path=path, line=lines.first, reason=reason))
            lines.take_back()
        elif cells and has_lone_surrogate("".join(cells)):
            yield PostError(Errors.E824.format(path=path, line=lines.first, byte=_first_byte("".join(cells))))
        elif any(cells):
            yield _post(head, cells, text_column)


def _cells(lines: "_Lines", delimiter: str) -> list[str]:
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        if lines.several or lines.unclosed:
            raise
        # A quote within a cell that was not doubled: on one line it is clear what is meant.
        return next(csv.reader([lines.line], delimiter=delimiter))


def _head(line: str, wanted: str | None = None) -> tuple[list[str], str]:
    """The names of the columns and what stands between them: what gives the column that is looked for, else the most columns."""
    found = []
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            names = []
        found.append(([name.strip() for name in names], delimiter))
    return max(found, key=lambda pair: (wanted in pair[0], len(pair[0])))


def _post(head: list[str], cells: list[str], text_column: str) -> dict[str, Any]:
    post: dict[str, Any] = {}
    for name, cell in zip(head, cells):
        if name == "" or (cell == "" and name != text_column):
            continue
        post[name] = cell
        if name in _NESTED and cell.lstrip().startswith("["):
            try:
                post[name] = json.loads(cell)
            except (ValueError, RecursionError):
                pass  # a note on the post says what is wrong with it
    return post


def _field_of(columns: Mapping[str, str], name: str) -> str:
    return next((field for field, column in columns.items() if column == name), "text")


def _first_byte(text: str) -> str:
    # "surrogateescape" keeps a byte as U+DC00 and its value.
    return f"0x{next(ord(sign) for sign in text if has_lone_surrogate(sign)) - 0xDC00:02X}"


class _Lines:
    """Lines of a file for `csv.reader`, with their ends; those of a row that turns out to be broken can be given again.

    source (Unpacked): The file.
    """

    def __init__(self, source: Unpacked) -> None:
        self.number = 0
        self.first = 0
        # Whether the row went on to the end of the file, or further than any text does.
        self.unclosed = False
        self._lines = text_lines(source, newline="")
        self._row: list[str] = []
        self._again: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._row) > _MAX_LINES:
            self.unclosed = True
            raise StopIteration
        line = self._again.pop() if self._again else self._read()
        if line is None:
            self.unclosed = bool(self._row)
            raise StopIteration
        self.number += 1
        self._row.append(line if isinstance(line, str) else "")
        if isinstance(line, RivegaError):
            raise line
        return line

    @property
    def line(self) -> str:
        """The first line of the row."""
        return self._row[0]

    @property
    def several(self) -> bool:
        """Whether the row has more than one line."""
        return len(self._row) > 1

    def begin(self) -> None:
        """A row begins with the next line."""
        self._row, self.first, self.unclosed = [], self.number + 1, False

    def take_back(self) -> None:
        """Let the row end with its first line, and give the others again."""
        self.number -= len(self._row) - 1
        self._again += reversed(self._row[1:])

    def _read(self) -> str | RivegaError | None:
        _, line = next(self._lines, (0, None))
        return line


__all__ = ["has_text_column", "read_csv"]
