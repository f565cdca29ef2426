"""From which score on an entailment component takes an entity as shown, chosen on dev posts."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from spacy.util import minibatch

from ..expansion.component import EntityExpander
from ..post.errors import Errors, RivegaError


class Fitted(NamedTuple):
    """What was chosen.

    threshold (float): Scores from it on mean "shown".
    value (float): The measure with it.
    before (float): The measure with the threshold the component had.
    count (int): Entities judged.
    """

    threshold: float
    value: float
    before: float
    count: int  # type: ignore[assignment]  # the field stands in the place of tuple.count


def expanded(nlp: Any, docs: Iterable[Any], component: str) -> Iterable[Any]:
    """Posts with the expansions that the pipeline's own expanders write before a component, so that it is asked what it will be asked.

    nlp (Language): The pipeline.
    docs (Iterable[Doc]): Posts with entities; expansions that came with them stay.
    component (str): Where to stop.
    RETURNS (Iterable[Doc]): The same posts.
    """
    for _name, pipe in nlp.pipeline[: nlp.pipe_names.index(component)]:
        if isinstance(pipe, EntityExpander):
            docs = pipe.pipe(docs, batch_size=32)
    return docs


def dev_scores(pipe: Any, docs: Iterable[Any], *, batch_size: int = 32) -> tuple[list[float], list[bool]]:
    """Scores of the gold entities of annotated posts, with what gold says; posts without a readable picture are left out.

    pipe (VisualEntailment): The component.
    docs (Iterable[Doc]): Posts with entities and `groundable`; their judgements are taken away.
    RETURNS (Tuple[List[float], List[bool]]): Scores, and whether the picture shows the entity.
    """
    scores: list[float] = []
    shown: list[bool] = []
    for batch in minibatch(docs, size=batch_size):
        gold = []
        for doc in batch:
            gold.append([_groundable(ent) for ent in doc.ents])
            for ent in doc.ents:
                ent._.groundable = None
        for judgements, answers in zip(pipe.predict(batch), gold):
            for judgement, answer in zip(judgements, answers):
                if judgement is not None and answer is not None:
                    scores.append(judgement.score)
                    shown.append(answer)
    return scores, shown


def fit_threshold(scores: list[float], shown: list[bool], *, measure: str = "accuracy", before: float = 0.5) -> Fitted:
    """The threshold with the highest measure: every one that tells two scores apart is tried.

    scores (List[float]): 0..1. shown (List[bool]): What gold says.
    measure (str): "accuracy", or "f1" of "shown".
    before (float): A threshold to compare with.
    RETURNS (Fitted): Of several equally good thresholds the one nearest to `before`.
    RAISES (RivegaError): E743 if there are no scores, or gold has only one answer.
    """
    values, truth = np.asarray(scores, dtype="float64"), np.asarray(shown, dtype=bool)
    finite = np.isfinite(values)
    values, truth = values[finite], truth[finite]
    if not len(values) or truth.all() or not truth.any():
        raise RivegaError(Errors.E743.format(count=len(values), shown=int(truth.sum())))
    order = np.argsort(values, kind="stable")
    values, truth = values[order], truth[order]
    edges = np.unique(values)
    candidates = np.concatenate([[0.0], (edges[:-1] + edges[1:]) / 2, [before]])
    below = np.searchsorted(values, candidates, side="left")
    shown_below = np.concatenate([[0], np.cumsum(truth)])[below]
    right_shown = truth.sum() - shown_below
    if measure == "accuracy":
        found = (right_shown + below - shown_below) / len(values)
    else:
        found = 2 * right_shown / (len(values) - below + truth.sum())
    best = np.flatnonzero(found == found.max())
    chosen = best[np.argmin(np.abs(candidates[best] - before))]
    return Fitted(float(candidates[chosen]), float(found[chosen]), float(found[-1]), len(values))


def _groundable(ent: Any) -> Any:
    if ent._.groundable is None and ent._.boxes:
        return True
    return ent._.groundable
