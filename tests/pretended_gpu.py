"""A GPU that is none: tensors on it are ordinary ones that refuse to meet tensors of the CPU.

PyTorch reports another device for them ("lazy:0", a device type that needs no driver), operations between the two devices raise as they
would on a GPU, `.numpy()` does too, and what is fetched with `.cpu()` or `.item()` is computed as usual. Unlike the meta device it has
values, so that code whose shapes depend on numbers runs as well.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from rivega_spacy.backends import shim as shims

DEVICE = torch.device("lazy", 0)


class Far(torch.Tensor):
    """A tensor on the pretended device."""

    near: torch.Tensor

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> "Far":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            layout=near.layout,
            device=DEVICE,
            requires_grad=False,
        )
        made.near = near
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextlib.contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within it, tensors can be made on and moved to DEVICE, and networks are put there.

    The device knows neither bfloat16 to switch on or off nor inference mode.
    """
    with (
        patch.object(torch, "autocast", lambda *_, **__: contextlib.nullcontext()),
        patch.object(torch, "inference_mode", torch.no_grad),
        patch.object(shims, "get_torch_default_device", lambda: DEVICE),
        _FromNumbers(),
        _Operations(),
    ):
        yield


class _FromNumbers(TorchFunctionMode):
    """`torch.tensor` asks the device for memory before operations are looked at."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    far = [value for value in flat if isinstance(value, Far)]
    asked = kwargs.get("device")
    moves = func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
    indexes = func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)
    if far and not moves and not indexes:
        # A GPU takes single numbers from the CPU, nothing else.
        strangers = [value for value in flat if isinstance(value, torch.Tensor) and not isinstance(value, Far) and value.dim()]
        if strangers:
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {DEVICE} and cpu")
    asked_here = asked is not None and torch.device(asked).type == DEVICE.type
    ends_far = bool(far) if asked is None else asked_here
    if func.overloadpacket is torch.ops.aten.copy_:
        ends_far = isinstance(args[0], Far)
    # Another device stays what it is: transformers 5 makes networks on `meta` before it reads their weights.
    if asked_here:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    near_args, near_kwargs = tree_map(lambda value: value.near if isinstance(value, Far) else value, (args, kwargs))
    result = func(*near_args, **near_kwargs)
    if func.overloadpacket is torch.ops.aten._local_scalar_dense or not ends_far:
        return result
    # What works in place returns what it was given, and views of it keep sharing memory.
    known = {id(value.near): value for value in far}

    def moved(value: Any) -> Any:
        return known[id(value)] if id(value) in known else Far(value)

    return tree_map(lambda value: moved(value) if isinstance(value, torch.Tensor) else value, result)
