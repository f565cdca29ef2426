"""W3C Web Annotation (JSON-LD): one annotation an entity, with two targets: its place in the text and its places in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from spacy.tokens import Doc

from ..post.outlines import mask_outline, svg_path
from ..post.rle import decode_mask
from .sheets import DrawnRegion, Item, Sheet, sheets

CONTEXT = "http://www.w3.org/ns/anno.jsonld"
MEDIA_FRAGMENTS = "http://www.w3.org/TR/media-frags/"
# Characters of the text kept before and after an entity, so that its place is found again in a changed text.
AROUND = 32
SHOWN, NOT_SHOWN = "shown", "not shown"


def to_web_annotations(docs: Iterable[Doc], *, base: str = "urn:rivega:") -> Iterator[dict[str, Any]]:
    """Entities as W3C web annotations.

    docs (Iterable[Doc]): Posts.
    base (str): Start of the annotations' and texts' IRIs.
    YIELDS (Dict[str, Any]): One annotation a post, whose body is its text and whose target its picture, and one an entity. Bodies: its type
        (purpose `classifying`), its expansion (`describing`), whether the picture shows it (`assessing`). Targets: the text
        with a TextPositionSelector (code points, as the recommendation wants) and a TextQuoteSelector; for each region the picture with a
        FragmentSelector `xywh=pixel:` and, where there is a mask, an SvgSelector that is exact to the pixel.
    """
    for sheet in sheets(docs):
        yield _text_annotation(sheet, base)
        for item in sheet.items:
            yield _annotation(sheet, item, base)


def _text_annotation(sheet: Sheet, base: str) -> dict[str, Any]:
    """The text of a post, said of its picture: what the places of its entities are places in."""
    post = f"{base}{quote(sheet.id, safe='')}"
    return {
        "@context": CONTEXT,
        "id": f"{post}/post",
        "type": "Annotation",
        "motivation": "describing",
        "body": {"id": f"{post}/text", "type": "TextualBody", "value": sheet.text, "purpose": "describing", "format": "text/plain"},
        "target": post if sheet.image is None else picture_address(sheet.image),
    }


def picture_address(image: str) -> str:
    """The address of a picture, from its path: what no IRI may hold is percent-encoded."""
    return quote(image, safe="/:%?&=#~.,;+@!$'()*")


def _annotation(sheet: Sheet, item: Item, base: str) -> dict[str, Any]:
    post = f"{base}{quote(sheet.id, safe='')}"
    bodies: list[dict[str, Any]] = [{"type": "TextualBody", "value": item.label, "purpose": "classifying", "format": "text/plain"}]
    if item.expansion:
        bodies.append({"type": "TextualBody", "value": item.expansion, "purpose": "describing", "format": "text/plain"})
    if item.groundable is not None:
        shown = SHOWN if item.groundable else NOT_SHOWN
        bodies.append({"type": "TextualBody", "value": shown, "purpose": "assessing", "format": "text/plain"})
    targets: list[dict[str, Any]] = [{"source": f"{post}/text", "selector": _text_selectors(sheet.text, item)}]
    if sheet.image is not None:
        targets += [
            {"source": picture_address(sheet.image), "selector": _region_selectors(sheet, region)} for region in item.regions
        ]
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


def _region_selectors(sheet: Sheet, region: DrawnRegion) -> list[dict[str, Any]]:
    x1, y1, x2, y2 = (round(value) for value in region.box)
    fragment = f"xywh=pixel:{x1},{y1},{x2 - x1},{y2 - y1}"
    found: list[dict[str, Any]] = [{"type": "FragmentSelector", "conformsTo": MEDIA_FRAGMENTS, "value": fragment}]
    if region.mask is not None:
        path = svg_path(mask_outline(decode_mask(region.mask)))
        value = f'<svg xmlns="http://www.w3.org/2000/svg" width="{sheet.width}" height="{sheet.height}"><path fill-rule="evenodd" d="{path}"/></svg>'
        found.append({"type": "SvgSelector", "value": value})
    return found
