"""PyTorch modules inside Thinc models: safetensors on disk, torch's own fused optimiser, an optional moving average.

Thinc's PyTorchShim pickles its state (torch.save) and sends every parameter through Thinc's optimiser in Python. Here weights are
written as safetensors, in half precision by default, and the step is torch's fused AdamW, whose learning rate, decay, betas and
clipping are read from the Thinc optimiser, so that spaCy's schedules and `[training.optimizer]` keep their meaning.
"""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import srsly
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from thinc.api import Model, Optimizer
from thinc.shims import PyTorchShim
from thinc.util import get_torch_default_device

from ..post.errors import Errors, RivegaError, SetupError
from ..post.versions import picklable
from .eight_bits import in_eight_bits
from .folding import folded
from .state import ROW_SCALE, load_optimizer_state, pack_rows, unpack_rows
from .weights import check_fits, load_state

Kind = TypeVar("Kind", bound="TorchShim")

if hasattr(os, "register_at_fork"):
    # A forked worker inherits OpenMP state without its threads and would wait for them for ever; workers also share the
    # cores already.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


_RESUMED = (0, "rivega_resumed")


def one_at_a_time(device: torch.device, *, bf16: bool = False) -> bool:
    """Whether a network answers about one picture, crop or phrase at a time.

    So on a CPU: sums are made in another order for another number of them, and a post should not be answered otherwise because of those
    beside it. Not on a GPU, which is slow so, nor in bfloat16, whose numbers are no promise.

    device (torch.device): Where the network is.
    bf16 (bool): Whether it computes in bfloat16.
    RETURNS (bool): Whether.
    """
    return device.type == "cpu" and not bf16


