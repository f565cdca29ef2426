"""W3C web annotations (JSON-LD): places in a text and in its picture, back into posts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

from ...post.errors import Errors, RivegaError
from ...post.outlines import fill_rings
from ...post.post_files import Post
from ...post.rle import RLE, encode_mask, rle_to_box
from .annotated import annotated_posts
from .coordinates import picture_size, read_number
from .dirt import Dirt
from .json_files import read_json

_SHOWN = {"shown": True, "not shown": False}
_FRAGMENT = re.compile(r"xywh=(?:pixel:)?(-?\d+\.?\d*),(-?\d+\.?\d*),(\d+\.?\d*),(\d+\.?\d*)")
_PATH = re.compile(r"([MmLlHhVvZz])|(-?\d*\.?\d+(?:[eE][-+]?\d+)?)")
# Numbers that a command of an SVG path takes at a time.
_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "Z": 0}


def is_web_annotation(value: Any) -> bool:
    """Whether a JSON value is a page or a collection of annotations, or a list of them."""
    if isinstance(value, dict):
        return value.get("type") in ("AnnotationPage", "AnnotationCollection", "Annotation")
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and item.get("type") == "Annotation" for item in value)
    )


def read_web_annotations(path: str | Path, dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """Posts of an annotation page as `rivega export` writes it, corrected or not.

    path (Union[str, Path]): JSON-LD. An annotation whose body has an id that ends in `/text` holds a post's text; the others are entities,
        whose targets are places in that text (TextPositionSelector) and in a picture (FragmentSelector, SvgSelector).
    dirt (Dirt): Takes what does not fit.
    lang (str): Language class whose tokenizer makes the tokens.
    YIELDS (Dict[str, Any]): As `read_annotated` does.
    RAISES (RivegaError): E132 if it is no such page.
    """
    try:
        page = read_json(path)
    except ValueError as error:
        raise RivegaError(Errors.E132.format(path=path, kind="JSON-LD", reason=error)) from error
    if not is_web_annotation(page):
        raise RivegaError(
            Errors.E132.format(path=path, kind="a page of W3C web annotations", reason="its type is not AnnotationPage")
        )
    items = page if isinstance(page, list) else [page] if page.get("type") == "Annotation" else _items(page)
    posts: dict[str, Post] = {}
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict) or not _read(item, posts):
            dirt.note("bad_post", f"{path}, annotation {number}")
    yield from annotated_posts(((f"{path}, {name}", name, post) for name, post in posts.items()), dirt, lang=lang)


def _items(page: dict[str, Any]) -> list[Any]:
    first = page.get("first")
    found = page.get("items") or (first.get("items") if isinstance(first, dict) else None)
    return found if isinstance(found, list) else []


def _read(item: dict[str, Any], posts: dict[str, Post]) -> bool:
    """Put an annotation into its post; False if it is neither a text nor an entity."""
    bodies, targets = _list(item.get("body")), _list(item.get("target"))
    for body in bodies:
        if isinstance(body, dict) and isinstance(body.get("value"), str) and str(body.get("id")).endswith("/text"):
            post = posts.setdefault(_post_id(body["id"]), {"ents": []})
            post.update({"id": _post_id(body["id"]), "text": body["value"]})
            pictures = [target for target in map(_source, targets) if target and not target.startswith("urn:")]
            post.update({"image": unquote(pictures[0])} if pictures else {})
            return True
    entity: dict[str, Any] = {}
    name = None
    for target in targets:
        selectors = _list(target.get("selector")) if isinstance(target, dict) else []
        position = next((each for each in selectors if _type(each) == "TextPositionSelector"), None)
        quote = next((each for each in selectors if _type(each) == "TextQuoteSelector"), None)
        if position is not None:
            name = _post_id(_source(target) or "")
            entity.update({"start": position.get("start"), "end": position.get("end")})
            entity.update({"text": quote["exact"]} if quote is not None and isinstance(quote.get("exact"), str) else {})
        else:
            _add_region(entity, selectors)
    if name is None:
        return False
    for body in bodies:
        value = body.get("value") if isinstance(body, dict) else None
        if isinstance(value, str):
            purpose = _purpose(body)
            if purpose == "classifying":
                entity["label"] = value
            elif purpose == "describing":
                entity["expansion"] = value
            elif purpose == "assessing" and value in _SHOWN:
                entity["groundable"] = _SHOWN[value]
    posts.setdefault(name, {"ents": []})["ents"].append(entity)
    return True


def _add_region(entity: dict[str, Any], selectors: list[Any]) -> None:
    """The box and the mask of one target in a picture."""
    box = mask = None
    for selector in selectors:
        value = selector.get("value") if isinstance(selector, dict) else None
        if not isinstance(value, str):
            continue
        fragment = _FRAGMENT.search(value) if _type(selector) == "FragmentSelector" else None
        if fragment is not None:
            x, y, width, height = map(float, fragment.groups())
            box = [x, y, x + width, y + height]
        elif _type(selector) == "SvgSelector":
            mask = svg_mask(value)
    if mask is not None:
        entity.setdefault("masks", []).append(mask)
        box = rle_to_box(mask) if box is None else box
    if box is not None:
        entity.setdefault("boxes", []).append(box)


def svg_mask(svg: str) -> RLE | None:
    """The mask that the paths and polygons of an SVG picture fill, by the even-odd rule.

    svg (str): With `width` and `height` in pixels, the size of the picture.
    RETURNS (Optional[RLE]): None if it is no such SVG, or fills nothing.
    """
    # What an SVG may name outside itself is never fetched, and a declaration of entities could grow without end.
    if "<!DOCTYPE" in svg or "<!ENTITY" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg)
        width, height, usable = picture_size(*(int(float(root.get(key, "").removesuffix("px"))) for key in ("width", "height")))
        rings = [ring for element in root.iter() for ring in _rings(element) if len(ring) > 2]
        mask = fill_rings(rings, height, width) if usable and width and height and rings else None
    except (ElementTree.ParseError, ValueError, KeyError, IndexError, OverflowError):
        return None
    return encode_mask(mask) if mask is not None and mask.any() else None


def _rings(element: Any) -> list[list[list[float]]]:
    kind = element.tag.rsplit("}", 1)[-1]
    if kind == "polygon":
        numbers = [read_number(value) for value in re.findall(r"-?[\d.]+(?:[eE][-+]?\d+)?", element.get("points", ""))]
        return [[list(pair) for pair in zip(numbers[::2], numbers[1::2])]]
    return _path_rings(element.get("d", "")) if kind == "path" else []


def _path_rings(path: str) -> list[list[list[float]]]:
    """The rings of a path of straight lines. RAISES (ValueError): If it has curves."""
    if set(path) & set("CcSsQqTtAa"):
        raise ValueError("curves")
    rings: list[list[list[float]]] = []
    command, at = "", [0.0, 0.0]
    numbers: list[float] = []
    for sign, number in [*_PATH.findall(path), ("M", "")]:
        if sign:
            command, numbers = sign, []
            if sign in "Zz" and rings:
                at = list(rings[-1][0])
            continue
        numbers.append(read_number(number))
        if len(numbers) < _TAKES[command.upper()]:
            continue
        base = at if command.islower() else [0.0, 0.0]
        kind = command.upper()
        if kind == "H":
            at = [base[0] + numbers[0], at[1]]
        elif kind == "V":
            at = [at[0], base[1] + numbers[0]]
        else:
            at = [base[0] + numbers[0], base[1] + numbers[1]]
        if kind == "M":
            rings.append([])
            # Further pairs behind a move are lines.
            command = "l" if command == "m" else "L"
        rings[-1].append(at)
        numbers = []
    return rings


def _post_id(address: str) -> str:
    """The id of a post in the address of its text: `urn:rivega:ID/text`, or whatever stands before `/text`."""
    return unquote(address.removesuffix("/text").rsplit("/", 1)[-1].removeprefix("urn:rivega:"))


def _source(target: Any) -> str | None:
    value = target.get("source", target.get("id")) if isinstance(target, dict) else target
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


def _purpose(body: dict[str, Any]) -> str:
    return str(body.get("purpose"))


def _type(selector: Any) -> str | None:
    return selector.get("type") if isinstance(selector, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


__all__ = ["is_web_annotation", "read_web_annotations", "svg_mask"]
