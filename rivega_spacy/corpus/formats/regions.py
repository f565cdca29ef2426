"""Regions of pictures, whatever tool drew them: a name, a box, a mask."""
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np
from PIL import Image, ImageDraw

from ...boxes import mask_box
from ...rle import encode_mask

RLE = Dict[str, Any]


@dataclass
class Region:
    """One region.

    name (str): What the annotator called it: the text of an entity, or its type.
    xyxy (Optional[List[float]]): Box in pixels; None where only a mask was drawn and it is empty.
    mask (Optional[RLE]): COCO RLE at the picture's size.
    """

    name: str
    xyxy: Optional[List[float]] = None
    mask: Optional[RLE] = None


@dataclass
class Picture:
    """All regions of one picture.

    width (Optional[int]), height (Optional[int]): As the file says.
    regions (List[Region]): In the file's order.
    image (Optional[str]): The file's own reference to the picture.
    """

    width: Optional[int] = None
    height: Optional[int] = None
    regions: List[Region] = field(default_factory=list)
    image: Optional[str] = None


# By post id.
Pictures = Dict[str, Picture]


def polygon_mask(polygons: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> np.ndarray:
    """The pixels inside polygons, with their outlines (as labelme draws them).

    polygons (Sequence[Sequence[Sequence[float]]]): Each a list of [x, y] in pixels.
    height (int), width (int): Size of the picture.
    RETURNS (ndarray): HxW bool.
    """
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for points in polygons:
        draw.polygon([(float(x), float(y)) for x, y in points], outline=1, fill=1)
    return np.array(canvas, dtype=bool)


def mask_region(name: str, mask: np.ndarray) -> Optional[Region]:
    """A region of a mask, its box the mask's own; None where the mask is empty.

    name (str): Its name.
    mask (ndarray): HxW bool.
    """
    box = mask_box(mask)
    return None if box is None else Region(name, box, encode_mask(mask))


def points_box(points: Sequence[Sequence[float]]) -> List[float]:
    """The box around points."""
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    return [min(xs), min(ys), max(xs), max(ys)]


_PICTURE_NAME = re.compile(r"(?i)\.(avif|bmp|dib|gif|jfif|jpe|jpeg|jpg|mpo|png|tif|tiff|webp)$")


def picture_stem(name: str) -> str:
    """A name without the ending of a picture; other dots stay: "17.06.1"."""
    return _PICTURE_NAME.sub("", name) or name


def post_id(name: Union[str, Path]) -> str:
    """The id of a post from its picture's or annotation's file name."""
    # Annotations made on Windows keep its separators.
    return Path(str(name).replace("\\", "/")).stem
