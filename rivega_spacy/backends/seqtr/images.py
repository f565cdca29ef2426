"""Pictures for SeqTR: the longer side scaled to 640 as OpenCV's bilinear does it, zero padding to multiples of 32."""

from typing import NamedTuple

import numpy as np

# OpenCV keeps the weights of 8-bit pictures as integers of 11 bits.
_BITS = 11
_ONE = 1 << _BITS


class ScaledPicture(NamedTuple):
    """A picture ready for the network.

    pixels (ndarray): 3 x H x W float32, 0..255, zero where padded.
    size (Tuple[int, int]): Height and width before padding.
    scale (Tuple[float, float]): Horizontal and vertical factor from the original to the scaled picture.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    scale: tuple[float, float]


def preprocess(image: np.ndarray, *, max_side: int = 640, divisor: int = 32) -> ScaledPicture:
    """image (ndarray): HxWx3 uint8 RGB. max_side (int): Length of the longer side. RETURNS (ScaledPicture): What the network reads."""
    height, width = image.shape[:2]
    scale = max_side / max(height, width)
    # A side of less than half a pixel would vanish.
    new_height, new_width = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    return pad(resize_bilinear(image, new_height, new_width), (new_width / width, new_height / height), divisor=divisor)


def pad(scaled: np.ndarray, scale: tuple[float, float], *, divisor: int = 32) -> ScaledPicture:
    """Zeros at the right and at the bottom, up to the next multiple of `divisor`."""
    height, width = scaled.shape[:2]
    full = -(-height // divisor) * divisor, -(-width // divisor) * divisor
    pixels = np.zeros((3, *full), dtype="float32")
    pixels[:, :height, :width] = scaled.transpose(2, 0, 1)
    # As upstream, which keeps the factors in single precision.
    return ScaledPicture(pixels, (height, width), (float(np.float32(scale[0])), float(np.float32(scale[1]))))


def resize_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear without antialiasing, in OpenCV's integer arithmetic for 8-bit pictures.

    image (ndarray): HxWx3 uint8.
    RETURNS (ndarray): height x width x 3 uint8.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image.copy()
    if rows == 2 * height and columns == 2 * width:
        # OpenCV averages 2x2 blocks where both sides are halved exactly.
        blocks = image.astype("uint16").reshape(height, 2, width, 2, 3).sum(axis=(1, 3))
        return ((blocks + 2) >> 2).astype("uint8")
    row, down = _taps(rows, height)
    column, across = _taps(columns, width)
    # Beyond the edge OpenCV repeats a pixel: of columns it takes it whole, of rows it mixes it with itself (and rounds).
    across[(column < 0) | (column >= columns - 1)] = (_ONE, 0)
    left, right = np.clip(column, 0, columns - 1), np.clip(column + 1, 0, columns - 1)
    top, bottom = np.clip(row, 0, rows - 1), np.clip(row + 1, 0, rows - 1)
    used, places = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    # Only the rows that are read, so that of a large picture little is scaled.
    lines = image[used].astype("int32")
    lines = lines[:, left] * across[None, :, :1] + lines[:, right] * across[None, :, 1:]
    upper, lower = lines[places[:height]] >> 4, lines[places[height:]] >> 4
    mixed = ((down[:, :1, None] * upper) >> 16) + ((down[:, 1:, None] * lower) >> 16)
    return np.clip((mixed + 2) >> 2, 0, 255).astype("uint8")


def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """For each new place the old one before it (may be -1) and the integer weights of that one and the next, new x 2."""
    place = ((np.arange(new, dtype="float64") + 0.5) * (old / new) - 0.5).astype("float32")
    first = np.floor(place)
    share = place - first
    weights = np.rint(np.stack([np.float32(1.0) - share, share], axis=1) * np.float32(_ONE)).astype("int32")
    return first.astype("int64"), weights
