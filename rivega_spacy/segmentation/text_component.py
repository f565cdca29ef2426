"""`rivega_text_segmenter`: writes `span._.mask_rle` from the referring expression alone, without boxes (paper, Table X)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer

from ..backends.backend import no_gradient
from ..pipes.batched import AskingVisionPipe
from ..pipes.contract import promise
from ..pipes.network_asking import Asked, answers_by_post, ask_in_parts
from ..pipes.queries import ImageQueries
from ..post.errors import Errors, RivegaError
from ..post.rle import encode_mask, rle_to_box

default_text_segmenter_config = """
[model]
@misc = "rivega.CLIPSeg.v1"
path = "CIDAS/clipseg-rd64-refined"
"""
DEFAULT_TEXT_SEGMENTER_MODEL = Config().from_str(default_text_segmenter_config)["model"]

# Pictures with expressions -> for each expression its mask, HxW bool, and a score 0..1.
TextSegmenterModel = Callable[[list[ImageQueries]], list[list[tuple[np.ndarray, float]]]]


class TextMask(NamedTuple):
    """What was found for one entity.

    rle (Optional[Dict[str, Any]]): Its mask; None if the model marks no pixel.
    score (float): How sure the model is.
    box (Optional[List[float]]): The smallest box around the mask, XYXY pixels.
    """

    rle: dict[str, Any] | None
    score: float
    box: list[float] | None


@Language.factory(
    "rivega_text_segmenter",
    assigns=["span._.mask_rle", "span._.mask", "span._.mask_score", "span._.boxes", "span._.box"],
    requires=["doc.ents", "span._.referring_expression"],
    default_config={
        "model": DEFAULT_TEXT_SEGMENTER_MODEL,
        "segment_unjudged": True,
        "boxes": True,
        "expression": "both",
        "labels": {},
        "scorer": {"@scorers": "rivega.mask_scorer.v1"},
    },
    default_score_weights={"mask_miou": 1.0},
)
def make_text_segmenter(
    nlp: Language,
    name: str,
    model: TextSegmenterModel | Model,
    segment_unjudged: bool,
    boxes: bool,
    expression: str,
    labels: dict[str, str] | None,
    scorer: Callable | None,
) -> "TextSegmenter":
    """Construct the component.

    model (TextSegmenterModel): What turns expressions into masks: `rivega.CLIPSeg.v1` or any function with the same arguments, or
        the architecture `rivega.CLIPSegSegmenter.v1`, which can be fine-tuned.
    segment_unjudged (bool): Look also for entities that nobody judged (`groundable` is None).
    boxes (bool): Entities without a box get that of their mask.
    expression (str): What is asked: "both" ("Name (TYPE) — expansion"), "name" or "expansion".
    labels (Optional[Dict[str, str]]): Types (PER, LOC, ORG, OTHER) of labels that are not known by themselves (labels.py), for example
        {"ATHLETE": "PER"}.
    scorer (Optional[Callable]): The scoring method.
    """
    return TextSegmenter(
        nlp.vocab,
        model,
        name,
        segment_unjudged=segment_unjudged,
        boxes=boxes,
        expression=expression,
        labels=labels,
        scorer=scorer,
    )


class TextSegmenter(AskingVisionPipe):
    """Query-based segmentation: from what an entity is called to its mask, in place of grounder and box-prompted segmenter."""

    settings = ("segment_unjudged", "boxes", "expression", "labels")

    def __init__(
        self,
        vocab: Vocab,
        model: TextSegmenterModel | Model,
        name: str = "rivega_text_segmenter",
        *,
        segment_unjudged: bool = True,
        boxes: bool = True,
        expression: str = "both",
        labels: dict[str, str] | None = None,
        scorer: Callable | None = None,
    ) -> None:
        # A function gives spaCy nothing to save: the config names it, and where its weights are.
        network = model if isinstance(model, Model) else Model("text_segmenter", partial(_forward, segmenter=model))
        own = {"segment_unjudged": segment_unjudged, "boxes": boxes}
        super().__init__(vocab, network, name, expression=expression, labels=labels, scorer=scorer, **own)

    @property
    def is_trainable(self) -> bool:
        """Whether the model can be trained: `rivega.CLIPSegSegmenter.v1` can, functions are used as they come."""
        return promise(self.model, "train_step") is not None

    def predict(self, docs: Iterable[Doc]) -> list[list[TextMask | None]]:
        """Masks for the groundable entities of every post with a readable picture; the posts stay as they are.

        docs (Iterable[Doc]): The posts.
        RETURNS (List[List[Optional[TextMask]]]): One list a post, in the order of `doc.ents`; None for entities that were not
            asked about.
        RAISES (RivegaError): E340, E341 if the model answers in another form.
        """
        docs = list(docs)
        results: list[list[TextMask | None]] = [[None] * len(doc.ents) for doc in docs]

        def segment(asked: Asked) -> None:
            found = answers_by_post(self.model, docs, asked, self.fail)
            for (number, places), query, masks in zip(asked.owners, asked.queries, found):
                if masks is None:
                    continue
                if len(masks) != len(places):
                    raise RivegaError(Errors.E340.format(component=self.name, found=len(masks), asked=len(places)))
                for place, (mask, score) in zip(places, masks):
                    if mask.shape != query.image.shape[:2]:
                        raise RivegaError(Errors.E341.format(component=self.name, mask=mask.shape, image=query.image.shape[:2]))
                    rle = encode_mask(mask) if mask.any() else None
                    results[number][place] = TextMask(rle, float(score), rle_to_box(rle) if rle else None)

        ask_in_parts(docs, self.name, self._wanted, segment, expression=self.expression, labels=self.cfg["labels"], masks=True)
        return results

    def set_annotations(self, docs: Iterable[Doc], results: list[list[TextMask | None]]) -> None:
        """Write `mask_rle` and `mask_score`, and `boxes` if there are none; entities that have no mask lose one they had before."""
        for doc, found in zip(docs, results):
            for ent, result in zip(doc.ents, found):
                ent._.mask_rle = result.rle if result else None
                ent._.mask_score = result.score if result else None
                if result and result.box and self.cfg["boxes"] and not ent._.boxes:
                    ent._.boxes = [result.box]
                    ent._.box_score = result.score

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from the gold masks of the references.

        examples (Iterable[Example]): References carry picture, entities and `mask_rle`.
        drop (float), sgd (Optional[Optimizer]), losses (Optional[Dict[str, float]]): As of other components.
        RAISES (RivegaError): E306 if the model cannot be trained; freeze the component in a pipeline that is trained.
        """
        if not self.is_trainable:
            raise RivegaError(Errors.E306.format(name=self.name))
        return super().update(examples, drop=drop, sgd=sgd, losses=losses)

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Any | None = None,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        """Give a network its first weights; functions need none.

        get_examples (Callable): Not needed. weights (Optional[str]): A folder to begin from. RAISES (RivegaError): E207 if a function is given one.
        """
        if self.is_trainable or weights is not None:
            super().initialize(get_examples, nlp=nlp, weights=weights)

    def _wanted(self, ent: Span) -> bool:
        judged = ent._.groundable
        return bool(judged) or (judged is None and self.cfg["segment_unjudged"])


def _forward(model: Model, batch: list[ImageQueries], is_train: bool, *, segmenter: TextSegmenterModel) -> tuple[Any, Callable]:
    return segmenter(batch), no_gradient
