"""Between boxes and coordinate tokens."""

from collections.abc import Sequence

import numpy as np


def box_to_bins(box: Sequence[float], padded: tuple[int, int], bins: int) -> np.ndarray:
    """box (Sequence[float]): XYXY in pixels of the scaled picture. padded (Tuple[int, int]): Padded height and width.

    RETURNS (ndarray): 5 int64: x1, y1, x2, y2 as bins of the padded side (floor), then END = `bins`.
    """
    height, width = padded
    sides = np.array([width, height, width, height], dtype="float64")
    values = np.floor(np.asarray(box, dtype="float64") / sides * bins).astype("int64")
    # The right or lower edge of a picture without padding would be END.
    return np.append(np.clip(values, 0, bins - 1), bins)


def bins_to_box(values: np.ndarray, padded: tuple[int, int], scale: tuple[float, float], bins: int) -> np.ndarray:
    """values (ndarray): n x 4 bins. scale (Tuple[float, float]): Horizontal and vertical factor from the original.

    RETURNS (ndarray): n x 4 float64 XYXY pixels of the original picture, neither clipped nor ordered.
    """
    height, width = padded
    sides = np.array([width, height, width, height], dtype="float64")
    # Upstream divides in single precision.
    shares = (values.astype("float32") / np.float32(bins)).astype("float64")
    return shares * sides / np.array([scale[0], scale[1], scale[0], scale[1]], dtype="float64")
