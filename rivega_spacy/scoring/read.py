"""Predictions and gold data from files: JSON lines of four shapes, RiVEG's `###` text, DocBin."""

import re
from collections.abc import Container
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..post.boxes import check_box
from ..post.errors import Errors, RivegaError
from ..post.jsonl import parse_object, read_text_lines
from ..post.rle import parse_rle
from ..post.text import brief, replace_surrogates
from ..post.textfiles import BYTE_ORDER_MARK
from .mentions import Annotations, Mention, doc_annotations
from .novelty import Known, known_names

_NAME = re.compile(r"^(?P<text>.*)\((?P<type>[^()]*)\)$", re.DOTALL)
_BOX = re.compile(r"\[([^\[\]]*)\]")

Row = dict[str, Any]


def read_annotations(path: str | Path, *, skip: bool = False) -> Annotations:
    """Entities of a file in any of the forms of forms.py.

    path (Union[str, Path]): The file (.jsonl, .txt, either with .gz; .spacy) or a folder of .spacy shards.
    skip (bool): Leave out lines that are none of the forms, and say so in `refused`; a file without any other line is refused.
    RETURNS (Annotations): See there.
    RAISES (RivegaError): E020 if there is no such file, E059 if a .spacy file is damaged, E513 for a line that is none of the
        forms, E514 where it is empty.
    """
    path = Path(path)
    if not path.exists():
        raise RivegaError(Errors.E020.format(path=path))
    if path.is_dir() or path.suffix == ".spacy":
        return _read_docbin(path)
    result = Annotations(name=str(path))
    first_error: RivegaError | None = None
    for number, line in read_text_lines(path, newline="\n"):
        try:
            result.take(_read_line(line, number, result.posts))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            reason = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
            if not skip:
                raise RivegaError(Errors.E513.format(path=path, line=number, reason=reason)) from error
            first_error = first_error or RivegaError(Errors.E513.format(path=path, line=number, reason=reason))
            result.refused.append(Errors.E064.format(path=path, line=number, reason=reason))
    if first_error is not None and not result.posts:
        raise first_error
    if not result.posts:
        raise RivegaError(Errors.E514.format(path=path))
    if result.twice:
        shown = ", ".join(result.twice[:5]) + (", ..." if len(result.twice) > 5 else "")
        result.notes.append(f"{len(result.twice)} posts of {path} occur twice (the first is kept): {shown}")
    return result


def _read_line(line: str | RivegaError, number: int, known: Container[str]) -> Annotations:
    """What one line says: nothing if it is empty or a post that is known already. RAISES (ValueError and others): If it is none of the forms."""
    result = Annotations()
    if isinstance(line, RivegaError):
        raise line
    line = replace_surrogates(line.lstrip(BYTE_ORDER_MARK).rstrip("\r\n"))
    if line.startswith("{"):
        row = parse_object(line)
        if isinstance(row, str):
            raise ValueError(row)
        _add_json(result, row, number, known)
    elif "###" in line:
        _add_text(result, line)
    elif line.strip():
        raise ValueError("neither a JSON object nor a line with ###")
    for mention in result.mentions:
        _check_mention(mention)
    return result


def _check_mention(mention: Mention) -> None:
    """RAISES (ValueError): If a value is of a type that nothing can be compared with."""
    for name in ("text", "type"):
        if not isinstance(getattr(mention, name), str):
            raise ValueError(f"`{name}` is not a string")
    for offsets in (mention.tokens, mention.chars):
        if offsets is not None and not all(isinstance(place, int) for place in offsets):
            raise ValueError(f"the offsets {brief(offsets)} are not whole numbers")
    score = mention.groundable_score
    if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1):
        raise ValueError(f"`groundable_score` is {brief(score)}, not a number of 0 to 1")
    if mention.groundable not in (None, True, False):
        raise ValueError(f"`groundable` is {brief(mention.groundable)}")
    for mask in mention.masks:
        parse_rle(mask)


