"""labelme JSON: masks of Twitter-SMNER, and anybody's own: polygons and bitmaps, several a name."""

import base64
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...post.errors import Errors, RivegaError
from ...post.exact import kept_exact
from ...post.images import read_bitmap
from .coordinates import has_area, picture_size, points_box, read_box, read_points
from .dirt import Dirt
from .json_files import read_json, reference
from .regions import RLE, AnnotatedPicture, Drawing, Pictures, Region, add_picture, drawn_region, paint_rle, polygon_mask, post_id


def read_labelme(folder: str | Path, dirt: Dirt) -> Pictures:
    """Regions of all files of a folder.

    folder (Union[str, Path]): With ID.json for every post that has regions; subfolders are searched too.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, AnnotatedPicture]): By the file's own name. Shapes of one name with one `group_id` are parts of one region (a
        person behind a pole); else each shape is one.
    RAISES (RivegaError): E131 if the folder holds no JSON.
    """
    files = sorted(Path(folder).rglob("*.json"))
    if not files:
        raise RivegaError(Errors.E131.format(folder=folder, kind="labelme JSON"))
    pictures: Pictures = {}
    for file in files:
        try:
            row = read_json(file)
            shapes = row["shapes"]
            if not isinstance(shapes, list):
                raise TypeError("shapes is not a list")
        except (ValueError, KeyError, TypeError) as error:
            dirt.note("bad_file", f"{file.name} ({error!r:.100})")
            continue
        image = reference(row.get("imagePath"))
        if image and post_id(image) != file.stem:
            dirt.note("filename", f"{file.name} says {image!r}")
        width, height, usable = picture_size(row.get("imageWidth"), row.get("imageHeight"))
        if not usable:
            dirt.note("bad_size", f"{file.name} ({row.get('imageWidth')!r:.20} x {row.get('imageHeight')!r:.20})")
        place = file.parent / (image or file.stem).replace("\\", "/")
        picture = add_picture(pictures, file.stem, AnnotatedPicture(width, height, image=image, file=place))
        for group in _groups(shapes):
            region = _region(group, picture)
            if region is None:
                label = group[0].get("label") if isinstance(group[0], dict) else None
                dirt.note("bad_region", f"{file.stem} {group[0] if label is None else label!r:.60}")
                picture.lost += [label] if isinstance(label, str) else []
            else:
                picture.regions.append(region)
    return pictures


def _groups(shapes: list[Any]) -> list[list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for number, shape in enumerate(shapes):
        group = shape.get("group_id") if isinstance(shape, dict) else None
        key = repr((shape.get("label"), group)) if group is not None else number
        groups.setdefault(key, []).append(shape)
    return list(groups.values())


def _region(shapes: list[Any], picture: AnnotatedPicture) -> Region | None:
    name = shapes[0].get("label") if isinstance(shapes[0], dict) else None
    if not isinstance(name, str) or not name:
        return None
    try:
        reach = points_box([point for shape in shapes for point in _reach(shape)])
    except (ValueError, KeyError, TypeError):
        return None
    if all(shape.get("shape_type") in ("rectangle", "oriented_rectangle") for shape in shapes):
        # A box drawn with a rectangle tool is a box, not a mask; of a turned one it is the box around it.
        return Region(name, reach) if has_area(reach) else None
    box = None
    if len(shapes) == 1:
        try:
            box = read_box(kept_exact(shapes[0])[0])
        except ValueError:
            pass
    return drawn_region(name, Drawing(partial(_draw, shapes, reach), reach), picture, box)


def _reach(shape: dict[str, Any]) -> list[list[float]]:
    """Points that a shape does not reach beyond."""
    points = read_points(shape["points"])
    if shape.get("shape_type") == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return [[x - radius, y - radius], [x + radius, y + radius]]
    return points


def _draw(shapes: list[dict[str, Any]], reach: list[float], height: int, width: int) -> RLE | None:
    if any(shape.get("shape_type") == "mask" for shape in shapes):
        reach = [0.0, 0.0, float(width), float(height)]  # a bitmap is as large as it is, whatever its points say
    return paint_rle(partial(_paint, shapes), reach, height, width)


def _paint(shapes: list[dict[str, Any]], height: int, width: int) -> np.ndarray | None:
    mask = np.zeros((height, width), dtype=bool)
    for shape in shapes:
        part = shape_mask(shape, height, width)
        if part is None:
            return None
        mask |= part
    return mask


def shape_mask(shape: dict[str, Any], height: int, width: int) -> np.ndarray | None:
    """The pixels of one labelme shape.

    shape (Dict[str, Any]): `shape_type` polygon (also if it is missing), rectangle, oriented_rectangle, circle or mask.
    height (int), width (int): Size of the picture.
    RETURNS (Optional[ndarray]): HxW bool; None if the shape is malformed or of a kind without area.
    """
    kind = shape.get("shape_type") or "polygon"
    try:
        points = read_points(shape["points"])
        if kind == "mask":
            return _bitmap(shape["mask"], points, height, width)
        if kind in ("polygon", "oriented_rectangle") and len(points) >= 3:
            return polygon_mask([points], height, width)
        if kind == "rectangle" and len(points) in (2, 4):
            x1, y1, x2, y2 = points_box(points)
            return polygon_mask([[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]], height, width)
        if kind == "circle" and len(points) == 2:
            return _disc(points[0], points[1], height, width)
    except (ValueError, KeyError, TypeError):
        return None
    return None


def _disc(middle: list[float], edge: list[float], height: int, width: int) -> np.ndarray:
    """Column by column: distances of all pixels of a large picture would take many times its own memory."""
    (x, y), radius = middle, math.dist(middle, edge)
    mask = np.zeros((height, width), dtype=bool)
    for column in range(max(0, math.ceil(x - radius)), min(width, math.floor(x + radius) + 1)):
        half = math.sqrt(max(0.0, radius**2 - (column - x) ** 2))
        mask[max(0, math.ceil(y - half)) : max(0, math.floor(y + half) + 1), column] = True
    return mask


def _bitmap(data: str, points: list[list[float]], height: int, width: int) -> np.ndarray:
    """A bitmap covers the picture from its first point on; what hangs over the edge is cut."""
    crop = read_bitmap(base64.b64decode(data)) > 0
    left, top = int(round(points[0][0])), int(round(points[0][1]))
    mask = np.zeros((height, width), dtype=bool)
    y1, x1 = max(0, top), max(0, left)
    y2, x2 = min(height, top + crop.shape[0]), min(width, left + crop.shape[1])
    if y2 > y1 and x2 > x1:
        mask[y1:y2, x1:x2] = crop[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask
