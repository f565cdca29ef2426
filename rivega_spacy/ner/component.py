"""Stage 1b: the named entities of a post, by a CRF over knowledge-enriched token vectors (the paper's section IV-B d)."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer

from ..pipes.batched import BatchedPipe
from ..pipes.learning import learn_from
from ..post.errors import Errors, RivegaError
from ..post.extensions import post_name, record_error
from ..post.text import trim_invisible
from .crf import (
    ChainGradient,
    ChainScores,
    agreeing_chains,
    constrain,
    disagreement,
    length_mask,
    span_probabilities,
    tempered,
)
from .encoding import MAX_POST
from .schemes import TagScheme
from .tagger import TaggerGradient, TaggerScores
from .targets import targets

default_model_config = """
[model]
@architectures = "rivega.CRFTagger.v1"

[model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 1.0

[model.tok2vec.pooling]
@layers = "reduce_mean.v1"
"""
DEFAULT_NER_MODEL = Config().from_str(default_model_config)["model"]

# The key of `doc.user_data` that says that a post came with its entities; the tagger then leaves them as they are.
GIVEN_ENTS_KEY = "rivega_given_ents"


@Language.factory(
    "rivega_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "span._.ner_score"],
    default_config={
        "model": DEFAULT_NER_MODEL,
        "scheme": "bio",
        "constrain": True,
        "loss": "token_mean",
        "agreement": 0.0,
        "span_scores": True,
        "temperature": 1.0,
        "min_score": 0.0,
        "min_score_bare": None,
        "overwrite_ents": True,
        "clear_trf_data": False,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_knowledge_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], TaggerScores],
    scheme: str,
    constrain: bool,
    loss: str,
    agreement: float,
    span_scores: bool,
    temperature: float,
    min_score: float,
    min_score_bare: float | None,
    overwrite_ents: bool,
    clear_trf_data: bool,
    scorer: Callable | None,
) -> "KnowledgeNER":
    """Build the tagger.

    model (Model): From posts to the scores of a linear-chain CRF.
    scheme (str): "bio" or "bioes".
    constrain (bool): Never decode a tag sequence that the scheme forbids.
    loss (str): "token_mean" (per token), "mean" (per post) or "sum".
    agreement (float): Weight of what two views of a post disagree in (`crf.disagreement`), for batches of `rivega.batch_twice.v1`,
        in which word, knowledge and unit dropout make the views differ; 0 leaves the views apart.
    span_scores (bool): Set `span._.ner_score`, the probability of the entity's tags.
    temperature (float): All scores are divided by it before probabilities are computed ("temperature scaling", Guo et al.
        2017), since a tagger that has seen its posts often is too sure of itself. It does not change which entities are found.
    min_score (float): Entities less probable than this are left out. With calibrated probabilities the best threshold is half of the
        F1 that it reaches (Lipton et al. 2014).
    min_score_bare (Optional[float]): The same for posts without knowledge; None means `min_score`. Without knowledge, on posts
        unlike those it was trained on, a tagger finds less and is less sure of it, so the same threshold costs more than it gains.
    overwrite_ents (bool): Replace entities that a post already has; a post that came with `ents` keeps them in any case.
    clear_trf_data (bool): Remove the encoder's vectors from the post when done, so that posts stay small; nothing after this
        component can then listen to `transformer`.
    scorer (Optional[Callable]): Entities by offset, by default spaCy's own.
    RETURNS (KnowledgeNER): The component.
    """
    return KnowledgeNER(
        nlp.vocab,
        model,
        name,
        scheme=scheme,
        constrain=constrain,
        loss=loss,
        agreement=agreement,
        span_scores=span_scores,
        temperature=temperature,
        min_score=min_score,
        min_score_bare=min_score_bare,
        overwrite_ents=overwrite_ents,
        clear_trf_data=clear_trf_data,
        scorer=scorer,
    )


@dataclass
class FoundEntities:
    """Entities of a batch of posts; arrays run over all of them, post by post.

    posts (List[int]): Post of each entity.
    starts (List[int]), ends (List[int]): First token in its post, and the one after the last.
    labels (List[str]): Types.
    scores (Optional[List[float]]): Probability of each, 0..1; None if not asked for.
    """

    posts: list[int]
    starts: list[int]
    ends: list[int]
    labels: list[str]
    scores: list[float] | None


class KnowledgeNER(BatchedPipe):
    """Finds the entities of posts. Factory `rivega_ner`; see `make_knowledge_ner` for the options."""

    settings = ("constrain", "span_scores", "temperature", "min_score", "min_score_bare", "overwrite_ents", "clear_trf_data")
    fractions = ("min_score", "min_score_bare")
    positive = ("temperature",)
    # Labels and scheme, which the weights depend on.
    saves_cfg = True

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], TaggerScores],
        name: str = "rivega_ner",
        *,
        scheme: str = "bio",
        constrain: bool = True,
        loss: str = "token_mean",
        agreement: float = 0.0,
        span_scores: bool = True,
        temperature: float = 1.0,
        min_score: float = 0.0,
        min_score_bare: float | None = None,
        overwrite_ents: bool = True,
        clear_trf_data: bool = False,
        scorer: Callable | None = None,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.constrain = constrain
        self.loss = loss
        self.agreement = agreement
        self.span_scores = span_scores
        self.temperature = temperature
        self.min_score = min_score
        self.min_score_bare = min_score_bare
        self.overwrite_ents = overwrite_ents
        self.clear_trf_data = clear_trf_data
        self.scorer = scorer
        if not agreement >= 0:
            raise RivegaError(Errors.E416.format(field="agreement", value=agreement, wanted="0 or more"))
        TagScheme([], scheme)  # an unknown scheme is refused here, not in the middle of a training
        # What the weights depend on is saved with them; the rest follows the config.
        self.cfg: dict[str, Any] = {"labels": [], "scheme": scheme}
        self._scheme: TagScheme | None = None
        self._allowed: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self.remember_settings()

    @property
    def labels(self) -> tuple[str, ...]:
        """Entity types, in the order of the tags."""
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """What `initialize` takes as `labels`; `spacy init labels` writes it."""
        return list(self.cfg["labels"])

    @property
    def scheme(self) -> TagScheme:
        """The tags."""
        if self._scheme is None or self._scheme.labels != self.labels or self._scheme.kind != self.cfg["scheme"]:
            self._scheme = TagScheme(self.labels, self.cfg["scheme"])
            first, last, pairs = (torch.from_numpy(np.ascontiguousarray(part)) for part in self._scheme.constraints())
            self._allowed = first, last, pairs
        return self._scheme

    def add_label(self, label: str) -> int:
        """Add an entity type before `initialize`.

        label (str): The type.
        RETURNS (int): 1 if it was new, else 0.
        RAISES (RivegaError): E103 once the network exists, whose tags are fixed.
        """
        if label in self.cfg["labels"]:
            return 0
        if self.model.has_dim("nO"):
            labels = [*self.cfg["labels"], label]
            count = len(TagScheme(labels, self.cfg["scheme"]))
            raise RivegaError(Errors.E103.format(model=self.model.get_dim("nO"), labels=labels, tags=count))
        self.cfg["labels"].append(label)
        return 1

    def predict(self, docs: Iterable[Doc]) -> FoundEntities:
        """Find the entities, without changing the posts.

        docs (Iterable[Doc]): The posts.
        RETURNS (FoundEntities): What was found.
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return FoundEntities([], [], [], [], [] if self.span_scores else None)
        bare = self.min_score if self.min_score_bare is None else self.min_score_bare
        return self.decode(self.model.predict(docs), [self.min_score if doc._.knowledge else bare for doc in docs])

    def decode(self, scores: TaggerScores, least: Sequence[float] | None = None) -> FoundEntities:
        """The best entities under the scores of a batch.

        scores (TaggerScores): From the model.
        least (Optional[Sequence[float]]): For each post, how probable an entity must be; by default `min_score`.
        RETURNS (FoundEntities): What was found.
        """
        least = [self.min_score] * len(scores.lengths) if least is None else least
        scheme, chains = self.scheme, scores.chains
        if chains.emissions.shape[1] > MAX_POST:
            chains = chains._replace(emissions=chains.emissions[:, :MAX_POST], lengths=chains.lengths.clamp(max=MAX_POST))
        if self.constrain:
            chains = constrain(chains, *self._rules(chains.start.device))
        tags = scores.crf.viterbi(chains)
        lengths = chains.lengths.cpu().numpy()
        flat = tags[length_mask(chains.lengths)].cpu().numpy()
        starts, ends, labels = scheme.spans(flat, lengths)
        first_tokens = np.cumsum(lengths) - lengths
        rows = np.searchsorted(first_tokens, starts, side="right") - 1
        starts, ends = starts - first_tokens[rows], ends - first_tokens[rows]
        posts = np.flatnonzero(np.asarray(scores.lengths))[rows]
        likely = None
        if self.span_scores or any(least):
            likely = np.zeros(0)
            if len(rows):
                where = (torch.from_numpy(array).to(tags.device) for array in (rows, starts, ends - 1))
                likely = span_probabilities(tempered(chains, self.temperature), tags, *where).cpu().numpy()
            kept = likely >= np.asarray(least, dtype="float64")[posts]
            posts, starts, ends, labels, likely = posts[kept], starts[kept], ends[kept], labels[kept], likely[kept]
        names = [scheme.labels[label] for label in labels]
        found_scores = likely.tolist() if likely is not None and self.span_scores else None
        return FoundEntities(posts.tolist(), starts.tolist(), ends.tolist(), names, found_scores)

    def set_annotations(self, docs: Iterable[Doc], predictions: FoundEntities) -> None:
        """Write `doc.ents` and `span._.ner_score`.

        docs (Iterable[Doc]): The posts.
        predictions (FoundEntities): From `predict`.
        """
        docs = list(docs)
        entities: list[list[Span]] = [[] for _ in docs]
        scores = predictions.scores if predictions.scores is not None else [None] * len(predictions.posts)
        found: list[tuple[int, Span, float | None]] = []
        for post, start, end, label, score in zip(
            predictions.posts, predictions.starts, predictions.ends, predictions.labels, scores
        ):
            if docs[post][start].idx >= MAX_POST:
                continue
            shown = trim_invisible([token.text for token in docs[post][start:end]])
            if shown is not None:  # what nobody sees is no entity
                found.append((post, Span(docs[post], start + shown[0], start + shown[1], label=label), score))
                entities[post].append(found[-1][1])
        kept = [not self._may_write(doc) for doc in docs]
        for doc, spans, keep in zip(docs, entities, kept):
            if not keep:
                doc.set_ents(spans, default="outside")
                if len(doc) and doc[-1].idx >= MAX_POST:
                    record_error(doc, self.name, Errors.E067.format(post=post_name(doc), limit=MAX_POST))
            if self.clear_trf_data and Doc.has_extension("trf_data"):
                doc._.trf_data = None
        for post, span, score in found:
            if score is not None and not kept[post]:
                span._.ner_score = score

    def _may_write(self, doc: Doc) -> bool:
        if doc.user_data.get(GIVEN_ENTS_KEY):
            return False
        return self.overwrite_ents or not doc.ents

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch of annotated posts.

        examples (Iterable[Example]): Posts with their gold entities.
        drop (float): Dropout for layers that take spaCy's rate.
        sgd (Optional[Optimizer]): The optimiser; None only adds up gradients.
        losses (Optional[Dict[str, float]]): Losses by component, added to.
        RETURNS (Dict[str, float]): `losses`.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "KnowledgeNER.update")
        docs = [example.predicted for example in examples]
        if not any(len(doc) for doc in docs):
            return losses
        return learn_from(self, docs, examples, drop=drop, sgd=sgd, losses=losses)

    def get_loss(self, examples: Sequence[Example], scores: TaggerScores) -> tuple[float, ChainGradient | TaggerGradient]:
        """Negative log likelihood of the gold tags, and what views of the same post disagree in.

        examples (Sequence[Example]): Posts with gold entities. What their annotation leaves open (types that it does not have, see
            `missing_labels`; tokens of which it says nothing, or on which it does not fall) is not learnt; a post of which it says nothing at
            all, or with entities of an unknown type, is left out, with one warning a batch.
        scores (TaggerScores): What the model said about them.
        RETURNS (Tuple[float, Union[ChainGradient, TaggerGradient]]): The loss and its gradient; the latter where the model detects spans
            on the side.
        """
        chains = scores.chains
        filled = [example for example in examples if len(example.predicted)]
        rows, agreeing = targets(filled, self.scheme)
        left_out = len(filled) - len(rows)
        if left_out:
            warnings.warn(Errors.W108.format(count=left_out, labels=", ".join(self.scheme.labels)), stacklevel=2)
        gradient = ChainGradient(
            torch.zeros_like(chains.emissions),
            torch.zeros_like(chains.start),
            torch.zeros_like(chains.end),
            torch.zeros_like(chains.transitions),
        )
        if not rows:
            return 0.0, gradient
        index = torch.tensor(rows, device=chains.emissions.device)
        part = chains._replace(emissions=chains.emissions[index], lengths=chains.lengths[index])
        width = int(part.lengths.max())
        part = part._replace(emissions=part.emissions[:, :width])
        loss, found = self._likelihood(part, torch.from_numpy(agreeing).to(index.device), scores.crf)
        if self.agreement:
            partner = torch.from_numpy(_partners([filled[row] for row in rows])).to(index.device)
            apart, d_emissions = disagreement(part, partner, reduction=self.loss)
            loss += self.agreement * apart
            found = found._replace(emissions=found.emissions + self.agreement * d_emissions)
        gradient.emissions[index, :width] = found.emissions
        whole = found._replace(emissions=gradient.emissions)
        if scores.spans is None or not scores.span_loss:
            return loss, whole
        aside, spans = self._span_loss(scores.spans, index, agreeing, scores)
        return loss + aside, TaggerGradient(whole, spans)

    def _span_loss(
        self, chains: ChainScores, index: torch.Tensor, agreeing: np.ndarray, scores: TaggerScores
    ) -> tuple[float, ChainGradient]:
        """The loss of tags without types (Yu et al. 2020, section 2.4), weighted, with its gradient over all posts.

        chains (ChainScores): Of all posts. index (Tensor): Those that are learnt from, R. agreeing (ndarray): R x L x n_tags bool.
        """
        prefixes = self.scheme.codes[0]
        untyped = np.stack([agreeing[:, :, prefixes == prefix].any(axis=2) for prefix in np.unique(prefixes)], axis=2)
        width = agreeing.shape[1]
        part = chains._replace(emissions=chains.emissions[index][:, :width], lengths=chains.lengths[index])
        rules = TagScheme(["span"], self.cfg["scheme"]).constraints()
        loss, found = self._likelihood(part, torch.from_numpy(untyped).to(index.device), scores.crf, rules)
        emissions = torch.zeros_like(chains.emissions)
        emissions[index, :width] = found.emissions
        weighted = (scores.span_loss * each for each in (emissions, found.start, found.end, found.transitions))
        return scores.span_loss * loss, ChainGradient(*weighted)

    def _likelihood(
        self, chains: ChainScores, agreeing: torch.Tensor, crf: Any, rules: tuple[np.ndarray, ...] | None = None
    ) -> tuple[float, ChainGradient]:
        """Loss and gradient for B x L x n_tags bool, the tags that agree with gold, by one of the CRF's implementations; `rules` are of
        another scheme than the tagger's."""
        open_ = (agreeing.sum(2) > 1) & length_mask(chains.lengths)
        if not bool(open_.any()):
            return crf.nll(chains, agreeing.int().argmax(2), reduction=self.loss)
        allowed = (
            self._rules(chains.start.device)
            if rules is None
            else tuple(torch.from_numpy(each).to(chains.start.device) for each in rules)
        )
        left = agreeing_chains(chains, agreeing, *allowed)
        return crf.partial_nll(chains, left, reduction=self.loss)

    def _rules(self, device: torch.device) -> tuple[torch.Tensor, ...]:
        """What the scheme allows: first tags, last tags, pairs."""
        _ = self.scheme
        return tuple(part.to(device) for part in self._allowed or ())

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Set up labels and network.

        get_examples (Callable[[], Iterable[Example]]): Posts to collect entity types and sizes from.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): Entity types, if they are not to be collected.
        RAISES (RivegaError): E102 if there are none.
        """
        validate_get_examples(get_examples, "KnowledgeNER.initialize")
        sample: list[Doc] = []
        seen = set(labels or [])
        for example in get_examples():
            if len(example.predicted) and len(sample) < 10:
                sample.append(example.predicted)
            if labels is None:
                seen.update(entity.label_ for entity in example.reference.ents)
            elif len(sample) == 10:
                break
        if not self.model.has_dim("nO"):
            new = list(labels) if labels is not None else sorted(seen)
            self.cfg["labels"] += [label for label in new if label not in self.cfg["labels"]]
            if not self.cfg["labels"] or not sample:
                raise RivegaError(Errors.E102)
            self.model.set_dim("nO", len(self.scheme))
        self._check_size()
        # A tagger that detects spans on the side has a tag for each prefix of the scheme.
        if "settings" in self.model.attrs:
            self.model.attrs["settings"].span_tags = len(TagScheme(["span"], self.cfg["scheme"]))
        self.model.initialize(X=sample)

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "KnowledgeNER":
        """As spaCy's own. RAISES (RivegaError): E084 if the tags were saved in another scheme than the config's."""
        scheme = self.cfg["scheme"]
        return super().from_bytes(bytes_data, exclude=exclude)._of_scheme(scheme)

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> "KnowledgeNER":
        """As spaCy's own. RAISES (RivegaError): E084 if the tags were saved in another scheme than the config's."""
        scheme = self.cfg["scheme"]
        return super().from_disk(path, exclude=exclude)._of_scheme(scheme)

    def _of_scheme(self, scheme: str) -> "KnowledgeNER":
        if self.cfg["scheme"] != scheme:
            raise RivegaError(Errors.E084.format(name=self.name, saved=self.cfg["scheme"], given=scheme))
        return self

    def _check_size(self) -> None:
        if self.model.has_dim("nO") and self.model.get_dim("nO") != len(self.scheme):
            counts = {"model": self.model.get_dim("nO"), "labels": list(self.labels), "tags": len(self.scheme)}
            raise RivegaError(Errors.E103.format(**counts))


def _partners(examples: Sequence[Example]) -> np.ndarray:
    """For each example the next one with the same gold post, the last one's being the first; itself if there is no other."""
    views: dict[int, list[int]] = {}
    for row, example in enumerate(examples):
        views.setdefault(id(example.reference), []).append(row)
    partner = np.arange(len(examples))
    for rows in views.values():
        partner[rows] = np.roll(rows, -1)
    return partner


__all__ = ["DEFAULT_NER_MODEL", "GIVEN_ENTS_KEY", "FoundEntities", "KnowledgeNER", "make_knowledge_ner"]
