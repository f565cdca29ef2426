"""What the small segmenter is given of each crop, and the blocks that its decoder is made of.

Beside the colours the network is given what it would have to learn from far more pictures than there are: where the box is, the box's
shape, where the picture ends, and for every pixel how much more common its colour is inside the box than around it (the colour model
of GrabCut, Rother et al., 2004, as a feature).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Colour histogram: bins for each of red, green, blue.
BINS = 8
COLOURS = 3
# RGB, box, picture, colour odds, x, y, aspect
FEATURES = 9
X_PLANE = 6


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    folds = (("conv1", "norm1"), ("conv2", "norm2"))

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        # Starting as the identity makes the first steps stable.
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(x + self.norm2(self.conv2(y)), inplace=True)


def joined(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution with its normalisation and activation."""
    conv = nn.Conv2d(inside, outside, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def doubled(x: Tensor) -> Tensor:
    """Maps at twice their resolution."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def crop_features(crops: Tensor, inside: Tensor, aspect: Tensor, box: Sequence[float]) -> Tensor:
    """What the network sees of each crop.

    crops (Tensor): NxSxSx3 uint8 or float 0..255, RGB.
    inside (Tensor): NxSxS bool, where the crop shows the picture.
    aspect (Tensor): N, logarithm of the box's width over its height.
    box (Sequence[float]): where the box lies in every crop: low and high end, as shares of the side.
    RETURNS (Tensor): NxFEATURESxSxS float32.
    """
    count, size = crops.shape[0], crops.shape[1]
    colours = crops.permute(0, 3, 1, 2).float() / 255.0
    places = (torch.arange(size, device=crops.device, dtype=torch.float32) + 0.5) / size
    # A pixel that the box's side runs through counts in part.
    span = ((places - box[0]) * size + 0.5).clamp(0, 1) * ((box[1] - places) * size + 0.5).clamp(0, 1)
    prompt = span[:, None] * span[None, :]
    odds = colour_odds(colours, inside, prompt)
    shape = (count, 1, size, size)
    planes = [
        (colours - 0.45) / 0.25,
        prompt.expand(shape),
        inside[:, None].float(),
        odds[:, None],
        (places * 2 - 1)[None, :].expand(shape),
        (places * 2 - 1)[:, None].expand(shape),
        aspect.float()[:, None, None, None].expand(shape),
    ]
    return torch.cat(planes, dim=1)


def colour_odds(colours: Tensor, inside: Tensor, prompt: Tensor) -> Tensor:
    """How much more common the colour of each pixel is inside the box than around it.

    colours (Tensor): Nx3xSxS, 0..1.
    inside (Tensor): NxSxS bool, where there is picture.
    prompt (Tensor): SxS, 1 inside the box.
    RETURNS (Tensor): NxSxS, logarithm of the ratio of two smoothed colour histograms, cut to -1..1.
    """
    count = len(colours)
    cells = (colours * BINS).long().clamp_(0, BINS - 1)
    cells = ((cells[:, 0] * BINS + cells[:, 1]) * BINS + cells[:, 2]).flatten(1)
    known = inside.float()
    both = torch.stack([known * prompt, known * (1 - prompt)], dim=1).flatten(2)
    histogram = torch.zeros(count, 2, BINS**3, device=colours.device)
    histogram.scatter_add_(2, cells[:, None].expand(-1, 2, -1), both)
    histogram = histogram / histogram.sum(2, keepdim=True).clamp(min=1.0)
    smooth = F.avg_pool3d(histogram.view(count, 2, BINS, BINS, BINS), 3, stride=1, padding=1).flatten(2)
    mixed = 0.5 * histogram + 0.5 * smooth + 1e-4
    ratio = (mixed[:, 0] / mixed[:, 1]).log().clamp(-4, 4) / 4
    return ratio.gather(1, cells).view(count, *inside.shape[1:])
