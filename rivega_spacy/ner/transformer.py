"""The knowledge-aware encoder: a model for spaCy's own `transformer` component that reads the pair (s, z) and hands on s.

The paper's section IV-B d: the post s and the auxiliary refined knowledge z go through the encoder together, so that
every token of s attends to z; only the tokens of s are seen by what listens. Without z the output is that of
the plain encoder.
"""

import copy
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, chain, torch2xp, xp2torch
from thinc.types import Floats2d, Ints1d, Ragged
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto import CONFIG_MAPPING
from transformers.utils import ModelOutput

from ..backends.attention import training_attention
from ..backends.dropout import share_dropout
from ..backends.shim import TorchShim, shim_of
from ..post.errors import Errors, RivegaError
from ..post.hub import local_only
from .encoding import N_SHAPES, EncodedPost, PairEncoder, TokenWindow
from .post_states import post_states, shortens
from .shared_encoder.carrier import FullTransformerBatch, TransformerData, WordpieceBatch
from .shared_encoder.pooling import own_encoder, token_vectors

# A bucket of at least so many pieces is closed before a row that is shorter than its longest by more than this share; the
# fixed cost of one more pass through the encoder is about that of so many pieces.
_LEAST_PIECES = 384
_PADDING_SHARE = 0.2
# The end of its name in encoders of the BERT family, and in ModernBERT.
_WORD_TABLES = ("embeddings.word_embeddings.weight", "embeddings.tok_embeddings.weight")
# The layer that a parameter belongs to: `encoder.layer.3.` in the BERT family and DeBERTa, `layers.3.` in ModernBERT.
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


@dataclass
class EncoderSettings:
    """What the config says; kept apart from the weights, so that a loaded pipeline follows its config."""

    name: Any
    max_length: int
    max_knowledge: int | None
    knowledge_dropout: float
    word_dropout: float
    case_features: bool
    bf16: bool
    eight_bits: bool
    bucket_pieces: int
    freeze_embeddings: bool
    freeze_layers: int
    shared_dropout: bool


@dataclass
class KnowledgeTransformerBatch(FullTransformerBatch):
    """What the `transformer` component passes on; the data of each post are in `doc_data`."""

    gradients: list[Any] | None = None

    def unsplit_by_doc(self, arrays: list[list[Any]]) -> "KnowledgeTransformerBatch":
        """Collect the gradients of the posts that have tokens, in their order, for the way back."""
        return KnowledgeTransformerBatch(
            spans=self.spans,
            wordpieces=self.wordpieces,
            model_output=ModelOutput(),
            align=self.align,
            cached_doc_data=self.cached_doc_data,
            gradients=[post[0] for post in arrays],
        )


class CasedEncoder(torch.nn.Module):
    """A pretrained encoder, with an embedding of letter shapes added to its pieces where asked for.

    encoder (Module): A transformers encoder without pooler.
    shapes (bool): Whether there is an embedding of letter shapes. It starts at zero: before training the output is that of
        the plain encoder.
    """

    def __init__(self, encoder: Any, shapes: bool) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None
        if getattr(encoder.config, "reference_compile", False) is None:
            # ModernBERT would put its layers through torch.compile on a GPU, anew for many lengths of posts.
            encoder.config.reference_compile = False
        self.encoder: Any = encoder
        self.shortens = shortens(encoder)
        self.shape_embedding: torch.nn.Embedding | None = None
        if shapes:
            width = encoder.get_input_embeddings().embedding_dim
            self.shape_embedding = torch.nn.Embedding(N_SHAPES, width)
            torch.nn.init.zeros_(self.shape_embedding.weight)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None, shapes: torch.Tensor | None, n_post: int
    ) -> torch.Tensor:
        """B x L piece ids, attention mask, segment ids and shape classes to B x n_post x width, the states of the first pieces."""
        inputs: dict[str, Any] = {"attention_mask": mask}
        if types is not None:
            inputs["token_type_ids"] = types
        if self.shape_embedding is None:
            inputs["input_ids"] = ids
        else:
            inputs["inputs_embeds"] = self.encoder.get_input_embeddings()(ids) + self.shape_embedding(shapes)
        if self.shortens:
            return post_states(self.encoder, inputs, n_post)
        return self.encoder(**inputs).last_hidden_state[:, :n_post]


