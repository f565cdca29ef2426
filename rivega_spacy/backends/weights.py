"""The one reader of weights and the one step that fits them into a network: nothing in a file is run, what does not fit is named."""

import argparse
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..post.errors import Errors, RivegaError
from .pickles import check_no_bomb


def read_checkpoint(path: Any, *, what: str) -> dict[str, Any]:
    """Open a checkpoint without running any code in it.

    path (Union[str, Path]): A .safetensors file or one written by torch.save.
    what (str): How errors call the thing expected, for example "an ALBEF checkpoint".
    RETURNS (Dict[str, Any]): The file's top level.
    RAISES (RivegaError): E020 missing, E730 another kind of file or one that says it holds more than it does, E737 Python objects besides
        weights in it.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(str(path))
        except (SafetensorError, ValueError, OSError) as error:
            raise RivegaError(Errors.E730.format(path=path, what=what, reason=error)) from error
    try:
        check_no_bomb(path)
        # Losses and scores in training checkpoints are often NumPy scalars, which are harmless.
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "Unsupported" in reason or "GLOBAL" in reason:
            named = [line.strip() for line in reason.split("\n") if "GLOBAL" in line]
            raise RivegaError(Errors.E737.format(path=path, reason=(named or [reason])[0][:200])) from error
        raise RivegaError(Errors.E730.format(path=path, what=what, reason="it cannot be read as weights")) from error
    except (
        RuntimeError, EOFError, KeyError, ValueError, OSError, zipfile.BadZipFile, IndexError, TypeError, AttributeError, OverflowError,
        MemoryError, AssertionError, NotImplementedError, struct.error,
    ) as error:  # fmt: skip
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=reason)) from error
    if not isinstance(content, dict):
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=f"it holds a {type(content).__name__}"))
    largest = max(_sizes(content), default=0)
    if largest > path.stat().st_size:
        # One value of a file may stand for any number of them; whoever copies such a tensor fills the memory.
        reason = f"it says that it holds a tensor of {largest} bytes, which is more than it has itself"
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=reason))
    return content


def _sizes(value: Any) -> Iterator[int]:
    """Bytes of every tensor, as large as it says that it is."""
    waiting, seen = [value], set()
    while waiting:
        held = waiting.pop()
        if isinstance(held, torch.Tensor):
            yield held.numel() * held.element_size()
        elif isinstance(held, (dict, list, tuple, argparse.Namespace)) and id(held) not in seen:
            seen.add(id(held))
            items = vars(held) if isinstance(held, argparse.Namespace) else held
            waiting += items.values() if isinstance(items, dict) else items


def tensors_only(mapping: Any, *, path: Any, what: str) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint's part.

    RAISES (RivegaError): E730 if it is not a dict of tensors by name.
    """
    if not isinstance(mapping, dict) or not mapping:
        raise RivegaError(Errors.E730.format(path=path, what=what, reason="it holds no weights by name"))
    wrong = [str(name) for name, value in mapping.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise RivegaError(Errors.E730.format(path=path, what=what, reason=f"{', '.join(wrong[:5])} are not tensors"))
    return dict(mapping)


def check_finite(state: dict[str, torch.Tensor], *, path: Any, name: str) -> None:
    """RAISES (RivegaError): E734 naming the tensors that hold NaN or infinity."""
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if bad:
        raise RivegaError(Errors.E734.format(path=path, name=name, tensors=listing(bad)))


def load_state(
    module: nn.Module,
    state: dict[str, torch.Tensor],
    *,
    name: str,
    path: Any = None,
    may_miss: Callable[[str], bool] | None = None,
) -> list[str]:
    """Load weights into a network, all or nothing, and say exactly what does not fit.

    module (Module): The network, changed in place.
    state (Dict[str, Tensor]): Weights by the network's names, in any floating-point precision.
    name (str): How errors call the network.
    path (Any): The published file they are from, if so: its values must be finite, and BatchNorm's `num_batches_tracked`, which no
        result depends on, may be absent.
    may_miss (Optional[Callable[[str], bool]]): Which names may be absent and keep their values, for example a new head.
    RETURNS (List[str]): The names that were absent.
    RAISES (RivegaError): E022 (of a file: E733) with missing and surplus names and wrong shapes, E734 for values that are not finite;
        nothing is loaded then.
    """
    missing, surplus, shapes = mismatches(module.state_dict(), state)
    allowed = [
        key
        for key in missing
        if (may_miss is not None and may_miss(key)) or (path is not None and key.endswith("num_batches_tracked"))
    ]
    missing = [key for key in missing if key not in set(allowed)]
    if missing or surplus or shapes:
        parts = {"name": name, "missing": listing(missing), "surplus": listing(surplus), "shapes": listing(shapes)}
        raise RivegaError(Errors.E022.format(**parts) if path is None else Errors.E733.format(path=path, **parts))
    if path is not None:
        check_finite(state, path=path, name=name)
    module.load_state_dict(state, strict=False)
    return allowed


def check_fits(own: dict[str, torch.Tensor], state: dict[str, torch.Tensor], *, name: str) -> None:
    """RAISES (RivegaError): E022 if tensors have not the names and shapes of a network's own."""
    missing, surplus, shapes = mismatches(own, state)
    if missing or surplus or shapes:
        parts = {"missing": listing(missing), "surplus": listing(surplus), "shapes": listing(shapes)}
        raise RivegaError(Errors.E022.format(name=name, **parts))


def mismatches(own: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> tuple[list[str], list[str], list[str]]:
    """What differs between a network's tensors and weights for it.

    RETURNS (Tuple[List[str], List[str], List[str]]): Names that the weights lack, names that the network does not know, and both shapes
        where they differ.
    """
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if own[key].shape != state[key].shape
    ]
    return sorted(set(own) - set(state)), sorted(set(state) - set(own)), shapes


def listing(names: list[str], limit: int = 5) -> str:
    """The first few names and how many more there are."""
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def finite_or_raise(values: np.ndarray, *, name: str) -> np.ndarray:
    """RAISES (RivegaError): E735 if a network's results are not finite numbers."""
    if not np.isfinite(values).all():
        raise RivegaError(Errors.E735.format(name=name))
    return values


def freeze(module: nn.Module, prefixes: Iterable[str]) -> None:
    """Stop training the parameters whose names begin with one of the prefixes.

    RAISES (RivegaError): E731 for a prefix that no parameter has, which is a misspelling.
    """
    for prefix in prefixes:
        found = [parameter for key, parameter in module.named_parameters() if key.startswith(prefix)]
        if not found:
            raise RivegaError(Errors.E731.format(what="list `freeze`", reason=f"no parameter begins with {prefix!r}"))
        for parameter in found:
            parameter.requires_grad_(False)


def _numpy_scalars() -> list[Any]:
    core = getattr(np, "_core", None) or np.core
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    return [(core.multiarray.scalar, "numpy.core.multiarray.scalar"), core.multiarray.scalar, np.dtype, *kinds]
