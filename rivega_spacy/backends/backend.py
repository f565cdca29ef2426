"""What entailment and grounding networks from elsewhere share: weights that load when first needed, batches, training state."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import srsly
import torch
from thinc.api import Model, Optimizer
from torch import nn

from ..pipes.contract import TrainStep
from ..pipes.queries import ImageQueries, QueryTarget
from ..post.errors import Errors, RivegaError, SetupError
from ..post.expressions import Expression
from ..post.failures import setting_up
from .common import Common
from .shim import TorchShim, shim_of, torch_model
from .weights import finite_or_raise, freeze

# Makes a network and what is saved beside its weights: (module, config).
Loaded = tuple[nn.Module, dict[str, Any]]


class _Held:
    """A network that several shims read from one path, as long as one of them lives."""

    def __init__(self, module: nn.Module, config: dict[str, Any]) -> None:
        self.module = module
        self.config = config


_READ: WeakValueDictionary[tuple[str, str], _Held] = WeakValueDictionary()


class BackendShim(TorchShim):
    """A network whose weights come from a file of someone else's, from a saved pipeline, or from random numbers.

    name (str): How errors name it.
    build (Callable[[dict], Module]): Makes the network from the saved config.
    load (Optional[Callable[[], Loaded]]): Makes it from its source; called when the network is first needed and no saved
        pipeline has filled it.
    load_from (Optional[Callable[[str], Loaded]]): Makes it from another file or folder, which `[initialize]` names.
    tools (Callable[[dict], Any]): Makes what the network needs besides weights (tokenizer, picture preparation) from the config.
    common (Common): How it is run, trained and saved.
    prepare (Optional[Callable[[Module, Common], None]]): Called once on every network put in place.
    amsgrad (bool): Train with AdamW's AMSGrad variant.
    parts (int): Training steps whose gradients are waiting for `finish_update`, which takes their mean (`accumulate_gradient`).
    reading (Optional[Dict[str, Any]]): How much of a text or picture is read: no part of the weights, so that what the config says holds for
        saved ones as well. It is in `cfg` beside what `load` returned.
    belongs (Optional[Dict[str, Any]]): What does belong to the weights, as far as the config says it: saved ones must agree (E080).
    lr_scale: See TorchShim.
    """

    def __init__(
        self,
        *,
        name: str,
        build: Callable[[dict[str, Any]], nn.Module],
        load: Callable[[], Loaded] | None,
        load_from: Callable[[str], Loaded] | None = None,
        tools: Callable[[dict[str, Any]], Any],
        common: Common,
        prepare: Callable[[nn.Module, Common], None] | None = None,
        amsgrad: bool = False,
        reading: dict[str, Any] | None = None,
        belongs: dict[str, Any] | None = None,
        lr_scale: Callable[[str], float] | None = None,
    ) -> None:
        super().__init__(
            None,
            name=name,
            config={**(belongs or {}), **(reading or {})},
            build=build,
            half_on_disk=common.half_on_disk,
            lr_scale=lr_scale,
            ema_decay=common.averaging,
            running=tuple(reading or ()),
        )
        self.common = common
        self._load = load
        self.load_from = load_from
        self._make_tools = tools
        self._tools: Any = None
        self._frozen = tuple(common.freeze or ())
        self._prepare = prepare
        self._amsgrad = amsgrad
        self._held: _Held | None = None
        self.parts = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_tools": None, "_held": None}

    @property
    def tools(self) -> Any:
        """What `tools` made from the config of the network now in place."""
        self.ready()
        if self._tools is None:
            with setting_up(self.name):
                self._tools = self._make_tools(self.cfg)
        return self._tools

    def ready(self) -> nn.Module:
        """The network, loaded from its source if nothing has filled it yet.

        RAISES (SetupError): E736 without a source, and whatever is wrong with the source or the device.
        """
        if self._model is None:
            with setting_up(self.name):
                if self._load is None:
                    raise RivegaError(Errors.E736.format(name=self.name))
                self.set_module(*(self._load() if self.common.save_weights else self._read_once(self._load)))
        return self._model

    def _read_once(self, load: Callable[[], Loaded]) -> Loaded:
        key = (self.name, str(self.common.path))
        held = _READ.get(key) or _Held(*load())
        self._held = _READ[key] = held
        return held.module, held.config

    def must_save(self) -> None:
        """RAISES (SetupError): E906 if what the network learns, or begins with, would not be saved."""
        if not self.common.save_weights:
            raise SetupError(Errors.E906.format(name=self.name))

    def begin_with(self, weights: str) -> None:
        """Take other weights than those the architecture was made with, at once, so that what is wrong with them is said now.

        weights (str): File or folder of published weights.
        """
        if self.load_from is None:
            raise RivegaError(Errors.E207.format(component=self.name, model=self.name, weights=weights))
        self.must_save()
        self._load = partial(self.load_from, weights)
        self._model = None
        self.ready()

    def set_module(self, module: nn.Module, config: dict[str, Any] | None = None) -> None:
        super().set_module(module, config if config is None else self._agreed(config))
        self._settle()

    def to_bytes(self) -> bytes:
        if not self.common.save_weights:
            return srsly.msgpack_dumps({"config": {}, "state": b""})
        # What is saved holds its weights, also where nothing has asked for them yet.
        if self._load is not None:
            self.ready()
        return super().to_bytes()

    def from_bytes(self, bytes_data: bytes) -> "BackendShim":
        super().from_bytes(bytes_data)
        if self._model is not None:
            self._settle()
        return self

    def finish_update(self, optimizer: Optimizer) -> None:
        """See TorchShim; a batch computed in parts, each with the mean of its losses, takes the step of the mean of those."""
        if self._model is not None and self.parts > 1:
            gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
            torch._foreach_div_(gradients, float(self.parts))
        self.parts = 0
        super().finish_update(optimizer)

    def _settle(self) -> None:
        self._tools = None
        freeze(self._model, self._frozen)
        if self._prepare is not None:
            self._prepare(self._model, self.common)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        optimizer = super()._make_optimizer()
        for group in optimizer.param_groups:
            group["amsgrad"] = self._amsgrad
        return optimizer


def check_source(path: str | None, network: dict[str, Any] | None, *, of_file: dict[str, Any] | None = None) -> None:
    """Refuse settings that could have no effect.

    path (Optional[str]): Of published weights. network (Optional[Dict[str, Any]]): Sizes of a network to train from scratch.
    of_file (Optional[Dict[str, Any]]): Settings of how weights of a file are read, None where they were left as they are.
    RAISES (RivegaError): E849 for sizes beside a file that has its own, and for settings of a file where there will be none.
    """
    if network is None:
        return
    if path is not None:
        raise RivegaError(
            Errors.E849.format(
                option="network", where="beside `path`, whose weights have sizes of their own", remedy="leave `path` out"
            )
        )
    for option, value in (of_file or {}).items():
        if value is not None:
            raise RivegaError(Errors.E849.format(option=option, where="beside `network`", remedy="say it within `network`"))


def belonging(network: dict[str, Any] | None, of_file: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a config says of sizes that belong to the weights (BackendShim's `belongs`), by the names under which they are saved.

    network, of_file: See `check_source`; of a file's sizes those that are said.
    """
    said = network if network is not None else {name: value for name, value in (of_file or {}).items() if value is not None}
    return {"network": said} if said else {}


