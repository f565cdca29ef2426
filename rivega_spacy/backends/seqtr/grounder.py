"""`rivega.SeqTRGrounder.v1`: where is the entity, asked of SeqTR."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.boxes import box_area, clip_boxes
from ...post.errors import Errors, RivegaError
from ..backend import BackendShim, Loaded, backend_model, belonging, check_source, generator, set_dropout, warn_once
from ..common import Common
from ..compiling import Compiled, prepare
from ..shim import shim_of
from ..weights import finite_or_raise
from .darknet import load_yolo_weights
from .geometry import bins_to_box, box_to_bins
from .images import ScaledPicture, pad, preprocess, resize_bilinear
from .model import Seqtr, SeqtrConfig, padding_mask, smoothed_loss
from .text import SPECIALS, Vocabulary, read_vocabulary, word_vectors
from .weights import WORDS, seqtr_from_file

NAME = "SeqTR"
# Of the released networks.
HEADS = 8


def seqtr_grounder(
    *,
    path: str | None = None,
    words: str | None = None,
    vectors: str | None = None,
    darknet: str | None = None,
    network: dict[str, Any] | None = None,
    heads: int | None = None,
    ema: bool = True,
    max_side: int = 640,
    max_words: int = 30,
    batch_size: int = 16,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    new_words: bool = True,
    jitter: list[float] | None = None,
    averaging: float = 0.0,
    half_on_disk: bool = True,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.SeqTRGrounder.v1`.

    path (Optional[str]): A released checkpoint, or safetensors of its weights.
    words (Optional[str]): The list of words that belongs to the checkpoint (it is not in it): JSON, one word a line, or
        `token_to_ix.pkl`. A list of another length than the checkpoint's drops its word vectors.
    vectors (Optional[str]): A spaCy package or folder with word vectors for new words. None gives each new word a fixed
        random vector.
    darknet (Optional[str]): `yolov3.weights` or `darknet53.conv.74`, to begin training without `path`.
    network (Optional[Dict[str, Any]]): Sizes (`SeqtrConfig`) of a network to train from scratch, in place of `path`; {} for the released ones.
    heads (Optional[int]): Attention heads of the file's network, which weights do not tell; None takes 8, or what a saved network has, from
        which it may not differ (E080).
    ema (bool): Take the moving average where the file has one.
    max_side (int): Longer side of the scaled picture in pixels.
    max_words (int): Words of an expression that are read.
    batch_size (int): Expressions in one pass.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile: true, false, or the name of one of its backends.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[List[str]]): Beginnings of the names of more parameters that are not trained. DarkNet but for its last
        two layers and the word vectors never are.
    new_words (bool): Words that are met in training and not in the list are added to it.
    jitter (Optional[List[float]]): Smallest and largest random scale in training, (0.3, 1.4) in pre-training. None scales as
        in prediction.
    averaging (float): Decay of a moving average of the weights (0.999 in pre-training); it is used where
        `[training.optimizer] use_averages = true`. 0 keeps none.
    half_on_disk (bool): Save in half precision.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): One box for every expression: n x 5, XYXY in pixels and a score, the
        geometric mean of the probabilities of its four coordinates.
    RAISES (RivegaError): E849 for `network` beside `path`, and for what has an option of its own within `network`.
    """
    # Configs of former versions, in which they could not be left open, name them beside `network`.
    check_source(path, network, of_file={"heads": None if heads == HEADS else heads})
    for option in ("max_side", "max_words", "vocab_size"):
        if option in (network or {}):
            remedy = "name `words`" if option == "vocab_size" else f"say `{option}` beside it"
            raise RivegaError(Errors.E849.format(option=option, where="within `network`", remedy=remedy))
    common = Common(
        path=path,
        bf16=bf16,
        compiled=compiled,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        averaging=averaging,
        half_on_disk=half_on_disk,
    )
    settings = {"max_side": max_side, "max_words": max_words}
    load = partial(
        _load, settings=settings, words=words, vectors=vectors, darknet=darknet, network=network, heads=heads or HEADS, ema=ema
    )
    shim = BackendShim(
        name=NAME,
        build=_build,
        load=None if path is None and network is None and darknet is None else partial(load, path),
        load_from=load,
        tools=_vocabulary,
        common=common,
        prepare=prepare,
        amsgrad=True,
        reading=settings,
        belongs=belonging(network, {"heads": heads}),
    )
    trainer = SeqtrTrainer(new_words=new_words, vectors=vectors, jitter=jitter)
    return backend_model("seqtr_grounder", shim, partial(_predict, batch_size=batch_size), train_step=trainer)


