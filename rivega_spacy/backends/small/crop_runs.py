"""How the small segmenters run their networks over crops: what the config says, groups, features, mirror images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ..shim import one_at_a_time
from .segmenter_network import X_PLANE, crop_features

Cut = TypeVar("Cut")


@dataclass
class RunSettings:
    """What the config says about running the network; not saved with the weights, so that editing the config has effect."""

    flip: bool
    batch_size: int
    refine: bool
    growth: Sequence[tuple[int, int]]
    bf16: bool
    jitter: float
    rotation: float
    seed: int
    calls: int = 0

    def training_size(self, size: int, step: int) -> int:
        """Side of the crops at a step of training: that of the last stage begun, before the first that of the model."""
        begun = [side for start, side in self.growth if step >= start]
        return begun[-1] if begun else size

    def groups(self, crops: Sequence[Cut], device: torch.device) -> Iterator[Sequence[Cut]]:
        """Crops that go through the network together at run time.

        crops (Sequence): All of them. device (torch.device): Where the network is.
        YIELDS (Sequence): Some, in order.
        """
        step = 1 if one_at_a_time(device, bf16=self.bf16) else max(self.batch_size, 1)
        for start in range(0, len(crops), step):
            yield crops[start : start + step]


def stacked_features(
    colours: Sequence[np.ndarray], inside: Sequence[np.ndarray], aspects: Sequence[float], device: torch.device, margin: float
) -> torch.Tensor:
    """What a network sees of crops whose boxes have the same margin; see `crop_features`.

    colours (Sequence[ndarray]): N times SxSx3 uint8. inside (Sequence[ndarray]): N times SxS bool, where a crop shows the picture.
    aspects (Sequence[float]): N, logarithms of width over height. device (torch.device): Where the features go.
    margin (float): Context around the boxes, as a share of their sides.
    RETURNS (Tensor): N x FEATURES x S x S float32.
    """
    rim = margin / (1 + 2 * margin)
    return crop_features(
        torch.from_numpy(np.stack(colours)).to(device),
        torch.from_numpy(np.stack(inside)).to(device),
        torch.tensor(aspects, device=device),
        (rim, 1 - rim),
    )


def with_mirrored(features: torch.Tensor) -> torch.Tensor:
    """Features of N crops, and behind them those of their mirror images."""
    # The x coordinate keeps its direction: it says where a pixel is, not what it shows.
    mirrored = features.flip(3)
    mirrored[:, X_PLANE] = features[:, X_PLANE]
    return torch.cat([features, mirrored])


def turned_back(found: torch.Tensor) -> torch.Tensor:
    """Means of the maps (2N x S x S) of N crops and of their mirror images."""
    straight, turned_over = found.chunk(2)
    return (straight + turned_over.flip(2)) / 2
