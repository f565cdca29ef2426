"""`rivega_grounder`: writes `span._.boxes` for every entity that the picture shows."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats2d

from ..pipes.batched import AskingVisionPipe
from ..pipes.network_asking import Asked, answers_by_post, ask_in_parts, side_of
from ..pipes.queries import ImageQueries
from ..post.boxes import clip_boxes

default_grounder_config = """
[model]
@architectures = "rivega.SmallGrounder.v1"
size = 192
"""
DEFAULT_GROUNDER_MODEL = Config().from_str(default_grounder_config)["model"]


class Located(NamedTuple):
    """What was found for one entity.

    boxes (List[List[float]]): XYXY pixels of the picture; at most one.
    score (Optional[float]): Probability that the box is right.
    """

    boxes: list[list[float]]
    score: float | None


@Language.factory(
    "rivega_grounder",
    assigns=["span._.boxes", "span._.box", "span._.box_score"],
    requires=["doc.ents", "span._.referring_expression"],
    default_config={
        "model": DEFAULT_GROUNDER_MODEL,
        "ground_unjudged": True,
        "min_score": 0.0,
        "overwrite": True,
        "expression": "both",
        "labels": {},
        "scorer": {"@scorers": "rivega.grounding_scorer.v1"},
    },
    default_score_weights={"vg_prec": 1.0},
)
def make_grounder(
    nlp: Language,
    name: str,
    model: Model[list[ImageQueries], list[Floats2d]],
    ground_unjudged: bool,
    min_score: float,
    overwrite: bool,
    expression: str,
    labels: dict[str, str] | None,
    scorer: Callable | None,
) -> "VisualGrounder":
    """Construct the component.

    model (Model[List[ImageQueries], List[Floats2d]]): A box and its score, for each expression.
    ground_unjudged (bool): Also look for entities that were not judged (`groundable` is None): without an entailment
        component, for all of them.
    min_score (float): Boxes below this score are left out.
    overwrite (bool): Also look for entities that came with boxes.
    expression (str): What the network reads of "Name (TYPE) — expansion": "both", "name" or "expansion" (paper, Table IX). Networks
        know the form that they were trained with.
    labels (Optional[Dict[str, str]]): Types (PER, LOC, ORG, OTHER) of labels that are not known by themselves (labels.py), for example
        {"ATHLETE": "PER"}.
    scorer (Optional[Callable]): The scoring method.
    """
    return VisualGrounder(
        nlp.vocab,
        model,
        name,
        ground_unjudged=ground_unjudged,
        min_score=min_score,
        overwrite=overwrite,
        expression=expression,
        labels=labels,
        scorer=scorer,
    )


class VisualGrounder(AskingVisionPipe):
    """Visual grounding: where in the picture is the entity? (paper, section IV-C 2)"""

    settings = ("ground_unjudged", "min_score", "overwrite", "expression", "labels")
    fractions = ("min_score",)

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[ImageQueries], list[Floats2d]],
        name: str = "rivega_grounder",
        *,
        ground_unjudged: bool = True,
        min_score: float = 0.0,
        overwrite: bool = True,
        expression: str = "both",
        labels: dict[str, str] | None = None,
        scorer: Callable | None = None,
    ) -> None:
        own = {"ground_unjudged": ground_unjudged, "min_score": min_score, "overwrite": overwrite}
        super().__init__(vocab, model, name, expression=expression, labels=labels, scorer=scorer, **own)

    def predict(self, docs: Iterable[Doc]) -> list[list[Located | None]]:
        """Look for the groundable entities of every post with a readable picture; the posts stay as they are.

        docs (Iterable[Doc]): The posts.
        RETURNS (List[List[Optional[Located]]]): One list a post, in the order of `doc.ents`; None for entities that
            were not looked for. Boxes are within the picture and not empty.
        """
        docs = list(docs)
        results: list[list[Located | None]] = [[None] * len(doc.ents) for doc in docs]

        def locate(asked: Asked) -> None:
            found = answers_by_post(self.model, docs, asked, self.fail)
            for (number, places), query, rows in zip(asked.owners, asked.queries, found):
                if rows is None:
                    continue
                rows = np.asarray(rows, dtype="float64").reshape(-1, 5)
                boxes = clip_boxes(rows[:, :4], *query.size)
                for place, box, score in zip(places, boxes.tolist(), rows[:, 4].tolist()):
                    usable = np.isfinite(box).all() and score >= self.cfg["min_score"]
                    results[number][place] = Located([box] if usable else [], float(score))

        options = {"expression": self.expression, "labels": self.cfg["labels"], "side": side_of(self.model)}
        ask_in_parts(docs, self.name, self._wanted, locate, **options)
        return results

    def set_annotations(self, docs: Iterable[Doc], results: list[list[Located | None]]) -> None:
        """Write `boxes` and `box_score`; entities judged not groundable lose boxes that they had."""
        for doc, found in zip(docs, results):
            for ent, located in zip(doc.ents, found):
                if located is not None:
                    ent._.boxes = located.boxes
                    ent._.box_score = located.score
                elif ent._.groundable is False and self.cfg["overwrite"]:
                    ent._.boxes = []
                    ent._.box_score = None

    def _wanted(self, ent: Span) -> bool:
        if ent._.boxes and not self.cfg["overwrite"]:
            return False
        judged = ent._.groundable
        return bool(judged) or (judged is None and self.cfg["ground_unjudged"])
