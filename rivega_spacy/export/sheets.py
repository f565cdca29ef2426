"""A post as every export needs it: text, picture with its size, and entities with their regions in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from ..post.boxes import box_iou
from ..post.errors import Errors, ImageError
from ..post.extensions import ID_KEY, all_masks, record_error
from ..post.images import image_size
from ..post.rle import RLE, parse_rle, rle_to_box

# A box and a mask this much alike are one region.
SAME_REGION = 0.5


@dataclass(frozen=True)
class DrawnRegion:
    """One place in the picture.

    box (List[float]): XYXY pixels.
    mask (Optional[RLE]): COCO RLE at the picture's size.
    """

    box: list[float]
    mask: RLE | None = None


@dataclass(frozen=True)
class Item:
    """One entity.

    number (int): Its place among the post's entities, from 0.
    start (int), end (int): Characters of the text.
    regions (List[DrawnRegion]): Empty where the picture does not show it.
    scores (Dict[str, float]): `ner_score`, `groundable_score`, `box_score` and `mask_score`, those that there are.
    """

    number: int
    start: int
    end: int
    text: str
    label: str
    expansion: str | None
    groundable: bool | None
    regions: list[DrawnRegion]
    scores: dict[str, float]

    @property
    def score(self) -> float:
        """How sure its place is: the least of its scores; 1.0 without any, as for what a person annotated."""
        return min(self.scores.values(), default=1.0)


@dataclass(frozen=True)
class Sheet:
    """One post.

    id (str): Its own, else its place in the stream, from 1.
    image (Optional[str]): Path as the post has it; None without a picture or where it was given as bytes.
    width (Optional[int]), height (Optional[int]): Of the upright picture; None if it cannot be read and no mask states its size.
    """

    id: str
    text: str
    image: str | None
    width: int | None
    height: int | None
    items: list[Item]
    fields: dict[str, Any] = field(default_factory=dict)


def to_sheet(doc: Doc, number: int = 1) -> Sheet:
    """What there is to export of a post.

    doc (Doc): With entities; what cannot be exported is noted on it.
    number (int): Its place in the stream, for a post without id.
    RETURNS (Sheet): It.
    """
    name = doc.user_data.get(ID_KEY)
    stored = doc._.image
    width, height = _size(doc)
    return Sheet(
        id=str(number if name is None else name),
        text=doc.text,
        image=stored if isinstance(stored, str) else None,
        width=width,
        height=height,
        items=[_item(place, ent) for place, ent in enumerate(doc.ents)],
        fields={key: doc._.get(key) for key in ("caption", "description", "knowledge") if doc._.get(key) is not None},
    )


def sheets(docs: Iterable[Doc]) -> Iterator[Sheet]:
    """See `to_sheet`: one a post, in order."""
    for number, doc in enumerate(docs, start=1):
        yield to_sheet(doc, number)


@dataclass(frozen=True)
class PicturedSheet(Sheet):
    """One post whose picture has a path and a known size."""

    image: str
    width: int
    height: int


def pictured_sheets(docs: Iterable[Doc], *, start: int = 1) -> Iterator[PicturedSheet]:
    """What there is to export in forms that name pictures by their paths and measure regions by their sizes.

    docs (Iterable[Doc]): Posts with entities; those without such a picture are left out, and if there is one that was given as bytes,
        or that cannot be read, it is noted on the doc.
    start (int): The number of the first one, for posts without id.
    YIELDS (PicturedSheet): One a post, in order.
    """
    for number, doc in enumerate(docs, start=start):
        sheet = to_sheet(doc, number)
        if isinstance(doc._.image, bytes):
            record_error(doc, "export", Errors.E624.format(post=repr(sheet.id)))
        elif sheet.image is not None and sheet.width is not None and sheet.height is not None:
            yield PicturedSheet(**vars(sheet))


def sized(sheet: Sheet) -> tuple[int, int]:
    """Width and height of a sheet's picture. RAISES (ImageError): E620 if they are not known."""
    if sheet.width is None or sheet.height is None:
        raise ImageError(Errors.E620.format(post=repr(sheet.id), source=repr(sheet.image)))
    return sheet.width, sheet.height


def _size(doc: Doc) -> tuple[int | None, int | None]:
    # A mask has the picture's size, and reading it costs nothing.
    for ent in doc.ents:
        for rle in all_masks(ent):
            height, width, _ = parse_rle(rle)
            return width, height
    if doc._.image is None:
        return None, None
    try:
        return image_size(doc._.image)
    except ImageError as error:
        record_error(doc, "export", str(error))
        return None, None


def _item(number: int, ent: Span) -> Item:
    scores = {name: ent._.get(name) for name in ("ner_score", "groundable_score", "box_score", "mask_score")}
    return Item(
        number=number,
        start=ent.start_char,
        end=ent.end_char,
        text=ent.text,
        label=ent.label_,
        expansion=ent._.expansion,
        groundable=ent._.groundable,
        regions=_regions(ent),
        scores={name: float(value) for name, value in scores.items() if value is not None},
    )


def _regions(ent: Span) -> list[DrawnRegion]:
    """Boxes and masks that belong together in one region each; a mask without a box of its own brings the box around it."""
    boxes = ent._.boxes
    regions: list[DrawnRegion] = []
    for mask in all_masks(ent):
        around = rle_to_box(mask)
        if around[2] <= around[0] or around[3] <= around[1]:
            continue
        likeness = box_iou(np.array(boxes, float).reshape(-1, 4), np.array([around], float))[:, 0] if boxes else np.zeros(0)
        own = int(likeness.argmax()) if len(likeness) and likeness.max() >= SAME_REGION else None
        regions.append(DrawnRegion(around if own is None else boxes.pop(own), mask))
    return regions + [DrawnRegion(box) for box in boxes]
