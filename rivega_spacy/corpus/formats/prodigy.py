"""Prodigy exports: entities from `ner.manual`, regions from `image.manual`; JSON lines both."""
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

from ...errors import RivegaError
from ..posts_jsonl import read_json_lines
from .dirt import Dirt
from .regions import Picture, Pictures, Region, mask_region, points_box, polygon_mask, post_id

Post = Dict[str, Any]
_WORD = re.compile(r"\w+|[^\w\s]")


def read_prodigy_text(path: Union[str, Path], dirt: Dirt) -> Iterator[Post]:
    """Posts of a `ner.manual` dataset (`prodigy db-out`).

    path (Union[str, Path]): JSON lines with text, spans and, as Prodigy writes them, tokens.
    dirt (Dirt): Takes what does not fit; tasks that were not accepted are left out.
    YIELDS (Dict[str, Any]): `id` (from `id` or `meta.id`, else the stem of `image` or `path`, else the line number), `tokens`,
        `tags`, `image`.
    """
    for number, row in read_json_lines(path):
        name = _name(row, number)
        if row.get("answer", "accept") != "accept":
            dirt.note("rejected", name)
            continue
        text = row.get("text") if isinstance(row.get("text"), str) else ""
        tokens = _given_tokens(row.get("tokens")) or _tokens(text)
        tags = ["O"] * len(tokens)
        starts = {token["start"]: place for place, token in enumerate(tokens)}
        ends = {token["end"]: place for place, token in enumerate(tokens)}
        for span in row.get("spans") or ():
            first, last = starts.get(span.get("start")), ends.get(span.get("end"))
            fits = first is not None and last is not None and first <= last and bool(span.get("label"))
            if not fits or any(tag != "O" for tag in tags[first : last + 1]):
                dirt.note("misaligned", f"{name} {span!r}")
                continue
            tags[first : last + 1] = [f"B-{span['label']}", *[f"I-{span['label']}"] * (last - first)]
        yield {"id": name, "tokens": [token["text"] for token in tokens], "tags": tags, "image": _image(row)}


def read_prodigy_regions(path: Union[str, Path], dirt: Dirt) -> Pictures:
    """Regions of an `image.manual` dataset.

    path (Union[str, Path]): JSON lines with spans of type rect, polygon or freehand; `label` is the entity's text or type.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, Picture]): By the same ids as `read_prodigy_text`.
    """
    pictures: Pictures = {}
    for number, row in read_json_lines(path):
        name = _name(row, number)
        if row.get("answer", "accept") != "accept":
            dirt.note("rejected", name)
            continue
        picture = pictures.setdefault(name, Picture(row.get("width"), row.get("height"), image=_image(row)))
        for span in row.get("spans") or ():
            region = _region(span, picture)
            if region is None:
                dirt.note("bad_region", f"{name} {span.get('label')!r}")
            else:
                picture.regions.append(region)
    return pictures


def _region(span: Dict[str, Any], picture: Picture) -> Optional[Region]:
    label, points = span.get("label"), span.get("points")
    try:
        if span.get("type", "rect") == "rect":
            if points:
                box = points_box(points)
            else:
                box = [span["x"], span["y"], span["x"] + span["width"], span["y"] + span["height"]]
            box = [float(value) for value in box]
            return Region(label, box) if label and box[2] > box[0] and box[3] > box[1] else None
        if not label or len(points) < 3 or not picture.width or not picture.height:
            return None
        return mask_region(label, polygon_mask([points], int(picture.height), int(picture.width)))
    except (KeyError, TypeError, ValueError, RivegaError):
        return None


def _name(row: Dict[str, Any], number: int) -> str:
    meta = row.get("meta") or {}
    for value in (row.get("id"), meta.get("id"), meta.get("file")):
        if value is not None:
            return str(value)
    image = _image(row)
    return post_id(image) if image else str(number)


def _image(row: Dict[str, Any]) -> Optional[str]:
    for value in (row.get("path"), row.get("image")):
        # Prodigy puts pictures into the task as data URIs; those are no reference.
        if isinstance(value, str) and not value.startswith("data:"):
            return value
    return None


def _given_tokens(tokens: Any) -> List[Dict[str, Any]]:
    """The task's own tokens; none where they are not all of the form."""
    wanted = (("text", str), ("start", int), ("end", int))
    usable = isinstance(tokens, list) and all(
        isinstance(token, dict) and all(isinstance(token.get(key), kind) for key, kind in wanted) and token["text"] for token in tokens
    )
    return tokens if usable else []


def _tokens(text: str) -> List[Dict[str, Any]]:
    return [{"text": match.group(), "start": match.start(), "end": match.end()} for match in _WORD.finditer(text)]
