"""Pictures with what is known about them, brought to the network's input: fitting, cropping, augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

# Side of the square input, unless told otherwise.
SIZE = 192
# That of the network on a pre-trained backbone.
SEEN_SIZE = 288
# A picture is stretched to the square input, but by no more than this; what remains is padded.
MAX_STRETCH = 1.5
PAD = (118, 112, 104)
# An object of which a crop shows less than this is neither a target nor a counterexample.
MIN_VISIBLE = 0.4
MIN_SIDE = 5.0


@dataclass(frozen=True)
class LabelledPicture:
    """One picture and what is known about K questions ("keys": kinds of things, or expressions).

    image (Image.Image): RGB.
    boxes (np.ndarray): N x 4 float, XYXY pixels.
    owner (np.ndarray): N int, which key a box belongs to.
    hard (np.ndarray): N bool, present but not to be learnt from (marked difficult).
    known (np.ndarray): K bool, whether a key without boxes is known to be absent.
    mirror (bool): Whether the picture may be mirrored (no "left" or "right" in the questions).
    labels (Tuple[int, ...]): Keys that are shown, no one knows where.
    """

    image: Image.Image
    boxes: np.ndarray
    owner: np.ndarray
    hard: np.ndarray
    known: np.ndarray
    mirror: bool = True
    labels: tuple[int, ...] = ()


class Fit(NamedTuple):
    """Where a picture of width x height lies in the square input, and the way back."""

    width: int
    height: int
    left: int
    top: int
    inner_width: int
    inner_height: int

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """N x 4 boxes, pixels of the picture to pixels of the input."""
        scale = np.array([self.inner_width / self.width, self.inner_height / self.height] * 2)
        return boxes * scale + np.array([self.left, self.top] * 2)

    def to_picture(self, boxes: np.ndarray) -> np.ndarray:
        """N x 4 boxes, pixels of the input to pixels of the picture."""
        scale = np.array([self.inner_width / self.width, self.inner_height / self.height] * 2)
        return (boxes - np.array([self.left, self.top] * 2)) / scale


def fit(width: int, height: int, size: int) -> Fit:
    """Place a picture in the square input.

    width (int): Of the picture, pixels.
    height (int): Of the picture, pixels.
    size (int): Side of the input, pixels.
    RETURNS (Fit): The placement.
    """
    across, down = size / width, size / height
    across, down = min(across, down * MAX_STRETCH), min(down, across * MAX_STRETCH)
    inner_width = min(size, max(1, round(width * across)))
    inner_height = min(size, max(1, round(height * down)))
    return Fit(width, height, (size - inner_width) // 2, (size - inner_height) // 2, inner_width, inner_height)


def to_input(image: np.ndarray, size: int) -> tuple[np.ndarray, Fit]:
    """A whole picture as network input.

    image (np.ndarray): H x W x 3 uint8 RGB.
    size (int): Side of the input.
    RETURNS (Tuple[np.ndarray, Fit]): size x size x 3 uint8; its placement.
    """
    placed = fit(image.shape[1], image.shape[0], size)
    picture = Image.fromarray(image)
    if min(image.shape[:2]) > 4 * size:
        # Halving by whole factors first makes gigantic pictures cheap.
        picture = picture.reduce(min(image.shape[:2]) // (2 * size))
    inner = picture.resize((placed.inner_width, placed.inner_height), Image.Resampling.BILINEAR)
    return _on_canvas(np.asarray(inner), size, placed.left, placed.top), placed


def _on_canvas(inner: np.ndarray, size: int, left: int, top: int) -> np.ndarray:
    if inner.shape[:2] == (size, size):
        return inner
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = PAD
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


@dataclass(frozen=True)
class PreparedView:
    """A picture as network input, with its targets in input pixels.

    pixels (np.ndarray): S x S x 3 uint8.
    boxes (np.ndarray), owner (np.ndarray), hard (np.ndarray): As in LabelledPicture.
    status (np.ndarray): K of 1 (shown), 0 (absent), -1 (unknown).
    maps (Tuple[np.ndarray, ...]): In place of the pixels, which then have no values, what a frozen backbone makes of them
        (see `kept.py`).
    """

    pixels: np.ndarray
    boxes: np.ndarray
    owner: np.ndarray
    hard: np.ndarray
    status: np.ndarray
    maps: tuple[np.ndarray, ...] = ()


def plain(picture: LabelledPicture, size: int) -> PreparedView:
    """The whole picture, unchanged."""
    pixels, placed = to_input(np.asarray(picture.image), size)
    boxes = placed.to_input(picture.boxes) if len(picture.boxes) else picture.boxes
    return _prepared(pixels, boxes, picture.owner, picture.hard, picture.known, picture.labels)


def augmented(pictures: Sequence[LabelledPicture], size: int, rng: np.random.Generator) -> PreparedView:
    """A random view: crop or shrink, stretch, mirror, colours; of four pictures, a mosaic of them.

    pictures (Sequence[LabelledPicture]): One picture, or four with the same keys (Bochkovskiy et al. 2020, Fig. 3).
    size (int): Side of the input.
    rng (np.random.Generator): Source of chance.
    RETURNS (PreparedView): Network input and targets.
    """
    if len(pictures) == 1:
        # Who does not know where the thing is must not crop it away.
        view = _view(pictures[0], size, size, rng, least=0.7 if pictures[0].labels else 0.25)
    else:
        x, y = (int(v) for v in rng.uniform(0.35, 0.65, 2) * size)
        frames = [(0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)]
        canvas = np.empty((size, size, 3), np.uint8)
        parts: list[PreparedView] = []
        for picture, (x0, y0, x1, y1) in zip(pictures, frames):
            part = _view(picture, x1 - x0, y1 - y0, rng, least=0.7 if picture.labels else 0.45)
            canvas[y0:y1, x0:x1] = part.pixels
            shift = np.array([x0, y0, x0, y0])
            parts.append(PreparedView(part.pixels, part.boxes + shift, part.owner, part.hard, part.status))
        known = np.all([p.known for p in pictures], axis=0)
        view = _prepared(
            canvas,
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.owner for p in parts]),
            np.concatenate([p.hard for p in parts]),
            known,
            tuple(label for picture in pictures for label in picture.labels),
        )
    return PreparedView(_colours(view.pixels, rng), view.boxes, view.owner, view.hard, view.status)


def _view(picture: LabelledPicture, width: int, height: int, rng: np.random.Generator, *, least: float = 0.25) -> PreparedView:
    full_width, full_height = picture.image.size
    share, tilt = rng.uniform(least, 1.0) if rng.random() < 0.8 else 1.0, rng.uniform(0.8, 1.25)
    crop_width = float(np.clip(full_width * share**0.5 * tilt, 24, full_width))
    crop_height = float(np.clip(full_height * share**0.5 / tilt, 24, full_height))
    x0 = rng.uniform(0, full_width - crop_width) if full_width > crop_width else 0.0
    y0 = rng.uniform(0, full_height - crop_height) if full_height > crop_height else 0.0
    if len(picture.boxes) and rng.random() < 0.75:
        # Keep the middle of some object inside, whatever the crop.
        box = picture.boxes[rng.integers(len(picture.boxes))]
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        x0 = float(np.clip(x0, max(0.0, cx - 0.8 * crop_width), max(0.0, cx - 0.2 * crop_width)))
        y0 = float(np.clip(y0, max(0.0, cy - 0.8 * crop_height), max(0.0, cy - 0.2 * crop_height)))
        x0, y0 = min(x0, full_width - crop_width), min(y0, full_height - crop_height)
    across, down = width / crop_width, height / crop_height
    across, down = min(across, down * MAX_STRETCH), min(down, across * MAX_STRETCH)
    shrink = rng.uniform(0.5, 1.0) if rng.random() < 0.15 else 1.0
    inner_width = int(np.clip(round(crop_width * across * shrink), 8, width))
    inner_height = int(np.clip(round(crop_height * down * shrink), 8, height))
    left = int(rng.integers(0, width - inner_width + 1))
    top = int(rng.integers(0, height - inner_height + 1))
    inner = picture.image.resize(
        (inner_width, inner_height), Image.Resampling.BILINEAR, box=(x0, y0, x0 + crop_width, y0 + crop_height)
    )
    mirror = picture.mirror and rng.random() < 0.5
    if mirror:
        inner = ImageOps.mirror(inner)
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = PAD
    pixels[top : top + inner_height, left : left + inner_width] = np.asarray(inner)
    boxes, visible = _cropped(picture.boxes, (x0, y0, x0 + crop_width, y0 + crop_height))
    boxes = (boxes - np.array([x0, y0, x0, y0])) * np.array([inner_width / crop_width, inner_height / crop_height] * 2)
    if mirror and len(boxes):
        boxes = np.stack([inner_width - boxes[:, 2], boxes[:, 1], inner_width - boxes[:, 0], boxes[:, 3]], axis=1)
    boxes = boxes + np.array([left, top, left, top])
    small = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) < MIN_SIDE if len(boxes) else visible < 0
    hard = picture.hard | (visible < MIN_VISIBLE) | small
    seen = visible > 0.02
    return _prepared(pixels, boxes[seen], picture.owner[seen], hard[seen], picture.known, picture.labels)


def _cropped(boxes: np.ndarray, frame: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    x0, y0, x1, y1 = frame
    clipped = np.stack(
        [
            boxes[:, 0].clip(x0, x1),
            boxes[:, 1].clip(y0, y1),
            boxes[:, 2].clip(x0, x1),
            boxes[:, 3].clip(y0, y1),
        ],
        axis=1,
    ).reshape(-1, 4)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1])
    return clipped, left / np.maximum(area, 1e-6)


def _prepared(
    pixels: np.ndarray,
    boxes: np.ndarray,
    owner: np.ndarray,
    hard: np.ndarray,
    known: np.ndarray,
    labels: Sequence[int] = (),
) -> PreparedView:
    status = np.where(known, 0, -1).astype(np.int8)
    status[owner[hard]] = -1
    status[owner[~hard]] = 1
    status[list(labels)] = 1
    return PreparedView(pixels, boxes.reshape(-1, 4).astype(np.float32), owner, hard, status)


def _colours(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.2:
        return pixels
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    shift = rng.uniform(-25, 25)
    x = pixels.astype(np.float32)
    if rng.random() < 0.08:
        x = np.repeat(x.mean(axis=2, keepdims=True), 3, axis=2)
    elif rng.random() < 0.5:
        x = x + (x - x.mean(axis=2, keepdims=True)) * np.float32(rng.uniform(-0.5, 0.5))
    mean = x.mean()
    return np.clip((x - mean) * gain.astype(np.float32) + np.float32(mean + shift), 0, 255).astype(np.uint8)
