"""A tagger that looks at the picture: words and regions fused by cross-modal attention, under the same CRF (the paper's vanilla
multimodal MNER model, whose features choose the in-context examples of section IV-B b; the I-T rows of Tables IV and V)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Model, xp2torch
from thinc.types import Floats2d

from ..backends.fusion.attention import CrossModalLayer, Fusion
from ..backends.fusion.pictures import PASS, PictureGrid, PictureSpec, build_grid
from ..backends.shim import TorchShim, shim_of
from ..post.cache import RecentCache
from ..post.errors import Errors, RivegaError
from ..post.images import doc_image, image_digest
from .crf import length_mask, pad_chains
from .tagger import CRFHead, HeadSettings, RateScale, TaggerScores, check_implementation, forward

# Region vectors of pictures seen last, in half precision: training comes back to each of them every epoch.
CACHE_BYTES = 512 * 1024 * 1024
# Of the scores that come from words and regions; the rest is what span detection says (UMT's own code).
SHARE = 0.5


class MultimodalHead(CRFHead):
    """From token vectors and regions to tag scores.

    width (int): Of the token vectors.
    n_tags (int): Number of tags.
    pictures (PictureGrid): The picture encoder, which stays as it is.
    heads (int): Attention heads.
    span_tags (int): Tags without types (3 of BIO, 5 of BIOES) that are told from the words alone; 0 leaves them out.
    """

    def __init__(self, width: int, n_tags: int, pictures: PictureGrid, heads: int, span_tags: int = 0) -> None:
        super().__init__(2 * width, n_tags)
        self.fusion = Fusion(width, pictures.width, heads)
        self.spans = SpanDetection(width, n_tags, heads, span_tags) if span_tags else None
        self.pictures = pictures
        self.pictures.requires_grad_(False)

    def train(self, mode: bool = True) -> "MultimodalHead":
        super().train(mode)
        # What it makes of a picture is kept from one step to the next.
        self.pictures.eval()
        return self

    @property
    def span_parameters(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Start, end and transition scores of the tags without types."""
        assert self.spans is not None
        return self.spans.start_transitions, self.spans.end_transitions, self.spans.transitions

    def fuse(self, vectors: torch.Tensor, regions: torch.Tensor, has_picture: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Without dropout. vectors (Tensor): N x width, post by post. regions (Tensor): B x R x picture width. has_picture (Tensor): B bool.
        sizes (Tensor): B, tokens of each post. RETURNS (Tensor): N x 2 width."""
        words, known = pad_chains(vectors, sizes), length_mask(sizes)
        return self.fusion(words, known, regions, has_picture)[known]

    def forward(  # type: ignore[override]
        self,
        vectors: torch.Tensor,
        dropout: float,
        regions: torch.Tensor,
        has_picture: torch.Tensor,
        sizes: torch.Tensor,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """As `fuse`, then N x n_tags; with span detection also N x span_tags, which the former are half made of."""
        dropout = dropout if self.training else 0.0
        vectors = torch.nn.functional.dropout(vectors, dropout, training=dropout > 0)
        words, known = pad_chains(vectors, sizes), length_mask(sizes)
        typed = self.linear(self.fusion(words, known, regions, has_picture, dropout)[known])
        if self.spans is None:
            return typed
        untyped = self.spans(words, known, dropout)[known]
        return SHARE * typed + (1.0 - SHARE) * untyped @ self.spans.conversion, untyped


class SpanDetection(torch.nn.Module):
    """Where entities are, told from the words alone, so that a picture which misleads does not make entities (UMT, Yu et al. 2020, section 2.4).

    width (int): Of the word vectors. n_tags (int): Of the tagger. heads (int): Attention heads. span_tags (int): Tags without types.
    """

    conversion: torch.Tensor

    def __init__(self, width: int, n_tags: int, heads: int, span_tags: int) -> None:
        super().__init__()
        self.words_ask = CrossModalLayer(width, heads)
        self.linear = torch.nn.Linear(width, span_tags)
        for parameter in self.linear.parameters():
            torch.nn.init.zeros_(parameter)
        self.start_transitions = torch.nn.Parameter(torch.zeros(span_tags))
        self.end_transitions = torch.nn.Parameter(torch.zeros(span_tags))
        self.transitions = torch.nn.Parameter(torch.zeros(span_tags, span_tags))
        # O speaks for O; each other tag for the same tag of every type alike.
        prefixes = span_tags - 1
        conversion = torch.zeros(span_tags, n_tags)
        conversion[0, 0] = 1.0
        for tag in range(1, n_tags):
            conversion[1 + (tag - 1) % prefixes, tag] = prefixes / (n_tags - 1)
        self.register_buffer("conversion", conversion, persistent=False)

    def forward(self, words: torch.Tensor, known: torch.Tensor, dropout: float) -> torch.Tensor:
        """words (Tensor): B x L x width. known (Tensor): B x L bool, False for padding. RETURNS (Tensor): B x L x span_tags."""
        return self.linear(self.words_ask(words, words, known, dropout))


def build_multimodal_tagger(
    tok2vec: Model[list[Doc], list[Floats2d]],
    pictures: PictureSpec,
    *,
    nO: int | None = None,
    heads: int = 4,
    dropout: float = 0.1,
    picture_dropout: float = 0.1,
    learn_rate: float = 1.0,
    crf_learn_rate: float = 1.0,
    half_on_disk: bool = True,
    ema_decay: float = 0.0,
    span_loss: float = 0.5,
    implementation: str = "ours",
) -> Model[list[Doc], TaggerScores]:
    """`rivega.MultimodalTagger.v1`: a linear-chain CRF over words that have seen the picture.

    tok2vec (Model): Token vectors, usually a listener to `transformer`.
    pictures (PictureSpec): `rivega.LiteGrid.v1` or `rivega.TransformersGrid.v1`; saved with the tagger.
    nO (Optional[int]): Number of tags; `initialize` works it out from the labels.
    heads (int): Attention heads between words and regions; the width of the token vectors is a multiple of it.
    dropout (float): On the token vectors and in the attention layers.
    picture_dropout (float): Share of the posts that are trained on without their picture, so that posts without one are tagged well.
    learn_rate (float): Of fusion and linear layer, in multiples of the optimiser's.
    crf_learn_rate (float): Of the CRF's start, end and transition scores, in multiples of the optimiser's.
    half_on_disk (bool): Save weights in half precision.
    ema_decay (float): Moving average of the weights, see TorchShim; 0 for none.
    span_loss (float): Weight of the loss of span detection from the words alone, whose scores are half of the tagger's; 0 leaves it out.
        The default is that of UMT.
    implementation (str): Whose CRF, as in `rivega.CRFTagger.v1`.
    RETURNS (Model): From posts to TaggerScores, for `rivega_ner`. A post without a picture, or with one that cannot be read, is tagged by its
        text.
    RAISES (RivegaError): E394, E395 as `rivega.CRFTagger.v1`; E416 for a negative `span_loss`; E882 for heads that do not divide the width, at initialization.
    """
    check_implementation(implementation)
    if not 0.0 <= span_loss < float("inf"):
        raise RivegaError(Errors.E416.format(field="span_loss", value=span_loss, wanted="0 or more"))
    shim = TorchShim(
        None,
        name="rivega_ner",
        config={"heads": heads, "pictures": pictures.said},
        build=_build_head,
        half_on_disk=half_on_disk,
        lr_scale=RateScale(learn_rate, crf_learn_rate),
        ema_decay=ema_decay,
    )
    attrs = {
        "settings": HeadSettings(0, dropout, implementation, picture_dropout=picture_dropout, span_loss=span_loss),
        "pictures": pictures,
        "regions": _Regions(),
        "context": picture_context,
        "fused": fused_features,
    }
    return Model(
        "multimodal-tagger",
        forward,
        init=init,
        dims={"nO": nO},
        layers=[tok2vec],
        refs={"tok2vec": tok2vec},
        attrs=attrs,
        shims=[shim],
    )


def _build_head(config: dict[str, Any]) -> MultimodalHead:
    return MultimodalHead(
        config["width"], config["n_tags"], build_grid(config["pictures"]), config["heads"], config.get("span_tags", 0)
    )


def init(model: Model, X: list[Doc] | None = None, Y: Any = None) -> None:
    """Load the picture encoder, and make the head for the width of the token vectors and the number of tags."""
    tok2vec = model.get_ref("tok2vec")
    tok2vec.initialize(X=X)
    shim = shim_of(model, TorchShim)
    if shim.filled or not X:
        return
    width = int(tok2vec.predict(X)[0].shape[1])
    heads = shim.cfg["heads"]
    if heads < 1 or width % heads:
        raise RivegaError(Errors.E882.format(heads=heads, width=width))
    pictures = model.attrs["pictures"].load()
    settings = model.attrs["settings"]
    span_tags = settings.span_tags if settings.span_loss else 0
    config = {"width": width, "n_tags": model.get_dim("nO"), "heads": heads, "pictures": pictures.settings, "span_tags": span_tags}
    shim.set_module(MultimodalHead(width, config["n_tags"], pictures, heads, span_tags), config)


def _head(model: Model) -> MultimodalHead:
    head = shim_of(model, TorchShim).module
    assert isinstance(head, MultimodalHead)
    return head


def picture_context(
    model: Model, docs: Sequence[Doc], sizes: torch.Tensor, is_train: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the head reads beside the token vectors.

    docs (Sequence[Doc]): B posts. sizes (Tensor): B, their tokens.
    RETURNS (Tuple[Tensor, Tensor, Tensor]): Regions B x R x width, has_picture B bool, and the sizes.
    """
    regions = model.attrs["regions"].of(shim_of(model, TorchShim), docs)
    absent = model.attrs["settings"].picture_dropout
    if is_train and absent:
        kept = np.random.uniform(size=len(docs)) >= absent
        regions = [found if keep else None for found, keep in zip(regions, kept)]
    has = torch.tensor([found is not None for found in regions], device=sizes.device)
    pictures = _head(model).pictures
    shape = next((found.shape for found in regions if found is not None), (1, pictures.width))
    nothing = torch.zeros(shape, dtype=torch.float16)
    stacked = torch.stack([nothing if found is None else found for found in regions])
    return stacked.to(sizes.device).float(), has, sizes


class _Regions:
    """Region vectors of posts' pictures, each picture encoded once."""

    def __init__(self) -> None:
        self._module: Any = None
        self._cache: RecentCache[torch.Tensor] = RecentCache(CACHE_BYTES, lambda found: found.numel() * 2)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Regions":
        return _Regions()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Regions, ())

    def of(self, shim: TorchShim, docs: Sequence[Doc]) -> list[torch.Tensor | None]:
        """docs (Sequence[Doc]): n posts. RETURNS (List[Optional[Tensor]]): R x width, half precision; None without a readable picture."""
        module: Any = shim.module
        if self._module is not module:
            self._module = module
            self._cache.clear()
        keys = [None if doc._.image is None else image_digest(doc._.image) for doc in docs]
        found: dict[str, torch.Tensor | None] = {}
        waiting: list[tuple[str, np.ndarray]] = []
        for doc, key in zip(docs, keys):
            if key is None or key in found:
                continue
            found[key] = self._cache.get(key)
            if found[key] is None:
                image = doc_image(doc, "rivega_ner")
                if image is not None:
                    waiting.append((key, image))
            if len(waiting) == PASS:
                self._encode(module.pictures, waiting, found)
        self._encode(module.pictures, waiting, found)
        return [None if key is None else found[key] for key in keys]

    def _encode(self, pictures: PictureGrid, waiting: list[tuple[str, np.ndarray]], found: dict[str, torch.Tensor | None]) -> None:
        if waiting:
            for (key, _), regions in zip(waiting, pictures.encode([image for _, image in waiting]).half()):
                found[key] = regions
                self._cache.put(key, regions)
            waiting.clear()


