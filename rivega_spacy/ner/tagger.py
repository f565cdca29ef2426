"""The tagger's model: token vectors, a linear layer, and the scores of a linear-chain CRF over the tokens of the post."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from spacy.tokens import Doc
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d

from ..backends.shim import TorchShim, shim_of
from ..post.errors import Errors, RivegaError
from .crf import ChainGradient, ChainScores, length_mask, pad_chains

# Whose code computes loss and best tags: modules with `nll`, `partial_nll` and `viterbi`.
IMPLEMENTATIONS = {"ours": "crf", "pytorch-crf": "pytorch_crf"}


@dataclass
class TaggerScores:
    """What the model says about a batch of posts, before any tag is chosen.

    chains (ChainScores): The posts that have tokens, padded.
    lengths (List[int]): Tokens of every post, also of those that have none.
    implementation (str): Whose code makes loss and tags of them, one of IMPLEMENTATIONS.
    spans (Optional[ChainScores]): Tags without types, of a tagger that detects spans on the side.
    span_loss (float): Weight of their loss beside that of `chains`.
    """

    chains: ChainScores
    lengths: list[int]
    implementation: str = "ours"
    spans: ChainScores | None = None
    span_loss: float = 0.0

    @property
    def crf(self) -> Any:
        """The module with `nll`, `partial_nll` and `viterbi`."""
        return importlib.import_module(f".{IMPLEMENTATIONS[self.implementation]}", __package__)


@dataclass
class TaggerGradient:
    """Gradient of the loss of a tagger that detects spans on the side: by the scores of its tags, and of its tags without types."""

    chains: ChainGradient
    spans: ChainGradient


class CRFHead(torch.nn.Module):
    """From token vectors to tag scores, and the CRF's own scores (names as in pytorch-crf, so weights can be carried over).

    width (int): Of the token vectors.
    n_tags (int): Number of tags.
    hidden_width (int): Of a layer with ReLU in between; 0 leaves it out, as the paper does.
    """

    def __init__(self, width: int, n_tags: int, hidden_width: int = 0) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(width, hidden_width) if hidden_width else None
        self.linear = torch.nn.Linear(hidden_width or width, n_tags)
        # From zero, so that runs which differ in their seed start from one point and their weights can be averaged.
        for parameter in self.linear.parameters():
            torch.nn.init.zeros_(parameter)
        self.start_transitions = torch.nn.Parameter(torch.zeros(n_tags))
        self.end_transitions = torch.nn.Parameter(torch.zeros(n_tags))
        self.transitions = torch.nn.Parameter(torch.zeros(n_tags, n_tags))

    def forward(self, vectors: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """N x width to N x n_tags."""
        vectors = torch.nn.functional.dropout(vectors, dropout, training=self.training and dropout > 0)
        if self.hidden is not None:
            vectors = torch.relu(self.hidden(vectors))
        return self.linear(vectors)


class RateScale:
    """Learning rates of the linear layers and of the CRF, in multiples of the optimiser's."""

    def __init__(self, linear: float, crf: float) -> None:
        self.linear = linear
        self.crf = crf

    def __call__(self, name: str) -> float:
        return self.crf if name.endswith("transitions") else self.linear


def build_crf_tagger(
    tok2vec: Model[list[Doc], list[Floats2d]],
    *,
    nO: int | None = None,
    hidden_width: int = 0,
    dropout: float = 0.1,
    learn_rate: float = 1.0,
    crf_learn_rate: float = 1.0,
    half_on_disk: bool = True,
    ema_decay: float = 0.0,
    implementation: str = "ours",
) -> Model[list[Doc], TaggerScores]:
    """`rivega.CRFTagger.v1`: a linear-chain CRF over any tok2vec layer (the paper's section IV-B d).

    tok2vec (Model): Token vectors, usually a listener to `transformer`.
    nO (Optional[int]): Number of tags; `initialize` works it out from the labels.
    hidden_width (int): Of a layer between vectors and tag scores; 0 for none.
    dropout (float): On the token vectors.
    learn_rate (float): Of the linear layers, in multiples of the optimiser's.
    crf_learn_rate (float): Of the CRF's start, end and transition scores, in multiples of the optimiser's.
    half_on_disk (bool): Save weights in half precision.
    ema_decay (float): Moving average of the weights, see TorchShim; 0 for none.
    implementation (str): Whose CRF computes loss and best tags: "ours", or "pytorch-crf" (the package of that name, slower). Weights are the
        same, so a pipeline trained with either can be loaded with the other.
    RETURNS (Model): From posts to TaggerScores; its way back takes a ChainGradient.
    RAISES (RivegaError): E394 for another implementation, E395 if pytorch-crf is not installed.
    """
    check_implementation(implementation)
    shim = TorchShim(
        None,
        name="rivega_ner",
        config={"hidden_width": hidden_width},
        build=_build_head,
        half_on_disk=half_on_disk,
        lr_scale=RateScale(learn_rate, crf_learn_rate),
        ema_decay=ema_decay,
    )
    settings = HeadSettings(hidden_width=hidden_width, dropout=dropout, implementation=implementation)
    return Model(
        "crf-tagger",
        forward,
        init=init,
        dims={"nO": nO},
        layers=[tok2vec],
        refs={"tok2vec": tok2vec},
        attrs={"settings": settings},
        shims=[shim],
    )


