"""`rivega.ALBEFEntailment.v1`: does the picture show the entity, asked of ALBEF."""

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from thinc.api import Model
from thinc.types import Floats1d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.expressions import Expression
from ..backend import (
    BackendShim,
    Loaded,
    Tokenized,
    answers,
    backend_model,
    belonging,
    check_source,
    flat_texts,
    generator,
    judged,
    set_dropout,
)
from ..common import Common
from ..compiling import Compiled, prepare
from ..shim import shim_of
from .images import augment, preprocess
from .model import CONTRADICTION, ENTAILMENT, Albef, AlbefConfig, distilled_loss, entailment_probability, momentum_twin, update_twin
from .text import WordPieces, read_vocab
from .weights import albef_from_file

NAME = "ALBEF"
# Side of the pictures of the released files.
RELEASED = 384


def albef_entailment(
    *,
    path: str | None = None,
    vocab: str = "bert-base-uncased",
    network: dict[str, Any] | None = None,
    image_size: int | None = None,
    vision_heads: int | None = None,
    text_heads: int | None = None,
    append_sep: bool = False,
    max_words: int = 30,
    three_way: bool = False,
    batch_size: int = 32,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    augmentation: bool = True,
    distillation: float = 0.4,
    momentum: float = 0.995,
    half_on_disk: bool = True,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.ALBEFEntailment.v1`.

    path (Optional[str]): `ALBEF.pth`, a file fine-tuned for visual entailment, or safetensors of either.
    vocab (str): BERT's vocab.txt, its folder, or a name on the model hub. Only needed with `path` or `network`: a saved
        pipeline holds its own.
    network (Optional[Dict[str, Any]]): Sizes (`AlbefConfig`) of a network to train from scratch, in place of `path`; they are all of its sizes.
    image_size (Optional[int]): Side of the pictures in pixels; the file's position embeddings are resized to it. None takes 384, or what a
        saved network has, from which it may not differ (E080).
    vision_heads (Optional[int]), text_heads (Optional[int]): Attention heads; None takes heads of 64 channels.
    append_sep (bool): Close expressions with [SEP], as LAVIS's fine-tuned file expects and the original does not.
    max_words (int): Words of an expression that are read.
    three_way (bool): Probability of entailment among all three labels; False reads it against contradiction alone.
    batch_size (int): Expressions in one pass.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile: true, false, or the name of one of its backends.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[List[str]]): Beginnings of the names of parameters that are not trained, for example "visual_encoder.".
    augmentation (bool): Crop, mirror and distort pictures in training, as the published training does.
    distillation (float): Share of the momentum twin in the loss (alpha); 0 trains without one.
    momentum (float): How slowly the twin follows. It is not saved: a resumed training begins it anew from the network.
    half_on_disk (bool): Save in half precision.
    RETURNS (Model[List[ImageQueries], List[Floats1d]]): A probability of "the picture shows it" for every expression.
    RAISES (RivegaError): E849 for `network` beside `path`, and for heads beside `network`.
    """
    heads = {"vision_heads": vision_heads, "text_heads": text_heads}
    # Configs of former versions, in which it could not be left open, name it beside `network`.
    check_source(path, network, of_file={**heads, "image_size": None if image_size == RELEASED else image_size})
    common = Common(
        path=path,
        bf16=bf16,
        compiled=compiled,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        half_on_disk=half_on_disk,
    )
    load = partial(
        _load,
        network=network,
        image_size=RELEASED if image_size is None else image_size,
        vision_heads=vision_heads,
        text_heads=text_heads,
        vocab=vocab,
        append_sep=append_sep,
        max_words=max_words,
    )
    shim = BackendShim(
        name=NAME,
        build=_build,
        load=None if path is None and network is None else partial(load, path),
        load_from=load,
        tools=_pieces,
        common=common,
        prepare=prepare,
        reading={"append_sep": append_sep, "max_words": max_words},
        belongs=belonging(network, {"image_size": image_size, **heads}),
    )
    predict = partial(_predict, three_way=three_way, batch_size=batch_size)
    trainer = AlbefTrainer(alpha=distillation, momentum=momentum, augmentation=augmentation)
    return backend_model("albef_entailment", shim, predict, train_step=trainer)


def _load(
    weights: str | None,
    *,
    network: dict[str, Any] | None,
    image_size: int,
    vision_heads: int | None,
    text_heads: int | None,
    vocab: str,
    append_sep: bool,
    max_words: int,
) -> Loaded:
    if weights is not None:
        module = albef_from_file(weights, image_size=image_size, vision_heads=vision_heads, text_heads=text_heads)
    else:
        module = Albef(AlbefConfig(**(network or {})))
    reading = {"vocab": read_vocab(vocab), "append_sep": append_sep, "max_words": max_words}
    return module, {"network": module.config.to_dict(), **reading}


def _build(config: dict[str, Any]) -> Albef:
    return Albef(AlbefConfig(**config["network"]))


def _pieces(config: dict[str, Any]) -> WordPieces:
    return WordPieces(
        config["vocab"],
        append_sep=config["append_sep"],
        max_words=config["max_words"],
        max_length=config["network"]["positions"],
    )


def _predict(shim: BackendShim, batch: list[ImageQueries], *, three_way: bool, batch_size: int) -> list[np.ndarray]:
    return answers(
        shim,
        batch,
        nothing=np.zeros((0,), dtype="float32"),
        wording=Expression.published,
        tokens=partial(_tokens, shim.tools),
        look=partial(_look, device=shim.device),
        read=partial(_read, three_way=three_way),
        batch_size=batch_size,
        bf16=shim.common.bf16,
    )


def _tokens(pieces: WordPieces, texts: list[str]) -> Tokenized:
    ids, mask = pieces(texts)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _look(network: Albef, images: list[np.ndarray], *, device: torch.device) -> torch.Tensor:
    pixels = np.stack([preprocess(image, network.config.image_size) for image in images])
    return network.encode_image(torch.from_numpy(pixels).to(device))


def _read(
    network: Albef, image: torch.Tensor, owner: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, *, three_way: bool
) -> torch.Tensor:
    return entailment_probability(network.classify(image, ids, mask, owner), three_way=three_way)


class AlbefTrainer:
    """The training step of the published fine-tuning (`VE.yaml`), with RiVEG's two labels.

    alpha (float): Share of the momentum twin in the loss. momentum (float): How slowly it follows.
    augmentation (bool): Change pictures at random.
    """

    def __init__(self, *, alpha: float, momentum: float, augmentation: bool) -> None:
        self.alpha = alpha
        self.momentum = momentum
        self.augmentation = augmentation
        self._twin: Albef | None = None
        self._of: Albef | None = None
        self._rng: np.random.Generator | None = None

    def __call__(
        self, model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float
    ) -> dict[str, float]:
        """See `rivega_spacy.pipes.contract`. Expressions of which nobody said whether the picture shows them are left out."""
        shim = shim_of(model, BackendShim)
        network = cast(Albef, shim.ready())
        rng = self._rng = self._rng or generator()
        pictures, expressions, shown = judged(batch, targets)
        if not shown:
            return {"entailment": 0.0}
        size = network.config.image_size
        views = np.stack([augment(image, size, rng) if self.augmentation else preprocess(image, size) for image in pictures])
        texts, owner = flat_texts(expressions, Expression.published)
        ids, mask = _tokens(shim.tools, texts)
        truth = torch.tensor([ENTAILMENT if answer else CONTRADICTION for answer in shown])
        tensors = [torch.from_numpy(views), ids, mask, owner, truth]
        pixels, ids, mask, owner, labels = (tensor.to(shim.device) for tensor in tensors)
        network.train()
        set_dropout(network, dropout)
        with shim.autocast(shim.common.bf16):
            teacher = self._teach(network, pixels, ids, mask, owner)
            logits = network.classify(network.encode_image(pixels)[owner], ids, mask)
        loss = distilled_loss(logits, labels, teacher, self.alpha)
        loss.backward()
        return {"entailment": float(loss.detach())}

    def _teach(self, network: Albef, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, owner: torch.Tensor) -> Any:
        if self.alpha == 0.0:
            return None
        if self._twin is None or self._of is not network:
            self._twin, self._of = momentum_twin(network), network
        update_twin(self._twin, network, self.momentum)
        self._twin.train()
        set_dropout(self._twin, 0.0)
        with torch.no_grad():
            return self._twin.classify(self._twin.encode_image(pixels)[owner], ids, mask)