def build_knowledge_transformer(
    name: Any,
    *,
    max_length: int = 256,
    max_knowledge: int | None = None,
    knowledge_dropout: float = 0.0,
    word_dropout: float = 0.0,
    case_features: bool = False,
    case_learn_rate: float = 10.0,
    layer_decay: float = 1.0,
    freeze_embeddings: bool = False,
    freeze_layers: int = 0,
    bf16: bool = False,
    eight_bits: bool = False,
    bucket_pieces: int = 4096,
    shared_dropout: bool = False,
    half_on_disk: bool = True,
    byte_embeddings: bool = False,
    ema_decay: float = 0.0,
) -> Model[list[Doc], FullTransformerBatch]:
    """`rivega.KnowledgeTransformerModel.v1`: an encoder of (s, z) for the factory `transformer`.

    name (Union[str, Path, Callable[[], str]]): Folder or hub name of a pretrained encoder, or what finds it; used by `initialize`
        only, never by loading.
    max_length (int): Pieces of [s; z] with special tokens; only z is truncated, a longer s is read in overlapping windows.
    max_knowledge (Optional[int]): Pieces of z at most.
    knowledge_dropout (float): Share of posts that are trained on without their z.
    word_dropout (float): Share of the pieces of s that training replaces by the mask token.
    case_features (bool): Add a learned embedding of capitals and digits to each piece, for uncased encoders.
    case_learn_rate (float): Learning rate of that embedding, in multiples of the encoder's.
    layer_decay (float): Learning rate of each layer in multiples of the one above it; 1 treats all alike.
    freeze_embeddings (bool): Leave the word embeddings as they are: half of MiniLM's weights, and on a CPU much of a step's time.
    freeze_layers (int): Leave all embeddings and so many of the lowest layers as they are, for a second, cheaper stage of training.
    bf16 (bool): Compute in bfloat16 where torch holds that to be safe, on CPU and GPU.
    eight_bits (bool): Answer with the encoder's linear layers in eight bits, on a CPU; training and what is saved stay as they are.
    bucket_pieces (int): Padded pieces that go through the encoder at once.
    shared_dropout (bool): Draw the encoder's dropout once per row and feature instead of once per number, and leave attention
        weights undropped: training takes about half the time on a CPU.
    half_on_disk (bool): Save weights in half precision.
    byte_embeddings (bool): Save the word embeddings, half of a small encoder, in eight bits a value.
    ema_decay (float): Moving average of the weights, see TorchShim; 0 for none.
    RETURNS (Model): Its output is what spaCy's `transformer` and its listeners expect.
    RAISES (RivegaError): E962 if it is asked to compute in two number formats. Answering with `eight_bits` raises E960 on a GPU, E961 if
        torch has no eight-bit layers for the processor.
    """
    if bf16 and eight_bits:
        raise RivegaError(Errors.E962)
    settings = EncoderSettings(
        name=name,
        max_length=max_length,
        max_knowledge=max_knowledge,
        knowledge_dropout=knowledge_dropout,
        word_dropout=word_dropout,
        case_features=case_features,
        bf16=bf16,
        eight_bits=eight_bits,
        bucket_pieces=bucket_pieces,
        freeze_embeddings=freeze_embeddings,
        freeze_layers=freeze_layers,
        shared_dropout=shared_dropout,
    )
    shim = TorchShim(
        None,
        name="transformer",
        config={"case_features": case_features},
        build=_build_encoder,
        half_on_disk=half_on_disk,
        byte_tables=list(_WORD_TABLES) if byte_embeddings else [],
        ema_decay=ema_decay,
        lr_scale=_RateScale(layer_decay, case_learn_rate),
    )
    attrs = {
        "settings": settings,
        "cache": _Cache(),
        "replace_listener": own_encoder,
        "replace_listener_cfg": _standalone_config,
    }
    return Model("knowledge-transformer", forward, init=init, dims={"nO": None}, attrs=attrs, shims=[shim])


