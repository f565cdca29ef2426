"""The scores: MNER, GMNER, EEG, EES, SMNER, and of the single steps VE, VG and segmentation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ..post.errors import Errors, RivegaError
from .entries import one_box_entries
from .matching import Group, MatchOptions, Pair, make_groups, same_but_blanks
from .mentions import Annotations, Mention

# task -> (must the type be right, what has to be right in the picture)
TASKS: dict[str, tuple[bool, str]] = {
    "mner": (True, ""),
    "eeg": (False, "boxes"),
    "gmner": (True, "boxes"),
    "ees": (False, "masks"),
    "smner": (True, "masks"),
}


# Entities of a post with whether each is right.
Judged = list[tuple[Mention, bool]]


@dataclass
class Counts:
    """How many predictions are right, of how many made and how many there are to find."""

    right: int = 0
    predicted: int = 0
    gold: int = 0

    @property
    def p(self) -> float:
        """Precision, 0..1."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def r(self) -> float:
        """Recall, 0..1."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f(self) -> float:
        """F1, 0..1."""
        return 2 * self.right / (self.predicted + self.gold) if self.predicted + self.gold else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"right": self.right, "predicted": self.predicted, "gold": self.gold, "p": self.p, "r": self.r, "f": self.f}


@dataclass
class TaskScore:
    """One task: all types together, each type, and each post (for resampling).

    total (Counts): All entities.
    types (Dict[str, Counts]): By entity type; empty for the tasks that ignore types.
    per_post (ndarray): n_posts x 3 int64: right, predicted, gold of each post, in the order of `Scores.posts`.
    """

    total: Counts
    types: dict[str, Counts]
    per_post: np.ndarray


@dataclass
class Scores:
    """Everything that could be scored.

    options (MatchOptions): By which rule.
    posts (List[str]): Post ids in order.
    tasks (Dict[str, TaskScore]): Those of `TASKS` that both sides have data for.
    entailment (Optional[Dict[str, float]]): VE over the predictions whose entity gold has too.
    grounding (Optional[Dict[str, float]]): VG over those of them that gold grounds.
    segmentation (Optional[Dict[str, float]]): Masks over those of them that gold has masks for.
    notes (List[str]): What was not scored, and what is odd about the data.
    groups (List[Group]): The pairs everything was counted from, for sweeps and reports.
    """

    options: MatchOptions
    posts: list[str]
    tasks: dict[str, TaskScore] = field(default_factory=dict)
    entailment: dict[str, float] | None = None
    grounding: dict[str, float] | None = None
    segmentation: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers in 0..1."""
        options = self.options
        result: dict[str, Any] = {
            "rule": options.rule,
            "types": options.types,
            "iou": options.iou,
            "comparison": options.comparison,
            "posts": len(self.posts),
        }
        for name, task in self.tasks.items():
            result[name] = task.total.to_dict()
            if task.types:
                result[name]["types"] = {label: counts.to_dict() for label, counts in task.types.items()}
        for name in ("entailment", "grounding", "segmentation"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name)
        result["notes"] = self.notes
        return result

    def summary(self) -> dict[str, Any]:
        """The tasks' counts and precision, recall and F1 alone, for JSON."""
        return {name: task.total.to_dict() for name, task in self.tasks.items()}


def score(predicted: Annotations, gold: Annotations, options: MatchOptions | None = None) -> Scores:
    """Score predictions against gold data in everything both sides say something about.

    predicted (Annotations): Any system's output.
    gold (Annotations): What is right.
    options (Optional[MatchOptions]): The rules; the default is offset, MISC as OTHER, IoU >= 0.5.
    RETURNS (Scores): See there.
    RAISES (RivegaError): E512 if offsets cannot be compared, E515 if no post is common to both.
    """
    options = options or MatchOptions()
    if predicted.posts and gold.posts and not predicted.posts.keys() & gold.posts.keys():
        raise RivegaError(Errors.E515.format(count=len(predicted.posts), predicted=predicted.name, gold=gold.name))
    gold = one_box_entries(gold) if options.rule == "entry" else gold
    groups = make_groups(predicted, gold, options)
    posts = list(gold.posts) + [post for post in predicted.posts if post not in gold.posts]
    scores = Scores(options, posts, groups=groups)
    scores.notes = _notes(predicted, gold)
    if options.rule != "text":
        scores.notes += _text_notes(predicted, gold)
    for name, (_, region) in TASKS.items():
        if not region or (_says(gold, region) and _claims(predicted, region)):
            scores.tasks[name] = score_task(groups, posts, name, options)
        elif _says(gold, region):
            scores.notes.append(f"{name} not scored: the predictions carry no {region}")
    if gold.groundability and predicted.groundability:
        scores.entailment = score_entailment(groups)
    if gold.boxes and predicted.boxes:
        scores.grounding = score_grounding(groups, options)
    if gold.masks and predicted.masks:
        scores.segmentation = score_segmentation(groups)
    return scores


