"""Predictions and gold data from files: JSON lines of four shapes, RiVEG's `###` text, DocBin."""
import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from ..boxes import check_box
from ..errors import Errors, RivegaError
from ..textfiles import open_text
from .mentions import Annotations, Mention, doc_annotations

FORMS = """Forms that are read, told apart by what a line holds:
  JSONL, one entity a line: id, text, type; optional start, end (tokens), ve or groundable (0, 2, true, false), boxes or box,
    mask_rle or masks (the form of RiVEG's released predictions)
  JSONL, one post a line: text, ents [{start, end, label, groundable, boxes, mask_rle}] (what `rivega annotate` writes)
  JSONL, one post a line: id, tokens, tags (BIO), boxes [{name, xyxy, mask_rle}] (the compact form of data sets)
  text of H-Index, a block a post: words, `Pred: (Name , [3] , <<person>> )`, ...; with --candidates, the boxes that it chose from
  text, one entity a line: [Imageid:]ID.jpg[#UID]###Name(TYPE)###expression###0|2[###&[x1, y1, x2, y2]&[...]]
  .spacy: DocBin with user data"""

_NAME = re.compile(r"^(?P<text>.*)\((?P<type>[^()]*)\)$", re.DOTALL)
_BOX = re.compile(r"\[([^\[\]]*)\]")

Row = Dict[str, Any]


