"""Pictures in which nothing is to be found: plain and shaded grounds, noise, lines of text as in memes and screenshots."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..backends.small.pictures import LabelledPicture

_LETTERS = "etaoinshrdlucmfwypvbgkETAOINSHRDLU0123456789#@!?.,"


def blank_picture(keys: int, rng: np.random.Generator, *, size: tuple[int, int] = (240, 200)) -> LabelledPicture:
    """Draw one; every key is absent from it.

    keys (int): How many questions there are.
    rng (np.random.Generator): Source of chance.
    size (Tuple[int, int]): Width and height, pixels.
    RETURNS (LabelledPicture): Without boxes.
    """
    width, height = size
    roll = rng.random()
    if roll < 0.3:
        grain = int(rng.integers(1, 24))
        coarse = rng.integers(0, 256, (height // grain + 1, width // grain + 1, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
    else:
        ends = rng.integers(0, 256, (2, 3))
        if rng.random() < 0.6:
            ends[1] = ends[0]
        share = np.linspace(0, 1, height)[:, None, None]
        shaded = ends[0] * (1 - share) + ends[1] * share
        image = Image.fromarray(np.broadcast_to(shaded, (height, width, 3)).astype(np.uint8))
        if roll > 0.55:
            _write(image, rng)
    nothing = np.zeros((0, 4), np.float32)
    return LabelledPicture(image, nothing, np.zeros(0, np.int64), np.zeros(0, bool), np.ones(keys, bool))


def _write(image: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    ink = tuple(int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.4 else [255 * rng.integers(2)] * 3))
    size = int(rng.integers(8, 36))
    font = ImageFont.load_default(size=size)
    y = int(rng.integers(0, 60))
    while y < image.height - 8 and rng.random() < 0.93:
        words = ["".join(rng.choice(list(_LETTERS), rng.integers(2, 10))) for _ in range(rng.integers(1, 7))]
        draw.text((int(rng.integers(-10, 60)), y), " ".join(words), fill=ink, font=font)
        y += int(size * rng.uniform(1.1, 2.5))
