"""`rivega.HFTokenClassifier.v1`: entities of a token classification network of transformers, through `rivega_hf_ner`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch
from spacy.vocab import Vocab
from thinc.api import Config

from ..pipes.in_flight import InFlightPipe
from ..pipes.settings import ConfiguredAlone
from ..post.errors import Errors, RivegaError
from ..post.failures import setting_up
from ..post.hub import local_only
from .encoding import MAX_POST, align_pieces

DEFAULT_MODEL = Config().from_str("""
[model]
@misc = "rivega.HFTokenClassifier.v1"
name = "dslim/bert-base-NER"
""")["model"]


class Found(NamedTuple):
    """An entity. start (int), end (int): Its tokens, `end` exclusive. label (str): Its type. score (float): Mean probability of its tokens' tags."""

    start: int
    end: int
    label: str
    score: float


def make_token_classifier(name: str, device: str | None = None, batch_size: int = 16, max_length: int = 256) -> "HFTokenClassifier":
    """`rivega.HFTokenClassifier.v1`: a checkpoint that tags tokens as entities.

    name (str): Folder or name on the model hub with weights in safetensors, for example "dslim/bert-base-NER". Its labels are types alone
        or with the prefixes of BIO or BIOES (B-PER, I-PER, E-PER, S-PER); O is no entity.
    device (Optional[str]): "cuda", "cpu" and so on; by default the GPU where PyTorch has one.
    batch_size (int): Posts in one pass. max_length (int): Pieces of a post that are read; the rest has no entities.
    RETURNS (HFTokenClassifier): Its weights are read at the first call.
    """
    return HFTokenClassifier(name, device=device, batch_size=batch_size, max_length=max_length)


class HFTokenClassifier:
    """Posts to entities, by a token classification network of transformers. See `make_token_classifier`."""

    def __init__(self, name: str, *, device: str | None = None, batch_size: int = 16, max_length: int = 256) -> None:
        self.name = name
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch_size = max(1, batch_size)
        self.max_length = max_length
        self._ready: tuple[Any, Any] | None = None

    @property
    def ready(self) -> tuple[Any, Any]:
        """Network and tokenizer. RAISES (SetupError): E905 if they cannot be read."""
        if self._ready is None:
            with setting_up(f"The tagger {self.name}"):
                self._ready = _load(self.name, self.device)
        return self._ready

    @torch.inference_mode()
    def __call__(self, docs: Sequence[Doc]) -> list[list[Found]]:
        """docs (Sequence[Doc]): Posts. RETURNS (List[List[Found]]): The entities of each."""
        return [entities for part in minibatch(docs, self.batch_size) for entities in self._tag(list(part))]

    def _tag(self, docs: list[Doc]) -> list[list[Found]]:
        network, tokenizer = self.ready
        limit = min(self.max_length, getattr(network.config, "max_position_embeddings", self.max_length))
        texts = [doc.text[:MAX_POST] for doc in docs]
        inputs = tokenizer(texts, truncation=True, max_length=limit, padding=True, return_offsets_mapping=True, return_tensors="pt")
        offsets = inputs.pop("offset_mapping").numpy()
        logits = network(**{key: value.to(self.device) for key, value in inputs.items()}).logits
        shares = logits.float().softmax(-1).cpu().numpy()
        labels = [network.config.id2label[n] for n in range(shares.shape[-1])]
        return [entities(doc, rows, places, labels) for doc, rows, places in zip(docs, shares, offsets)]


def _load(name: str, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, local_files_only=local_only())
        network = AutoModelForTokenClassification.from_pretrained(name, use_safetensors=True, local_files_only=local_only())
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RivegaError(Errors.E905.format(name=name, reason=reason)) from error
    if not tokenizer.is_fast:
        raise RivegaError(Errors.E905.format(name=name, reason="it has no fast tokenizer (tokenizer.json)"))
    return network.to(device).eval(), tokenizer


