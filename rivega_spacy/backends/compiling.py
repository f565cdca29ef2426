"""torch.compile as an option: a network's layers are compiled where they stand, so that names of weights stay as they are.

Layers are compiled one by one, not the network as a whole: equal layers share one compiled form, and loops over a batch's pictures or
over decoding steps stay in Python, where other numbers of them compile nothing anew.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..post.errors import Errors, RivegaError

if TYPE_CHECKING:
    from .common import Common

# What a config's `compiled` may be: no, yes (Inductor), or one of torch.compile's backends.
Compiled = bool | str
DEFAULT_BACKEND = "inductor"


def compile_parts(parts: Iterable[nn.Module], compiled: Compiled) -> None:
    """Compile modules in place, when they first run; those that are compiled already stay so.

    parts (Iterable[Module]): Layers, for example.
    compiled (Compiled): False changes nothing.
    RAISES (RivegaError): E750 for a backend that is not there, E751 if Inductor finds no C++ compiler.
    """
    if not compiled:
        return
    backend = DEFAULT_BACKEND if compiled is True else compiled
    known = torch._dynamo.list_backends(exclude_tags=None)
    if backend not in known:
        raise RivegaError(Errors.E750.format(backend=backend, known=", ".join(torch._dynamo.list_backends())))
    parts = list(parts)
    if backend == DEFAULT_BACKEND and any(tensor.device.type == "cpu" for part in parts[:1] for tensor in part.parameters()):
        _need_compiler()
    for part in parts:
        if part._compiled_call_impl is None:
            part.compile(backend=backend, dynamic=True)


def prepare(network: nn.Module, common: "Common") -> None:
    """What is set on a port of ours before it is used; it names its `layers()`."""
    port: Any = network
    port.set_gradient_checkpointing(common.gradient_checkpointing)
    compile_parts(port.layers(), common.compiled)


def _need_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise RivegaError(Errors.E751) from error
