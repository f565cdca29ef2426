"""OFA within Thinc models: one network for all components with the same weights, each picture encoded once."""

import contextlib
import copy
import hashlib
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import srsly
import torch
from thinc.api import Optimizer

from ...pipes.queries import ImageQueries
from ...post.cache import RecentCache
from ...post.expressions import Expression
from ..backend import BackendShim, Loaded, belonging, check_source, questions
from ..common import Common
from ..compiling import compile_parts
from .checkpoint import load_ofa
from .config import OFAConfig
from .network import OFA, EncoderOutput, Patches
from .pictures import to_pixels
from .resnet import ResNetStem
from .tokens import OFATokenizer, clean_text

# Encoded pictures kept for each network; OFA-large makes 3.7 MB of a picture at 480 pixels.
CACHE_BYTES = 256 * 1024 * 1024
# Pictures that go through the stem together.
PICTURE_BATCH = 8
# Positions left free after the source: the decoder reads it again and then answers.
ANSWER_ROOM = 8

# Networks by what their weights are: components with equal weights share one.
_SHARED: "weakref.WeakValueDictionary[str, OFA]" = weakref.WeakValueDictionary()
_OWNERS: "weakref.WeakKeyDictionary[OFA, weakref.WeakSet]" = weakref.WeakKeyDictionary()
_PICTURES: "weakref.WeakKeyDictionary[OFA, PictureCache]" = weakref.WeakKeyDictionary()


class PictureCache(RecentCache[Patches]):
    """Encoded pictures, bounded in bytes; and what encodes them.

    encoded (int): How many pictures were encoded since the start.
    stem (Optional[ResNetStem]): The network's picture stem, folded for prediction.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        super().__init__(limit, _state_bytes)
        self.encoded = 0
        self.stem: ResNetStem | None = None

    def clear(self) -> None:
        """Forget all, because the weights changed."""
        self.stem = None
        super().clear()


def _state_bytes(picture: Patches) -> int:
    return picture.states.nbytes


class OFAShim(BackendShim):
    """A shim whose network may be another component's too, until one of them is trained.

    source (str): What the weights are loaded from, "" where they are random; equal sources are loaded once.
    source_of (Callable[[str], str]): The same of other weights.
    The rest: see BackendShim.
    """

    def __init__(
        self,
        *,
        source: str = "",
        source_of: Callable[[str], str] = str,
        **options: Any,
    ) -> None:
        super().__init__(tools=_tokenizer, build=_build, **options)
        self._source = source
        self._source_of = source_of
        self._tokens = 0

    def ready(self) -> OFA:
        """The network, loaded or found with another component. RAISES (RivegaError): E736 without a source."""
        if self._model is None and self._source and not self._frozen:
            found = _SHARED.get(self._source)
            if found is not None:
                config = next((dict(owner.cfg) for owner in _OWNERS.get(found, ())), None)
                if config is not None:
                    self.set_module(found, config)
                    return found
            _SHARED[self._source] = cast(OFA, super().ready())
        return cast(OFA, super().ready())

    def begin_with(self, weights: str) -> None:
        self._source = self._source_of(weights)
        super().begin_with(weights)

    def from_bytes(self, bytes_data: bytes) -> "OFAShim":
        key = hashlib.blake2b(bytes_data, digest_size=16).hexdigest()
        found = None if self._frozen else _SHARED.get(key)
        config = None if found is None else next((dict(owner.cfg) for owner in _OWNERS.get(found, ())), None)
        if found is not None and config is not None:
            self.set_module(found, config)
            return self
        super().from_bytes(bytes_data)
        if self._model is not None and not self._frozen:
            _SHARED[key] = self._model
        return self

    def _settle(self) -> None:
        super()._settle()
        self._model.eval()
        _OWNERS.setdefault(self._model, weakref.WeakSet()).add(self)
        compile_parts([*self._model.encoder.layers, *self._model.decoder.layers], self.common.compiled)

    def training_network(self, *, dropout: float, drop_path: float) -> OFA:
        """The network in training mode, with other components' copies left as they are."""
        network = self.ready()
        others = [owner for owner in _OWNERS.get(network, ()) if owner is not self and owner._model is network]
        if others:
            _OWNERS[network].discard(self)
            self.set_module(copy.deepcopy(network))
            network = self._model
        for key in [key for key, value in list(_SHARED.items()) if value is network]:
            del _SHARED[key]
        network.train()
        if not any(parameter.requires_grad for parameter in network.encoder.embed_images.parameters()):
            # Nobody learns there, so its statistics stay as they are, too.
            network.encoder.embed_images.eval()
        network.set_rates(dropout=dropout, drop_path=drop_path)
        network.set_checkpointing(self.common.gradient_checkpointing)
        return network

    def count_tokens(self, count: int) -> None:
        """Gradients are sums over tokens: `finish_update` divides by their number in all batches since the last step."""
        self._tokens += count

    def finish_update(self, optimizer: Optimizer) -> None:
        """See TorchShim; the loss of a step is a mean over the target tokens of all its batches (the published code's rule)."""
        if self._model is not None:
            gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
            if gradients and self._tokens > 1:
                torch._foreach_div_(gradients, float(self._tokens))
            pictures_of(self._model).clear()
        self._tokens = self.parts = 0
        super().finish_update(optimizer)

    @contextlib.contextmanager
    def use_params(self, params: Any) -> Iterator[None]:
        """See TorchShim."""
        if not self._averages:
            yield
            return
        network = cast(OFA, self.module)
        pictures_of(network).clear()
        with super().use_params(params):
            yield
        pictures_of(network).clear()


