"""Label Studio's JSON export: text labels with what hangs on them, and the regions that relations link to them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from ...post.boxes import box_iou
from ...post.brush import read_brush_rle
from ...post.errors import Errors, RivegaError
from ...post.outlines import fill_rings
from ...post.post_files import Post
from ...post.rle import RLE, encode_mask, rle_to_box
from .annotated import annotated_posts
from .coordinates import picture_size, read_number, read_points
from .dirt import Dirt
from .json_files import read_json

# What `rivega export` writes as choices of a text label.
_SHOWN = {"shown": True, "not shown": False}
_KEPT = ("caption", "description", "knowledge")
# A box and a mask this much alike are one region.
_SAME_REGION = 0.5


def is_label_studio(value: Any) -> bool:
    """Whether a JSON value is an export of tasks."""
    return isinstance(value, list) and any(
        isinstance(task, dict)
        and isinstance(task.get("data"), dict)
        and ("annotations" in task or "completions" in task or "predictions" in task)
        for task in value
    )


def read_label_studio(path: str | Path, dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """Posts of an export ("JSON", not "JSON-MIN").

    path (Union[str, Path]): JSON: a list of tasks whose `data` has `text`; of several annotations of a task the one that is marked as ground
        truth counts, else the latest.
    dirt (Dirt): Takes what does not fit; tasks that nobody has annotated, or that were skipped, are left out.
    lang (str): Language class whose tokenizer makes the tokens.
    YIELDS (Dict[str, Any]): As `read_annotated` does: entities with expansion, shown or not, boxes and masks (brush strokes, polygons, ellipses).
    RAISES (RivegaError): E132 if it is no such export.
    """
    try:
        tasks = read_json(path)
    except ValueError as error:
        raise RivegaError(Errors.E132.format(path=path, kind="JSON", reason=error)) from error
    if not is_label_studio(tasks):
        raise RivegaError(
            Errors.E132.format(path=path, kind="a Label Studio export", reason="it is no list of tasks with `data` and annotations")
        )
    yield from annotated_posts(_rows(path, tasks, dirt), dirt, lang=lang)


def _rows(path: str | Path, tasks: list[Any], dirt: Dirt) -> Iterator[tuple[str, str, Post]]:
    for number, task in enumerate(tasks, start=1):
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            dirt.note("bad_post", f"{path}, task {number}")
            continue
        name = str(next((value for value in (data.get("id"), task.get("id"), number) if isinstance(value, (str, int))), number))
        annotation = _annotation(task)
        if annotation is None:
            dirt.note("unreviewed", name)
            continue
        text = data.get("text")
        post: Post = {"id": name, "text": text, **{key: data[key] for key in _KEPT if isinstance(data.get(key), str)}}
        if isinstance(data.get("image"), str):
            post["image"] = picture_path(data["image"])
        if isinstance(text, str):
            post["ents"] = _entities(annotation, text, name, dirt)
        yield f"{path}, task {number}", name, post


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _annotation(task: dict[str, Any]) -> list[Any] | None:
    """The results that count."""
    found = [
        each
        for each in _list(task.get("annotations") or task.get("completions"))
        if isinstance(each, dict) and isinstance(each.get("result"), list) and not each.get("was_cancelled")
    ]
    if not found:
        return None
    truth = [each for each in found if each.get("ground_truth")]
    latest = max(truth or found, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
    return list(latest["result"])


def picture_path(address: str) -> str:
    """The path of a picture from the address under which Label Studio serves it; what is no such address stays."""
    try:
        parts = urlsplit(address)
    except ValueError:  # a bracket that nothing closes, where a host belongs
        return address
    served = parse_qs(parts.query).get("d")
    if parts.path.endswith("/local-files/") and served:
        return served[0]
    return parts.path.rsplit("/", 1)[-1] if parts.scheme in ("http", "https") or parts.path.startswith("/data/upload/") else address


def _entities(results: list[Any], text: str, name: str, dirt: Dirt) -> list[dict[str, Any]]:
    entities: dict[str, dict[str, Any]] = {}
    regions: dict[str, tuple[str, list[float], RLE | None]] = {}
    links: list[tuple[str, str]] = []
    for result in results:
        if not isinstance(result, dict):
            dirt.note("bad_region", f"{name} {result!r:.60}")
            continue
        value, key = result.get("value"), str(result.get("id"))
        if result.get("type") == "relation":
            links.append((str(result.get("from_id")), str(result.get("to_id"))))
        elif not isinstance(value, dict):
            dirt.note("bad_region", f"{name} {result!r:.60}")
        elif result.get("type") == "labels" and "start" in value:
            entities.setdefault(key, {}).update(_place(value, text))
        elif result.get("type") == "textarea":
            words = value.get("text")
            words = words[0] if isinstance(words, list) and words else words
            entities.setdefault(key, {}).update({"expansion": words} if isinstance(words, str) and words.strip() else {})
        elif result.get("type") == "choices":
            said = next(iter(_list(value.get("choices"))), None)
            entities.setdefault(key, {}).update({"groundable": _SHOWN[said]} if isinstance(said, str) and said in _SHOWN else {})
        else:
            region = _region(result, value)
            if region is None:
                dirt.note("bad_region", f"{name} {result.get('type')!r:.40} {key}")
            else:
                regions[key] = region
    # What hangs on a label that was deleted belongs to no entity.
    entities = {key: entity for key, entity in entities.items() if "start" in entity}
    owners = {to: start for start, to in links if start in entities} | {start: to for start, to in links if to in entities}
    types = [entity["label"] for entity in entities.values()]
    by_type = {entity["label"]: key for key, entity in entities.items() if types.count(entity["label"]) == 1}
    for key, (label, box, mask) in regions.items():
        owner = owners.get(key, by_type.get(label))
        if owner is None:
            dirt.note("unlinked_region", f"{name} {label!r}")
        elif mask is None:
            entities[owner].setdefault("boxes", []).append(box)
        else:
            entities[owner].setdefault("masks", []).append(mask)
    for entity in entities.values():
        _complete(entity)
    return list(entities.values())


def _place(value: dict[str, Any], text: str) -> dict[str, Any]:
    """Where a label stands. Offsets are code points; some versions count as JavaScript does, and the label's own text tells which."""
    start, end, labels = value.get("start"), value.get("end"), value.get("labels")
    own = value.get("text")
    label = labels[0] if isinstance(labels, list) and labels and isinstance(labels[0], str) else None
    if isinstance(start, int) and isinstance(end, int) and isinstance(own, str) and text[start:end] != own:
        units = text.encode("utf-16-le", "surrogatepass")
        before, inner = (units[2 * a : 2 * b].decode("utf-16-le", "ignore") for a, b in ((0, start), (start, end)))
        if inner == own:
            start, end = len(before), len(before) + len(inner)
    return {"start": start, "end": end, "label": label, **({"text": own} if isinstance(own, str) else {})}


