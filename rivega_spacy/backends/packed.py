"""Convolutions for answering on a CPU: weights laid out for oneDNN once instead of in each call, the activation within the convolution.

PyTorch's own convolution lays its weights out anew in each call, casts them anew in each pass under autocast, computes 1x1
convolutions of one thread by matrix products, and applies the activation in a pass of its own. What is called here in its place is what
`torch.compile` calls on CPUs; it is not public, so each process tries it on a small convolution before it relies on it.
"""

import functools
import platform
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# oneDNN's names of activations, with their numbers.
ACTIVATIONS: dict[str, tuple[str, list[float]]] = {"none": ("none", []), "relu": ("relu", []), "relu6": ("hardtanh", [0.0, 6.0])}
# Layouts kept of one convolution. A network sees pictures in one or two sizes; whoever asks in many gets plain weights for the rest.
LAYOUTS = 4
# Tensors as far apart as float32 and bfloat16 may leave them.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


class Convolution(nn.Conv2d):
    """A convolution with its activation; weights and names are those of `nn.Conv2d`.

    after (str): "none", "relu" or "relu6".
    """

    def __init__(self, *args: Any, after: str = "none", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after = after

    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(input)
        if self.after == "relu6":
            return F.relu6(x, inplace=True)
        return F.relu(x, inplace=True) if self.after == "relu" else x


class PackedConvolution(nn.Module):
    """A convolution that only answers: no gradients, on the CPU; under autocast in bfloat16, else in single precision.

    plain (nn.Conv2d): What it computes; its weights must not change any more.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        self.plain = plain
        self.after = ACTIVATIONS[getattr(plain, "after", "none")]
        self._layouts: dict[tuple[torch.dtype, int, int], tuple[Tensor, Tensor | None]] = {}

    @property
    def weight(self) -> Tensor:
        """As `plain` has it: networks ask it for its kind of number."""
        return self.plain.weight

    def forward(self, x: Tensor) -> Tensor:
        """x (Tensor): B x C x H x W. RETURNS (Tensor): As `plain` returns, up to the order of sums."""
        kind = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or kind not in TOLERANCES or not works(kind):
            return self.plain(x)
        key = (kind, x.shape[2], x.shape[3])
        layout = self._layouts.get(key)
        if layout is None:
            if len(self._layouts) == LAYOUTS:
                return self.plain(x)
            layout = self._layouts[key] = self.packed(kind, x)
        return self.computed(x.to(kind), *layout)

    def computed(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """What oneDNN makes of x (Tensor): B x C x H x W, with weights as `packed` laid them out."""
        plain, (name, numbers) = self.plain, self.after
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, plain.padding, plain.stride, plain.dilation, plain.groups, name, numbers, ""
        )

    def packed(self, kind: torch.dtype, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weight and bias laid out for inputs like x (Tensor): B x C x H x W, in a kind of number (torch.dtype)."""
        plain = self.plain
        # For one picture, whatever came first: answers must not depend on which batch did.
        shape = [1, *x.shape[1:]]
        padding, stride, dilation = ([*sides] for sides in (plain.padding, plain.stride, plain.dilation))
        given = plain.weight.detach().to(kind).to_mkldnn()
        # torch's own types do not know the last argument.
        reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        weight = reorder(given, padding, stride, dilation, plain.groups, shape)
        return weight, None if plain.bias is None else plain.bias.detach().to(kind)


def pack(network: nn.Module) -> None:
    """Put packed convolutions in the place of a network's own, where this machine can run them.

    network (Module): Only answers from now on; on a GPU it stays as it is.
    """
    if not works(torch.float32):
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and _fits(child) and not isinstance(module, PackedConvolution):
                setattr(module, name, PackedConvolution(child))


def _fits(convolution: nn.Conv2d) -> bool:
    weight = convolution.weight
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


@functools.cache
def works(kind: torch.dtype) -> bool:
    """Whether this PyTorch on this processor computes packed convolutions, and rightly: tried once a process.

    kind (torch.dtype): torch.float32 or torch.bfloat16.
    RETURNS (bool): False also on processors on which nobody has measured that it is faster.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    # The trial leaves the random numbers of whoever calls as they are, and is not part of an autocast around it.
    with torch.inference_mode(), torch.autocast("cpu", enabled=False), torch.random.fork_rng(devices=[]):
        plain = Convolution(8, 16, 3, 1, 1, groups=2, after="relu6")
        plain.weight.copy_(torch.linspace(-2, 2, plain.weight.numel()).sin().view_as(plain.weight))
        x = torch.linspace(-3, 3, 2 * 8 * 36).cos().view(2, 8, 6, 6).contiguous(memory_format=torch.channels_last)
        trial = PackedConvolution(plain)
        try:
            if kind == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
                return False
            found = trial.computed(x.to(kind), *trial.packed(kind, x))
        except (RuntimeError, AttributeError, TypeError):
            return False
        return bool(torch.allclose(found.float(), plain(x), rtol=TOLERANCES[kind], atol=TOLERANCES[kind]))


__all__ = ["Convolution", "PackedConvolution", "pack", "works"]
