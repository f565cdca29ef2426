"""DarkNet-53, the picture encoder of YOLOv3 and SeqTR, and the raw `yolov3.weights` file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ...post.errors import Errors, RivegaError


class ConvUnit(nn.Module):
    """Convolution without bias, BatchNorm, LeakyReLU(0.1)."""

    def __init__(self, inside: int, outside: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outside)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(x)))


class ResidualStage(nn.Module):
    """Pairs of a 1x1 and a 3x3 convolution, each pair added to its input (not so in the detector's own stage)."""

    def __init__(self, channels: int, pairs: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.module_list = nn.ModuleList(
            nn.ModuleList([ConvUnit(channels, channels // 2, 1), ConvUnit(channels // 2, channels, 3)]) for _ in range(pairs)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for pair in self.module_list:
            y = x
            for unit in pair.children():
                y = unit(y)
            x = x + y if self.shortcut else y
        return x


class DarkNet53(nn.Module):
    """Three maps of features, at strides 8, 16 and 32.

    stem (int): Channels of the first convolution, 32 in the released network; all others scale with it.
    out_layers (Sequence[int]): Whose outputs come out.
    """

    def __init__(self, *, stem: int = 32, out_layers: Sequence[int] = (6, 8, 13)) -> None:
        super().__init__()
        self.out_layers = tuple(out_layers)
        c = stem
        self.darknet = nn.ModuleList(
            [
                ConvUnit(3, c, 3),
                ConvUnit(c, 2 * c, 3, stride=2),
                ResidualStage(2 * c, 1),
                ConvUnit(2 * c, 4 * c, 3, stride=2),
                ResidualStage(4 * c, 2),
                ConvUnit(4 * c, 8 * c, 3, stride=2),
                ResidualStage(8 * c, 8),
                ConvUnit(8 * c, 16 * c, 3, stride=2),
                ResidualStage(16 * c, 8),
                ConvUnit(16 * c, 32 * c, 3, stride=2),
                ResidualStage(32 * c, 4),
                ResidualStage(32 * c, 2, shortcut=False),
                ConvUnit(32 * c, 16 * c, 1),
                ConvUnit(16 * c, 32 * c, 3),
            ]
        )

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """pixels (Tensor): n x 3 x H x W, 0..255, sides multiples of 32. RETURNS (List[Tensor]): n x C x H/s x W/s each."""
        found = []
        x = pixels
        for n, layer in enumerate(self.darknet):
            x = layer(x)
            if n in self.out_layers:
                found.append(x)
        return found


def load_yolo_weights(network: DarkNet53, path: Any) -> int:
    """Load the raw file of YOLOv3 or of DarkNet-53 alone.

    The file: five 32-bit integers, then for each convolution bn.bias, bn.weight, bn.running_mean, bn.running_var and
    conv.weight as 32-bit floats, in the order of the layers. `darknet53.conv.74` ends after layer 10; YOLOv3's file goes on
    with its detection layers, which are not used.

    network (DarkNet53): Changed in place, if the whole file fits.
    path (Union[str, Path]): The file.
    RETURNS (int): Convolutions loaded.
    RAISES (RivegaError): E020 missing, E730 too short or not such a file, E734 values that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    what = "a raw weights file of YOLOv3 or DarkNet-53"
    size = path.stat().st_size
    if size < 20 or size % 4:
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=f"it has {size} bytes"))
    with open(path, "rb") as file:
        header = np.fromfile(file, dtype="<i4", count=5)
        values = np.fromfile(file, dtype="<f4")
    if not (0 <= int(header[0]) < 100 and 0 <= int(header[1]) < 100 and int(header[2]) >= 0):
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=f"its header is {header.tolist()}"))
    units = list(_units(network.darknet))
    backbone = len(list(_units(network.darknet[:11])))
    sizes = [4 * unit.bn.num_features + unit.conv.weight.numel() for unit in units]
    ends = np.cumsum(sizes)
    fitting = len(units) if values.size >= ends[-1] else backbone
    if values.size < ends[fitting - 1]:
        reason = f"it holds {values.size} numbers, the network needs {int(ends[backbone - 1])}"
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=reason))
    used = values[: ends[fitting - 1]]
    if not np.isfinite(used).all():
        raise RivegaError(Errors.E734.format(path=path, name="DarkNet-53", tensors=f"{int((~np.isfinite(used)).sum())} values"))
    position = 0
    with torch.no_grad():
        for unit in units[:fitting]:
            for target in _values(unit):
                part = used[position : position + target.numel()]
                target.copy_(torch.from_numpy(part.copy()).view_as(target))
                position += target.numel()
    return fitting


def save_yolo_weights(network: DarkNet53, path: Any) -> None:
    """Write the raw form that `load_yolo_weights` reads."""
    with open(path, "wb") as file:
        np.array([0, 2, 0, 0, 0], dtype="<i4").tofile(file)
        for unit in _units(network.darknet):
            for value in _values(unit):
                value.detach().cpu().numpy().astype("<f4").tofile(file)


def _values(unit: ConvUnit) -> list[torch.Tensor]:
    """A unit's numbers in the order of the file."""
    bn = unit.bn
    return [bn.bias, bn.weight, cast(torch.Tensor, bn.running_mean), cast(torch.Tensor, bn.running_var), unit.conv.weight]


def _units(layers: nn.Module) -> Iterator[ConvUnit]:
    return (module for module in layers.modules() if isinstance(module, ConvUnit))
