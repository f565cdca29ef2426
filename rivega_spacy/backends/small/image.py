"""Image side of the small network: a narrow residual network and a feature pyramid fused at stride 8."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 8


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution and its batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, Fig. 2; average-pooled shortcut of He et al. 2019).

    inputs (int): Channels in.
    outputs (int): Channels out.
    stride (int): 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = conv(outputs, outputs, 3)
        nn.init.zeros_(self.second[1].get_parameter("weight"))
        shortcut: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride == 2 else []
        if stride == 2 or inputs != outputs:
            shortcut.append(conv(inputs, outputs, 1))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ImageEncoder(nn.Module):
    """Pictures to one fused feature map and one global vector.

    widths (Sequence[int]): Channels of the stages at strides 4, 8, 16, 32.
    depths (Sequence[int]): Residual blocks of each stage.
    stem (int): Channels at stride 2.
    width (int): Channels of the fused map.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (2, 2, 4, 3),
        stem: int = 24,
        width: int = 96,
    ) -> None:
        super().__init__()
        self.stem = conv(3, stem, 3, 2)
        stages, inputs = [], stem
        for outputs, depth in zip(widths, depths):
            blocks = [ResidualBlock(inputs if i == 0 else outputs, outputs, 2 if i == 0 else 1) for i in range(depth)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList([conv(c, width, 1) for c in widths[1:]])
        self.context = nn.Linear(widths[-1], width)
        self.middle = conv(width, width, 3)
        self.fused = conv(width, width, 3)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.tensor([118.0, 112.0, 104.0]).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor([66.0, 65.0, 68.0]).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        pixels (Tensor): B x 3 x S x S, RGB 0..255, S a multiple of 32.
        RETURNS (Tuple[Tensor, Tensor]): B x width x S/8 x S/8 map; B x widths[-1] global vector.
        """
        x = ((pixels.to(self.mean.dtype) - self.mean) / self.spread).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.fuse(maps), x.mean(dim=(2, 3))

    def fuse(self, maps: Sequence[Tensor]) -> Tensor:
        """The maps of the stages, at strides 4, 8, 16 and 32, to the fused one at stride 8."""
        y = self.lateral[2](maps[3]) + self.context(maps[3].mean(dim=(2, 3)))[:, :, None, None]
        y = F.interpolate(F.relu(y), scale_factor=2, mode="nearest") + self.lateral[1](maps[2])
        y = F.relu(y + self.middle(F.relu(y)))
        y = F.interpolate(y, scale_factor=2, mode="nearest") + self.lateral[0](maps[1])
        return F.relu(y + self.fused(F.relu(y)))