def entities(doc: Doc, shares: np.ndarray, offsets: np.ndarray, labels: list[str]) -> list[Found]:
    """From the probabilities of pieces to entities of tokens: a token has the tag of its first piece.

    doc (Doc): The post. shares (ndarray): pieces x labels. offsets (ndarray): pieces x 2, first character and end; equal for special
    pieces. labels (List[str]): Names of the tags.
    """
    tokens, pieces = align_pieces(doc, offsets.astype("int64"))
    first = dict(zip(tokens[::-1].tolist(), pieces[::-1].tolist()))
    found: list[Found] = []
    open_at, kind = 0, ""
    scores: list[float] = []
    for token in range(len(doc) + 1):
        row = shares[first[token]] if token in first else None
        tag = labels[int(row.argmax())] if row is not None else "O"
        prefix, _, name = tag.partition("-") if tag[:2] in ("B-", "I-", "E-", "S-", "L-", "U-") else ("", "", tag)
        name = "" if name == "O" else name
        if kind and (name != kind or prefix in ("B", "S", "U")):
            found.append(Found(open_at, token, kind, float(np.mean(scores))))
            kind = ""
        if name and not kind:
            open_at, kind, scores = token, name, []
        if name and row is not None:
            scores.append(float(row.max()))
        if kind and prefix in ("E", "S", "L", "U"):
            found.append(Found(open_at, token + 1, kind, float(np.mean(scores))))
            kind = ""
    return found


@Language.factory(
    "rivega_hf_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "span._.ner_score"],
    default_config={"model": DEFAULT_MODEL, "min_score": 0.0, "overwrite_ents": False},
)
def make_hf_ner(
    nlp: Language, name: str, model: Callable[[Sequence[Doc]], list[list[Found]]], min_score: float, overwrite_ents: bool
) -> "HFNER":
    """Construct the component.

    model (Callable): `rivega.HFTokenClassifier.v1`.
    min_score (float): Entities with a lower score are left out.
    overwrite_ents (bool): Also tag posts that came with entities.
    """
    return HFNER(nlp.vocab, model, name, min_score=min_score, overwrite_ents=overwrite_ents)


class HFNER(ConfiguredAlone, InFlightPipe):
    """Sets `doc.ents` and `span._.ner_score` from another network than this package's; it is not trained here."""

    settings = ("min_score", "overwrite_ents")
    fractions = ("min_score",)

    def __init__(
        self, vocab: Vocab, model: Any, name: str = "rivega_hf_ner", *, min_score: float = 0.0, overwrite_ents: bool = False
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg: dict[str, Any] = {"min_score": min_score, "overwrite_ents": overwrite_ents}
        self.remember_settings()

    def start(self, docs: Sequence[Doc]) -> Callable[[], list[list[Found] | None]]:
        """Tag posts, none of which is changed. RETURNS (Callable): Gives the entities of each; None for posts that keep their own."""
        wanted = [len(doc) > 0 and (self.cfg["overwrite_ents"] or not doc.ents) for doc in docs]

        def wait() -> list[list[Found] | None]:
            asked = [doc for doc, flag in zip(docs, wanted) if flag]
            found = iter(self.model(asked) if asked else [])
            return [next(found) if flag else None for flag in wanted]

        return wait

    def set_annotations(self, docs: Sequence[Doc], found: list[list[Found] | None]) -> None:
        """Write the entities that are likely enough."""
        for doc, rows in zip(docs, found):
            if rows is None:
                continue
            kept = [row for row in rows if row.score >= self.cfg["min_score"]]
            doc.ents = tuple(Span(doc, row.start, row.end, label=row.label) for row in kept)
            for ent, row in zip(doc.ents, kept):
                ent._.ner_score = row.score


__all__ = ["HFNER", "Found", "HFTokenClassifier", "entities", "make_hf_ner", "make_token_classifier"]