def build_knowledge_tok2vec(
    transformer: Model[list[Doc], FullTransformerBatch], pooling: Model[Ragged, Floats2d], grad_factor: float = 1.0
) -> Model[list[Doc], list[Floats2d]]:
    """`rivega.KnowledgeTok2Vec.v1`: an encoder of (s, z) of one component's own, as `nlp.replace_listeners` makes it of a shared one.

    transformer (Model): `rivega.KnowledgeTransformerModel.v1`.
    pooling (Model): From the vectors of a token's pieces to one.
    grad_factor (float): Gradients are multiplied by it.
    RETURNS (Model): Token vectors.
    """
    # A chain within a chain: the structure of a listener once it is replaced.
    return chain(own_encoder(transformer), token_vectors(pooling, grad_factor))


def _standalone_config(transformer: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = {key: listener[key] for key in ("pooling", "grad_factor") if key in listener}
    return {"@architectures": "rivega.KnowledgeTok2Vec.v1", "transformer": copy.deepcopy(transformer), **copy.deepcopy(own)}


class _Cache:
    """The pair encoder that belongs to the tokenizer of the loaded network."""

    def __init__(self) -> None:
        self.source: Any = None
        self.encoder: PairEncoder | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Cache":
        return _Cache()


class _RateScale:
    """Learning rates by depth: the layer below gets `decay` times the rate of the one above it."""

    def __init__(self, decay: float, case: float) -> None:
        self.decay = decay
        self.case = case
        self.n_layers = 0

    def __call__(self, name: str) -> float:
        if name.startswith("shape_embedding"):
            return self.case
        layer = _layer_of(name)
        return self.decay ** max(0, self.n_layers - (0 if layer is None else layer + 1))


def _layer_of(name: str) -> int | None:
    """The layer, from 0 on, of a parameter of this name; None for embeddings and what is above all layers."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _build_encoder(config: dict[str, Any]) -> CasedEncoder:
    """The network of a saved config, with random weights."""
    saved = dict(config["encoder"])
    hf_config = CONFIG_MAPPING[saved["model_type"]].from_dict(saved)
    return CasedEncoder(AutoModel.from_config(hf_config), bool(config["case_features"]))


def init(model: Model, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Read the pretrained encoder, unless the model already has one (a loaded pipeline trained further)."""
    shim, settings = shim_of(model, TorchShim), model.attrs["settings"]
    if shim._model is None:
        encoder, config = read_pretrained(settings.name, case_features=settings.case_features)
        shim.set_module(CasedEncoder(encoder, settings.case_features), config)
    model.set_dim("nO", shim.cfg["encoder"]["hidden_size"])


def read_pretrained(name: Any, *, case_features: bool) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A pretrained encoder with what has to be saved beside its weights.

    name (Union[str, Path, Callable[[], str]]): Folder, name on the model hub, or a function that returns one.
    RETURNS (Tuple[Module, Dict]): The network and the config that rebuilds it: encoder config, tokenizer as JSON text.
    RAISES (RivegaError): E104 if there is no such encoder, E106 if it has no fast tokenizer.
    """
    name = name() if callable(name) else name
    source = str(name.absolute()) if isinstance(name, Path) else str(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, local_files_only=local_only())
        encoder = AutoModel.from_pretrained(source, local_files_only=local_only())
    except (ImportError, OSError, ValueError) as error:
        raise RivegaError(Errors.E104.format(name=source, reason=str(error).splitlines()[0] if str(error) else error)) from error
    if not tokenizer.is_fast:
        raise RivegaError(Errors.E106.format(name=source))
    settings = json.loads(encoder.config.to_json_string(use_diff=False))
    # Where it lay on the machine that trained is nobody's business later.
    settings.pop("_name_or_path", None)
    config = {
        "encoder": settings,
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "case_features": case_features,
        "pad_id": tokenizer.pad_token_id or 0,
        "mask_id": tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id,
        "segments": settings.get("type_vocab_size", 0) > 1,
    }
    return encoder, config


def _pair_encoder(model: Model) -> PairEncoder:
    shim, settings, cache = shim_of(model, TorchShim), model.attrs["settings"], model.attrs["cache"]
    shim.module  # noqa: B018  raises if there is no network yet
    if cache.encoder is None or cache.source is not shim.cfg["tokenizer"]:
        limit = shim.cfg["encoder"].get("max_position_embeddings", settings.max_length)
        # RoBERTa's positions begin behind the padding id.
        limit -= shim.cfg["pad_id"] + 1 if shim.cfg["encoder"]["model_type"] in ("roberta", "xlm-roberta", "camembert") else 0
        cache.encoder = PairEncoder(
            Tokenizer.from_str(shim.cfg["tokenizer"]),
            max_length=min(settings.max_length, limit),
            max_knowledge=settings.max_knowledge,
            shapes=bool(shim.cfg["case_features"]),
        )
        cache.source = shim.cfg["tokenizer"]
    return cache.encoder


def forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[KnowledgeTransformerBatch, Callable]:
    """Encode posts with their knowledge; the way back ends here, texts have no gradient."""
    settings, shim = model.attrs["settings"], shim_of(model, TorchShim)
    knowledge = [doc._.knowledge or "" for doc in docs]
    if is_train and settings.knowledge_dropout:
        kept = np.random.uniform(size=len(docs)) >= settings.knowledge_dropout
        knowledge = [z if keep else "" for z, keep in zip(knowledge, kept)]
    posts = _pair_encoder(model)(docs, knowledge)
    windows = [window for post in posts for window in post.windows]
    if is_train and settings.word_dropout and shim.cfg["mask_id"] is not None:
        windows = [_drop_words(window, settings.word_dropout, shim.cfg["mask_id"]) for window in windows]
    buckets = make_buckets([len(window.ids) for window in windows], settings.bucket_pieces)
    vectors: list[Any] = [None] * len(windows)
    graphs = []
    if is_train:
        _prepare_training(shim, settings)
    for bucket in buckets:
        inputs = (*_pad([windows[row] for row in bucket], shim), max(windows[row].n_post for row in bucket))
        if is_train:
            with shim.autocast(settings.bf16), training_attention(shim.device, bf16=settings.bf16):
                hidden = shim.module(*inputs)
            graphs.append(hidden)
        else:
            with shim.inference(bf16=settings.bf16, eight_bits=settings.eight_bits) as module:
                hidden = module(*inputs)
        array: Any = torch2xp(hidden.detach().float())
        for place, row in enumerate(bucket):
            vectors[row] = array[place, : windows[row].n_post]
    batch = _assemble(model, docs, posts, windows, vectors)

    def backprop(d_batch: KnowledgeTransformerBatch) -> list[Doc]:
        rows = [row for gradient in d_batch.gradients or [] for row in gradient]
        grads = []
        for bucket, hidden in zip(buckets, graphs):
            grad = torch.zeros_like(hidden)
            for place, row in enumerate(bucket):
                length = windows[row].n_post
                grad[place, :length] = xp2torch(rows[row][:length], device=hidden.device).to(hidden.dtype)
            grads.append(grad)
        if grads:
            torch.autograd.backward(graphs, grads)
        return docs

    return batch, backprop


def make_buckets(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Group rows of similar length, so that little is spent on padding.

    lengths (Sequence[int]): Pieces of each row.
    most (int): Padded pieces of a bucket; a single longer row makes a bucket of its own.
    RETURNS (List[List[int]]): Every row once.
    """
    buckets: list[list[int]] = []
    bucket: list[int] = []
    padded = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        too_short = padded >= _LEAST_PIECES and lengths[row] < (1 - _PADDING_SHARE) * lengths[bucket[0]]
        if bucket and (too_short or padded + lengths[bucket[0]] > most):
            buckets.append(bucket)
            bucket, padded = [], 0
        bucket.append(row)
        padded += lengths[bucket[0]]
    if bucket:
        buckets.append(bucket)
    return buckets


def _prepare_training(shim: TorchShim, settings: EncoderSettings) -> None:
    module, rates = cast(CasedEncoder, shim.module), cast(Any, shim.lr_scale)
    module.train()
    rates.n_layers = shim.cfg["encoder"].get("num_hidden_layers", 0)
    _freeze(module, settings)
    if settings.shared_dropout:
        share_dropout(module.encoder)


def _freeze(module: CasedEncoder, settings: EncoderSettings) -> None:
    words = module.encoder.get_input_embeddings().weight
    for name, parameter in module.named_parameters():
        fixed = parameter is words and settings.freeze_embeddings
        if settings.freeze_layers:
            layer = _layer_of(name)
            fixed = fixed or "embedding" in name or (layer is not None and layer < settings.freeze_layers)
        parameter.requires_grad_(not fixed)


def _drop_words(window: TokenWindow, share: float, mask_id: int) -> TokenWindow:
    drop = np.random.uniform(size=window.n_post) < share
    # The special tokens around s stay.
    drop[:1] = drop[window.n_post - 1 :] = False
    ids = window.ids.copy()
    ids[: window.n_post][drop] = mask_id
    return window._replace(ids=ids)


def _pad(windows: list[TokenWindow], shim: TorchShim) -> tuple[Any, ...]:
    width = max(len(window.ids) for window in windows)
    ids = np.full((len(windows), width), shim.cfg["pad_id"], dtype="int64")
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    shapes = np.zeros_like(ids) if shim.cfg["case_features"] else None
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length] = window.ids
        mask[row, :length] = 1
        types[row, :length] = window.types
        if shapes is not None:
            shapes[row, :length] = window.shapes
    arrays = (ids, mask, types if shim.cfg["segments"] else None, shapes)
    return tuple(None if array is None else torch.from_numpy(array).to(shim.device) for array in arrays)


