"""W3C Web Annotation (JSON-LD): one annotation an entity, with two targets: its place in the text and its places in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from spacy.tokens import Doc

from ..post.rle import decode_mask
from .outlines import mask_outline, svg_path
from .sheets import Item, Region, Sheet, sheets

CONTEXT = "http://www.w3.org/ns/anno.jsonld"
MEDIA_FRAGMENTS = "http://www.w3.org/TR/media-frags/"
# Characters of the text kept before and after an entity, so that its place is found again in a changed text.
AROUND = 32


def to_web_annotations(docs: Iterable[Doc], *, base: str = "urn:rivega:") -> Iterator[dict[str, Any]]:
    """Entities as W3C web annotations.

    docs (Iterable[Doc]): Posts.
    base (str): Start of the annotations' and texts' IRIs.
    YIELDS (Dict[str, Any]): One annotation an entity. Bodies: its type (purpose `classifying`), its expansion (`describing`). Targets: the text
        with a TextPositionSelector (code points, as the recommendation wants) and a TextQuoteSelector; for each region the picture with a
        FragmentSelector `xywh=pixel:` and, where there is a mask, an SvgSelector that is exact to the pixel.
    """
    for sheet in sheets(docs):
        for item in sheet.items:
            yield _annotation(sheet, item, base)


def _annotation(sheet: Sheet, item: Item, base: str) -> dict[str, Any]:
    post = f"{base}{quote(sheet.id, safe='')}"
    bodies: list[dict[str, Any]] = [{"type": "TextualBody", "value": item.label, "purpose": "classifying", "format": "text/plain"}]
    if item.expansion:
        bodies.append({"type": "TextualBody", "value": item.expansion, "purpose": "describing", "format": "text/plain"})
    targets: list[dict[str, Any]] = [{"source": f"{post}/text", "selector": _text_selectors(sheet.text, item)}]
    if sheet.image is not None:
        picture = quote(sheet.image, safe="/:%?&=#~.,;+@!$'()*")
        targets += [{"source": picture, "selector": _region_selectors(sheet, region)} for region in item.regions]
    return {
        "@context": CONTEXT,
        "id": f"{post}/entity/{item.number}",
        "type": "Annotation",
        "motivation": "identifying",
        "body": bodies,
        "target": targets,
    }


def _text_selectors(text: str, item: Item) -> list[dict[str, Any]]:
    return [
        {"type": "TextPositionSelector", "start": item.start, "end": item.end},
        {
            "type": "TextQuoteSelector",
            "exact": item.text,
            "prefix": text[max(0, item.start - AROUND) : item.start],
            "suffix": text[item.end : item.end + AROUND],
        },
    ]


def _region_selectors(sheet: Sheet, region: Region) -> list[dict[str, Any]]:
    x1, y1, x2, y2 = (round(value) for value in region.box)
    fragment = f"xywh=pixel:{x1},{y1},{x2 - x1},{y2 - y1}"
    found: list[dict[str, Any]] = [{"type": "FragmentSelector", "conformsTo": MEDIA_FRAGMENTS, "value": fragment}]
    if region.mask is not None:
        path = svg_path(mask_outline(decode_mask(region.mask)))
        value = f'<svg xmlns="http://www.w3.org/2000/svg" width="{sheet.width}" height="{sheet.height}"><path fill-rule="evenodd" d="{path}"/></svg>'
        found.append({"type": "SvgSelector", "value": value})
    return found
