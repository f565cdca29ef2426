"""Prodigy exports: entities from `ner.manual`, regions from `image.manual`; JSON lines both."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ...ner.schemes import fits_tag, read_tags
from ...post.exact import kept_exact
from ...post.extensions import TEXT_FIELDS
from ...post.given_ents import unused_fields
from ...post.jsonl import read_lines
from ...post.post_files import Post
from ..posts_jsonl import read_json_lines
from .coordinates import has_area, picture_size, points_box, read_box, read_points
from .dirt import Dirt
from .json_files import reference
from .regions import (
    RLE,
    AnnotatedPicture,
    Drawing,
    Pictures,
    Region,
    add_picture,
    drawn_region,
    paint_rle,
    polygon_mask,
    post_id,
    stored_region,
)
from .segmentations import read_rle

_WORD = re.compile(r"\w+|[^\w\s]")


def read_prodigy_text(path: str | Path, dirt: Dirt) -> Iterator[Post]:
    """Posts of a `ner.manual` dataset (`prodigy db-out`).

    path (Union[str, Path]): JSON lines with text, spans and, as Prodigy writes them, tokens.
    dirt (Dirt): Takes what does not fit; tasks that were not accepted are left out.
    YIELDS (Dict[str, Any]): `id` (from `id` or `meta.id`, else the stem of `image` or `path`, else the line number), `tokens`,
        `tags`, `image`, `expansions` where spans have them, and the post's other texts.
    """
    for number, row in read_json_lines(path):
        name = _name(row, number)
        if row.get("answer", "accept") != "accept":
            dirt.note("rejected", name)
            continue
        for field in unused_fields(row, "spans"):
            dirt.note("unused_entities", f"{name} `{field}`")
        text = row.get("text")
        tokens = _given_tokens(row.get("tokens")) or _tokens(text if isinstance(text, str) else "")
        tags = ["O"] * len(tokens)
        expansions: dict[int, Any] = {}
        starts = {token["start"]: place for place, token in enumerate(tokens)}
        ends = {token["end"]: place for place, token in enumerate(tokens)}
        for span in _spans(row):
            first, last = (starts.get(_place(span, "start")), ends.get(_place(span, "end")))
            label = span.get("label") if isinstance(span, dict) else None
            unnamed = not isinstance(label, str) or not label or not fits_tag(label)
            if first is None or last is None or first > last or unnamed or any(tag != "O" for tag in tags[first : last + 1]):
                dirt.note("misaligned", f"{name} {span!r:.120}")
                continue
            expansions[first] = span.get("expansion")
            tags[first : last + 1] = [f"B-{span['label']}", *[f"I-{span['label']}"] * (last - first)]
        spaces = [token["end"] < after["start"] for token, after in zip(tokens, tokens[1:])] + [False] * bool(tokens)
        words = [token["text"] for token in tokens]
        post = {"id": name, "tokens": words, "spaces": spaces, "tags": tags, "image": _image(row)}
        if any(expansions.values()):
            post["expansions"] = [expansions[start] for start, _, _ in read_tags(tags)]
        yield {**post, **{key: row[key] for key in TEXT_FIELDS if isinstance(row.get(key), str)}}


def read_prodigy_regions(path: str | Path, dirt: Dirt) -> Pictures:
    """Regions of an `image.manual` dataset.

    path (Union[str, Path]): JSON lines with spans of type rect, polygon or freehand; `label` is the entity's text or type.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, AnnotatedPicture]): By the same ids as `read_prodigy_text`.
    """
    pictures: Pictures = {}
    for number, row in read_lines(path):
        if isinstance(row, str):
            dirt.note("bad_region", f"line {number} ({row:.80})")
            continue
        name = _name(row, number)
        if row.get("answer", "accept") != "accept":
            dirt.note("rejected", name)
            continue
        width, height, usable = picture_size(row.get("width"), row.get("height"))
        if not usable:
            dirt.note("bad_size", f"{name} ({row.get('width')!r:.20} x {row.get('height')!r:.20})")
        task = AnnotatedPicture(width, height, image=_image(row))
        picture = add_picture(pictures, name, task)
        if picture is not task:
            dirt.note("duplicate_picture", name)
            continue
        for span in _spans(row):
            region = _region(span, picture)
            if region is None:
                label = span.get("label") if isinstance(span, dict) else None
                dirt.note("bad_region", f"{name} {span if label is None else label!r:.60}")
                picture.lost += [label] if isinstance(label, str) else []
            else:
                picture.regions.append(region)
    return pictures


def _region(span: Any, picture: AnnotatedPicture) -> Region | None:
    label = span.get("label") if isinstance(span, dict) else None
    if not isinstance(label, str) or not label:
        return None
    try:
        points = read_points(span["points"]) if span.get("points") else []
        if span.get("type", "rect") == "rect":
            if points:
                box = points_box(points)
            else:
                x, y, width, height = read_box([span.get(key) for key in ("x", "y", "width", "height")])
                box = [x, y, x + width, y + height]
            return Region(label, box) if has_area(box) else None
    except ValueError:
        return None
    exact = _exact(label, span)
    if exact is not None:
        return exact
    return drawn_region(label, Drawing(partial(_draw, points), points_box(points)), picture) if len(points) >= 3 else None


def _exact(label: str, span: Any) -> Region | None:
    """The region whose largest outline the points are, where `rivega export` wrote them and nobody has moved them."""
    box, mask = kept_exact(span)
    try:
        rle = None if mask is None else read_rle(mask)
        return None if rle is None else stored_region(label, rle, read_box(box))
    except ValueError:
        return None


def _draw(points: list[list[float]], height: int, width: int) -> RLE | None:
    return paint_rle(partial(polygon_mask, [points]), points_box(points), height, width)


def _spans(row: dict[str, Any]) -> list[Any]:
    spans = row.get("spans") or []
    return spans if isinstance(spans, list) else [spans]


def _place(span: Any, key: str) -> int | None:
    value = span.get(key) if isinstance(span, dict) else None
    return value if isinstance(value, int) else None


def _name(row: dict[str, Any], number: int) -> str:
    meta = row.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    for value in (row.get("id"), meta.get("id"), meta.get("file")):
        if isinstance(value, (str, int, float)):
            return str(value)
    image = _image(row)
    return post_id(image) if image else str(number)


def _image(row: dict[str, Any]) -> str | None:
    for value in (row.get("path"), row.get("image")):
        # Prodigy puts pictures into the task as data URIs; those are no reference.
        found = reference(value)
        if found is not None and not found.startswith("data:"):
            return value
    return None


def _given_tokens(tokens: Any) -> list[dict[str, Any]]:
    """The task's own tokens; none if they are not all of the form."""
    wanted = (("text", str), ("start", int), ("end", int))
    usable = isinstance(tokens, list) and all(
        isinstance(token, dict) and all(isinstance(token.get(key), kind) for key, kind in wanted) and token["text"]
        for token in tokens
    )
    return tokens if usable else []


def _tokens(text: str) -> list[dict[str, Any]]:
    return [{"text": match.group(), "start": match.start(), "end": match.end()} for match in _WORD.finditer(text)]
