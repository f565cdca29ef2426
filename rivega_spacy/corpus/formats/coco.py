"""COCO JSON, as most annotation tools export it: regions whose category (or an attribute) is an entity's text."""
import json
from pathlib import Path
from typing import Any, Dict, Optional, Union

from ...errors import Errors, RivegaError
from ...rle import decode_mask, encode_mask, rle_area, rle_to_box
from ...textfiles import read_text
from .dirt import Dirt
from .regions import Picture, Pictures, Region, polygon_mask, post_id

# Where tools put a free text beside the category (CVAT, Label Studio, Roboflow).
_NAME_FIELDS = ("entity", "name", "text", "caption")


def read_coco(path: Union[str, Path], dirt: Dirt) -> Pictures:
    """Regions of a COCO file.

    path (Union[str, Path]): JSON with images, annotations and categories. An annotation is named by its own `entity`, `name`,
        `text` or `caption` (or the same among its `attributes`), else by its category.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, Picture]): By the stem of the picture's file name.
    RAISES (RivegaError): E020 where there is no such file, E132 where it is not COCO JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        data = json.loads(read_text(path))
        images = {image["id"]: image for image in data["images"] if isinstance(image["file_name"], str)}
        categories = {category["id"]: category["name"] for category in data.get("categories", [])}
        annotations = data["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise RivegaError(Errors.E132.format(path=path, kind="COCO JSON", reason=repr(error))) from error
    pictures: Pictures = {}
    for image in images.values():
        size = image.get("width"), image.get("height")
        pictures[post_id(image["file_name"])] = Picture(*size, image=image["file_name"])
    for annotation in annotations:
        if not isinstance(annotation, dict):
            dirt.note("bad_region", f"annotation {annotation!r}")
            continue
        image = images.get(annotation.get("image_id"))
        region = None if image is None else _region(annotation, image, categories)
        if region is None:
            dirt.note("bad_region", f"annotation {annotation.get('id')}")
        else:
            pictures[post_id(image["file_name"])].regions.append(region)
    return pictures


def _region(annotation: Dict[str, Any], image: Dict[str, Any], categories: Dict[Any, str]) -> Optional[Region]:
    attributes = annotation.get("attributes") or {}
    name = next((source[key] for source in (annotation, attributes) for key in _NAME_FIELDS if source.get(key)), None)
    name = name or categories.get(annotation.get("category_id"))
    try:
        mask = _mask(annotation.get("segmentation"), image)
        if annotation.get("bbox") is None and mask is not None:
            x1, y1, x2, y2 = rle_to_box(mask)
            x, y, w, h = x1, y1, x2 - x1, y2 - y1
        else:
            x, y, w, h = (float(value) for value in annotation["bbox"])
    except (KeyError, TypeError, ValueError):
        return None
    if not isinstance(name, str) or w <= 0 or h <= 0:
        return None
    return Region(name, [x, y, x + w, y + h], mask)


def _mask(segmentation: Any, image: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        # Uncompressed runs become text; reading checks that they fill the stated size.
        rle = encode_mask(decode_mask(segmentation))
    else:
        polygons = [list(zip(flat[0::2], flat[1::2])) for flat in segmentation if len(flat) >= 6]
        rle = encode_mask(polygon_mask(polygons, int(image["height"]), int(image["width"])))
    return rle if rle_area(rle) else None
