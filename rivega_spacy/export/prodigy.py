"""Prodigy: tasks for `ner.manual` and for `image.manual`, with equal ids.

Prodigy keeps text spans and picture spans under the same key, so that one task cannot carry both; two data sets with the same ids can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.tokens import Doc

from ..post.rle import decode_mask
from .outlines import mask_outline
from .sheets import Item, Region, sheets


def to_prodigy_text(docs: Iterable[Doc]) -> Iterator[dict[str, Any]]:
    """Posts as tasks for `ner.manual`: `text`, `tokens`, `spans`, and the picture's path for the eye."""
    for doc in docs:
        sheet = next(sheets([doc]))
        tokens = [
            {"text": token.text, "start": token.idx, "end": token.idx + len(token), "id": token.i, "ws": bool(token.whitespace_)}
            for token in doc
        ]
        spans = [
            {"start": ent.start_char, "end": ent.end_char, "token_start": ent.start, "token_end": ent.end - 1, "label": ent.label_}
            for ent in doc.ents
        ]
        yield {"id": sheet.id, "text": sheet.text, "tokens": tokens, "spans": spans, "path": sheet.image, "meta": {"id": sheet.id}}


def to_prodigy_image(docs: Iterable[Doc]) -> Iterator[dict[str, Any]]:
    """Posts as tasks for `image.manual`: each region a rectangle or, with a mask, a polygon along its largest outline, labelled with the
    entity's text. Posts without a picture of known size are left out."""
    for sheet in sheets(docs):
        if sheet.image is not None and sheet.width is not None and sheet.height is not None:
            spans = [_span(item, region) for item in sheet.items for region in item.regions]
            yield {
                "id": sheet.id,
                "image": sheet.image,
                "path": sheet.image,
                "width": sheet.width,
                "height": sheet.height,
                "spans": spans,
                "meta": {"id": sheet.id},
            }


def _span(item: Item, region: Region) -> dict[str, Any]:
    if region.mask is not None:
        ring = max(mask_outline(decode_mask(region.mask)), key=len)
        return {"label": item.text, "type": "polygon", "points": [list(point) for point in ring]}
    x1, y1, x2, y2 = region.box
    points = [[x1, y1], [x1, y2], [x2, y2], [x2, y1]]
    return {"label": item.text, "type": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "points": points}