def score_task(groups: list[Group], posts: list[str], task: str, options: MatchOptions, *, iou: float | None = None) -> TaskScore:
    """One of the five tasks.

    groups (List[Group]): From `make_groups`.
    posts (List[str]): Ids of all posts, in the order that `per_post` takes.
    task (str): A key of `TASKS`.
    options (MatchOptions): The rules.
    iou (Optional[float]): A threshold instead of that of `options` (for sweeps).
    RETURNS (TaskScore): Counts in all, by type and by post.
    """
    typed, region = TASKS[task]
    rows = {post: row for row, post in enumerate(posts)}
    per_post = np.zeros((len(posts), 3), dtype="int64")
    types: dict[str, Counts] = {}
    for group in groups:
        row = per_post[rows[group.post]]
        row[1] += len(group.predicted)
        row[2] += len(group.gold)
        matched = group.count(_acceptor(group, typed, region, options, iou)) if group.pairs else []
        row[0] += len(matched)
        if typed and options.types != "none":
            for mention in group.predicted:
                types.setdefault(options.type_of(mention), Counts()).predicted += 1
            for mention in group.gold:
                types.setdefault(options.type_of(mention), Counts()).gold += 1
            for _, place in matched:
                types[options.type_of(group.gold[place])].right += 1
    total = Counts(*(int(x) for x in per_post.sum(axis=0)))
    return TaskScore(total, dict(sorted(types.items())), per_post)


def _acceptor(group: Group, typed: bool, region: str, options: MatchOptions, iou: float | None) -> Callable[[Pair], bool]:
    def accept(pair: Pair) -> bool:
        if typed and not pair.same_type:
            return False
        if not region:
            return True
        ours, theirs = getattr(group.predicted[pair.predicted], region), getattr(group.gold[pair.gold], region)
        if not ours or not theirs:
            # "Not in the picture" is a claim too: right only where gold makes it as well.
            return not ours and not theirs
        return options.reaches(_iou(pair, region), iou)

    return accept


def _iou(pair: Pair, region: str) -> float:
    """Of a pair of which both sides have the region, so that there is an IoU."""
    return cast(float, pair.box_iou if region == "boxes" else pair.mask_iou)


def judge_mentions(scores: Scores, task: str) -> dict[str, tuple[Judged, Judged]]:
    """Which entities of a task are right, post by post.

    scores (Scores): From `score`.
    task (str): A key of `TASKS`.
    RETURNS (Dict[str, Tuple[List, List]]): By post, its gold entities with whether they were found, and the predictions with whether
        they are right.
    """
    typed, region = TASKS[task]
    posts: dict[str, tuple[Judged, Judged]] = {}
    for group in scores.groups:
        matched = group.count(_acceptor(group, typed, region, scores.options, None)) if group.pairs else []
        gold, predicted = posts.setdefault(group.post, ([], []))
        found, right = {place for _, place in matched}, {place for place, _ in matched}
        gold += [(mention, place in found) for place, mention in enumerate(group.gold)]
        predicted += [(mention, place in right) for place, mention in enumerate(group.predicted)]
    return posts


def score_entailment(groups: list[Group]) -> dict[str, float]:
    """VE: of the predicted entities that gold has too (types aside), how often is "shown" or "not shown" right.

    groups (List[Group]): From `make_groups`.
    RETURNS (Dict[str, float]): `right` of `judged`, `accuracy`; `p`, `r`, `f` of "shown"; `unjudged`: neither shown nor not.
    """
    table = np.zeros((2, 2), dtype="int64")
    unjudged = 0
    for group in groups:
        for _, ours, theirs in group.alignment():
            if ours.groundable is None or theirs.groundable is None:
                unjudged += 1
            else:
                table[int(ours.groundable), int(theirs.groundable)] += 1
    judged, right = int(table.sum()), int(np.trace(table))
    shown = Counts(int(table[1, 1]), int(table[1].sum()), int(table[:, 1].sum()))
    return {
        "right": right,
        "judged": judged,
        "unjudged": unjudged,
        "accuracy": right / judged if judged else 0.0,
        "p": shown.p,
        "r": shown.r,
        "f": shown.f,
        "predicted_shown": shown.predicted,
        "gold_shown": shown.gold,
    }


