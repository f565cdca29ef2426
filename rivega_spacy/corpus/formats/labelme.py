"""labelme JSON: masks of Twitter-SMNER, and anybody's own: polygons and bitmaps, several a name."""
import base64
import binascii
import io
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import Errors, RivegaError
from ...textfiles import read_text
from .dirt import Dirt
from .regions import Picture, Pictures, Region, mask_region, points_box, polygon_mask, post_id


def read_labelme(folder: Union[str, Path], dirt: Dirt) -> Pictures:
    """Regions of all files of a folder.

    folder (Union[str, Path]): With ID.json for every post that has regions; subfolders are searched too.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, Picture]): By the file's own name. Shapes of one name with one `group_id` are parts of one region (a
        person behind a pole); else each shape is one.
    RAISES (RivegaError): E131 where the folder holds no JSON.
    """
    files = sorted(Path(folder).rglob("*.json"))
    if not files:
        raise RivegaError(Errors.E131.format(folder=folder, kind="labelme JSON"))
    pictures: Pictures = {}
    for file in files:
        try:
            row = json.loads(read_text(file))
            height, width, shapes = int(row["imageHeight"]), int(row["imageWidth"]), [shape for shape in row["shapes"] if isinstance(shape, dict)]
        except (ValueError, KeyError, TypeError) as error:
            dirt.note("bad_file", f"{file.name} ({error!r})")
            continue
        image = row.get("imagePath")
        if image and post_id(image) != file.stem:
            dirt.note("filename", f"{file.name} says {image!r}")
        picture = Picture(width, height, image=image)
        for group in _groups(shapes):
            region = _region(group, height, width)
            if region is None:
                dirt.note("bad_region", f"{file.stem} {group[0].get('label')!r}")
            else:
                picture.regions.append(region)
        pictures[file.stem] = picture
    return pictures


def _groups(shapes: List[Dict[str, Any]]) -> List[List[Dict[str, Any]]]:
    groups: Dict[Any, List[Dict[str, Any]]] = {}
    for number, shape in enumerate(shapes):
        key = repr((shape.get("label"), shape["group_id"])) if shape.get("group_id") is not None else number
        groups.setdefault(key, []).append(shape)
    return list(groups.values())


def _region(shapes: List[Dict[str, Any]], height: int, width: int) -> Optional[Region]:
    name = shapes[0].get("label")
    if not isinstance(name, str) or not name:
        return None
    if all(shape.get("shape_type") == "rectangle" for shape in shapes):
        # A box drawn with the rectangle tool is a box, not a mask.
        try:
            box = points_box([point for shape in shapes for point in shape["points"]])
        except (ValueError, KeyError, TypeError):
            return None
        return Region(name, box) if box[2] > box[0] and box[3] > box[1] else None
    mask = np.zeros((height, width), dtype=bool)
    for shape in shapes:
        part = shape_mask(shape, height, width)
        if part is None:
            return None
        mask |= part
    return mask_region(name, mask)


def shape_mask(shape: Dict[str, Any], height: int, width: int) -> Optional[np.ndarray]:
    """The pixels of one labelme shape.

    shape (Dict[str, Any]): `shape_type` polygon (also where it is missing), rectangle, circle or mask.
    height (int), width (int): Size of the picture.
    RETURNS (Optional[ndarray]): HxW bool; None where the shape is malformed or of a kind without area.
    """
    kind = shape.get("shape_type") or "polygon"
    try:
        points = [[float(x), float(y)] for x, y in shape["points"]]
        if kind == "mask":
            return _bitmap(shape["mask"], points, height, width)
        if kind == "polygon" and len(points) >= 3:
            return polygon_mask([points], height, width)
        if kind == "rectangle" and len(points) in (2, 4):
            x1, y1, x2, y2 = points_box(points)
            return polygon_mask([[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]], height, width)
        if kind == "circle" and len(points) == 2:
            (x, y), (edge_x, edge_y) = points
            rows, columns = np.mgrid[:height, :width]
            return np.hypot(columns - x, rows - y) <= np.hypot(edge_x - x, edge_y - y)
    except (ValueError, KeyError, TypeError, binascii.Error, UnidentifiedImageError, OSError):
        return None
    return None


def _bitmap(data: str, points: List[List[float]], height: int, width: int) -> np.ndarray:
    """A bitmap covers the picture from its first point on; what hangs over the edge is cut."""
    crop = np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")) > 0
    left, top = int(round(points[0][0])), int(round(points[0][1]))
    mask = np.zeros((height, width), dtype=bool)
    y1, x1 = max(0, top), max(0, left)
    y2, x2 = min(height, top + crop.shape[0]), min(width, left + crop.shape[1])
    if y2 > y1 and x2 > x1:
        mask[y1:y2, x1:x2] = crop[y1 - top : y2 - top, x1 - left : x2 - left]
    return mask
