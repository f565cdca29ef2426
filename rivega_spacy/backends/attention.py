"""Attention in single precision within a pass in bfloat16, for training on a CPU.

There torch's fused attention goes back four to five times slower in bfloat16 than in single precision (torch 2.13), which was two fifths of a
training step; the matrix products around it are what bfloat16 speeds up.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _SinglePrecision(TorchFunctionMode):
    """Every fused attention in single precision; what it returns has its inputs' type again."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        kind = args[0].dtype if args else kwargs["query"].dtype
        with torch.autocast("cpu", enabled=False):
            return func(*map(_single, args), **{name: _single(value) for name, value in kwargs.items()}).to(kind)


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def training_attention(device: torch.device, *, bf16: bool) -> Any:
    """How attention is computed in a forward pass that a backward pass follows.

    device (torch.device): Of the network.
    bf16 (bool): Whether the pass is in bfloat16.
    RETURNS (ContextManager): Single precision on a CPU where the rest is bfloat16; else nothing is changed.
    """
    return _SinglePrecision() if bf16 and device.type == "cpu" else contextlib.nullcontext()
