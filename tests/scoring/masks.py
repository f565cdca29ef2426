"""Masks for the tests."""

from collections.abc import Sequence

import numpy as np


def square(box: Sequence[float]) -> np.ndarray:
    """A 40 x 50 picture's mask that fills a box."""
    mask = np.zeros((40, 50), dtype=bool)
    x1, y1, x2, y2 = (int(x) for x in box)
    mask[y1:y2, x1:x2] = True
    return mask
