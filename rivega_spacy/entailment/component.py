"""`rivega_entailment`: writes `span._.groundable` for every entity of a post that has a readable picture."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats1d

from ..pipes.batched import AskingVisionPipe
from ..pipes.network_asking import Asked, answers_by_post, ask_in_parts, side_of
from ..pipes.queries import ImageQueries

default_entailment_config = """
[model]
@architectures = "rivega.SmallEntailment.v1"
size = 192
"""
DEFAULT_ENTAILMENT_MODEL = Config().from_str(default_entailment_config)["model"]


class Judgement(NamedTuple):
    """What was found for one entity.

    groundable (bool): Whether the picture shows it.
    score (float): Probability that it does.
    """

    groundable: bool
    score: float


@Language.factory(
    "rivega_entailment",
    assigns=["span._.groundable", "span._.groundable_score"],
    requires=["doc.ents", "span._.referring_expression"],
    default_config={
        "model": DEFAULT_ENTAILMENT_MODEL,
        "threshold": 0.5,
        "overwrite": True,
        "expression": "both",
        "labels": {},
        "scorer": {"@scorers": "rivega.grounding_scorer.v1"},
    },
    default_score_weights={"ve_accuracy": 1.0, "ve_p": None, "ve_r": None, "ve_f": None},
)
def make_entailment(
    nlp: Language,
    name: str,
    model: Model[list[ImageQueries], list[Floats1d]],
    threshold: float,
    overwrite: bool,
    expression: str,
    labels: dict[str, str] | None,
    scorer: Callable | None,
) -> "VisualEntailment":
    """Construct the component.

    model (Model[List[ImageQueries], List[Floats1d]]): Probability of being shown, for each expression.
    threshold (float): Probability from which an entity counts as groundable.
    overwrite (bool): Also judge entities that came with a judgement.
    expression (str): What the network reads of "Name (TYPE) — expansion": "both", "name" or "expansion" (paper, Table IX). Networks
        know the form that they were trained with.
    labels (Optional[Dict[str, str]]): Types (PER, LOC, ORG, OTHER) of labels that are not known by themselves (labels.py), for example
        {"ATHLETE": "PER"}.
    scorer (Optional[Callable]): The scoring method.
    """
    return VisualEntailment(
        nlp.vocab, model, name, threshold=threshold, overwrite=overwrite, expression=expression, labels=labels, scorer=scorer
    )


class VisualEntailment(AskingVisionPipe):
    """Visual entailment: does the picture show the entity? (paper, section IV-C 1; labels e and c)"""

    settings = ("threshold", "overwrite", "expression", "labels")
    fractions = ("threshold",)

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[ImageQueries], list[Floats1d]],
        name: str = "rivega_entailment",
        *,
        threshold: float = 0.5,
        overwrite: bool = True,
        expression: str = "both",
        labels: dict[str, str] | None = None,
        scorer: Callable | None = None,
    ) -> None:
        own = {"threshold": threshold, "overwrite": overwrite}
        super().__init__(vocab, model, name, expression=expression, labels=labels, scorer=scorer, **own)

    def predict(self, docs: Iterable[Doc]) -> list[list[Judgement | None]]:
        """Judge every entity of every post with a readable picture; the posts stay as they are.

        docs (Iterable[Doc]): The posts.
        RETURNS (List[List[Optional[Judgement]]]): One list a post, in the order of `doc.ents`; None if nothing
            can be said.
        """
        docs = list(docs)
        results: list[list[Judgement | None]] = [[None] * len(doc.ents) for doc in docs]
        # In the numbers that scores are made of: 0.7 in them is a little less than in Python's, in which older versions of NumPy compare.
        least = np.float32(self.cfg["threshold"])

        def judge(asked: Asked) -> None:
            found = answers_by_post(self.model, docs, asked, self.fail)
            for (number, places), scores in zip(asked.owners, found):
                for place, score in zip(places, () if scores is None else scores):
                    results[number][place] = Judgement(bool(np.float32(score) >= least), float(score))

        options = {"expression": self.expression, "labels": self.cfg["labels"], "side": side_of(self.model)}
        ask_in_parts(docs, self.name, self._wanted, judge, **options)
        return results

    def set_annotations(self, docs: Iterable[Doc], results: list[list[Judgement | None]]) -> None:
        """Write `groundable` and `groundable_score`; entities that were not judged keep what they have."""
        for doc, judgements in zip(docs, results):
            for ent, judgement in zip(doc.ents, judgements):
                if judgement is not None:
                    ent._.groundable = judgement.groundable
                    ent._.groundable_score = judgement.score

    def _wanted(self, ent: Span) -> bool:
        return self.cfg["overwrite"] or ent._.groundable is None