def read_annotations(path: Union[str, Path]) -> Annotations:
    """Entities of a file in any of the forms of `FORMS`.

    path (Union[str, Path]): The file (.jsonl, .txt, either with .gz; .spacy) or a folder of .spacy shards.
    RETURNS (Annotations): See there.
    RAISES (RivegaError): E020 where there is no such file, E513 for a line that is none of the forms, E514 where it is empty.
    """
    path = Path(path)
    if not path.exists():
        raise RivegaError(Errors.E020.format(path=path))
    if path.is_dir() or path.suffix == ".spacy":
        return _read_docbin(path)
    result = Annotations(name=str(path))
    number = 0
    with open_text(path, newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.rstrip("\r\n")
            if not line.strip():
                continue
            try:
                if line.startswith("{"):
                    _add_json(result, json.loads(line), number)
                elif "###" in line:
                    _add_text(result, line)
                else:
                    raise RivegaError("neither a JSON object nor a line with ###")
            except (ValueError, KeyError, TypeError) as error:
                reason = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
                raise RivegaError(Errors.E513.format(path=path, line=number, reason=reason)) from error
    if not result.posts:
        raise RivegaError(Errors.E514.format(path=path))
    if result.twice:
        shown = ", ".join(result.twice[:5]) + (", ..." if len(result.twice) > 5 else "")
        result.notes.append(f"{len(result.twice)} posts of {path} occur twice (the first is kept): {shown}")
    return result


def parse_riveg_line(line: str) -> Tuple[Mention, bool]:
    """One line of RiVEG's text form.

    line (str): `Imageid:71044.jpg#8465###Garfield Park(LOC)###Garfield Park(LOC)-A garden.###0`, or with boxes at its end.
    RETURNS (Tuple[Mention, bool]): The entity, and whether the line says anything about boxes.
    RAISES (ValueError): Where it is not that form.
    """
    fields = line.split("###")
    if len(fields) < 4:
        raise ValueError(f"{len(fields)} fields between ###, at least 4 are needed")
    post = fields[0].partition("Imageid:")[2] if fields[0].startswith("Imageid:") else fields[0]
    post = re.sub(r"\.jpg(#.*)?$", "", post.strip())
    name = _NAME.match(fields[1])
    if name is None:
        raise ValueError(f"{fields[1]!r} is not Name(TYPE)")
    groundable = int(fields[3]) != 0
    boxes: List[List[float]] = []
    if len(fields) > 4 and groundable:
        boxes = [check_box(float(x) for x in box.split(",")) for box in _BOX.findall(fields[4])]
    mention = Mention(post, name["text"].strip(), name["type"], groundable=groundable, boxes=tuple(boxes))
    return mention, len(fields) > 4


def _add_text(result: Annotations, line: str) -> None:
    mention, boxed = parse_riveg_line(line)
    result.groundability = True
    result.boxes |= boxed
    result.add(mention)


def _add_json(result: Annotations, row: Row, number: int) -> None:
    if "ents" in row:
        _add_annotated(result, row, number)
    elif "tokens" in row:
        _add_compact(result, row)
    else:
        _add_flat(result, row)


def _add_flat(result: Annotations, row: Row) -> None:
    """One entity a line."""
    groundable = row.get("groundable", row.get("ve"))
    given, boxes = _regions(row, "boxes", "box")
    result.boxes |= given
    given, masks = _regions(row, "masks", "mask_rle")
    result.masks |= given
    result.groundability |= groundable is not None
    shown = None if groundable is None else bool(groundable)
    result.add(
        Mention(
            post=str(row["id"]),
            text=row["text"],
            type=row["type"],
            tokens=_offsets(row, "start", "end"),
            chars=_offsets(row, "start_char", "end_char"),
            groundable=shown,
            groundable_score=row.get("groundable_score"),
            boxes=tuple(check_box(box) for box in boxes) if shown is not False else (),
            masks=tuple(masks) if shown is not False else (),
        )
    )


def _add_annotated(result: Annotations, row: Row, number: int) -> None:
    """One post a line, as `rivega annotate` writes it."""
    post = str(row["id"]) if row.get("id") is not None else str(number - 1)
    if _seen(result, post):
        return
    result.add_post(post)
    if isinstance(row.get("image"), str):
        result.images[post] = row["image"]
    for ent in row["ents"]:
        if isinstance(ent, list):
            start, end, label = ent
            ent = {"start": start, "end": end, "label": label}
        shown = ent.get("groundable")
        boxed, boxes = _regions(ent, "boxes", "box")
        masked, masks = _regions(ent, "masks", "mask_rle")
        result.groundability |= shown is not None
        # The keys are always there; that a stage ran at all shows only in that some entity has what it makes.
        result.boxes |= boxed and bool(boxes)
        result.masks |= masked and bool(masks)
        result.add(
            Mention(
                post=post,
                text=ent.get("text") or row["text"][ent["start"] : ent["end"]],
                type=ent["label"],
                chars=(ent["start"], ent["end"]),
                groundable=shown,
                groundable_score=ent.get("groundable_score"),
                boxes=tuple(check_box(box) for box in boxes) if shown is not False else (),
                masks=tuple(masks) if shown is not False else (),
            )
        )


def _add_compact(result: Annotations, row: Row) -> None:
    """One post a line with tokens and tags; boxes go by the entity's name."""
    from ..ner.schemes import parse_tag, read_tags

    post = str(row["id"])
    if _seen(result, post):
        return
    result.add_post(post)
    named: Dict[str, List[Row]] = {}
    for box in row.get("boxes") or ():
        named.setdefault(box["name"].strip(), []).append(box)
    result.groundability |= "boxes" in row
    result.boxes |= "boxes" in row
    for tag in row["tags"]:
        if parse_tag(tag) is None:
            raise ValueError(f"the tag {tag!r} is of no known scheme (O, B-PER, I-PER, ...)")
    for start, end, label in read_tags(row["tags"]):
        text = " ".join(row["tokens"][start:end])
        own = named.get(text, [])
        masks = tuple(box["mask_rle"] for box in own if box.get("mask_rle"))
        result.masks |= bool(masks)
        shown = bool(own) if "boxes" in row else None
        boxes = tuple(check_box(box["xyxy"]) for box in own if box.get("xyxy"))
        result.add(Mention(post, text, label, tokens=(start, end), groundable=shown, boxes=boxes, masks=masks))


def _seen(result: Annotations, post: str) -> bool:
    """Whether a post is there already: of several lines with one id the first is kept, here as in conversions."""
    if post in result.posts:
        result.twice.append(post)
    return post in result.posts


def _regions(row: Row, plural: str, singular: str) -> Tuple[bool, List[Any]]:
    if row.get(plural) is not None:
        return True, list(row[plural])
    if singular in row:
        return True, [row[singular]] if row[singular] is not None else []
    return plural in row, []


def _offsets(row: Row, start: str, end: str) -> Optional[Tuple[int, int]]:
    if row.get(start) is None or row.get(end) is None:
        return None
    return (int(row[start]), int(row[end]))


def _read_docbin(path: Path) -> Annotations:
    import spacy

    from ..corpus.docbin import read_docbin

    result = doc_annotations(read_docbin(path, spacy.blank("rivega").vocab), name=str(path))
    if not result.posts:
        raise RivegaError(Errors.E514.format(path=path))
    return result
