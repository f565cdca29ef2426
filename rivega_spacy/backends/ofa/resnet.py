"""The picture stem of OFA: a ResNet (v1.5, stride on the 3x3 convolution) up to its third stage, 1/16 of the resolution."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..folding import channels_last, folded


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut; the output has four times `width` channels."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNetStem(nn.Module):
    """Pictures to feature maps.

    layers (Tuple[int, ...]): Blocks of the three stages, (3, 8, 36) for a ResNet-152.
    width (int): Channels after the first convolution, 64 as published.
    """

    folds = (("conv1", "bn1"),)

    def __init__(self, layers: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.checkpointing = False
        channels = width
        for i, count in enumerate(layers):
            stage = []
            for j in range(count):
                stage.append(Bottleneck(channels, width * 2**i, stride=2 if i > 0 and j == 0 else 1))
                channels = 4 * width * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.stages = len(layers)
        self.out_channels = channels

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """pixels (Tensor): B x 3 x H x W. RETURNS (Tensor): B x C x H/16 x W/16 (rounded up)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(pixels))))
        for i in range(self.stages):
            stage = getattr(self, f"layer{i + 1}")
            if self.checkpointing and self.training and torch.is_grad_enabled():
                for block in stage:
                    x = checkpoint(block, x, use_reentrant=False, context_fn=_CountOnce(block))
            else:
                x = stage(x)
        return x

    def folded(self) -> "ResNetStem":
        """A copy for prediction: batch normalisation is folded into the convolutions, memory is laid out as they like it."""
        return channels_last(folded(self)).requires_grad_(False)


class _CountOnce:
    """Checkpointing runs a block twice: batch normalisation must count the batch in its statistics the first time only."""

    def __init__(self, block: nn.Module) -> None:
        self.norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]

    def __call__(self) -> tuple[AbstractContextManager, AbstractContextManager]:
        return contextlib.nullcontext(), self._without_counting()

    @contextlib.contextmanager
    def _without_counting(self) -> Iterator[None]:
        momenta = [norm.momentum for norm in self.norms]
        for norm in self.norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, momenta):
                norm.momentum = momentum
