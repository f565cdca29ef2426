"""Batch normalisations folded into the convolutions before them: the same answers in less time.

With its statistics fixed, a batch normalisation is a scale and a shift of each channel, which the convolution before it can apply in its
own weights. What is trained and saved stays as it is; a folded copy is for answering alone.
"""

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .packed import pack

Network = TypeVar("Network", bound=nn.Module)


def folded(network: Network) -> Network:
    """A copy for answering alone, in which no convolution that can do without is followed by a normalisation, and convolutions on CPUs
    have their weights laid out in advance (`packed.py`).

    network (Module): Modules in it that keep a convolution and its normalisation as attributes name them in `folds`, a tuple of
        pairs of names; in an `nn.Sequential` what stands one after the other is found.
    RETURNS (Module): Shares with the network all weights but those of the convolutions that took up a normalisation.
    """
    # Tensors that the memo knows are not copied.
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    result = copy.deepcopy(network, shared).eval()
    for module in list(result.modules()):
        for convolution, normalisation in _pairs(module):
            first, second = getattr(module, convolution), getattr(module, normalisation)
            setattr(module, convolution, fuse_conv_bn_eval(first, second))
            setattr(module, normalisation, nn.Identity())
    pack(result)
    return result


def channels_last(network: Network) -> Network:
    """The network with its weights laid out as convolutions on CPUs like them best, in place."""
    # torch's own types do not know this form of `to`.
    move: Any = network.to
    move(memory_format=torch.channels_last)
    return network


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    yield from getattr(module, "folds", ())
    if isinstance(module, nn.Sequential):
        names = list(module._modules)
        for first, second in zip(names, names[1:]):
            if isinstance(module._modules[first], nn.Conv2d) and isinstance(module._modules[second], nn.BatchNorm2d):
                yield first, second


__all__ = ["channels_last", "folded"]
