"""How good a detector's candidate boxes are: TopN-Prec@0.5 (the paper's Table I)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..post.boxes import box_iou, check_box
from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines
from .matching import MatchOptions
from .mentions import Annotations

# Boxes of one post, best first.
Candidates = dict[str, np.ndarray]


def read_candidates(path: str | Path) -> Candidates:
    """Candidate boxes of any detector.

    path (Union[str, Path]): JSON lines (.gz or not): id, boxes (XYXY pixels), optional scores (the order of the boxes where
        they are not given).
    RETURNS (Dict[str, ndarray]): n x 4 by post id, best first; a post may stand on several lines.
    RAISES (RivegaError): E020, E513, E514 as `read_annotations`.
    """
    found: dict[str, list[list[float]]] = {}
    for number, row in read_lines(path):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            boxes = [check_box(box) for box in row["boxes"]]
            scores = row.get("scores")
            if scores is None:
                scores = list(range(len(boxes), 0, -1))
            if len(scores) != len(boxes):
                raise ValueError(f"{len(boxes)} boxes, but {len(scores)} scores")
            found.setdefault(str(row["id"]), []).extend([float(score), *box] for score, box in zip(scores, boxes))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RivegaError(Errors.E513.format(path=path, line=number, reason=repr(error))) from error
    if not found:
        raise RivegaError(Errors.E514.format(path=path))
    ordered = {}
    for post, rows in found.items():
        table = np.asarray(rows, dtype="float64").reshape(-1, 5)
        ordered[post] = table[np.argsort(-table[:, 0], kind="stable"), 1:]
    return ordered


def top_n_precision(
    candidates: Candidates, gold: Annotations, *, tops: Sequence[int] = (10, 15, 20), options: MatchOptions = MatchOptions()
) -> dict[int, float]:
    """Share of the grounded gold entities that one of a post's first N candidate boxes covers.

    candidates (Candidates): From `read_candidates`.
    gold (Annotations): Gold entities with boxes; the best of an entity's boxes counts.
    tops (Sequence[int]): The N.
    options (MatchOptions): Threshold and comparison.
    RETURNS (Dict[int, float]): 0..1 by N. A post without candidates is not covered.
    """
    best: list[np.ndarray] = []
    for mention in gold.mentions:
        if mention.boxes:
            boxes = candidates.get(mention.post, np.zeros((0, 4)))
            best.append(box_iou(boxes, np.asarray(mention.boxes)).max(axis=1, initial=0.0))
    result = {}
    for top in tops:
        covered = sum(options.reaches(float(ious[:top].max(initial=0.0))) for ious in best)
        result[top] = covered / len(best) if best else 0.0
    return result
