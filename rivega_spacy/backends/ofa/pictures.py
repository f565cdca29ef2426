"""Pictures as OFA sees them, and boxes as its location tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

MEAN = STD = 0.5


def to_pixels(image: np.ndarray, size: int) -> torch.Tensor:
    """Scale a picture to a square (the aspect ratio is not kept), values to -1..1.

    image (ndarray): HxWx3 uint8, RGB.
    size (int): Side in pixels: 480 for entailment, 512 for grounding, as published.
    RETURNS (Tensor): 3 x size x size float32.
    """
    scaled = Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.array(scaled)).permute(2, 0, 1).to(torch.float32)
    return (values.div_(255).sub_(MEAN)).div_(STD)


def box_to_bins(box: Sequence[float], image_size: tuple[int, int], *, size: int, scale: float, bins: int) -> list[int]:
    """A box as four bins.

    box (Sequence[float]): XYXY pixels of the picture.
    image_size (Tuple[int, int]): Height and width of the picture in pixels.
    size (int): Side of the square picture that the network sees.
    scale (float): Pixels that the last bin stands for (512, whatever `size` is, in the published fine-tuning at 512).
    bins (int): How many location tokens there are.
    RETURNS (List[int]): x1, y1, x2, y2 in 0..bins-1.
    """
    height, width = image_size
    # Single precision, as the published preprocessing has it, so that ties round alike.
    ratios = np.array([size / width, size / height] * 2, dtype="float32")
    values = torch.from_numpy(np.asarray(box, dtype="float32") * ratios)
    return (values / scale * (bins - 1)).round().clamp(0, bins - 1).int().tolist()


def bins_to_box(bins_: Sequence[int], image_size: tuple[int, int], *, size: int, scale: float, bins: int) -> np.ndarray:
    """The reverse of `box_to_bins`, neither clipped nor ordered.

    RETURNS (ndarray): 4 float32, XYXY pixels of the picture.
    """
    height, width = image_size
    ratios = np.array([size / width, size / height] * 2, dtype="float32")
    return np.asarray(bins_, dtype="float32") / np.float32(bins - 1) * np.float32(scale) / ratios