def _assemble(
    model: Model, docs: list[Doc], posts: list[EncodedPost], windows: list[TokenWindow], vectors: list[Any]
) -> KnowledgeTransformerBatch:
    """One TransformerData a post: the pieces of s with their vectors; those of z have done their work."""
    xp = model.ops.xp
    data, row = [], 0
    for post in posts:
        if not post.windows:
            data.append(TransformerData.empty())
            continue
        size = len(post.windows)
        if size == 1:
            array = xp.ascontiguousarray(vectors[row])[None]
        else:
            array = xp.zeros((size, post.width, vectors[row].shape[1]), dtype="f")
            for place in range(size):
                array[place, : len(vectors[row + place])] = vectors[row + place]
        data.append(
            TransformerData(
                wordpieces=_wordpieces(windows[row : row + size], post.width),
                model_output=BaseModelOutput(last_hidden_state=array),
                align=Ragged(model.ops.asarray1i(cast(Ints1d, post.rows)), cast(Ints1d, post.counts)),
            )
        )
        row += size
    nothing: Any = np.zeros((0,), dtype="i")
    return KnowledgeTransformerBatch(
        spans=[[doc[:]] if len(doc) else [] for doc in docs],
        wordpieces=WordpieceBatch.empty(),
        model_output=ModelOutput(),
        align=Ragged(nothing, nothing),
        cached_doc_data=data,
    )


def _wordpieces(windows: list[TokenWindow], width: int) -> WordpieceBatch:
    lengths = [window.n_post for window in windows]
    ids = np.zeros((len(windows), width), dtype="int64")
    for place, window in enumerate(windows):
        ids[place, : lengths[place]] = window.ids[: lengths[place]]
    mask = (np.arange(width)[None, :] < np.asarray(lengths)[:, None]).astype("f")
    return WordpieceBatch(
        strings=[window.pieces for window in windows], input_ids=ids, attention_mask=mask, lengths=lengths, token_type_ids=None
    )
