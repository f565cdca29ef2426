"""Probabilities of a mask drawn at a crop's resolution, moved to the edges that the picture has at its own.

A crop of some hundred pixels knows the outline of a tall person to within three. The guided filter (He et al., "Guided Image
Filtering", 2013) writes the probabilities, within every small square, as a straight line in the colours there: where the colours
jump, so does the mask.
"""

import numpy as np
from PIL import Image

# Half side of the squares, in pixels of the crop; how much contrast counts as an edge (variance of colours 0..1). Both were chosen
# on masks of the training ids, where results hardly depended on them.
RADIUS = 2.0
EPSILON = 1e-3
# Larger regions are filtered at a lower resolution ("Fast Guided Filter", He and Sun, 2015).
MAX_SIDE = 256


def refine(probabilities: np.ndarray, colours: np.ndarray, *, radius: float) -> np.ndarray:
    """Filter probabilities by the picture below them.

    probabilities (ndarray): HxW float32, 0..1.
    colours (ndarray): HxWx3 uint8, the same region of the picture.
    radius (float): half side of the squares in pixels; below a half nothing is to be gained and nothing is done.
    RETURNS (ndarray): HxW float32, 0..1.
    """
    height, width = probabilities.shape
    step = -(-max(height, width) // MAX_SIDE)
    reach = int(round(radius / step))
    if reach < 1:
        return probabilities
    guide = np.moveaxis(colours, 2, 0).astype("float32") / 255
    low, rough = guide[:, ::step, ::step], probabilities[None, ::step, ::step]
    means = _blurred(np.concatenate([low, low * rough, low * low, rough]), reach)
    middle, crossed, squared, mean = means[:3], means[3:6], means[6:9], means[9:]
    slope = (crossed - middle * mean) / (squared - middle * middle + EPSILON)
    # The three colours each give a line; their mean is taken.
    line = _blurred(np.concatenate([slope, (mean - slope * middle).sum(0, keepdims=True)]), reach)
    if step > 1:
        line = np.stack([np.array(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)) for plane in line])
    return np.clip(((line[:3] * guide).sum(0) + line[3]) / 3, 0, 1)


def _blurred(planes: np.ndarray, reach: int) -> np.ndarray:
    """Mean of the square around every pixel; beyond the rim its last pixels go on."""
    for axis in (1, 2):
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[axis] = (reach + 1, reach)
        # Sums along one axis at a time stay short enough for single precision.
        sums = np.cumsum(np.pad(planes, pad, mode="edge"), axis=axis, dtype="float32")
        side = 2 * reach + 1
        planes = (sums[:, side:] - sums[:, :-side] if axis == 1 else sums[:, :, side:] - sums[:, :, :-side]) / side
    return planes
