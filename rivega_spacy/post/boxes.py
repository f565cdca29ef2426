"""Boxes: [x1, y1, x2, y2] in pixels, half-open, no +1 in areas (the paper's own scoring script)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .errors import Errors, RivegaError
from .text import brief


def check_box(value: Any) -> list[float]:
    """A box in the form that is stored.

    value (Sequence[float]): x1, y1, x2, y2 in pixels.
    RETURNS (List[float]): The same four numbers as Python floats.
    RAISES (RivegaError): E006 unless it is four finite numbers.
    """
    try:
        box = [float(x) for x in value]
    except (TypeError, ValueError, OverflowError) as error:
        raise RivegaError(Errors.E006.format(value=brief(value))) from error
    if len(box) != 4 or not all(math.isfinite(x) for x in box):
        raise RivegaError(Errors.E006.format(value=brief(value)))
    return box


def box_area(box: Sequence[float]) -> float:
    """Area in square pixels; 0 for an empty or inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def mask_box(mask: np.ndarray) -> list[float] | None:
    """The box around a mask.

    mask (ndarray): HxW bool.
    RETURNS (Optional[List[float]]): XYXY pixels; None if the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def core_box(mask: np.ndarray, *, least: float = 0.1) -> list[float] | None:
    """The box around a mask without its thin ends: an antenna or a stray pixel says little about where a thing is.

    mask (ndarray): HxW bool.
    least (float): Rows and columns with fewer pixels than this share of the fullest one are left out, at the ends alone.
    RETURNS (Optional[List[float]]): XYXY pixels; None if the mask is empty.
    """
    ends = []
    for counts in (mask.sum(axis=0), mask.sum(axis=1)):
        full = np.flatnonzero(counts > least * counts.max())
        if not len(full):
            return None
        ends.append((float(full[0]), float(full[-1] + 1)))
    return [ends[0][0], ends[1][0], ends[0][1], ends[1][1]]


def box_iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Intersection over union of every pair.

    a (ArrayLike): n x 4 XYXY pixels.
    b (ArrayLike): m x 4 XYXY pixels.
    RETURNS (ndarray): n x m float64 in 0..1; 0 if both boxes are empty.
    """
    a = np.asarray(a, dtype="float64").reshape(-1, 4)
    b = np.asarray(b, dtype="float64").reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=-1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=-1)
    union = area_a[:, None] + area_b[None, :] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def pair_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """What `box_iou` says of one pair, without arrays, which would make up most of the time of scoring ten thousand posts."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0.0, width) * max(0.0, height)
    union = box_area(a) + box_area(b) - inter
    return inter / union if union > 0 else 0.0


def clip_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Order the corners and keep boxes within the picture, at least one pixel wide and high.

    boxes (ndarray): n x 4 XYXY pixels.
    height (int), width (int): Size of the picture in pixels.
    RETURNS (ndarray): n x 4 float64, 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height.
    """
    boxes = np.asarray(boxes, dtype="float64").reshape(-1, 4)
    low = np.minimum(boxes[:, :2], boxes[:, 2:])
    high = np.maximum(boxes[:, :2], boxes[:, 2:])
    limit = np.array([width, height], dtype="float64")
    low = np.clip(low, 0, np.maximum(limit - 1, 0))
    high = np.minimum(np.maximum(high, low + 1), limit)
    return np.concatenate([low, high], axis=1)
