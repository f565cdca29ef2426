"""How far a score can be trusted: bootstrap intervals, and a paired test between two runs."""

from typing import NamedTuple

import numpy as np

from ..post.errors import Errors, RivegaError
from .tasks import Scores, TaskScore

# Resamples are drawn in blocks: 1,000 x 10,000 posts at once would take 80 MB.
_BLOCK = 250


class Interval(NamedTuple):
    """A percentile interval, 0..1."""

    low: float
    high: float


class PairedTest(NamedTuple):
    """Whether one run is better than another on the same posts.

    difference (float): F1 of the first less that of the second.
    interval (Interval): Bootstrap interval of the difference.
    p_value (float): Two-sided, by approximate randomization: how often chance alone makes a difference as large.
    """

    difference: float
    interval: Interval
    p_value: float


def f_of_counts(counts: np.ndarray) -> np.ndarray:
    """F1 of counts.

    counts (ndarray): ... x 3: right, predicted, gold.
    RETURNS (ndarray): F1 in 0..1, 0 if there is neither prediction nor gold.
    """
    counts = np.asarray(counts, dtype="float64")
    total = counts[..., 1] + counts[..., 2]
    return np.divide(2 * counts[..., 0], total, out=np.zeros_like(total), where=total > 0)


def bootstrap(task: TaskScore, *, samples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Intervals of precision, recall and F1 by resampling whole posts (the entities of one post depend on each other).

    task (TaskScore): The task.
    samples (int): Resamples.
    level (float): Share of the resamples that the interval holds.
    seed (int): Of the random numbers.
    RETURNS (Dict[str, Interval]): By "p", "r", "f".
    """
    sums = _resample(task.per_post, samples, seed)
    right, predicted, gold = sums[:, 0], sums[:, 1], sums[:, 2]
    return {
        "p": _percentiles(np.divide(right, predicted, out=np.zeros(samples), where=predicted > 0), level),
        "r": _percentiles(np.divide(right, gold, out=np.zeros(samples), where=gold > 0), level),
        "f": _percentiles(f_of_counts(sums), level),
    }


def compare(first: Scores, second: Scores, task: str, *, samples: int = 5000, level: float = 0.95, seed: int = 0) -> PairedTest:
    """Compare two runs on the same posts in one task.

    first (Scores), second (Scores): Scored with the same options against the same gold data.
    task (str): A task that both have.
    samples (int): Random assignments, and resamples for the interval.
    level (float), seed (int): As in `bootstrap`.
    RETURNS (PairedTest): By approximate randomization (Noreen 1989): in each trial the two runs' results are swapped for every
        post with probability one half.
    RAISES (RivegaError): E516 if the posts differ.
    """
    ours, theirs = _aligned(first, second, task)
    observed = float(f_of_counts(ours.sum(axis=0)) - f_of_counts(theirs.sum(axis=0)))
    rng = np.random.default_rng(seed)
    gap, total = ours - theirs, ours.sum(axis=0) + theirs.sum(axis=0)
    extreme = 0
    done = 0
    while done < samples:
        count = min(_BLOCK, samples - done)
        signs = rng.integers(0, 2, size=(count, len(gap))) * 2.0 - 1.0
        swing = signs @ gap
        trial = f_of_counts((total + swing) / 2) - f_of_counts((total - swing) / 2)
        extreme += int((np.abs(trial) >= abs(observed) - 1e-12).sum())
        done += count
    both = np.concatenate([ours, theirs], axis=1)
    sums = _resample(both, samples, seed)
    interval = _percentiles(f_of_counts(sums[:, :3]) - f_of_counts(sums[:, 3:]), level)
    return PairedTest(observed, interval, (extreme + 1) / (samples + 1))


def _aligned(first: Scores, second: Scores, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts of both runs with one row a post, in one order; a post that one run alone predicts for has no gold."""
    sides = []
    for scores in (first, second):
        sides.append(dict(zip(scores.posts, scores.tasks[task].per_post)))
    golds = [{post: int(row[2]) for post, row in side.items() if row[2]} for side in sides]
    if golds[0] != golds[1]:
        raise RivegaError(Errors.E516.format(first=len(golds[0]), second=len(golds[1])))
    posts = list(dict.fromkeys([*first.posts, *second.posts]))
    none = np.zeros(3, dtype="int64")
    ours, theirs = (np.stack([side.get(post, none) for post in posts]).astype("float64") for side in sides)
    return ours, theirs


def _resample(per_post: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Column sums of `samples` bootstrap resamples of the rows."""
    rng = np.random.default_rng(seed)
    rows = len(per_post)
    sums = np.zeros((samples, per_post.shape[1]))
    if not rows:
        return sums
    for start in range(0, samples, _BLOCK):
        stop = min(start + _BLOCK, samples)
        drawn = rng.integers(0, rows, size=(stop - start, rows))
        flat = (drawn + np.arange(stop - start)[:, None] * rows).ravel()
        weights = np.bincount(flat, minlength=(stop - start) * rows).reshape(stop - start, rows)
        sums[start:stop] = weights @ per_post
    return sums


def _percentiles(values: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