def parse_riveg_line(line: str) -> tuple[Mention, bool]:
    """One line of RiVEG's text form.

    line (str): `Imageid:71044.jpg#8465###Garfield Park(LOC)###Garfield Park(LOC)-A garden.###0`, or with boxes at its end.
    RETURNS (Tuple[Mention, bool]): The entity, and whether the line says anything about boxes.
    RAISES (ValueError): If it is not that form.
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
    boxes: list[list[float]] = []
    if len(fields) > 4 and groundable:
        boxes = [check_box(float(x) for x in box.split(",")) for box in _BOX.findall(fields[4])]
    mention = Mention(post, name["text"].strip(), name["type"], groundable=groundable, boxes=tuple(boxes))
    return mention, len(fields) > 4


def _add_text(result: Annotations, line: str) -> None:
    mention, boxed = parse_riveg_line(line)
    result.groundability = True
    result.boxes |= boxed
    result.add(mention)


def _add_json(result: Annotations, row: Row, number: int, known: Container[str]) -> None:
    if "ents" in row:
        _add_annotated(result, row, number, known)
    elif "tokens" in row:
        _add_compact(result, row, known)
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


def _add_annotated(result: Annotations, row: Row, number: int, known: Container[str]) -> None:
    """One post a line, as `rivega annotate` writes it."""
    post = str(row["id"]) if row.get("id") is not None else str(number - 1)
    if _seen(result, post, known):
        return
    result.add_post(post)
    if isinstance(row.get("image"), str):
        result.images[post] = row["image"]
    if isinstance(row.get("text"), str):
        result.texts[post] = row["text"]
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


def _add_compact(result: Annotations, row: Row, known: Container[str]) -> None:
    """One post a line with tokens and tags; boxes go by the entity's name."""
    from ..ner.schemes import parse_tag, read_tags

    post = str(row["id"])
    if _seen(result, post, known):
        return
    result.add_post(post)
    named: dict[str, list[Row]] = {}
    for box in row.get("boxes") or ():
        named.setdefault(box["name"].strip(), []).append(box)
    result.groundability |= "boxes" in row
    result.boxes |= "boxes" in row
    for tag in row["tags"]:
        if parse_tag(tag) is None:
            raise ValueError(f"the tag {tag!r} is of no known scheme (O, B-PER, I-PER, ...)")
    result.texts[post] = " ".join(row["tokens"])
    places = [0, *accumulate(len(token) + 1 for token in row["tokens"])]
    for start, end, label in read_tags(row["tags"]):
        text = " ".join(row["tokens"][start:end])
        own = named.get(text, [])
        masks = tuple(box["mask_rle"] for box in own if box.get("mask_rle"))
        result.masks |= bool(masks)
        shown = bool(own) if "boxes" in row else None
        boxes = tuple(check_box(box["xyxy"]) for box in own if box.get("xyxy"))
        chars = (places[start], places[start] + len(text))
        result.add(Mention(post, text, label, tokens=(start, end), chars=chars, groundable=shown, boxes=boxes, masks=masks))


def _seen(result: Annotations, post: str, known: Container[str]) -> bool:
    """Whether a post is there already: of several lines with one id the first is kept, here as in conversions."""
    if post in known:
        result.twice.append(post)
    return post in known


def _regions(row: Row, plural: str, singular: str) -> tuple[bool, list[Any]]:
    if row.get(plural) is not None:
        return True, list(row[plural])
    if singular in row:
        return True, [row[singular]] if row[singular] is not None else []
    return plural in row, []


def _offsets(row: Row, start: str, end: str) -> tuple[int, int] | None:
    if row.get(start) is None or row.get(end) is None:
        return None
    return (int(row[start]), int(row[end]))


def _read_docbin(path: Path) -> Annotations:
    from ..corpus.docbin import read_docbin
    from ..post.language import reading_vocab

    result = doc_annotations(read_docbin(path, reading_vocab()), name=str(path))
    if not result.posts:
        raise RivegaError(Errors.E514.format(path=path))
    return result


def read_training_names(path: str | Path) -> Known:
    """Text and type of the entities that a system was trained on.

    path (Union[str, Path]): A .spacy file, a folder of them, or any other form that `read_annotations` reads.
    RETURNS (Set[Tuple[str, str]]): See novelty.py.
    """
    return known_names(read_annotations(path, skip=True).mentions)
