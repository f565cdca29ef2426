"""CoNLL text: an IMGID line, then a token and its tag a line, as Twitter-GMNER, Twitter-2015 and Twitter-2017 publish it; and its kin.

Files without IMGID lines (CoNLL-2003, WNUT, MultiCoNER, GermEval) hold a post between two blank lines. More than two columns are told
apart in `columns.py`, tags of other schemes in `tags.py`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ...ner.schemes import parse_tag
from ...post.errors import Errors, RivegaError
from ...post.post_files import Post
from ...post.textfiles import BYTE_ORDER_MARK, open_text
from .columns import Columns, cells, find_columns
from .dirt import Dirt
from .regions import picture_stem
from .tags import TagReader

IMGID = "IMGID:"
_DOCUMENT = "-DOCSTART-"
_BLANK_OR_MARK = f" {BYTE_ORDER_MARK}"
# MultiCoNER: "# id 5239d808-f300-46ea-aa3b-5093040213a3	domain=en".
_COMMENT_ID = re.compile(r"#\s*(?:sent_)?id\s*=?\s*(\S+)")


def read_conll(path: str | Path, dirt: Dirt, *, tag_column: int | None = None) -> Iterator[Post]:
    """Posts of a file.

    path (Union[str, Path]): UTF-8 text, gzipped or not; any of the line ends.
    dirt (Dirt): Takes what does not fit.
    tag_column (Optional[int]): Which column holds the tags, from 1, or from the end as -1; None looks for it.
    YIELDS (Dict[str, Any]): `id`, `tokens`, `tags` (BIO).
    RAISES (RivegaError): E020 if there is no such file, E440-E442 if the tags cannot be told.
    """
    columns = find_columns(_rows(path), path, tag_column=tag_column)
    named = any(_is_id(line) for _, line in _lines(path))
    reader = TagReader(dirt)
    number, seen = 0, set()
    for name, rows in read_blocks(path, dirt, by_blank=not named, columns=columns):
        if name is None and named:
            if rows:
                dirt.note("bad_line", f"{path}: a block without IMGID, beginning {rows[0][0]!r}")
            continue
        number += 1
        name = str(number) if name is None else name
        if name in seen:
            dirt.note("duplicate_post", name)
            continue
        seen.add(name)
        tokens, tags = [token for token, _ in rows], [tag for _, tag in rows]
        yield {"id": name, "tokens": tokens, "tags": reader.read(name, tokens, tags)}
    reader.close()


def read_blocks(
    path: str | Path, dirt: Dirt, *, by_blank: bool = False, columns: Columns | None = None
) -> Iterator[tuple[str | None, list[tuple[str, str]]]]:
    """Blocks of token-and-tag lines.

    path (Union[str, Path]): The file.
    dirt (Dirt): Takes what does not fit.
    by_blank (bool): A blank line ends a block (files without IMGID lines); else only the next IMGID line does.
    columns (Optional[Columns]): What is where in a line; None takes all before the last tab or blank for the token, which may be
        empty then (published knowledge).
    YIELDS (Tuple[Optional[str], List[Tuple[str, str]]]): The block's id where it has one, and its (token, tag) rows.
    """
    name: str | None = None
    rows: list[tuple[str, str]] = []
    started = False
    for number, line in _lines(path):
        if _is_id(line):
            if started:
                yield name, rows
            head = line.strip(BYTE_ORDER_MARK)
            if head.startswith(" "):
                dirt.note("imgid_space", f"line {number}")
            name, rows, started = picture_stem(head.strip()[len(IMGID) :].strip()) or None, [], True
        elif _is_blank(line):
            if by_blank and started:
                yield name, rows
                name, rows, started = None, [], False
        elif columns is not None and line.startswith(_DOCUMENT):
            continue
        elif columns is not None and by_blank and not rows and _is_comment(line, columns):
            found = _COMMENT_ID.match(line)
            name = name if found is None else found[1]
            dirt.note("comment", f"line {number}: {line[:40]!r}")
        else:
            row = _row(line, columns)
            if row is None:
                many = columns is not None and len(cells(line)) > 1
                dirt.note("bad_columns" if many else "bad_line", f"{path}, line {number}: {line!r}")
                continue
            if row[0] and not row[0].strip():
                # A plain strip or split would drop it and shift every tag behind it by one.
                dirt.note("no_break_space", f"line {number}: {row[0]!r}")
            rows.append(row)
            started = True
    if started:
        yield name, rows


def _row(line: str, columns: Columns | None) -> tuple[str, str] | None:
    if columns is None:
        token, tab, tag = line.rpartition("\t") if "\t" in line else line.rpartition(" ")
        return (token, tag.strip()) if tab and tag else None
    row = cells(line)
    if len(row) != columns.count or not row[columns.token]:
        return None
    return row[columns.token], row[columns.tag].strip()


def _is_id(line: str) -> bool:
    return IMGID in line and line.lstrip(_BLANK_OR_MARK).startswith(IMGID)


def _is_blank(line: str) -> bool:
    return not line.strip(f" \t{BYTE_ORDER_MARK}")


def _is_comment(line: str, columns: Columns) -> bool:
    """Whether the line before a post's first token says something about it; a token may be "#" too."""
    row = cells(line)
    return line[:1] == "#" and line[1:2] in (" ", "\t") and (len(row) != columns.count or parse_tag(row[columns.tag]) is None)


def _rows(path: str | Path) -> Iterator[str]:
    """The lines that may hold a token."""
    for _, line in _lines(path):
        if not (_is_id(line) or _is_blank(line) or line.startswith((_DOCUMENT, "# "))):
            yield line


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    # Lines end at "\n" and "\r" only: U+0085 and U+2028 occur inside tokens.
    with open_text(path, errors="replace", newline="\n") as lines:
        number = 0
        for long in lines:
            for line in _parts(long.rstrip("\r\n")):
                number += 1
                yield number, line


def _parts(line: str) -> list[str]:
    """The lines in a line that old programs ended with "\r" alone; one where that stands within a token."""
    if "\r" not in line:
        return [line]
    parts = line.split("\r")
    return parts if all(_is_blank(part) or _is_id(part) or len(cells(part)) > 1 for part in parts) else [line]
