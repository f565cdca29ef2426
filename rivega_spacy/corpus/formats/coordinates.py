"""Numbers of annotation files: what tools write instead of them is told apart here, once for every format."""

import math
from collections.abc import Sequence
from typing import Any

from ...post.images import max_pixels

# No picture has pixels so far out; a coordinate beyond is a fault of the tool that wrote it.
FARTHEST = 10_000_000.0


def read_number(value: Any) -> float:
    """A number.

    value (Any): A number, or a string of one.
    RETURNS (float): It.
    RAISES (ValueError): For anything else, and for what is not finite or lies farther out than any pixel.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{type(value).__name__} where a number belongs")
    number = float(value) if not isinstance(value, int) or abs(value) <= FARTHEST else math.inf
    if not abs(number) <= FARTHEST:
        raise ValueError(f"{value!r:.40} is no coordinate")
    return number


def read_points(values: Any) -> list[list[float]]:
    """Points.

    values (Any): A list of [x, y].
    RETURNS (List[List[float]]): The same as floats.
    RAISES (ValueError): If it is none.
    """
    if not isinstance(values, (list, tuple)) or not all(isinstance(point, (list, tuple)) and len(point) == 2 for point in values):
        raise ValueError("points are not a list of [x, y]")
    return [[read_number(x), read_number(y)] for x, y in values]


def read_box(values: Any) -> list[float]:
    """Four numbers.

    values (Any): A list of four.
    RETURNS (List[float]): The same as floats.
    RAISES (ValueError): If it is none.
    """
    if not isinstance(values, (list, tuple)) or len(values) != 4:
        raise ValueError("a box is not a list of four numbers")
    return [read_number(value) for value in values]


def points_box(points: Sequence[Sequence[float]]) -> list[float]:
    """The box around points.

    points (Sequence[Sequence[float]]): At least one.
    RAISES (ValueError): If there are none.
    """
    xs, ys = [float(x) for x, _ in points], [float(y) for _, y in points]
    return [min(xs), min(ys), max(xs), max(ys)]


def has_area(box: Sequence[float]) -> bool:
    """Whether a box is wider and higher than nothing."""
    return box[2] > box[0] and box[3] > box[1]


def picture_size(width: Any, height: Any) -> tuple[int | None, int | None, bool]:
    """The size that a file gives of a picture.

    width (Any), height (Any): As they stand in the file; None if they do not.
    RETURNS (Tuple[Optional[int], Optional[int], bool]): Width and height, None both if they are not the size of a picture that would
        be opened, and whether what stands there can be believed (nothing can).
    """
    if width is None and height is None:
        return None, None, True
    try:
        wide, high = int(read_number(width)), int(read_number(height))
    except ValueError:
        return None, None, False
    if wide < 1 or high < 1 or wide * high > max_pixels():
        # Zero is what tools write that did not look.
        return None, None, wide == 0 and high == 0
    return wide, high, True


__all__ = ["FARTHEST", "has_area", "picture_size", "points_box", "read_box", "read_number", "read_points"]
