"""Which columns of a CoNLL file are read: two, or more than two as in CoNLL-2003, GermEval, MultiCoNER and Twitter-FMNERG."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...ner.schemes import parse_tag
from ...post.errors import Errors, RivegaError

# Types of phrases (CoNLL-2000): a column that has no others is one of chunks, not of entities.
_CHUNKS = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"}
# A column of tags may hold some garbage, which is counted when it is read.
_TAGS_SHARE = 0.9
_SHOWN = 4


@dataclass(frozen=True)
class Columns:
    """What is where in a line.

    count (int): Columns of a line.
    token (int), tag (int): Their places, from 0.
    """

    count: int = 2
    token: int = 0
    tag: int = 1


@dataclass
class _Column:
    """What the lines of a file hold at one place."""

    values: int = 0
    tags: int = 0
    labels: set[str] = field(default_factory=set)
    running: bool = True
    last: int = -1

    def add(self, value: str) -> None:
        self.values += 1
        tag = parse_tag(value)
        self.tags += tag is not None
        if tag is not None and tag.label:
            self.labels.add(tag.label)
        number = int(value) if re.fullmatch(r"[0-9]{1,6}", value) else -1
        self.running &= number in (0, 1) or number == self.last + 1
        self.last = number

    @property
    def tagged(self) -> bool:
        return self.tags >= _TAGS_SHARE * self.values

    @property
    def chunks(self) -> bool:
        return bool(self.labels) and {label.upper() for label in self.labels} <= _CHUNKS


def cells(line: str) -> list[str]:
    """The columns of a line: between tabs where it has any, else between blanks.

    line (str): Without its end; blanks and tabs at its end are none.
    """
    line = line.rstrip(" \t")
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def find_columns(lines: Iterable[str], path: str | Path, *, tag_column: int | None = None) -> Columns:
    """Look at all lines of a file and decide where its tokens and tags are.

    lines (Iterable[str]): Those that may hold a token: no ids, comments or empty ones.
    path (Union[str, Path]): The file, for messages.
    tag_column (Optional[int]): The column of the tags, from 1, or from the end as -1, where the user chose it.
    RETURNS (Columns): Two where the file has two, whatever is in them. Of more, the token is the first (or the one after a running
        number), and the tag the only column of entity tags.
    RAISES (RivegaError): E440 if several columns hold entity tags, E441 if none does, E442 if there is no such column.
    """
    found: dict[int, list[_Column]] = {}
    counts: Counter[int] = Counter()
    for line in lines:
        row = cells(line)
        counts[len(row)] += 1
        columns = found.setdefault(len(row), [_Column() for _ in row])
        for column, value in zip(columns, row):
            column.add(value)
    usual = [count for count in counts if count > 1]
    if not usual:
        return Columns()
    count = max(usual, key=lambda number: counts[number])
    columns = found[count]
    if tag_column is not None:
        tag = tag_column - 1 if tag_column > 0 else count + tag_column
        if tag_column == 0 or not 0 <= tag < count:
            raise RivegaError(Errors.E442.format(column=tag_column, path=path, count=count))
        return Columns(count, _token_column(columns, tag), tag)
    if count == 2:
        turned = columns[0].tagged and columns[0].labels and not columns[1].tagged
        return Columns(2, 1, 0) if turned else Columns()
    tag = _tag_column(columns, path)
    return Columns(count, _token_column(columns, tag), tag)


def _tag_column(columns: list[_Column], path: str | Path) -> int:
    places = [place for place, column in enumerate(columns) if place and column.tagged]
    for unlikely in (lambda column: not column.labels, lambda column: column.chunks):
        # A column without any entity, or of chunks, is taken only if there is no better one.
        places = [place for place in places if not unlikely(columns[place])] or places
    if not places:
        raise RivegaError(Errors.E441.format(path=path, count=len(columns)))
    if len(places) > 1:
        shown = "; ".join(f"{place + 1} ({', '.join(sorted(columns[place].labels)[:_SHOWN]) or 'only O'})" for place in places)
        raise RivegaError(Errors.E440.format(path=path, count=len(columns), columns=shown))
    return places[0]


def _token_column(columns: list[_Column], tag: int) -> int:
    first = 0 if tag else 1
    return first + 1 if len(columns) > 2 and columns[first].running and first + 1 != tag else first
