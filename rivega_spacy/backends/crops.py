"""From a box to a square crop, and from a mask on that crop back to the picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..post.boxes import mask_box
from .refine import RADIUS, refine

# Context around the box, as a share of its sides: the box spans five sevenths of the crop. The rim
# shows the network what is certainly not the object.
MARGIN = 0.2
# A mask may leave its box by this share of the box's sides, since boxes are seldom exact.
OVERHANG = 0.1
# Colour where a crop reaches beyond the picture: the mean of photographs.
FILL = (118, 112, 104)


class CropWindow(NamedTuple):
    """The part of the picture that a crop shows: XYXY pixels, may reach beyond the picture."""

    x1: float
    y1: float
    x2: float
    y2: float


def box_window(box: Sequence[float] | np.ndarray, *, margin: float = MARGIN) -> CropWindow:
    """The window around a box.

    box (Sequence[float]): x1, y1, x2, y2 in pixels, x1 < x2 and y1 < y2.
    margin (float): context on each side, as a share of the box's side.
    RETURNS (CropWindow): XYXY pixels.
    """
    x1, y1, x2, y2 = (float(x) for x in box)
    wide, high = max(x2 - x1, 1.0) * margin, max(y2 - y1, 1.0) * margin
    return CropWindow(x1 - wide, y1 - high, max(x2, x1 + 1.0) + wide, max(y2, y1 + 1.0) + high)


def cut(picture: Image.Image, window: CropWindow, size: int, *, fill: Any = FILL) -> tuple[np.ndarray, np.ndarray]:
    """Cut a window out of a picture and bring it to a square, with antialiasing.

    picture (Image): RGB or L.
    window (CropWindow): what to show; sides may differ, the crop is a square all the same.
    size (int): side of the crop in pixels.
    fill (Any): colour if there is no picture.
    RETURNS (Tuple[ndarray, ndarray]): the crop, SxSx3 (or SxS) uint8, and where it shows the picture, SxS bool.
    """
    inside = np.zeros((size, size), dtype=bool)
    columns = _visible(window.x1, window.x2, picture.width, size)
    rows = _visible(window.y1, window.y2, picture.height, size)
    if columns is None or rows is None:
        return np.array(Image.new(picture.mode, (size, size), fill)), inside
    (left, right, x1, x2), (top, bottom, y1, y2) = columns, rows
    inside[top:bottom, left:right] = True
    part = picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
    if part.size == (size, size):
        return np.array(part), inside
    canvas = Image.new(picture.mode, (size, size), fill)
    canvas.paste(part, (left, top))
    return np.array(canvas), inside


def _visible(low: float, high: float, limit: int, size: int) -> tuple[int, int, float, float] | None:
    """Along one axis: first and last pixel of the crop that the picture fills, and from where in it."""
    step = (high - low) / size
    first = int(np.clip(np.ceil(-low / step - 0.5), 0, size))
    last = int(np.clip(np.floor((limit - low) / step + 0.5), 0, size))
    start, end = max(low + first * step, 0.0), min(low + last * step, float(limit))
    if last <= first or end <= start:
        return None
    return first, last, start, end


def turned(picture: Image.Image, box: np.ndarray, mask: np.ndarray, degrees: float) -> tuple[Image.Image, np.ndarray, np.ndarray]:
    """Turn a picture with a thing in it about the middle of the thing's box.

    picture (Image): RGB.
    box (ndarray): XYXY pixels.
    mask (ndarray): HxW bool.
    degrees (float): counter-clockwise.
    RETURNS (Tuple[Image, ndarray, ndarray]): picture and mask of the same size, and the box of the turned mask; all as they were
        where the mask would not be seen any more.
    """
    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    shape = Image.fromarray(mask.astype(np.uint8) * 255).rotate(degrees, Image.Resampling.BILINEAR, center=middle)
    seen = np.asarray(shape) > 127
    tight = mask_box(seen)
    if tight is None:
        return picture, box, mask
    return picture.rotate(degrees, Image.Resampling.BILINEAR, center=middle, fillcolor=FILL), np.array(tight), seen


def paste(
    probabilities: np.ndarray,
    window: CropWindow,
    box: Sequence[float],
    *,
    height: int,
    width: int,
    overhang: float = OVERHANG,
    image: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Bring the probabilities of a crop back to the picture's resolution and decide for each pixel.

    probabilities (ndarray): SxS float32, 0..1, for the pixels of the crop.
    window (CropWindow): what the crop shows.
    box (Sequence[float]): the box asked about; pixels outside it and its overhang stay False.
    height (int), width (int): size of the picture in pixels.
    overhang (float): how far the mask may leave the box, as a share of its sides.
    image (Optional[ndarray]): the picture, HxWx3 uint8, to whose edges the outline is moved; None leaves it.
    RETURNS (Tuple[ndarray, float]): HxW bool, and the intersection over union with the true mask that
        the probabilities let expect: the probability inside the mask over the mask's area plus the
        probability left outside it.
    """
    mask = np.zeros((height, width), dtype=bool)
    limit = box_window(box, margin=overhang)
    left, right = max(int(np.floor(limit.x1)), 0), min(int(np.ceil(limit.x2)), width)
    top, bottom = max(int(np.floor(limit.y1)), 0), min(int(np.ceil(limit.y2)), height)
    # Rounding outwards may leave the window by a pixel where the box is tiny.
    left, top = max(left, int(np.ceil(window.x1))), max(top, int(np.ceil(window.y1)))
    right, bottom = min(right, int(np.floor(window.x2))), min(bottom, int(np.floor(window.y2)))
    if right <= left or bottom <= top:
        return mask, 0.0
    side = probabilities.shape[0]
    scale_x, scale_y = side / (window.x2 - window.x1), side / (window.y2 - window.y1)
    source = (
        max((left - window.x1) * scale_x, 0.0),
        max((top - window.y1) * scale_y, 0.0),
        min((right - window.x1) * scale_x, float(side)),
        min((bottom - window.y1) * scale_y, float(side)),
    )
    picture = Image.fromarray(np.ascontiguousarray(probabilities, dtype=np.float32))
    fine = np.array(picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source))
    if image is not None:
        fine = refine(fine, image[top:bottom, left:right], radius=RADIUS / (scale_x * scale_y) ** 0.5)
    chosen = fine > 0.5
    if not chosen.any():
        # The box says that something is there: better the likeliest pixels than none, at a low score.
        chosen = (fine >= 0.5 * fine.max()) & (fine > 0)
    mask[top:bottom, left:right] = chosen
    inside, outside = float(fine[chosen].sum()), float(fine[~chosen].sum())
    total = float(chosen.sum()) + outside
    return mask, inside / total if chosen.any() else 0.0


def jitter_box(box: Sequence[float] | np.ndarray, rng: np.random.Generator, *, amount: float) -> list[float]:
    """Move each side of a box, as a grounder's boxes are off.

    box (Sequence[float]): XYXY pixels.
    rng (Generator): source of chance.
    amount (float): standard deviation, as a share of the box's side; cut off at three times that.
    RETURNS (List[float]): XYXY pixels.
    """
    x1, y1, x2, y2 = (float(x) for x in box)
    shift = np.clip(rng.normal(size=4), -3, 3) * amount
    wide, high = x2 - x1, y2 - y1
    return [x1 + shift[0] * wide, y1 + shift[1] * high, x2 + shift[2] * wide, y2 + shift[3] * high]