def backend_model(
    name: str,
    shim: BackendShim,
    predict: Callable[[BackendShim, list[ImageQueries]], list[Any]],
    *,
    train_step: TrainStep | None = None,
    arrays: bool = True,
) -> Model:
    """The Thinc model around a network that answers questions about pictures.

    name (str): Name of the layer.
    predict (Callable): (shim, batch) -> one array for each picture: n probabilities, n x 5 boxes with scores, or masks.
    train_step (Optional[Callable]): See `rivega_spacy.pipes.contract`; None if the network cannot be trained.
    arrays (bool): The answers are arrays, to be put on the model's device; else they are passed on as they are.
    RETURNS (Model): Its backward pass does nothing: it is trained through `train_step`.
    """
    attrs: dict[str, Any] = {} if train_step is None else {"train_step": partial(_counted, train_step)}
    if shim.load_from is not None:
        attrs["load"] = _begin_with
    return torch_model(name, shim, partial(_forward, predict=predict, arrays=arrays), attrs=attrs, init=_init)


def _forward(
    model: Model,
    batch: list[ImageQueries],
    is_train: bool,
    *,
    predict: Callable[[BackendShim, list[ImageQueries]], list[Any]],
    arrays: bool,
) -> tuple[list[Any], Callable]:
    ops: Any = model.ops
    found = predict(shim_of(model, BackendShim), list(batch))
    return [ops.asarray(rows, dtype="f") for rows in found] if arrays else found, no_gradient


def no_gradient(gradients: Any) -> list[Any]:
    """The way back of a network that is trained by its `train_step`, or not at all."""
    return []


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    shim_of(model, BackendShim).ready()


def _counted(train_step: TrainStep, model: Model, *arguments: Any, **options: Any) -> dict[str, float]:
    shim_of(model, BackendShim).must_save()
    losses = train_step(model, *arguments, **options)
    shim_of(model, BackendShim).parts += any(losses.values())
    return losses