class Question(NamedTuple):
    """One expression about one picture.

    owner (int), place (int): Which query of the batch, which of its expressions.
    source (List[int]): Token ids.
    """

    owner: int
    place: int
    source: list[int]


def ofa_shim(common: Common, *, name: str, vocab: str | None, network: dict[str, Any] | None, ema: bool, seed: int) -> OFAShim:
    """The shim of an OFA architecture.

    common (Common): Its path is that of published weights; see `load_ofa`.
    vocab (Optional[str]): Folder of the vocabulary's files; None looks beside the weights.
    network (Optional[Dict[str, Any]]): Sizes (`OFAConfig`) of a network to train from scratch, if there is no `path`.
    ema (bool): Take the moving average that the file keeps.
    seed (int): Of random weights.
    RETURNS (OFAShim): Loads when first needed.
    RAISES (RivegaError): E849 for `network` beside a path, and for `ema` beside `network`.
    """
    check_source(common.path, network, of_file={"ema": ema or None})
    load = partial(_load, vocab=vocab, network=network, ema=ema, seed=seed)
    return OFAShim(
        name=name,
        load=None if common.path is None and network is None else partial(load, common.path),
        load_from=load,
        source=_source(common.path, vocab, ema) if common.path is not None else "",
        source_of=partial(_source, vocab=vocab, ema=ema),
        belongs=belonging(network),
        common=common,
    )


def _load(weights: str | None, *, vocab: str | None, network: dict[str, Any] | None, ema: bool, seed: int) -> Loaded:
    if weights is not None:
        module = load_ofa(Path(weights), ema=ema)
        folder = Path(weights) if Path(weights).is_dir() else Path(weights).parent
    else:
        module = OFA(OFAConfig.from_dict({**OFAConfig().to_dict(), **(network or {})})).reset_parameters(seed).eval()
        folder = Path()
    folder = folder if vocab is None else Path(vocab)
    tokenizer = OFATokenizer.from_folder(folder, size=module.config.vocab_size, order=_order(folder))
    return module, {"network": module.config.to_dict(), "tokenizer": tokenizer.to_dict()}


def answer(
    shim: OFAShim,
    batch: Sequence[ImageQueries],
    to_source: Callable[[OFATokenizer, Expression, str, int], list[int]],
    run: Callable[[OFA, EncoderOutput, list[list[int]]], Sequence[Any]],
    *,
    image_size: int,
    batch_size: int,
) -> Iterator[tuple[int, int, Any]]:
    """Ask everything that a batch asks.

    batch (Sequence[ImageQueries]): Pictures and expressions; all posts' expressions share passes.
    to_source (Callable): (tokenizer, expression, caption, longest) -> token ids of the question.
    run (Callable): (network, encoded, sources) -> an answer to each.
    image_size (int): Side of the picture that the network sees.
    batch_size (int): Expressions in one pass.
    YIELDS (Tuple[int, int, Any]): Query, expression, answer; in no particular order.
    """
    network, tokenizer = shim.ready(), shim.tools
    for group in questions(batch, batch_size):
        with shim.inference(bf16=shim.common.bf16):
            limit = network.config.positions - ANSWER_ROOM
            asked = [
                Question(n, place, to_source(tokenizer, expression, batch[n].caption, limit))
                for n in group
                for place, expression in enumerate(batch[n].expressions)
            ]
            pictures = encode_pictures(network, {n: batch[n] for n in group}, image_size=image_size, bf16=shim.common.bf16)
            # Longest first: questions of equal length stand together, and padding is short.
            asked.sort(key=_length, reverse=True)
            for start in range(0, len(asked), batch_size):
                part = asked[start : start + batch_size]
                encoded = encode_questions(network, part, pictures)
                for question, result in zip(part, run(network, encoded, [question.source for question in part])):
                    yield question.owner, question.place, result