def _load(
    weights: str | None,
    *,
    settings: dict[str, int],
    words: str | None,
    vectors: str | None,
    darknet: str | None,
    network: dict[str, Any] | None,
    heads: int,
    ema: bool,
) -> Loaded:
    vocabulary = None if words is None else read_vocabulary(words)
    if weights is not None:
        module = seqtr_from_file(weights, ema=ema, heads=heads, **settings)
        if vocabulary is None:
            warn_once(_WARNED, Errors.W740.format(path=weights))
        if vocabulary is None or len(vocabulary) != module.config.vocab_size:
            vocabulary = vocabulary or Vocabulary(SPECIALS)
            set_words(module, word_vectors(vocabulary.words, module.config.word_width, vectors=_vectors(vectors)))
    else:
        vocabulary = vocabulary or Vocabulary(SPECIALS)
        module = Seqtr(SeqtrConfig.from_dict({**(network or {}), **settings, "vocab_size": len(vocabulary)}))
        set_words(module, word_vectors(vocabulary.words, module.config.word_width, vectors=_vectors(vectors)))
    if darknet is not None:
        load_yolo_weights(module.vis_enc, darknet)
    return module, {"network": module.config.to_dict(), "words": vocabulary.words}


def set_words(module: Seqtr, rows: np.ndarray) -> None:
    """Put other word vectors in place.

    rows (ndarray): words x word_width float32.
    """
    old = module.lan_enc.embedding
    weight = torch.from_numpy(np.ascontiguousarray(rows)).to(old.weight.device)
    new = torch.nn.Embedding.from_pretrained(weight, freeze=not old.weight.requires_grad)
    module.lan_enc.embedding = new
    module.config = replace(module.config, vocab_size=len(rows))


_WARNED: set = set()


def _build(config: dict[str, Any]) -> Seqtr:
    return Seqtr(SeqtrConfig.from_dict(config["network"]))


def _vocabulary(config: dict[str, Any]) -> Vocabulary:
    return Vocabulary(config["words"])


def _vectors(name: str | None) -> Any:
    if name is None:
        return None
    import spacy

    return spacy.load(name, exclude=["tagger", "parser", "ner", "lemmatizer", "attribute_ruler", "senter"]).vocab


def _predict(shim: BackendShim, batch: list[ImageQueries], *, batch_size: int) -> list[np.ndarray]:
    found = [np.zeros((0, 5), dtype="float32") for _ in batch]
    vocabulary = shim.tools
    config = cast(Seqtr, shim.ready()).config
    max_side, max_words = shim.cfg["max_side"], shim.cfg["max_words"]
    # Results depend on the padding, so only pictures that are padded to the same size on their own share a pass.
    groups: dict[tuple[int, ...], list[int]] = {}
    prepared: dict[int, ScaledPicture] = {}
    for n, queries in enumerate(batch):
        if queries.expressions:
            prepared[n] = preprocess(queries.image, max_side=max_side, divisor=config.divisor)
            groups.setdefault(prepared[n].pixels.shape, []).append(n)
    for members in groups.values():
        for start in range(0, len(members), batch_size):
            group = members[start : start + batch_size]
            ready = [prepared[n] for n in group]
            owner = np.array([place for place, n in enumerate(group) for _ in batch[n].expressions])
            texts = [expression.published() for n in group for expression in batch[n].expressions]
            bins, scores = _decode(shim, ready, owner, vocabulary(texts, max_words=max_words), batch_size)
            for place, n in enumerate(group):
                height, width = batch[n].image.shape[:2]
                rows = bins_to_box(bins[owner == place], ready[place].pixels.shape[1:], ready[place].scale, config.bins)
                found[n] = np.concatenate([clip_boxes(rows, height, width), scores[owner == place, None]], axis=1)
    return found


