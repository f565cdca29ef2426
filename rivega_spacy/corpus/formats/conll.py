"""CoNLL text as Twitter-GMNER, Twitter-2015 and Twitter-2017 publish it: an IMGID line, then a token and its tag a line."""
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ...errors import Errors, RivegaError
from ...textfiles import BYTE_ORDER_MARK, open_text
from .dirt import Dirt

Post = Dict[str, Any]
IMGID = "IMGID:"
_BLANK_OR_MARK = f" {BYTE_ORDER_MARK}"


def read_conll(path: Union[str, Path], dirt: Dirt) -> Iterator[Post]:
    """Posts of a file.

    path (Union[str, Path]): UTF-8 text, gzipped where the name ends in .gz; any of the line ends.
    dirt (Dirt): Takes what does not fit.
    YIELDS (Dict[str, Any]): `id`, `tokens`, `tags`.
    RAISES (RivegaError): E020 where there is no such file.
    """
    seen = set()
    for name, rows in read_blocks(path, dirt):
        if name is None:
            if rows:
                dirt.note("bad_line", f"{path}: a block without IMGID, beginning {rows[0][0]!r}")
            continue
        if name in seen:
            dirt.note("duplicate_post", name)
            continue
        seen.add(name)
        tokens, tags = [token for token, _ in rows], [tag for _, tag in rows]
        note_orphans(name, tokens, tags, dirt)
        yield {"id": name, "tokens": tokens, "tags": tags}


def note_orphans(name: str, tokens: List[str], tags: List[str], dirt: Dirt) -> None:
    """Count the I- tags of a post that continue nothing.

    name (str): The post.
    tokens (List[str]), tags (List[str]): Of equal length.
    dirt (Dirt): Takes them.
    """
    for place, tag in enumerate(tags):
        before = tags[place - 1] if place else "O"
        if tag.startswith("I-") and before[2:] != tag[2:]:
            dirt.note("orphan_tag", f"{name} {tokens[place]!r}")


def read_blocks(path: Union[str, Path], dirt: Dirt, *, by_blank: bool = False) -> Iterator[Tuple[Optional[str], List[Tuple[str, str]]]]:
    """Blocks of token-and-tag lines.

    path (Union[str, Path]): The file.
    dirt (Dirt): Takes what does not fit.
    by_blank (bool): A blank line ends a block (files without IMGID lines); else only the next IMGID line does.
    YIELDS (Tuple[Optional[str], List[Tuple[str, str]]]): The block's id where it has one, and its (token, tag) rows.
    """
    name: Optional[str] = None
    rows: List[Tuple[str, str]] = []
    started = False
    for number, line in _lines(path):
        line = line.lstrip(BYTE_ORDER_MARK) if line.lstrip(_BLANK_OR_MARK).startswith(IMGID) else line
        head = line.lstrip(" ")
        if head.startswith(IMGID):
            if started:
                yield name, rows
            if head != line:
                dirt.note("imgid_space", f"line {number}")
            name, rows, started = head[len(IMGID) :].strip(), [], True
            name = name[: -len(".jpg")] if name.endswith(".jpg") else name
        elif not line.strip(BYTE_ORDER_MARK):
            if by_blank and started:
                yield name, rows
                name, rows, started = None, [], False
        else:
            token, tab, tag = line.rpartition("\t")
            if not tab:
                token, tab, tag = line.rpartition(" ")
            if not tab or not tag:
                dirt.note("bad_line", f"{path}, line {number}: {line!r}")
                continue
            if token and not token.strip():
                # A plain strip or split would drop it and shift every tag behind it by one.
                dirt.note("no_break_space", f"line {number}: {token!r}")
            if not token and not by_blank:
                dirt.note("bad_line", f"{path}, line {number}: {line!r}")
                continue
            rows.append((token, tag.strip()))
            started = True
    if started:
        yield name, rows


def _lines(path: Union[str, Path]) -> Iterator[Tuple[int, str]]:
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    # Lines end at "\n" only: U+0085 and U+2028 occur inside tokens.
    with open_text(path, errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip("\n")
            line = line[:-1] if line.endswith("\r") else line
            yield number, line
