"""Polygons to masks by the COCO API's rule, in numpy alone and without ever holding the picture's pixels.

The rule of the API (Lin et al., "Microsoft COCO", 2014; the function `rleFrPoly`): corners are rounded to fifths of a pixel, the outline is
walked in steps of a fifth, and wherever it passes the middle of a column the column changes between outside and inside from the next
row's middle on. What comes out is equal to pycocotools' `frPyObjects` with `decode`, pixel for pixel; here only the places where the
outline passes the middle of a column are computed, so a polygon costs as much as it is wide within the picture, however far it reaches
beyond.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...post.rle import compress_counts, rle_union

# Steps a pixel, and the step at which the outline passes a column's middle.
_STEPS = 5
_MIDDLE = 2


def polygons_to_rle(polygons: Sequence[Any], height: int, width: int) -> dict[str, Any]:
    """The pixels that any of the polygons covers.

    polygons (Sequence[ndarray]): Each n x 2, x and y in pixels, finite.
    height (int), width (int): Size of the picture.
    RETURNS (Dict[str, Any]): Compressed COCO RLE.
    """
    parts = [_runs(np.asarray(points, dtype="float64"), height, width) for points in polygons]
    rles = [{"size": [height, width], "counts": compress_counts(counts)} for counts in parts or [np.array([height * width])]]
    return rles[0] if len(rles) == 1 else rle_union(rles)


def _runs(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Run lengths down the columns, background first."""
    columns, rows = _crossings(points, width)
    places, times = np.unique(columns * height + np.clip(rows, 0, height), return_counts=True)
    # Two changes at one place are none, and one behind the last pixel changes nothing.
    places = places[(times % 2 == 1) & (places < height * width)]
    return np.diff(np.concatenate([[0], places, [height * width]]))


def _crossings(points: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns within the picture whose middle an edge passes, and the first row whose middle lies below it."""
    corners = _towards_zero(_STEPS * points)
    following = np.roll(corners, -1, axis=0)
    span = np.abs(following - corners)
    flat = span[:, 0] >= span[:, 1]
    # An edge is walked along its longer side, from the lower end.
    turned = np.where(flat, corners[:, 0] > following[:, 0], corners[:, 1] > following[:, 1])[:, None]
    first, last = np.where(turned, following, corners), np.where(turned, corners, following)
    rise = np.where(flat, last[:, 1] - first[:, 1], last[:, 0] - first[:, 0])
    slope = rise / np.maximum(np.max(span, axis=1), 1)

    left, right = np.minimum(first[:, 0], last[:, 0]), np.maximum(first[:, 0], last[:, 0])
    begin = np.maximum(-((_MIDDLE - left) // _STEPS), 0)
    end = np.minimum((right - _MIDDLE - 1) // _STEPS, width - 1)
    count = np.maximum(end - begin + 1, 0)
    edge = np.repeat(np.arange(len(points)), count)
    column = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + begin[edge]
    middle = _STEPS * column + _MIDDLE

    x, y, slope, length = first[edge, 0], first[edge, 1], slope[edge], span[edge].max(axis=1)
    step = middle - x
    here, there = _towards_zero(y + slope * step), _towards_zero(y + slope * (step + 1))
    walked = np.minimum(here, there)
    steep = ~flat[edge]
    walked[steep] = y[steep] + _last_before(x[steep], slope[steep], length[steep], middle[steep])
    return column, (walked + _STEPS - 1 - _MIDDLE) // _STEPS


def _last_before(x: np.ndarray, slope: np.ndarray, length: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """The last step of steep edges before they pass a column's middle, by halving: rounding makes every formula one step off."""
    low, high = np.zeros_like(length), length
    while np.any(high - low > 1):
        half = (low + high) // 2
        reached = _towards_zero(x + slope * half)
        before = np.where(slope > 0, reached <= middle, reached > middle)
        low, high = np.where(before, half, low), np.where(before, high, half)
    return low


def _towards_zero(values: np.ndarray) -> np.ndarray:
    """Half added and cut, as C does it: below zero that is another number than the nearest."""
    return np.trunc(values + 0.5).astype(np.int64)


__all__ = ["polygons_to_rle"]