def _decode(
    shim: BackendShim, ready: Sequence[ScaledPicture], owner: np.ndarray, words: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    device = shim.device
    pixels = torch.from_numpy(np.stack([item.pixels for item in ready])).to(device)
    mask = padding_mask([item.size for item in ready], *pixels.shape[2:]).to(device)
    bins, scores = [], []
    with shim.inference(bf16=shim.common.bf16) as module:
        network = cast(Seqtr, module)
        visual = network.encode_image(pixels)
        for start in range(0, len(owner), batch_size):
            rows = torch.from_numpy(owner[start : start + batch_size]).to(device)
            asked = torch.from_numpy(words[start : start + batch_size]).to(device)
            decoded = network.decode(network.memory(visual[rows], asked, mask[rows]))
            bins.append(decoded.bins.cpu().numpy())
            scores.append(decoded.scores.float().cpu().numpy())
    return np.concatenate(bins), finite_or_raise(np.concatenate(scores), name=NAME)


class SeqtrTrainer:
    """The training step of the published training (`seqtr_det_*.py`): largest gold box as the only target.

    new_words (bool): Add unknown words to the list. vectors (Optional[str]): Where their vectors come from.
    jitter (Optional[Sequence[float]]): Smallest and largest random scale.
    """

    def __init__(self, *, new_words: bool, vectors: str | None, jitter: Sequence[float] | None) -> None:
        self.new_words = new_words
        self.vectors = vectors
        self.jitter = tuple(jitter) if jitter else None
        self._source: Any = None
        self._rng: np.random.Generator | None = None

    def __call__(
        self, model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float
    ) -> dict[str, float]:
        """See `rivega_spacy.pipes.contract`. Expressions without a box are left out."""
        shim = shim_of(model, BackendShim)
        network = cast(Seqtr, shim.ready())
        rng = self._rng = self._rng or generator()
        items: list[ScaledPicture] = []
        owners: list[int] = []
        texts: list[str] = []
        gold: list[Any] = []
        for queries, row in zip(batch, targets):
            asked = [(expression, largest(t.boxes)) for expression, t in zip(queries.expressions, row) if len(t.boxes)]
            if not asked:
                continue
            item, boxes = self._view(queries.image, np.stack([box for _, box in asked]), network.config, shim.cfg["max_side"], rng)
            owners += [len(items)] * len(asked)
            items.append(item)
            texts += [expression.published() for expression, _ in asked]
            gold += list(boxes)
        if not items:
            return {"grounding": 0.0}
        self._learn_words(shim, network, texts)
        config = network.config
        height, width = (max(item.pixels.shape[side] for item in items) for side in (1, 2))
        views = np.zeros((len(items), 3, height, width), dtype="float32")
        for n, item in enumerate(items):
            views[n, :, : item.pixels.shape[1], : item.pixels.shape[2]] = item.pixels
        wanted = np.stack([box_to_bins(box, items[n].pixels.shape[1:], config.bins) for box, n in zip(gold, owners)])
        shown = padding_mask([item.size for item in items], height, width)
        asked_words = torch.from_numpy(shim.tools(texts, max_words=shim.cfg["max_words"]))
        arrays = [torch.from_numpy(views), asked_words, shown, torch.tensor(owners), torch.from_numpy(wanted)]
        pixels, words, mask, owner, answers = (value.to(shim.device) for value in arrays)
        network.train()
        set_dropout(network, dropout)
        with shim.autocast(shim.common.bf16):
            memory = network.memory(network.encode_image(pixels)[owner], words, mask[owner])
            logits = network.forced(memory, answers)
        loss = smoothed_loss(logits, answers, noise=config.label_noise, first_weight=config.first_weight)
        loss.backward()
        return {"grounding": float(loss.detach())}

    def _view(
        self, image: np.ndarray, boxes: np.ndarray, config: SeqtrConfig, max_side: int, rng: np.random.Generator
    ) -> tuple[ScaledPicture, np.ndarray]:
        """The picture as the network sees it and the boxes in pixels of that, with the random scale where one is wanted."""
        if self.jitter is None:
            item = preprocess(image, max_side=max_side, divisor=config.divisor)
            return item, boxes * np.array([item.scale[0], item.scale[1]] * 2)
        height, width = image.shape[:2]
        scale = max_side / max(height, width) * rng.uniform(self.jitter[0], self.jitter[1])
        new = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
        scaled = resize_bilinear(image, *new)
        factor = (new[1] / width, new[0] / height)
        boxes = boxes * np.array([factor[0], factor[1]] * 2)
        left = _offset(rng, new[1], max_side, boxes[:, 0].min(), boxes[:, 2].max())
        top = _offset(rng, new[0], max_side, boxes[:, 1].min(), boxes[:, 3].max())
        scaled = scaled[top : top + max_side, left : left + max_side]
        boxes = boxes - np.array([left, top] * 2)
        limits = np.array([scaled.shape[1], scaled.shape[0]] * 2)
        return pad(scaled, factor, divisor=config.divisor), np.clip(boxes, 0, limits)

    def _learn_words(self, shim: BackendShim, network: Seqtr, texts: list[str]) -> None:
        # Trained vectors are the optimiser's: only frozen ones can be exchanged for more of them.
        if not self.new_words or network.lan_enc.embedding.weight.requires_grad:
            return
        new = shim.tools.add(texts)
        if not new:
            return
        if self.vectors is not None and self._source is None:
            self._source = _vectors(self.vectors)
        old = network.lan_enc.embedding.weight.detach().cpu().numpy()
        rows = word_vectors(new, network.config.word_width, vectors=self._source)
        set_words(network, np.concatenate([old, rows]))
        shim.cfg = {**shim.cfg, "network": network.config.to_dict(), "words": list(shim.tools.words)}
        if WORDS in shim._averages:
            shim._averages[WORDS] = network.lan_enc.embedding.weight.detach().clone()


def largest(boxes: np.ndarray) -> np.ndarray:
    """The box of the largest area, the only target in training. boxes (ndarray): n x 4 XYXY. RETURNS (ndarray): 4."""
    return np.asarray(max(np.asarray(boxes, dtype="float64"), key=box_area))


def _offset(rng: np.random.Generator, length: int, window: int, low: float, high: float) -> int:
    """Where a window begins, so that as much as possible of low..high lies in it."""
    if length <= window:
        return 0
    least, most = max(0, int(np.ceil(high - window))), min(length - window, int(low))
    if least > most:
        least = most = int(np.clip((low + high - window) / 2, 0, length - window))
    return int(rng.integers(least, most + 1))