class TorchShim(PyTorchShim):
    """A PyTorch module as Thinc sees it.

    module (Optional[torch.nn.Module]): The network; may be None if `build` is given, until `from_bytes` or `set_module`.
    name (str): How errors name it.
    config (Optional[dict]): What is saved beside the weights (JSON-like: numbers, strings, lists, dicts).
    build (Optional[Callable[[dict], Module]]): Makes the network from the saved config, so that loading needs nothing but the file.
    half_on_disk (bool): Write floating-point weights in half precision.
    lr_scale (Optional[Callable[[str], float]]): Learning-rate multiplier of a parameter, by its name.
    ema_decay (float): Keep a moving average of the weights, which spaCy evaluates and saves where
        `[training.optimizer] use_averages = true`; 0 turns it off.
    running (Sequence[str]): Which entries of `config` the weights do not depend on: there the config given here wins over a saved one.
        In the others the two must agree.
    """

    def __init__(
        self,
        module: torch.nn.Module | None,
        *,
        name: str = "network",
        config: dict[str, Any] | None = None,
        build: Callable[[dict[str, Any]], torch.nn.Module] | None = None,
        half_on_disk: bool = True,
        lr_scale: Callable[[str], float] | None = None,
        ema_decay: float = 0.0,
        byte_tables: Sequence[str] = (),
        running: Sequence[str] = (),
    ) -> None:
        super().__init__(module, dict(config or {}))
        self._given = dict(config or {})
        self._running = tuple(running)
        self.name = name
        self.build = build
        self.half_on_disk = half_on_disk
        self.lr_scale = lr_scale
        self.ema_decay = ema_decay
        self.byte_tables = tuple(byte_tables)
        self.helper: torch.nn.Module | None = None
        self._averages: dict[str, torch.Tensor] = {}
        self._torch_optimizer: torch.optim.Optimizer | None = None
        self._steps = 0
        self._digest: str | None = None
        self._folded: torch.nn.Module | None = None
        self._eight_bits: torch.nn.Module | None = None
        self._resumed: dict[str, torch.Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        # For worker processes and copies: the networks for answering alone are made again from the weights.
        return {**self.__dict__, "_folded": None, "_eight_bits": None, "_model": picklable(self._model)}

    @property
    def module(self) -> torch.nn.Module:
        """The network. RAISES (SetupError): E023 if there is none yet."""
        if self._model is None:
            raise SetupError(Errors.E023.format(name=self.name))
        return self._model

    def set_module(self, module: torch.nn.Module, config: dict[str, Any] | None = None) -> None:
        """Put another network in place, on the device of the current Thinc ops."""
        self._model = module.to(get_torch_default_device())
        if config is not None:
            self.cfg = dict(config)
        self._forget()

    @property
    def filled(self) -> bool:
        """Whether there is a network."""
        return self._model is not None

    @property
    def steps(self) -> int:
        """Optimiser steps taken, those before a resumed run's start included."""
        return self._steps

    def add_helper(self, module: torch.nn.Module) -> torch.nn.Module:
        """Train another module along, which is not part of the network and is not saved with it: an auxiliary head.

        module (Module): The head.
        RETURNS (Module): The same on the network's device.
        """
        self.helper = module = module.to(self.device)
        self._torch_optimizer = None
        mine = _with_prefix(self._resumed, "helper.")
        if mine:
            load_state(module, mine, name=f"{self.name} helper")
        return module

    @property
    def digest(self) -> str:
        """Hash of config and weights: equal networks have equal digests, which is what caches are keyed by."""
        if self._digest is None:
            self._digest = hashlib.blake2b(self.to_bytes(), digest_size=16).hexdigest()
        return self._digest

    @contextlib.contextmanager
    def inference(self, *, bf16: bool = False, fold: bool = False, eight_bits: bool = False) -> Iterator[torch.nn.Module]:
        """The network in evaluation mode, without gradients; `bf16` computes in bfloat16 where that is safe, `fold` without batch
        normalisations (`folding.folded`), `eight_bits` with its linear layers in eight bits (`eight_bits.in_eight_bits`)."""
        module = self.module
        module.eval()
        if fold:
            if self._folded is None:
                self._folded = folded(module)
            module = self._folded
        if eight_bits:
            if self._eight_bits is None:
                self._eight_bits = in_eight_bits(module)
            module = self._eight_bits
        with torch.inference_mode(), self.autocast(bf16):
            yield module

    def autocast(self, bf16: bool) -> Any:
        """torch.autocast in bfloat16 on the network's device, or nothing."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)

    def finish_update(self, optimizer: Optimizer) -> None:
        """One AdamW step with the rates that the Thinc optimiser has now; gradients are cleared after it.

        optimizer (Optimizer): learn_rate, L2 (decoupled weight decay, matrices only), b1, b2, eps and grad_clip (norm over the
            whole network) are read from it.
        """
        if self._torch_optimizer is None:
            self._torch_optimizer = self._make_optimizer()
        if self._resumed:
            self._catch_up(optimizer)
        parameters = [p for group in self._torch_optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        if optimizer.grad_clip:
            norm = torch.nn.utils.clip_grad_norm_(parameters, float(optimizer.grad_clip))
            if not bool(torch.isfinite(norm)):
                # One such step would turn every weight into NaN.
                warnings.warn(Errors.W081.format(name=self.name, step=self._steps + 1), stacklevel=2)
                self._torch_optimizer.zero_grad(set_to_none=True)
                return
        for group in self._torch_optimizer.param_groups:
            group["lr"] = float(optimizer.learn_rate) * group["rivega_lr_scale"]
            group["weight_decay"] = float(optimizer.L2) if group["rivega_decay"] else 0.0
            group["betas"] = (float(optimizer.b1), float(optimizer.b2))
            group["eps"] = float(optimizer.eps)
        self._torch_optimizer.step()
        self._torch_optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        self._changed()
        if self.ema_decay:
            self._update_averages(optimizer)

    def training_state(self) -> dict[str, torch.Tensor]:
        """Everything that a training that goes on later needs: weights in full precision, average, optimiser, helper, steps."""
        state = {"net." + name: value for name, value in self.module.state_dict().items()}
        state.update({"average." + name: value for name, value in self._averages.items()})
        if self.helper is not None:
            state.update({"helper." + name: value for name, value in self.helper.state_dict().items()})
        if self._torch_optimizer is not None:
            for index, fields in self._torch_optimizer.state_dict()["state"].items():
                state.update({f"optimizer.{index}.{name}": value for name, value in fields.items()})
        state["steps"] = torch.tensor(self._steps)
        return {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}

    def set_training_state(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from `training_state`: at the next step the optimiser's schedules are where they were.

        state (Dict[str, Tensor]): What `training_state` returned.
        RAISES (RivegaError): E022 if it belongs to a network of another shape, E021 if it is damaged.
        """
        load_state(self.module, _with_prefix(state, "net."), name=self.name)
        self._forget()
        averages = _with_prefix(state, "average.")
        if averages:
            own = {name: value for name, value in self.module.state_dict().items() if value.is_floating_point()}
            check_fits(own, averages, name=f"{self.name} average")
        self._averages = {name: value.to(self.device) for name, value in averages.items()}
        steps = state.get("steps")
        if steps is None or steps.ndim or steps.is_floating_point() or int(steps) < 0:
            raise RivegaError(Errors.E021.format(name=self.name, reason="it does not say after how many steps it was saved"))
        self._steps = int(steps)
        self._resumed = state
        if self.helper is not None:
            self.add_helper(self.helper)

    def _catch_up(self, optimizer: Optimizer) -> None:
        # The optimiser's state belongs to parameters in the order in which they were made, helper included: known only now.
        if self._torch_optimizer is not None:
            try:
                load_optimizer_state(self._torch_optimizer, _with_prefix(self._resumed, "optimizer."))
            except ValueError as error:
                raise RivegaError(Errors.E021.format(name=f"{self.name} optimiser's", reason=error)) from error
        self._resumed = {}
        # Several networks may share the optimiser: its schedules are wound on once, which its counts of updates remember.
        if not optimizer.nr_update[_RESUMED]:
            optimizer.nr_update[_RESUMED] = 1
            for _ in range(self._steps):
                optimizer.step_schedules()

    @contextlib.contextmanager
    def use_params(self, params: Any) -> Iterator[None]:
        """Swap in the moving average while spaCy evaluates or saves."""
        if not self._averages:
            yield
            return
        state = self.module.state_dict()
        backup = {name: state[name].clone() for name in self._averages}
        with torch.no_grad():
            for name, value in self._averages.items():
                state[name].copy_(value)
        self._changed()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in backup.items():
                    state[name].copy_(value)
            self._changed()

    def to_bytes(self) -> bytes:
        state = {} if self._model is None else self._model.state_dict()
        tensors: dict[str, torch.Tensor] = {}
        for name, value in state.items():
            table = value.is_floating_point() and any(name.endswith(end) for end in self.byte_tables)
            packed = pack_rows(value.detach().cpu()) if table else None
            if packed:
                tensors[name], tensors[name + ROW_SCALE] = packed
            else:
                tensors[name] = self._for_disk(value)
        return srsly.msgpack_dumps({"config": self.cfg, "state": save_tensors(tensors) if tensors else b""})

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        try:
            config, state = _opened(bytes_data)
        except ValueError as error:
            raise RivegaError(Errors.E021.format(name=self.name, reason=error)) from error
        self.cfg = self._agreed(config)
        if not state:
            self._model = None if self.build else self._model
            self._forget()
            return self
        if self.build is not None:
            self._model = self.build(self.cfg)
        load_state(self.module, state, name=self.name)
        self._model.to(get_torch_default_device())
        self._forget()
        return self

    def _agreed(self, saved: dict[str, Any]) -> dict[str, Any]:
        """The saved config with what the given one may say otherwise. RAISES (RivegaError): E080 if it says what it may not."""
        fixed = {key: value for key, value in self._given.items() if key not in self._running and key in saved}
        apart = list(_apart(saved, fixed))
        if apart:
            given, found = (", ".join(f"{row[0]} = {row[place]}" for row in apart) for place in (1, 2))
            raise RivegaError(Errors.E080.format(name=self.name, given=given, saved=found))
        return {**saved, **{key: self._given[key] for key in self._running if key in self._given}}

    def _changed(self) -> None:
        """What was worked out from the weights holds no longer."""
        self._digest = None
        self._folded = None
        self._eight_bits = None

    def _forget(self) -> None:
        self._changed()
        self._torch_optimizer = None
        self._averages = {}
        self._steps = 0
        self._resumed = {}

    def _for_disk(self, value: torch.Tensor) -> torch.Tensor:
        value = value.detach().cpu().contiguous()
        if self.half_on_disk and value.dtype in (torch.float32, torch.float64, torch.bfloat16):
            half = value.to(torch.float16)
            # A value beyond half precision's range would come back infinite, and a tensor of nothing but tiny values would lose
            # its digits, or all of itself: such a tensor stays as it is.
            overflows = bool(torch.isfinite(value).all()) and not bool(torch.isfinite(half).all())
            vanishes = value.numel() > 0 and 0.0 < float(value.abs().max()) < torch.finfo(torch.float16).smallest_normal
            if not overflows and not vanishes:
                value = half
        return value.clone()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        named = list(self.module.named_parameters())
        if self.helper is not None:
            named += [("helper." + name, parameter) for name, parameter in self.helper.named_parameters()]
        for name, parameter in named:
            if parameter.requires_grad:
                scale = self.lr_scale(name) if self.lr_scale else 1.0
                groups.setdefault((scale, parameter.ndim >= 2), []).append(parameter)
        settings = [
            {"params": params, "rivega_lr_scale": scale, "rivega_decay": decay} for (scale, decay), params in groups.items()
        ]
        return torch.optim.AdamW(settings, lr=1e-3, fused=True)

    def _update_averages(self, optimizer: Optimizer) -> None:
        state = {name: value for name, value in self.module.state_dict().items() if value.is_floating_point()}
        # The average forgets its first steps faster, else it would hold random weights for long.
        decay = min(self.ema_decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            if not self._averages:
                self._averages = {name: value.detach().clone() for name, value in state.items()}
            names = list(self._averages)
            torch._foreach_lerp_([self._averages[n] for n in names], [state[n] for n in names], 1.0 - decay)
        if optimizer.averages is not None:
            # spaCy enters `use_params` only where the optimiser holds averages.
            averages: dict[Any, Any] = optimizer.averages
            averages[(self.id, "rivega_average")] = np.zeros((1,), dtype="float32")


def _opened(data: bytes) -> tuple[Any, dict[str, torch.Tensor]]:
    """Config and weights of what `TorchShim.to_bytes` made. RAISES (ValueError): If the bytes are nothing of the kind."""
    try:
        message = srsly.msgpack_loads(data)
        config, tensors = message["config"], message["state"]
        return config, unpack_rows(load_tensors(tensors)) if tensors else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError, SafetensorError) as error:
        raise ValueError(error) from error


def saved_weights(data: bytes) -> dict[str, torch.Tensor]:
    """The weights in a file `model` of a component whose network is a TorchShim.

    data (bytes): The file.
    RETURNS (Dict[str, Tensor]): Weights by name.
    RAISES (ValueError): If it is no such file.
    """
    try:
        # Thinc keeps a list of shims for every layer, of which there is one.
        own = srsly.msgpack_loads(data)["shims"][0][0]
    except (KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(error) from error
    return _opened(own)[1]


def _apart(saved: dict[str, Any], given: dict[str, Any], head: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Names, given and saved values of what is given otherwise than it was saved."""
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(saved.get(key), dict):
            yield from _apart(saved[key], value, f"{head}{key}.")
        elif saved.get(key) != value:
            yield f"{head}{key}", value, saved.get(key)


def _with_prefix(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def shim_of(model: Model, kind: type[Kind]) -> Kind:
    """The network of a model that `torch_model` made.

    model (Model): Its first shim is of the kind.
    kind (Type[TorchShim]): TorchShim, or the class of a backend.
    RETURNS (TorchShim): The shim.
    """
    shim = model.shims[0]
    if not isinstance(shim, kind):
        raise TypeError(f"{model.name} holds a {type(shim).__name__}, not a {kind.__name__}")
    return shim


def torch_model(
    name: str,
    shim: TorchShim,
    forward: Callable[[Model, Any, bool], tuple[Any, Callable]],
    *,
    attrs: dict[str, Any] | None = None,
    layers: list[Model] | None = None,
    init: Callable | None = None,
) -> Model:
    """A Thinc model around a TorchShim.

    name (str): Name of the layer.
    shim (TorchShim): The network, found again with `shim_of`.
    forward (Callable): (model, inputs, is_train) -> (outputs, backprop).
    RETURNS (Model): What architectures return.
    """
    return Model(name, forward, init=init, attrs=attrs or {}, shims=[shim], layers=layers or [])
