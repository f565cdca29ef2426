"""labelme: one JSON a picture, one shape a region, named by the entity's text."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from typing import Any

from PIL import Image
from spacy.tokens import Doc

from ..post.exact import EXACT, exact_region
from ..post.rle import decode_mask, rle_to_box
from .sheets import DrawnRegion, Item, pictured_sheets

# The version whose files these are.
VERSION = "5.5.0"


def to_labelme(docs: Iterable[Doc]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Posts as labelme files.

    docs (Iterable[Doc]): Posts; those without a picture of known size, or with one that has no path, are left out.
    YIELDS (Tuple[str, Dict[str, Any]]): Id of the post, and what belongs into ID.json. A region with a mask is a shape of type `mask`, one
        without a `rectangle`; the type and the expansion stand in its `description` and `flags`.
    """
    for sheet in pictured_sheets(docs):
        yield (
            sheet.id,
            {
                "version": VERSION,
                "flags": {},
                "shapes": [_shape(item, region) for item in sheet.items for region in item.regions],
                "imagePath": sheet.image,
                "imageData": None,
                "imageHeight": sheet.height,
                "imageWidth": sheet.width,
            },
        )


def _shape(item: Item, region: DrawnRegion) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "label": item.text,
        "points": [region.box[:2], region.box[2:]],
        "group_id": None,
        "description": f"{item.label}: {item.expansion}" if item.expansion else item.label,
        "shape_type": "rectangle",
        "flags": {},
        "mask": None,
    }
    if region.mask is not None:
        x1, y1, x2, y2 = (int(value) for value in rle_to_box(region.mask))
        buffer = io.BytesIO()
        Image.fromarray(decode_mask(region.mask)[y1:y2, x1:x2]).convert("1").save(buffer, format="PNG")
        # The last point is the last pixel, not the edge behind it.
        shape |= {
            "shape_type": "mask",
            "points": [[x1, y1], [x2 - 1, y2 - 1]],
            "mask": base64.b64encode(buffer.getvalue()).decode("ascii"),
        }
        # The box need not be the one around the mask.
        shape[EXACT] = exact_region(region.box, None, shape["points"])
    return shape
