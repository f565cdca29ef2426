"""Prodigy: tasks for `ner.manual` and for `image.manual`, with equal ids.

Prodigy keeps text spans and picture spans under the same key, so that one task cannot carry both; two data sets with the same ids can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spacy.tokens import Doc

from ..post.exact import EXACT, exact_region
from ..post.outlines import mask_outline
from ..post.rle import decode_mask
from .sheets import DrawnRegion, Item, pictured_sheets, to_sheet


def to_prodigy_text(docs: Iterable[Doc], *, start: int = 1) -> Iterator[dict[str, Any]]:
    """Posts as tasks for `ner.manual`: `text`, `tokens`, `spans` (with their expansions), and the picture's path for the eye. Posts without id
    are numbered from `start` on."""
    for number, doc in enumerate(docs, start=start):
        sheet = to_sheet(doc, number)
        tokens = [
            {"text": token.text, "start": token.idx, "end": token.idx + len(token), "id": token.i, "ws": bool(token.whitespace_)}
            for token in doc
        ]
        spans = [
            {
                "start": ent.start_char,
                "end": ent.end_char,
                "token_start": ent.start,
                "token_end": ent.end - 1,
                "label": ent.label_,
                **({} if ent._.expansion is None else {"expansion": ent._.expansion}),
            }
            for ent in doc.ents
        ]
        task = {"id": sheet.id, "text": sheet.text, "tokens": tokens, "spans": spans, "path": sheet.image, "meta": {"id": sheet.id}}
        yield {**task, **sheet.fields}


def to_prodigy_image(docs: Iterable[Doc], *, start: int = 1) -> Iterator[dict[str, Any]]:
    """Posts as tasks for `image.manual`: each region a rectangle or, with a mask, a polygon along its largest outline, labelled with the
    entity's text. What such a polygon cannot hold stands beside it, and counts as long as its points are not moved. Posts without a picture of
    known size, or with one that has no path, are left out, those without id numbered from `start` on."""
    for sheet in pictured_sheets(docs, start=start):
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


def _span(item: Item, region: DrawnRegion) -> dict[str, Any]:
    if region.mask is not None:
        ring = max(mask_outline(decode_mask(region.mask)), key=len)
        points = [list(point) for point in ring]
        return {"label": item.text, "type": "polygon", "points": points, EXACT: exact_region(region.box, region.mask, points)}
    x1, y1, x2, y2 = region.box
    corners = [[x1, y1], [x1, y2], [x2, y2], [x2, y1]]
    return {"label": item.text, "type": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "points": corners}