def score_grounding(groups: list[Group], options: MatchOptions) -> dict[str, float]:
    """VG: of the predicted entities that gold has too and grounds, how often is the box right.

    groups (List[Group]): From `make_groups`.
    options (MatchOptions): Threshold and comparison.
    RETURNS (Dict[str, float]): `prec`: `right` of those that got a box (`boxed`); `prec_all`: of all that gold grounds
        (`grounded`); `miou`: mean IoU of those that got a box.
    """
    ious, grounded = _region_ious(groups, "boxes")
    return {
        "right": sum(options.reaches(iou) for iou in ious),
        "boxed": len(ious),
        "grounded": grounded,
        "prec": sum(options.reaches(iou) for iou in ious) / len(ious) if ious else 0.0,
        "prec_all": sum(options.reaches(iou) for iou in ious) / grounded if grounded else 0.0,
        "miou": float(np.mean(ious)) if ious else 0.0,
    }


def score_segmentation(groups: list[Group]) -> dict[str, float]:
    """Masks: of the predicted entities that gold has too and has masks for, the mean IoU.

    groups (List[Group]): From `make_groups`.
    RETURNS (Dict[str, float]): `miou` over those that got a mask (`masked`); `miou_all` over all that gold has masks for
        (`grounded`), a missing mask counting 0.
    """
    ious, grounded = _region_ious(groups, "masks")
    return {
        "masked": len(ious),
        "grounded": grounded,
        "miou": float(np.mean(ious)) if ious else 0.0,
        "miou_all": float(np.sum(ious)) / grounded if grounded else 0.0,
    }


def _region_ious(groups: list[Group], region: str) -> tuple[list[float], int]:
    ious: list[float] = []
    grounded = 0
    for group in groups:
        for number, ours, theirs in group.alignment():
            if getattr(theirs, region):
                grounded += 1
                if getattr(ours, region):
                    pair = group.pairs[number]
                    ious.append(_iou(pair, region))
    return ious, grounded


def _says(annotations: Annotations, region: str) -> bool:
    return bool(getattr(annotations, region))


def _claims(predicted: Annotations, region: str) -> bool:
    """A system that took nothing for shown made a claim about every entity, though it drew no box."""
    nothing_shown = predicted.groundability and not any(mention.groundable for mention in predicted.mentions)
    return _says(predicted, region) or nothing_shown


def _text_notes(predicted: Annotations, gold: Annotations) -> list[str]:
    """Offsets mean the same place only in the same text; blanks are seen to."""
    both = ((post, text, gold.texts[post]) for post, text in predicted.texts.items() if post in gold.texts)
    differ = [post for post, ours, theirs in both if ours != theirs and not same_but_blanks(ours, theirs)]
    if not differ:
        return []
    names = ", ".join(map(repr, differ[:3])) + (", ..." if len(differ) > 3 else "")
    return [Errors.E066.format(count=len(differ), names=names)]


def _notes(predicted: Annotations, gold: Annotations) -> list[str]:
    notes = [*predicted.notes, *gold.notes]
    for source in (predicted, gold):
        notes += source.refused[:5]
        if len(source.refused) > 5:
            notes.append(f"... and {len(source.refused) - 5} more lines of {source.name}")
    unknown = sum(post not in gold.posts for post in predicted.posts)
    if unknown:
        notes.append(f"{unknown} posts of the predictions are not in the gold data; their entities count as wrong")
    missing = sum(post not in predicted.posts for post in gold.posts)
    if missing:
        notes.append(f"{missing} posts of the gold data have no line in the predictions; their entities count as not found")
    if gold.masks:
        unmasked = sum(bool(m.boxes) and not m.masks for m in gold.mentions)
        if unmasked:
            notes.append(f"{unmasked} gold entities have boxes but no mask; for EES and SMNER they count as not in the picture")
    return notes