def _region(result: dict[str, Any], value: dict[str, Any]) -> tuple[str, list[float], RLE | None] | None:
    """Type, box and mask of a rectangle, brush stroke, polygon or ellipse; None if it is none of them, or has no area."""
    width, height, usable = picture_size(result.get("original_width"), result.get("original_height"))
    if not usable or not width or not height or result.get("image_rotation"):
        return None
    label = next(
        (str(names[0]) for key, names in value.items() if key.endswith("labels") and isinstance(names, list) and names), ""
    )
    try:
        if isinstance(value.get("rle"), list):
            mask = read_brush_rle(value["rle"], width=width, height=height)
        elif "points" in value:
            ring = [[x * width / 100, y * height / 100] for x, y in read_points(value["points"])]
            mask = encode_mask(fill_rings([ring], height, width))
        elif "radiusX" in value:
            x, y, rx, ry = (read_number(value[key]) / 100 for key in ("x", "y", "radiusX", "radiusY"))
            mask = encode_mask(fill_rings([_ellipse(x * width, y * height, rx * width, ry * height, value)], height, width))
        else:
            box = _rectangle(value, width, height)
            return (label, box, None) if box[2] > box[0] and box[3] > box[1] else None
    except (KeyError, TypeError, ValueError, OverflowError):  # of which RivegaError is one
        return None
    around = rle_to_box(mask)
    return (label, around, mask) if around[2] > around[0] and around[3] > around[1] else None


def _rectangle(value: dict[str, Any], width: int, height: int) -> list[float]:
    """The box around a rectangle, which may be turned about its upper left corner."""
    x, y, wide, high = (read_number(value[key]) / 100 for key in ("x", "y", "width", "height"))
    turn = math.radians(read_number(value.get("rotation") or 0))
    corners = [(across, down) for across in (0, wide * width) for down in (0, high * height)]
    xs = [x * width + across * math.cos(turn) - down * math.sin(turn) for across, down in corners]
    ys = [y * height + across * math.sin(turn) + down * math.cos(turn) for across, down in corners]
    # Percentages of whole pixels are no whole numbers; what they lose is far below a pixel.
    return [round(side, 4) for side in (min(xs), min(ys), max(xs), max(ys))]


def _ellipse(x: float, y: float, rx: float, ry: float, value: dict[str, Any]) -> list[list[float]]:
    turn = math.radians(read_number(value.get("rotation") or 0))
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    across, down = rx * np.cos(angles), ry * np.sin(angles)
    ring = np.stack(
        [x + across * math.cos(turn) - down * math.sin(turn), y + across * math.sin(turn) + down * math.cos(turn)], axis=1
    )
    found: list[list[float]] = ring.tolist()
    return found


def _complete(entity: dict[str, Any]) -> None:
    """A mask without a box of its own brings the one around it; an entity with regions is shown unless it is said that it is not."""
    boxes = entity.get("boxes", [])
    free = list(boxes)
    for mask in entity.get("masks", ()):
        around = rle_to_box(mask)
        likeness = box_iou(np.array(free, float).reshape(-1, 4), np.array([around], float))[:, 0] if free else np.zeros(0)
        if len(likeness) and likeness.max() >= _SAME_REGION:
            free.pop(int(likeness.argmax()))
        else:
            boxes = [*boxes, around]
    if boxes:
        entity["boxes"] = boxes
        entity.setdefault("groundable", True)


__all__ = ["is_label_studio", "picture_path", "read_label_studio"]
