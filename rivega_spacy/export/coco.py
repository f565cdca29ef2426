"""COCO instances: one annotation a region, its category the entity's type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spacy.tokens import Doc

from ..post.rle import rle_area
from .sheets import DrawnRegion, Item, pictured_sheets


def to_coco(docs: Iterable[Doc]) -> dict[str, Any]:
    """Posts as a COCO instances file.

    docs (Iterable[Doc]): Posts; those without a picture of known size, or with one that has no path, are left out.
    RETURNS (Dict[str, Any]): `images`, `annotations`, `categories`. Beyond COCO's own fields an image has `post_id` and `text`, and an
        annotation `entity`, `start`, `end`, `score` and, among its `attributes`, the expansion: tools keep what they do not know, and
        `rivega convert --boxes` reads `entity`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    for sheet in pictured_sheets(docs):
        number = len(images) + 1
        images.append(
            {
                "id": number,
                "file_name": sheet.image,
                "width": sheet.width,
                "height": sheet.height,
                "post_id": sheet.id,
                "text": sheet.text,
            }
        )
        for item in sheet.items:
            category = categories.setdefault(item.label, len(categories) + 1)
            annotations += [
                {"id": len(annotations) + 1 + place, "image_id": number, "category_id": category, **_region(item, region)}
                for place, region in enumerate(item.regions)
            ]
    return {
        "info": {"description": "Entities of posts with a picture"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": label, "supercategory": "entity"} for label, number in categories.items()],
    }


def _region(item: Item, region: DrawnRegion) -> dict[str, Any]:
    x1, y1, x2, y2 = region.box
    attributes = {"entity": item.text, "expansion": item.expansion} if item.expansion else {"entity": item.text}
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float((x2 - x1) * (y2 - y1)) if region.mask is None else float(rle_area(region.mask)),
        "segmentation": region.mask or [],
        "iscrowd": 0,
        "score": item.score,
        "entity": item.text,
        "start": item.start,
        "end": item.end,
        "attributes": attributes,
    }