def _length(question: Question) -> int:
    return len(question.source)


def encode_questions(network: OFA, asked: Sequence[Question], pictures: dict[int, Patches]) -> EncoderOutput:
    """The encoder's output for questions of one pass; all pictures have the same size."""
    device = network.embed_tokens.weight.device
    first = pictures[asked[0].owner]
    if all(question.owner == asked[0].owner for question in asked):
        states = first.states.expand(len(asked), -1, -1)
    else:
        states = torch.cat([pictures[question.owner].states for question in asked])
    tokens = pad_rows([question.source for question in asked], network.config.pad).to(device)
    return network.encode(tokens, Patches(states, first.height, first.width))


def encode_pictures(network: OFA, wanted: dict[int, ImageQueries], *, image_size: int, bf16: bool = False) -> dict[int, Patches]:
    """Encode each different picture once, also across calls and components.

    wanted (Dict[int, ImageQueries]): By number. Pictures without `image_key` are not remembered.
    RETURNS (Dict[int, Patches]): By number, one picture each (B = 1).
    """
    cache = pictures_of(network)
    device = network.embed_tokens.weight.device
    if cache.stem is None or next(cache.stem.parameters()).device != device:
        cache.stem = network.encoder.embed_images.folded()
    keys = {n: (q.image_key, image_size, bf16, str(device)) if q.image_key else n for n, q in wanted.items()}
    found = {key: cache.get(key) for key in keys.values()}
    fresh = {keys[n]: queries for n, queries in reversed(wanted.items()) if found[keys[n]] is None}
    missing = list(fresh)
    for start in range(0, len(missing), PICTURE_BATCH):
        part = missing[start : start + PICTURE_BATCH]
        pixels = torch.stack([to_pixels(fresh[key].image, image_size) for key in part])
        pixels = pixels.to(device, memory_format=torch.channels_last)
        pictures = network.encoder.pictures(pixels, cache.stem)
        cache.encoded += len(part)
        for i, key in enumerate(part):
            # A copy: a part of the batch would keep all of it in memory.
            found[key] = picture = Patches(pictures.states[i : i + 1].clone(), pictures.height, pictures.width)
            if fresh[key].image_key:
                cache.put(key, picture)
    return {n: cast(Patches, found[key]) for n, key in keys.items()}


def pictures_of(network: OFA) -> PictureCache:
    """The encoded pictures of a network."""
    return _PICTURES.setdefault(network, PictureCache())


def pad_rows(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    """Rows of tokens as one array, padded on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([list(row) + [pad] * (longest - len(row)) for row in rows], dtype=torch.long)


def published_expression(expression: Expression) -> str:
    """An expression as RiVEG's data have it, cleaned: "kevin durant(per) a basketball player"."""
    return clean_text(expression.published())


def _build(config: dict[str, Any]) -> OFA:
    return OFA(OFAConfig.from_dict(config["network"]))


def _tokenizer(config: dict[str, Any]) -> OFATokenizer:
    return OFATokenizer.from_dict(config["tokenizer"])


def _order(folder: Path) -> list[str] | None:
    """Reference folders of small networks keep the order of their vocabulary in config.json."""
    if (folder / "dict.txt").is_file() or not (folder / "config.json").is_file():
        return None
    config = srsly.read_json(folder / "config.json")
    return config.get("dictionary_gpt2_ids") if isinstance(config, dict) else None


def _source(path: str, vocab: str | None, ema: bool) -> str:
    """What tells two sources apart: names, sizes and times of change of the files, and which of the weights in them."""
    marks: list[Any] = [ema]
    for name in (path, vocab):
        if name is not None and Path(name).exists():
            stat = Path(name).stat()
            marks.append([str(Path(name).resolve()), stat.st_size, stat.st_mtime_ns])
        else:
            marks.append([str(name), 0, 0])
    return json.dumps(marks)