def check_implementation(name: str) -> None:
    """RAISES (RivegaError): E394 for an implementation that there is not, E395 for one whose package is not installed."""
    if name not in IMPLEMENTATIONS:
        raise RivegaError(Errors.E394.format(value=name, known=", ".join(IMPLEMENTATIONS)))
    if name == "pytorch-crf" and importlib.util.find_spec("torchcrf") is None:
        raise RivegaError(Errors.E395)


@dataclass
class HeadSettings:
    """What follows the config, also where weights are loaded; the last three are of `rivega.MultimodalTagger.v1`.

    `span_tags` is set by the component: tags without types, as its scheme has them.
    """

    hidden_width: int
    dropout: float
    implementation: str
    picture_dropout: float = 0.0
    span_loss: float = 0.0
    span_tags: int = 3


def _build_head(config: dict[str, Any]) -> CRFHead:
    return CRFHead(config["width"], config["n_tags"], config["hidden_width"])


def init(model: Model, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Make the head for the width of the token vectors and the number of tags."""
    tok2vec = model.get_ref("tok2vec")
    tok2vec.initialize(X=X)
    shim = shim_of(model, TorchShim)
    if shim._model is not None or not X:
        return
    config = {
        "width": int(tok2vec.predict(X)[0].shape[1]),
        "n_tags": model.get_dim("nO"),
        "hidden_width": model.attrs["settings"].hidden_width,
    }
    shim.set_module(_build_head(config), config)


def forward(
    model: Model, docs: list[Doc], is_train: bool
) -> tuple[TaggerScores, Callable[[ChainGradient | TaggerGradient], list[Doc]]]:
    """Tag scores of posts, at least one of which has a token.

    `model.attrs["context"]`, if there is one, gives what the head reads beside the token vectors (`multimodal.picture_context`).
    """
    shim = shim_of(model, TorchShim)
    vectors, backprop_vectors = model.get_ref("tok2vec")(docs, is_train)
    lengths = [len(doc) for doc in docs]
    filled = [row for row, length in enumerate(lengths) if length]
    flat = xp2torch(model.ops.xp.concatenate([vectors[row] for row in filled]), requires_grad=is_train, device=shim.device)
    sizes = torch.tensor([lengths[row] for row in filled], device=flat.device)
    context = model.attrs.get("context")
    more = context(model, [docs[row] for row in filled], sizes, is_train) if context is not None else ()
    if is_train:
        shim.module.train()
        found = shim.module(flat, model.attrs["settings"].dropout, *more)
    else:
        with shim.inference() as module:
            found = module(flat, 0.0, *more)
    # A head that detects spans on the side gives the scores of its tags without types too.
    emissions, of_spans = found if isinstance(found, tuple) else (found, None)
    head: Any = shim.module
    parameters = (head.start_transitions, head.end_transitions, head.transitions)
    chains = _chains(emissions, sizes, parameters)
    spans = None if of_spans is None else _chains(of_spans, sizes, head.span_parameters)

    def backprop(gradient: ChainGradient | TaggerGradient) -> list[Doc]:
        aside = gradient.spans if isinstance(gradient, TaggerGradient) else None
        gradient = gradient.chains if isinstance(gradient, TaggerGradient) else gradient
        mask = length_mask(sizes)
        outputs, grads = [emissions], [gradient.emissions[mask]]
        _add_gradients(parameters, gradient)
        if aside is not None and of_spans is not None:
            outputs.append(of_spans)
            grads.append(aside.emissions[mask])
            _add_gradients(head.span_parameters, aside)
        torch.autograd.backward(outputs, grads)
        d_flat = torch2xp(cast(torch.Tensor, flat.grad))
        d_vectors, position = [], 0
        for vector, length in zip(vectors, lengths):
            d_vectors.append(d_flat[position : position + length] if length else model.ops.xp.zeros_like(vector))
            position += length
        return backprop_vectors(d_vectors)

    return TaggerScores(chains, lengths, model.attrs["settings"].implementation, spans, model.attrs["settings"].span_loss), backprop


def _chains(emissions: torch.Tensor, sizes: torch.Tensor, parameters: Sequence[torch.Tensor]) -> ChainScores:
    start, end, transitions = (parameter.detach() for parameter in parameters)
    return ChainScores(pad_chains(emissions.detach(), sizes), sizes, start, end, transitions)


def _add_gradients(parameters: Sequence[torch.Tensor], gradient: ChainGradient) -> None:
    for parameter, grad in zip(parameters, (gradient.start, gradient.end, gradient.transitions)):
        parameter.grad = grad.clone() if parameter.grad is None else parameter.grad + grad
