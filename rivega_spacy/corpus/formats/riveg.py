"""RiVEG's own files of expansions: the VE and VG tables that OFA reads, and the text and JSON lines made from them.

VE, one entity a line, tab-separated: `ID.jpg#UID`, ID, picture (base64), caption, `Name(TYPE)-Expansion`, "entailment" or "contradiction".
VG, one groundable entity a line: `ID.jpg#UID`, ID, `Name(TYPE)-Expansion`, "x1,y1,x2,y2", picture (base64). For Mix an entity stands on
several lines, one for each language model.
"""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from ...post.boxes import check_box
from ...post.errors import Errors, RivegaError
from ...post.jsonl import read_lines
from ...post.post_files import Post
from ...post.textfiles import open_text
from ..sources import EXPANSIONS_FIELD
from .dirt import Dirt

# Lines that a row may have more than its first.
_MOST_JOINED = 20
# Longest field: a picture in base64.
_LONGEST = 512 * 1024 * 1024
_WRITTEN = re.compile(r"^(?P<name>.*?)\((?P<type>PER|LOC|ORG|OTHER|MISC)\)(?:-(?P<expansion>.*))?$", re.DOTALL)
_LABELS = {"entailment": True, "contradiction": False}


class TableRow(NamedTuple):
    """One entity of a file.

    post (str): Id of its picture. name (str), type (str): As the tagger found it.
    expansion (Optional[str]): None if there is none.
    shown (Optional[bool]): Whether the picture shows it; None if the file does not say.
    box (Optional[List[float]]): XYXY pixels; (0, 0, 0, 0), which stands for "not known", is None.
    caption (str), image (Optional[str]): Of the picture, which is base64.
    """

    post: str
    name: str
    type: str
    expansion: str | None
    shown: bool | None = None
    box: list[float] | None = None
    caption: str = ""
    image: str | None = None


def is_riveg_table(path: str | Path) -> bool:
    """Whether a file is one of the tables, by its name."""
    return Path(path).name.removesuffix(".gz").endswith(".tsv")


