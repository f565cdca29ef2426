"""The scores as spaCy scorers, for `[nlp]` components and `[training.score_weights]`."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.training import Example

from ..post.errors import Errors
from ..segmentation.component import score_masks
from .matching import MatchOptions
from .mentions import Annotations
from .tasks import Scores, score

Scorer = Callable[..., dict[str, Any]]


def make_post_scorer(rule: str = "offset", types: str = "folded", iou: float = 0.5, comparison: str = ">=") -> Scorer:
    """`rivega.post_scorer.v1`: everything that the reference posts have gold data for.

    rule (str), types (str), iou (float), comparison (str): As in `MatchOptions`.
    RETURNS (Callable): From examples to `mner_f` (`_p`, `_r`, `_per_type`), the same for gmner, eeg, ees and smner, and
        `ve_accuracy`, `vg_prec`, and `mask_miou` as `rivega.mask_scorer.v1` has it; None if gold has no data for it.
    """
    options = MatchOptions(rule=rule, types=types, iou=iou, comparison=comparison)
    return _TaskScorer(options, ("mner", "gmner", "eeg", "ees", "smner"))


def make_grounding_scorer(iou: float = 0.5, comparison: str = ">=") -> Scorer:
    """`rivega.grounding_scorer.v1`: what belongs to the picture alone: `ve_accuracy`, `ve_p`, `ve_r`, `ve_f`, `vg_prec`, `eeg_f`.

    iou (float), comparison (str): As in `MatchOptions`.
    """
    options = MatchOptions(types="none", iou=iou, comparison=comparison)
    return _TaskScorer(options, ("eeg", "ees"))


@dataclass(frozen=True)
class _TaskScorer:
    """A scorer as spaCy calls it; a class, because worker processes get their components pickled."""

    options: MatchOptions
    tasks: tuple[str, ...]

    def __call__(self, examples: Iterable[Example], **_: Any) -> dict[str, Any]:
        examples = list(examples)
        # One name, one meaning: `mask_miou` is what the segmenter's own scorer calls so.
        masks = score_masks(examples)["mask_miou"]
        return {**_flatten(score_examples(examples, self.options), self.tasks), "mask_miou": masks}


def score_examples(examples: Iterable[Example], options: MatchOptions) -> Scores:
    """Score the predicted posts of examples against their references.

    examples (Iterable[Example]): Processed posts with gold ones; the two may be tokenized differently.
    options (MatchOptions): The rules.
    RETURNS (Scores): See there.
    """
    examples = list(examples)
    tell_lost_pictures(examples)
    predicted, gold = Annotations(name="predicted"), Annotations(name="reference")
    for number, example in enumerate(examples):
        # By number, not by id: a post may be in a training corpus twice.
        predicted.add_doc(example.predicted, str(number))
        gold.add_doc(example.reference, str(number))
    return score(predicted, gold, options)


def tell_lost_pictures(examples: Sequence[Example]) -> None:
    """Warn once where posts were processed without the pictures that their references have: scores would be those of text alone."""
    lost = [example for example in examples if example.reference._.image is not None and example.predicted._.image is None]
    if lost and not _TOLD:
        _TOLD.append(True)
        warnings.warn(Errors.W090.format(count=len(lost), posts=len(examples)), stacklevel=2)


_TOLD: list[bool] = []


def _flatten(scores: Scores, tasks: tuple[str, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for task in tasks:
        found = scores.tasks.get(task)
        for measure in ("p", "r", "f"):
            result[f"{task}_{measure}"] = None if found is None else getattr(found.total, measure)
        if found is not None and found.types:
            result[f"{task}_per_type"] = {
                label: {measure: getattr(counts, measure) for measure in ("p", "r", "f")} for label, counts in found.types.items()
            }
    for name, values, keys in _single_steps(scores):
        for key in keys:
            result[f"{name}_{key}"] = None if values is None else values[key]
    return result


def _single_steps(scores: Scores) -> list[tuple[str, Any, tuple[str, ...]]]:
    return [
        ("ve", scores.entailment, ("accuracy", "p", "r", "f")),
        ("vg", scores.grounding, ("prec",)),
    ]


__all__ = ["make_grounding_scorer", "make_post_scorer", "score_examples"]
