"""The forms of a mask in COCO's `segmentation`, and in whatever tools write there."""

from functools import partial
from typing import Any

from ...post.images import max_pixels
from ...post.rle import RLE, compress_counts, parse_rle, rle_area, rle_union
from .coordinates import points_box, read_number, read_points
from .polygons import polygons_to_rle
from .regions import Drawing

# Lists of polygons lie one or two levels deep; deeper ones are no such thing.
DEEPEST = 6


def read_rle(value: Any) -> RLE | None:
    """A stored mask.

    value (Any): RLE as COCO has it: runs as a list, or as text.
    RETURNS (Optional[RLE]): The same, compressed; None if it is empty.
    RAISES (ValueError): If it is none, or larger than a picture that would be opened. Nothing of that size is ever held.
    """
    if not isinstance(value, dict):
        raise ValueError("not a run-length encoding")
    height, width, counts = parse_rle(value)
    if height * width > max_pixels():
        raise ValueError(f"a mask of {height}x{width} pixels")
    rle = {"size": [height, width], "counts": compress_counts(counts)}
    return rle if rle_area(rle) else None


def read_segmentation(value: Any) -> tuple[Drawing | None, RLE | None]:
    """What an annotation's mask is drawn from, or the stored mask itself.

    value (Any): RLE; a polygon as one list of numbers or of [x, y]; a list of polygons; lists within lists; RLEs among them.
    RETURNS (Tuple[Optional[Drawing], Optional[RLE]]): Polygons to be drawn, or a stored mask; None both if nothing is given.
    RAISES (ValueError): If a part of it is malformed, covers no area, or parts differ in size.
    """
    polygons: list[list[list[float]]] = []
    stored: list[dict[str, Any]] = []
    _collect(value, polygons, stored, DEEPEST)
    if not polygons and not stored:
        return None, None
    outlines = [points for points in polygons if len(points) >= 3]
    if stored:
        sizes = {parse_rle(rle)[:2] for rle in stored}
        if len(sizes) > 1:
            raise ValueError(f"masks of several sizes {sorted(sizes)}")
        if outlines:
            stored.append(polygons_to_rle(outlines, *sizes.pop()))
        return None, rle_union(stored) if len(stored) > 1 else stored[0]
    if not outlines:
        raise ValueError("polygons of less than three points")
    return Drawing(partial(_drawn, outlines), points_box([point for points in outlines for point in points])), None


def _drawn(outlines: list[list[list[float]]], height: int, width: int) -> RLE | None:
    rle = polygons_to_rle(outlines, height, width)
    return rle if rle_area(rle) else None


def _collect(value: Any, polygons: list[list[list[float]]], stored: list[RLE], depth: int) -> None:
    if value is None or value == [] or value == {}:
        return
    if isinstance(value, dict):
        if "x" in value and "y" in value:
            raise ValueError("a point where a polygon belongs")
        rle = read_rle(value)
        stored += [] if rle is None else [rle]
    elif not isinstance(value, list) or not depth:
        raise ValueError("neither a polygon nor a run-length encoding")
    elif not isinstance(value[0], (list, dict)):
        if len(value) % 2:
            raise ValueError("an x without y")
        polygons.append(read_points(list(zip(value[0::2], value[1::2]))))
    elif all(isinstance(item, dict) and "x" in item and "y" in item for item in value):
        polygons.append([[read_number(item["x"]), read_number(item["y"])] for item in value])
    elif all(isinstance(item, list) and len(item) == 2 and not isinstance(item[0], (list, dict)) for item in value):
        polygons.append(read_points(value))
    else:
        for item in value:
            _collect(item, polygons, stored, depth - 1)


__all__ = ["read_rle", "read_segmentation"]
