"""What `groundable_score` is worth: reliability, and the scores over the threshold of "shown"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .matching import Group

DEFAULT_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass
class Calibration:
    """Groundability probabilities against what gold says.

    count (int): Predicted entities with a score whose entity gold has too.
    brier (float): Mean squared error of the probability.
    ece (float): Expected calibration error: mean distance between confidence and frequency over the bins, by their size.
    bins (List[Dict[str, float]]): Each filled bin's low, high, count, mean score, share that gold shows.
    curve (List[Dict[str, float]]): Accuracy, precision, recall and F1 of "shown" at each threshold.
    average_precision (float): Area under precision over recall.
    """

    count: int
    brier: float
    ece: float
    bins: list[dict[str, float]]
    curve: list[dict[str, float]]
    average_precision: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))

    def best_threshold(self, measure: str = "accuracy") -> float:
        """The threshold with the highest value of a measure of the curve; to be chosen on dev, not on test."""
        return max(self.curve, key=lambda row: row[measure])["threshold"]


def judged_scores(groups: Sequence[Group]) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all predicted entities that gold has too, with what gold says.

    groups (Sequence[Group]): From `make_groups`.
    RETURNS (Tuple[ndarray, ndarray]): n float64: scores; n bool: gold shows it.
    """
    scores, shown = [], []
    for group in groups:
        for _, ours, theirs in group.alignment():
            if ours.groundable_score is not None and theirs.groundable is not None:
                scores.append(ours.groundable_score)
                shown.append(theirs.groundable)
    return np.asarray(scores, dtype="float64"), np.asarray(shown, dtype=bool)


def calibrate(groups: Sequence[Group], *, bins: int = 10, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> Calibration | None:
    """Judge the groundability scores of a run.

    groups (Sequence[Group]): `Scores.groups`.
    bins (int): Equally wide bins of the reliability table.
    thresholds (Sequence[float]): From which score on an entity is taken as shown.
    RETURNS (Optional[Calibration]): None if no entity has a score.
    """
    scores, shown = judged_scores(groups)
    if not len(scores):
        return None
    table = reliability(scores, shown, bins=bins)
    curve = [_at_threshold(scores, shown, threshold) for threshold in thresholds]
    return Calibration(
        count=len(scores),
        brier=float(np.mean((scores - shown) ** 2)),
        ece=calibration_error(table),
        bins=table,
        curve=curve,
        average_precision=_average_precision(scores, shown),
    )


def reliability(scores: np.ndarray, shown: np.ndarray, *, bins: int = 10) -> list[dict[str, float]]:
    """How often what got a score was the case, by score.

    scores (ndarray): n, probabilities 0..1.
    shown (ndarray): n bool, what was the case.
    bins (int): Equally wide.
    RETURNS (List[Dict[str, float]]): As `Calibration.bins`.
    """
    place = np.minimum((scores * bins).astype("int64"), bins - 1)
    table = []
    for number in np.unique(place):
        inside = place == number
        table.append(
            {
                "low": float(number / bins),
                "high": float((number + 1) / bins),
                "count": int(inside.sum()),
                "score": float(scores[inside].mean()),
                "shown": float(shown[inside].mean()),
            }
        )
    return table


def calibration_error(table: Sequence[dict[str, float]]) -> float:
    """Expected calibration error (Guo et al. 2017): mean distance of score and frequency over the bins of `reliability`, by their size."""
    return float(sum(row["count"] * abs(row["score"] - row["shown"]) for row in table) / max(1, sum(row["count"] for row in table)))


def _at_threshold(scores: np.ndarray, shown: np.ndarray, threshold: float) -> dict[str, float]:
    said = scores >= threshold
    right = float((said & shown).sum())
    p = right / said.sum() if said.any() else 0.0
    r = right / shown.sum() if shown.any() else 0.0
    return {
        "threshold": float(threshold),
        "accuracy": float((said == shown).mean()),
        "p": float(p),
        "r": float(r),
        "f": float(2 * p * r / (p + r)) if p + r else 0.0,
    }


def _average_precision(scores: np.ndarray, shown: np.ndarray) -> float:
    if not shown.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    scores, shown = scores[order], shown[order]
    # Equal scores cannot be told apart, so precision and recall are read where a score ends.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    right = np.cumsum(shown)[ends]
    precision, recall = right / (ends + 1), right / shown.sum()
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