def _begin_with(model: Model, weights: str) -> None:
    shim_of(model, BackendShim).begin_with(weights)


# Indices and mask of texts, n x t each.
Tokenized = tuple[torch.Tensor, torch.Tensor]


def answers(
    shim: BackendShim,
    batch: list[ImageQueries],
    *,
    nothing: np.ndarray,
    wording: Callable[[Expression], str],
    tokens: Callable[[list[str]], Tokenized],
    look: Callable[[nn.Module, list[np.ndarray]], Any],
    read: Callable[[nn.Module, Any, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    batch_size: int,
    bf16: bool,
) -> list[np.ndarray]:
    """Ask a network that encodes pictures apart from texts: each picture once, then all expressions in passes across pictures.

    nothing (ndarray): The answers about a picture that nothing is asked about: of length 0.
    wording (Callable): (expression) -> the words that the network reads.
    tokens (Callable): (texts) -> their indices and mask.
    look (Callable): (network, pictures) -> what was seen in them.
    read (Callable): (network, seen, picture of each expression, indices, mask) -> one row for each expression.
    batch_size (int): Expressions in one pass. bf16 (bool): Compute in bfloat16.
    RETURNS (List[ndarray]): One array for each picture, a row an expression, float32.
    RAISES (RivegaError): E735 if the network computes what is no number.
    """
    found = [nothing for _ in batch]
    for group in questions(batch, batch_size):
        texts, owner = flat_texts([batch[n].expressions for n in group], wording)
        ids, mask = tokens(texts)
        with shim.inference(bf16=bf16) as network:
            seen = look(network, [batch[n].image for n in group])
            parts = []
            # One picture may be asked about more expressions than fit into a pass.
            for start in range(0, len(owner), batch_size):
                rows = slice(start, start + batch_size)
                parts.append(read(network, seen, *(value[rows].to(shim.device) for value in (owner, ids, mask))))
            values = finite_or_raise(torch.cat(parts).float().cpu().numpy(), name=shim.name)
        for place, n in enumerate(group):
            found[n] = values[(owner == place).numpy()]
    return found


def flat_texts(expressions: Sequence[Sequence[Expression]], wording: Callable[[Expression], str]) -> tuple[list[str], torch.Tensor]:
    """All expressions in one list, in the words that the network reads, and for each the place of its picture."""
    texts = [wording(expression) for row in expressions for expression in row]
    owner = torch.tensor([place for place, row in enumerate(expressions) for _ in row], dtype=torch.long)
    return texts, owner


def judged(
    batch: Sequence[ImageQueries], targets: Sequence[Sequence[QueryTarget]]
) -> tuple[list[np.ndarray], list[list[Expression]], list[bool]]:
    """What entailment learns from: expressions of which somebody said whether the picture shows them.

    RETURNS (Tuple[List[ndarray], List[List[Expression]], List[bool]]): Pictures, the expressions of each, and the answers of them all.
    """
    pictures, expressions, shown = [], [], []
    for queries, row in zip(batch, targets):
        known = [(asked, target.groundable) for asked, target in zip(queries.expressions, row) if target.groundable is not None]
        if known:
            pictures.append(queries.image)
            expressions.append([asked for asked, _ in known])
            shown += [bool(answer) for _, answer in known]
    return pictures, expressions, shown


def questions(batch: Sequence[ImageQueries], size: int) -> Iterator[list[int]]:
    """Indices of pictures, grouped so that a group asks about `size` expressions (a picture with more is a group of its own).

    Pictures that nothing is asked about are left out.
    """
    group: list[int] = []
    count = 0
    for n, queries in enumerate(batch):
        if not queries.expressions:
            continue
        if group and count + len(queries.expressions) > size:
            yield group
            group, count = [], 0
        group.append(n)
        count += len(queries.expressions)
    if group:
        yield group


def set_dropout(module: nn.Module, rate: float) -> None:
    """The share of dropout in every layer that has any, as `[training] dropout` says."""
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = rate
        elif isinstance(getattr(part, "dropout", None), float):
            setattr(part, "dropout", rate)  # noqa: B010 - not every layer has one


def generator() -> np.random.Generator:
    """Random numbers that follow the seed of the training (`[training] seed`)."""
    return np.random.default_rng(np.random.randint(0, 2**31 - 1))


def warn_once(seen: set, message: str) -> None:
    """Warn the first time only; `seen` remembers."""
    if message not in seen:
        seen.add(message)
        warnings.warn(message, stacklevel=3)
