"""Pictures for ALBEF: square, bicubic, normalised; and its augmentation in training."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype="float32")
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype="float32")


def preprocess(image: np.ndarray, size: int) -> np.ndarray:
    """image (ndarray): HxWx3 uint8 RGB. size (int): Side in pixels. RETURNS (ndarray): 3 x size x size float32."""
    return normalise(np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)))


def normalise(image: np.ndarray) -> np.ndarray:
    """image (ndarray): HxWx3 uint8. RETURNS (ndarray): 3xHxW float32 with CLIP's mean and deviation taken out."""
    values = (image.astype("float32") / np.float32(255.0) - MEAN) / STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def augment(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Random crop of half to all of the area, mirrored half the time, then two of ten distortions (upstream's RandAugment(2, 7)).

    image (ndarray): HxWx3 uint8 RGB.
    RETURNS (ndarray): 3 x size x size float32.
    """
    picture = Image.fromarray(image)
    box = random_crop(picture.height, picture.width, rng, scale=(0.5, 1.0))
    picture = picture.crop(box).resize((size, size), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    for index in rng.integers(0, len(_DISTORTIONS), size=2):
        # Upstream applies each with probability 1/2.
        if rng.random() < 0.5:
            picture = _DISTORTIONS[index](picture, 0.7, 1.0 if rng.random() < 0.5 else -1.0)
    return normalise(np.asarray(picture.convert("RGB")))


def random_crop(
    height: int, width: int, rng: np.random.Generator, *, scale: tuple[float, float], ratio: tuple[float, float] = (0.75, 4 / 3)
) -> tuple[int, int, int, int]:
    """A part of the picture with a random share of its area and a random ratio of its sides.

    RETURNS (Tuple[int, int, int, int]): left, top, right, bottom; ten failed draws give the largest central part.
    """
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1])))
        w, h = int(round(np.sqrt(area * aspect))), int(round(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, int(round(height * ratio[1]))))
    h = min(height, max(1, int(round(width / ratio[0]))))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def _affine(picture: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128))


# Each takes the picture, the strength in 0..1 and a sign; strengths span upstream's ranges.
_DISTORTIONS: list[Callable[[Image.Image, float, float], Image.Image]] = [
    lambda picture, level, sign: picture,
    lambda picture, level, sign: ImageOps.autocontrast(picture),
    lambda picture, level, sign: ImageOps.equalize(picture),
    lambda picture, level, sign: ImageEnhance.Brightness(picture).enhance(0.1 + 1.8 * level),
    lambda picture, level, sign: ImageEnhance.Sharpness(picture).enhance(0.1 + 1.8 * level),
    lambda picture, level, sign: _affine(picture, (1, sign * 0.3 * level, 0, 0, 1, 0)),
    lambda picture, level, sign: _affine(picture, (1, 0, 0, sign * 0.3 * level, 1, 0)),
    lambda picture, level, sign: _affine(picture, (1, 0, sign * level * picture.width / 10, 0, 1, 0)),
    lambda picture, level, sign: _affine(picture, (1, 0, 0, 0, 1, sign * level * picture.height / 10)),
    lambda picture, level, sign: picture.rotate(sign * 30 * level, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)),
]
