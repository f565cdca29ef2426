"""What FiftyOne and supervision take, as plain values: neither package is needed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..post.rle import decode_mask
from .sheets import DrawnRegion, Item, Sheet, pictured_sheets, sized, to_sheet


def to_fiftyone(docs: Iterable[Doc], *, field: str = "entities") -> Iterator[dict[str, Any]]:
    """Posts as FiftyOne sample dicts: `fo.Sample.from_dict(sample)`.

    docs (Iterable[Doc]): Posts; those without a picture of known size, or with one that has no path, are left out.
    field (str): Name of the field with the detections.
    YIELDS (Dict[str, Any]): Boxes are [x, y, width, height] as shares of the picture; a mask is bool, cut to its box.
    """
    for sheet in pictured_sheets(docs):
        found = [_detection(sheet, item, region) for item in sheet.items for region in item.regions]
        yield {
            "filepath": sheet.image,
            "tags": [],
            "post_id": sheet.id,
            "text": sheet.text,
            field: {"_cls": "Detections", "detections": found},
        }


def to_supervision(doc: Doc) -> dict[str, Any]:
    """A post as the arguments of supervision's detections: `sv.Detections(**to_supervision(doc))`.

    doc (Doc): A post with a picture.
    RETURNS (Dict[str, Any]): `xyxy` (n x 4 float32, pixels), `mask` (n x H x W bool, or None if no region has one; a region without has its
        box filled), `confidence` (n float32), `class_id` (n int), and `data` with `class_name` (the type), `entity` and `expansion`.
    RAISES (ImageError): E620 if the picture's size is not known and there are regions.
    """
    sheet = to_sheet(doc)
    rows = [(item, region) for item in sheet.items for region in item.regions]
    labels = sorted({item.label for item in sheet.items})
    masks = np.stack([_mask(sheet, region) for _, region in rows]) if any(region.mask for _, region in rows) else None
    return {
        "xyxy": np.array([region.box for _, region in rows], dtype="float32").reshape(-1, 4),
        "mask": masks,
        "confidence": np.array([item.score for item, _ in rows], dtype="float32"),
        "class_id": np.array([labels.index(item.label) for item, _ in rows], dtype=int),
        "data": {
            "class_name": np.array([item.label for item, _ in rows], dtype=str),
            "entity": np.array([item.text for item, _ in rows], dtype=str),
            "expansion": np.array([item.expansion or "" for item, _ in rows], dtype=str),
        },
    }


def _detection(sheet: Sheet, item: Item, region: DrawnRegion) -> dict[str, Any]:
    width, height = sized(sheet)
    x1, y1, x2, y2 = region.box
    found: dict[str, Any] = {
        "_cls": "Detection",
        "label": item.label,
        "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
        "confidence": item.score,
        "entity": item.text,
        "expansion": item.expansion,
    }
    if region.mask is not None:
        left, top, right, bottom = (int(round(value)) for value in region.box)
        found["mask"] = decode_mask(region.mask)[max(0, top) : bottom, max(0, left) : right]
    return found


def _mask(sheet: Sheet, region: DrawnRegion) -> np.ndarray:
    if region.mask is not None:
        return decode_mask(region.mask)
    width, height = sized(sheet)
    filled = np.zeros((height, width), dtype=bool)
    x1, y1, x2, y2 = (int(round(value)) for value in region.box)
    filled[max(0, y1) : y2, max(0, x1) : x2] = True
    return filled
