"""Regions of pictures, whatever tool drew them: a name, a box, a mask."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ...post.images import max_pixels
from ...post.rle import RLE, compress_counts, rle_to_box


class Drawing(NamedTuple):
    """What a mask is drawn from, so that it can be drawn once the size of the picture is known.

    draw (Callable[[int, int], Optional[RLE]]): From height and width to the mask; None if no pixel of it is in the picture.
    reach (List[float]): Box around all that is drawn, cut off nowhere.
    """

    draw: Callable[[int, int], RLE | None]
    reach: list[float]


@dataclass
class Region:
    """One region.

    name (str): What the annotator called it: the text of an entity, or its type.
    xyxy (Optional[List[float]]): Box in pixels; None if only a mask was drawn and it is empty.
    mask (Optional[RLE]): COCO RLE at the picture's size.
    drawing (Optional[Drawing]): What the mask was drawn from; None if it was stored as pixels.
    own_box (bool): The box was given; else it is the one around the mask.
    """

    name: str
    xyxy: list[float] | None = None
    mask: RLE | None = None
    drawing: Drawing | None = None
    own_box: bool = True


@dataclass
class AnnotatedPicture:
    """All regions of one picture.

    width (Optional[int]), height (Optional[int]): As the file says; None if it says nothing that a picture can have.
    regions (List[Region]): In the file's order.
    image (Optional[str]): The file's own reference to the picture.
    file (Optional[Path]): Where that reference leads to, from the file of regions on.
    counted_from_one (bool): Coordinates are those of VOC: the first pixel is 1, upper bounds are inclusive.
    lost (List[str]): Names of regions that were drawn and could not be used: whether the picture shows these is not known.
    namesakes (List[AnnotatedPicture]): Pictures of other folders whose file names give the same post id.
    """

    width: int | None = None
    height: int | None = None
    regions: list[Region] = field(default_factory=list)
    image: str | None = None
    file: Path | None = None
    counted_from_one: bool = False
    lost: list[str] = field(default_factory=list)
    namesakes: list["AnnotatedPicture"] = field(default_factory=list)

    def same_as(self, other: "AnnotatedPicture") -> bool:
        """Whether two entries speak of one picture."""
        return (self.width, self.height, self.image, self.file) == (other.width, other.height, other.image, other.file)


# By post id.
Pictures = dict[str, AnnotatedPicture]


def add_picture(pictures: Pictures, name: str, picture: AnnotatedPicture) -> AnnotatedPicture:
    """Put a picture among the others.

    pictures (Dict[str, AnnotatedPicture]): The others; it is changed.
    name (str): The post id that its file name gives.
    picture (AnnotatedPicture): Without regions so far.
    RETURNS (AnnotatedPicture): The one that takes its regions: an earlier entry of the same picture, else itself.
    """
    first = pictures.setdefault(name, picture)
    for known in (first, *first.namesakes):
        if known is picture or known.same_as(picture):
            return known
    first.namesakes.append(picture)
    return picture


def choose_picture(picture: AnnotatedPicture, reference: str | None) -> AnnotatedPicture | None:
    """Which of the pictures of one file name is a post's.

    picture (AnnotatedPicture): The first of them.
    reference (Optional[str]): The post's own reference to its picture, with as many folders as it has.
    RETURNS (Optional[AnnotatedPicture]): The only one, or the one whose path shares most with the reference; None if that is not one alone.
    """
    if not picture.namesakes:
        return picture
    if not reference:
        return None
    candidates = (picture, *picture.namesakes)
    shared = [max(_shared_end(reference, path) for path in (known.image, known.file)) for known in candidates]
    best = [known for known, count in zip(candidates, shared) if count == max(shared) and count > 0]
    if len(best) > 1:
        best = [known for known in best if known.image == reference]
    return best[0] if len(best) == 1 else None


def _shared_end(reference: str, path: str | Path | None) -> int:
    """How many last parts two paths have in common where the one is the end of the other; 0 if neither is."""
    if path is None:
        return 0
    first, second = (PurePosixPath(str(value).replace("\\", "/")).parts for value in (reference, path))
    count = min(len(first), len(second))
    return count if count and first[-count:] == second[-count:] else 0


def drawn_region(name: str, drawing: Drawing, picture: AnnotatedPicture, box: list[float] | None = None) -> Region | None:
    """A region of what was drawn, its mask at the size that the file gives of the picture.

    name (str): Its name.
    drawing (Drawing): What was drawn.
    picture (AnnotatedPicture): Its picture.
    box (Optional[List[float]]): Where the file gives one; else it is the one around the mask.
    RETURNS (Optional[Region]): Without mask where that size is not known, or the picture may lie on its side in its file. None if
        there is neither a box nor any pixel of a mask.
    """
    mask = None
    if picture.width and picture.height:
        mask = drawing.draw(picture.height, picture.width)
        if mask is None and box is None and drawing.draw(picture.width, picture.height) is None:
            return None
    elif box is None and not _draws_anything(drawing):
        return None
    around = rle_to_box(mask) if mask is not None else drawing.reach
    return Region(name, around if box is None else box, mask, drawing, own_box=box is not None)


def _draws_anything(drawing: Drawing) -> bool:
    """Whether there would be a mask in a picture that is just large enough."""
    width, height = (math.ceil(end) + 1 for end in drawing.reach[2:])
    return width > 0 and height > 0 and width * height <= max_pixels() and drawing.draw(height, width) is not None


def stored_region(name: str, mask: RLE, box: list[float] | None = None) -> Region:
    """A region whose mask the file holds as pixels.

    name (str): Its name.
    mask (RLE): Not empty.
    box (Optional[List[float]]): Where the file gives one; else it is the one around the mask.
    """
    return Region(name, rle_to_box(mask) if box is None else box, mask, own_box=box is not None)


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


def paint_rle(paint: Callable[[int, int], np.ndarray | None], reach: Sequence[float], height: int, width: int) -> RLE | None:
    """A mask that is painted pixel by pixel, as RLE. No more is held than what is painted, however large the picture is said to be.

    paint (Callable[[int, int], Optional[ndarray]]): From height and width to HxW bool: the upper left part of the picture.
    reach (Sequence[float]): Box around all that is painted.
    height (int), width (int): Size of the picture.
    RETURNS (Optional[RLE]): At the size of the picture; None if no pixel of it is painted.
    """
    if reach[0] > width + 1 or reach[1] > height + 1 or reach[2] < -1 or reach[3] < -1:
        return None
    high, wide = (min(side, math.ceil(max(end, 0.0)) + 2) for side, end in ((height, reach[3]), (width, reach[2])))
    mask = paint(high, wide)
    if mask is None or not mask.any():
        return None
    # Down each column of the part: where it changes, and once more behind its last pixel.
    edges = np.diff(mask, axis=0, prepend=False, append=False)
    columns, rows = np.nonzero(edges.T)
    places, times = np.unique(columns * height + rows, return_counts=True)
    places = places[(times == 1) & (places < height * width)]
    return {"size": [height, width], "counts": compress_counts(np.diff(np.concatenate([[0], places, [height * width]])))}


_PICTURE_NAME = re.compile(r"(?i)\.(avif|bmp|dib|gif|jfif|jpe|jpeg|jpg|mpo|png|tif|tiff|webp)$")


def picture_stem(name: str) -> str:
    """A name without the ending of a picture; other dots stay: "17.06.1"."""
    return _PICTURE_NAME.sub("", name) or name


def post_id(name: str | Path) -> str:
    """The id of a post from its picture's or annotation's file name."""
    # Annotations made on Windows keep its separators.
    return Path(str(name).replace("\\", "/")).stem