def fused_features(model: Model, docs: Sequence[Doc]) -> np.ndarray:
    """What the tagger makes of text and picture together: the mean over the tokens of the fused vectors, for `rivega.FusionFeatures.v1`.

    model (Model): Of `rivega.MultimodalTagger.v1`.
    docs (Sequence[Doc]): n posts, after the components that the tagger listens to.
    RETURNS (ndarray): n x 2 width float32; zeros for a post without tokens.
    """
    shim = shim_of(model, TorchShim)
    rows = np.zeros((len(docs), 2 * _head(model).fusion.width), dtype="float32")
    filled = [row for row, doc in enumerate(docs) if len(doc)]
    if not filled:
        return rows
    vectors = model.get_ref("tok2vec").predict([docs[row] for row in filled])
    sizes = torch.tensor([len(docs[row]) for row in filled], device=shim.device)
    regions, has, _ = picture_context(model, [docs[row] for row in filled], sizes, False)
    flat = xp2torch(model.ops.xp.concatenate(vectors), device=shim.device)
    with shim.inference() as module:
        fuse: Any = module.fuse
        fused = fuse(flat, regions, has, sizes)
    means = [part.mean(dim=0) for part in fused.split(sizes.tolist())]
    rows[filled] = torch.stack(means).float().cpu().numpy()
    return rows


__all__ = ["MultimodalHead", "build_multimodal_tagger", "fused_features", "picture_context"]
