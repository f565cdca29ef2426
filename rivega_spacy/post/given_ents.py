"""Entities that come with a post in JSON: [start_char, end_char, label], or the objects that `rivega annotate` writes."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from spacy.tokens import Span

from .boxes import box_area, check_box
from .errors import RivegaError
from .extensions import MASKS_KEY, span_key
from .rle import compress_counts, parse_rle, rle_area

# Key of an entity's object -> what the span calls it.
SCORES = {"score": "ner_score", "groundable_score": "groundable_score", "box_score": "box_score", "mask_score": "mask_score"}
# Where other programs keep the entities of a post; `ents` and, beside `tokens`, `tags` are what is read here.
ENTITY_FIELDS = ("ents", "tags", "spans", "entities", "ner_tags", "label", "labels", "mentions", "annotations")


class Place(NamedTuple):
    """Where an entity stands.

    start (int), end (int): Characters.
    label (str): Its type, without blanks at its rims: tags of words could not hold them.
    moved (bool): The offsets were those of another text; it was found by its own.
    """

    start: int
    end: int
    label: str
    moved: bool = False


def entity_place(value: Any, text: str) -> Place | None:
    """Where an entity of a post's `ents` stands.

    value (Any): [start_char, end_char, label], or an object with `start`, `end`, `label` and perhaps its `text`. Where that is not what
        stands there (the post's text was corrected), the entity is where its text stands, if that is one place.
    text (str): Of the post.
    RETURNS (Optional[Place]): None if it is neither form, outside the text, or of blanks only.
    """
    own = None
    if isinstance(value, dict):
        own = value.get("text")
        value = [value.get("start", value.get("start_char")), value.get("end", value.get("end_char")), value.get("label")]
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    start, end, label = value
    if (
        not all(isinstance(side, int) and not isinstance(side, bool) for side in (start, end))
        or not isinstance(label, str)
        or not label.strip()
    ):
        return None
    label = label.strip()
    if isinstance(own, str) and own.strip() and text[max(0, start) : max(0, end)] != own:
        if text.count(own) != 1:
            return None
        start = text.index(own)
        return Place(start, start + len(own), label, True)
    return Place(start, end, label) if 0 <= start < end <= len(text) and text[start:end].strip() else None


def entity_fields(value: Any, bad: Callable[[str, str], None]) -> dict[str, Any]:
    """What else an entity's object says, under the names that the span has for it.

    value (Any): As for `entity_place`; a list says nothing else.
    bad (Callable[[str, str], None]): Told of a value that is left out: its key, and what it should be. Once of all boxes, or masks, that are
        wrong in the same way: there may be a hundred thousand of them.
    RETURNS (Dict[str, Any]): As far as given: `expansion`, `groundable`, `boxes`, `mask_rle`, `masks` (all of several) and the scores.
    """
    fields: dict[str, Any] = {}
    if not isinstance(value, dict):
        return fields
    bad = cache(bad)
    for key, name in SCORES.items():
        score = value.get(key)
        # Not every number fits: 1e400 is read as infinite, and Python's whole numbers have no end.
        if isinstance(score, (int, float)) and not isinstance(score, bool) and abs(score) < 1e6:
            fields[name] = float(score)
        elif score is not None:
            bad(key, "a number or null")
    for key, kind, wanted in (("groundable", bool, "true, false or null"), ("expansion", str, "a string or null")):
        if isinstance(value.get(key), kind):
            fields[key] = value[key]
        elif value.get(key) is not None:
            bad(key, wanted)
    boxes = _boxes(value, bad)
    if boxes:
        fields["boxes"] = boxes
    masks = _masks(value, bad)
    if masks:
        fields["mask_rle"] = masks[0] if len(masks) == 1 else max(masks, key=rle_area)
    if len(masks) > 1:
        fields["masks"] = masks
    return fields


def set_fields(span: Span, fields: dict[str, Any]) -> None:
    """Put what `entity_fields` read onto a span."""
    for name, value in fields.items():
        if name == "masks":
            # One mask has its place on the entity; all of them are kept beside it, for scores that accept any.
            span.doc.user_data[span_key(span, MASKS_KEY)] = value
        else:
            span._.set(name, value)


def unused_fields(row: dict[str, Any], used: str) -> list[str]:
    """Fields of a post that hold entities, besides the one that is read.

    row (Dict[str, Any]): The post.
    used (str): That one.
    RETURNS (List[str]): Their names.
    """
    return [name for name in ENTITY_FIELDS if name != used and _holds_entities(name, row.get(name))]


def _holds_entities(name: str, value: Any) -> bool:
    if name in ("tags", "ner_tags"):
        return isinstance(value, list) and any(tag not in ("O", "o", 0) for tag in value)
    if name in ("label", "labels"):
        # A single word or a list of words is the class of a whole post.
        return isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value)
    return isinstance(value, (list, dict)) and bool(value)


def _boxes(value: dict[str, Any], bad: Callable[[str, str], None]) -> list[list[float]]:
    given = value.get("boxes")
    if given is not None and not isinstance(given, (list, tuple)):
        bad("boxes", "a list of [x1, y1, x2, y2]")
        given = None
    key = "boxes"
    if not given and value.get("box") is not None:
        key, given = "box", [value["box"]]
    boxes = []
    for box in given or ():
        try:
            box = check_box(box)
        except (RivegaError, OverflowError):
            bad(key, "four finite numbers x1, y1, x2, y2")
            continue
        if box_area(box) > 0:
            boxes.append(box)
        else:
            bad(key, "x1 < x2 and y1 < y2")
    return boxes


def _masks(value: dict[str, Any], bad: Callable[[str, str], None]) -> list[dict[str, Any]]:
    key = "masks" if value.get("masks") else "mask_rle"
    given = value.get(key)
    given = [] if given is None else given if key == "masks" and isinstance(given, list) else [given]
    masks = []
    for rle in given:
        try:
            height, width, counts = parse_rle(rle)
            if counts[1::2].sum():
                masks.append({"size": [height, width], "counts": compress_counts(counts)})
            else:
                bad(key, "a mask with at least one pixel")
        except (RivegaError, TypeError, ValueError, OverflowError, KeyError, AttributeError):
            bad(key, "an RLE dict {'size': [height, width], 'counts': ...} or null")
    return masks