def read_riveg(path: str | Path, dirt: Dirt) -> Iterator[TableRow]:
    """Entities of a file with expansions.

    path (Union[str, Path]): VE or VG table (.tsv); `Imageid:ID.jpg#UID###Name(TYPE)###Name(TYPE)-Expansion###0|2` a line (.txt); JSON
        lines with `id`, `text`, `type`, `expansion`.
    dirt (Dirt): Takes lines that are none of these.
    YIELDS (TableRow): In the order of the file.
    RAISES (RivegaError): E020 if there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    readers: Iterator[tuple[int, Any]]
    if is_riveg_table(path):
        readers = _table(path)
    elif ".jsonl" in path.name:
        readers = ((number, row) for number, row in read_lines(path))
    else:
        readers = _lines(path)
    for number, fields in readers:
        row = _read(fields)
        if row is None:
            dirt.note("bad_expansion", f"{path}, line {number}")
        else:
            yield row


def read_riveg_posts(path: str | Path, dirt: Dirt) -> Iterator[Post]:
    """A table as posts: one a picture, its text the names of its entities, so that entailment and grounding can be trained on it alone.

    path (Union[str, Path]): VE or VG table.
    dirt (Dirt): Takes what does not fit.
    YIELDS (Dict[str, Any]): `id`, `tokens`, `tags`, `ents` with `expansion`, `groundable` and `boxes`, `caption`, `image` (data URI), and of
        entities on several lines `expansions_by_model`.
    """
    pictures: dict[str, dict[tuple[str, str], list[TableRow]]] = {}
    for row in read_riveg(path, dirt):
        pictures.setdefault(row.post, {}).setdefault((row.name, row.type), []).append(row)
    for post, entities in pictures.items():
        yield _post(post, entities)


def _post(name: str, entities: dict[tuple[str, str], list[TableRow]]) -> Post:
    words: list[str] = []
    tags: list[str] = []
    spaces: list[bool] = []
    ents: list[dict[str, Any]] = []
    for (text, label), rows in entities.items():
        if words:
            words, tags, spaces = [*words, ";"], [*tags, "O"], [*spaces[:-1], False, True]
        start = _length(words, spaces)
        parts = text.split() or [text]
        words += parts
        tags += [f"{'I' if number else 'B'}-{label}" for number in range(len(parts))]
        spaces += [True] * len(parts)
        ent: dict[str, Any] = {"start": start, "end": start + len(" ".join(parts)), "label": label}
        boxes = [row.box for row in rows if row.box is not None]
        shown = next((row.shown for row in rows if row.shown is not None), True if boxes else None)
        fields = {"expansion": rows[0].expansion, "groundable": shown, "boxes": _different(boxes)}
        ents.append({**ent, **{key: value for key, value in fields.items() if value not in (None, [])}})
    every = [row for rows in entities.values() for row in rows]
    spaces[-1:] = [False]
    post: Post = {"id": name, "tokens": words, "tags": tags, "spaces": spaces, "ents": ents}
    caption = next((row.caption for row in every if row.caption), "")
    image = next((row.image for row in every if row.image), None)
    post.update({"caption": caption} if caption else {})
    post.update({"image": f"data:image/jpeg;base64,{image}"} if image else {})
    return {**post, **by_model([[row.expansion for row in rows] for rows in entities.values()])}


def add_expansions(posts: list[Post], path: str | Path, spans: list[list[tuple[str, str]]], source: str | None, dirt: Dirt) -> None:
    """Give the entities of posts the expansions of a file.

    posts (List[Dict]): Compact posts; `expansions` and `expansions_by_model` are set where the file has any.
    path (Union[str, Path]): See `read_riveg`.
    spans (List[List[Tuple[str, str]]]): Text and type of the entities of each post.
    source (Optional[str]): The model that wrote them, where the file holds one answer an entity; of several answers the names are "1", "2", ...
    dirt (Dirt): Takes expansions whose entity no post has, and entities without one.
    """
    found: dict[tuple[str, str, str], list[str | None]] = {}
    for row in read_riveg(path, dirt):
        found.setdefault((row.post, row.name, row.type), []).append(row.expansion)
    used: set[tuple[str, str, str]] = set()
    for post, entities in zip(posts, spans):
        lists = [found.get((post["id"], text, label), []) for text, label in entities]
        used.update((post["id"], text, label) for text, label in entities)
        if not any(lists):
            continue
        # The same entity twice in a post has its lines twice; its answers are taken in turn.
        lists = [answers[entities[:n].count(entities[n]) :: entities.count(entities[n])] for n, answers in enumerate(lists)]
        for (text, _), answers in zip(entities, lists):
            if not answers:
                dirt.note("no_expansion", f"{post['id']} {text!r}")
        several = by_model(lists, source)
        post[EXPANSIONS_FIELD] = {**post.get(EXPANSIONS_FIELD, {}), **several.get(EXPANSIONS_FIELD, {})}
        if not post[EXPANSIONS_FIELD]:
            del post[EXPANSIONS_FIELD]
        earlier = post.get("expansions") or [None] * len(lists)
        post["expansions"] = [old or (answers[0] if answers else None) for old, answers in zip(earlier, lists)]
    for name, text, _ in found.keys() - used:
        dirt.note("foreign_expansion", f"{name} {text!r}")


def by_model(lists: list[list[str | None]], source: str | None = None) -> Post:
    """Answers of several models side by side.

    lists (List[List[Optional[str]]]): Of each entity its answers.
    source (Optional[str]): A name for the only one.
    RETURNS (Dict[str, Any]): `expansions_by_model`, or nothing if an entity has one answer and that no name.
    """
    most = max((len(answers) for answers in lists), default=0)
    if most == 0 or (most == 1 and source is None):
        return {}
    names = [source or "1"] if most == 1 else [f"{source}-{n + 1}" if source else str(n + 1) for n in range(most)]
    return {
        EXPANSIONS_FIELD: {name: [answers[n] if n < len(answers) else None for answers in lists] for n, name in enumerate(names)}
    }


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    # A mark of quotation that opens a field and never closes it would take in all rows behind it: only lines that are a row together are joined.
    with open_text(path, errors="replace") as lines:
        number, waiting = 0, deque[str]()
        while waiting or (line := next(lines, None)) is not None:
            line = waiting.popleft() if waiting else cast(str, line)
            number += 1
            fields, joined = [_unquoted(field) for field in line.rstrip("\n").split("\t")], 0
            if _read(fields) is None and line.count('"') % 2:
                waiting.extend(itertools.islice(lines, max(0, _MOST_JOINED - len(waiting))))
                fields, joined = _joined(line, waiting) or (fields, 0)
            yield number, fields
            for _ in range(joined):
                waiting.popleft()
            number += joined


def _joined(line: str, following: Sequence[str]) -> tuple[list[str], int] | None:
    """The fields of a row over several lines, and how many lines follow the first; None if no such lines are one of a table."""
    for count, last in enumerate(following, start=1):
        if '"' in last:
            try:
                fields = next(csv.reader(["".join([line, *itertools.islice(following, count)]).rstrip("\n")], delimiter="\t"))
            except csv.Error:  # an end of line that stands in no field
                continue
            if _read(fields) is not None:
                return fields, count
    return None


def _unquoted(field: str) -> str:
    """A field as it was before a program put it in marks of quotation."""
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in field[1:-1].replace('""', ""):
        return field
    return field[1:-1].replace('""', '"')


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with open_text(path, errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, [f"\0{line.rstrip()}"]


def _read(fields: Any) -> TableRow | None:
    """RETURNS (Optional[TableRow]): None if it is none of the forms."""
    if isinstance(fields, dict):
        post, name, label, expansion = (fields.get(key) for key in ("id", "text", "type", "expansion"))
        if post is None or not isinstance(name, str) or not isinstance(label, str):
            return None
        return TableRow(str(post), name, label, expansion if isinstance(expansion, str) and expansion.strip() else None)
    if not isinstance(fields, list):
        return None
    if fields and fields[0].startswith("\0"):
        parts = fields[0][1:].split("###")
        if len(parts) < 4:
            return None
        shown = parts[3].strip()
        return _row(parts[0].removeprefix("Imageid:"), parts[2], shown=shown != "0" if shown.isdigit() else None)
    if len(fields) == 6 and fields[5].strip() in _LABELS:
        return _row(fields[0], fields[4], caption=fields[3], image=fields[2], shown=_LABELS[fields[5].strip()])
    if len(fields) == 5:
        try:
            corners = [float(value) for value in fields[3].split(",")]
            box = check_box(corners) if any(corners) else None
        except ValueError:
            return None
        return _row(fields[0], fields[2], image=fields[4], box=box, shown=True if box else None)
    return None


def _row(picture: str, text: str, **more: Any) -> TableRow | None:
    match = _WRITTEN.match(text.strip())
    post = re.sub(r"\.jpg(#.*)?$", "", picture.strip())
    if match is None or not match["name"].strip() or not post:
        return None
    expansion = (match["expansion"] or "").strip() or None
    more["caption"] = more.get("caption", "").strip()
    return TableRow(post, match["name"].strip(), match["type"], expansion, **more)


def _length(words: list[str], spaces: list[bool]) -> int:
    return sum(len(word) + space for word, space in zip(words, spaces))


def _different(boxes: list[list[float]]) -> list[list[float]]:
    return [box for number, box in enumerate(boxes) if box not in boxes[:number]]


__all__ = ["TableRow", "add_expansions", "by_model", "is_riveg_table", "read_riveg", "read_riveg_posts"]
