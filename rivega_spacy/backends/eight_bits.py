"""Linear layers in eight bits, for answering on a CPU: less time, and nearly the same answers.

Weights are rounded once, with one scale for each output feature; inputs are rounded as they come, with one scale for each call ("dynamic
quantisation"). What is trained and saved stays as it is; the rounded copy is for answering alone.
"""

import copy
import warnings
from typing import TypeVar

import torch
from torch import nn

from ..post.errors import Errors, RivegaError

Network = TypeVar("Network", bound=nn.Module)

# A weight's largest magnitude becomes this: the range is the same on both sides of zero.
_LARGEST = 127


class EightBitLinear(nn.Module):
    """A linear layer with eight-bit weights and inputs.

    linear (Linear): The layer that it stands for, on the CPU; it is not changed.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        # A row of zeros has no scale of its own.
        scales = (weight.abs().amax(1) / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny).double()
        with warnings.catch_warnings():
            # torch means to move these functions elsewhere: a version without them is told in `in_eight_bits`.
            warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")
            rounded = torch.quantize_per_channel(weight, scales, torch.zeros(len(scales), dtype=torch.int64), 0, torch.qint8)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.packed = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """B x ... x width to B x ... x outputs, in single precision."""
        # Older processors add products in sixteen bits, which inputs of seven bits do not overflow; those with VNNI need no such care.
        return torch.ops.quantized.linear_dynamic(vectors, self.packed, not _has_vnni())


def in_eight_bits(network: Network) -> Network:
    """A copy for evaluation, with every linear layer in eight bits.

    network (Module): On the CPU.
    RETURNS (Module): Shares with the network all weights but those of its linear layers.
    RAISES (RivegaError): E960 if the network is on a GPU, E961 if this torch has no eight-bit layers for the processor.
    """
    device = next(network.parameters()).device
    if device.type != "cpu":
        raise RivegaError(Errors.E960.format(device=device))
    if not hasattr(torch, "quantize_per_channel") or not set(torch.backends.quantized.supported_engines) - {"none"}:
        raise RivegaError(Errors.E961.format(version=torch.__version__))
    # Tensors that the memo knows are not copied.
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    result = copy.deepcopy(network, shared).eval()
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, EightBitLinear(child))
    return result


def _has_vnni() -> bool:
    # torch tells it nowhere else; a version without this question gets the careful way.
    ask = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(ask and ask())


__all__ = ["EightBitLinear", "in_eight_bits"]
