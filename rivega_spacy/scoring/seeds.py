"""Several runs of one system, with other seeds: their mean, how far they spread, and whether another system's runs are worse."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..post.errors import Errors, RivegaError
from .significance import compare
from .tasks import Scores


class SeedTest(NamedTuple):
    """Two systems with several runs each.

    difference (float): Mean F1 of the first less that of the second.
    p_value (float): Two-sided, over posts: runs are paired in order, and in each trial the two systems' results are swapped for every post of
        every pair with probability one half (approximate randomization, Noreen 1989).
    p_seeds (float): Two-sided, over seeds: the share of all ways to deal the runs out to two systems whose means differ as much. With three
        runs each there are 20 ways, so it cannot be below 0.1.
    runs (Tuple[int, int]): How many runs each has.
    """

    difference: float
    p_value: float
    p_seeds: float
    runs: tuple[int, int]


def mean_of(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores of several runs as one: numbers are means.

    results (List[Dict[str, Any]]): `Scores.to_dict()` of each.
    RETURNS (Dict[str, Any]): The same form; `runs` is their number and `deviation` the standard deviation (n - 1) of each task's F1.
    """
    first = results[0]
    mean: dict[str, Any] = {key: _mean([result[key] for result in results if key in result]) for key in first}
    tasks = [key for key, value in first.items() if isinstance(value, dict) and "f" in value and all(key in r for r in results)]
    mean["runs"] = len(results)
    if len(results) > 1:
        mean["deviation"] = {task: float(np.std([result[task]["f"] for result in results], ddof=1)) for task in tasks}
    mean["notes"] = list(dict.fromkeys(note for result in results for note in result["notes"]))
    return mean


def compare_runs(first: list[Scores], second: list[Scores], task: str, *, samples: int = 5000, seed: int = 0) -> SeedTest:
    """Whether one system is better than another.

    first (List[Scores]), second (List[Scores]): Runs on the same posts, as many of each.
    task (str): A task that all have.
    samples (int), seed (int): Of the test over posts.
    RETURNS (SeedTest): See there.
    RAISES (RivegaError): E861 if they have not as many runs, E516 if the posts differ.
    """
    if len(first) != len(second) or not first:
        raise RivegaError(Errors.E861.format(first=len(first), second=len(second)))
    tests = [
        compare(ours, theirs, task, samples=samples, seed=seed + number) for number, (ours, theirs) in enumerate(zip(first, second))
    ]
    values = [scores.tasks[task].total.f for scores in (*first, *second)]
    return SeedTest(
        float(np.mean([test.difference for test in tests])),
        _pooled(first, second, task, samples, seed),
        _over_seeds(values, len(first)),
        (len(first), len(second)),
    )


def _pooled(first: list[Scores], second: list[Scores], task: str, samples: int, seed: int) -> float:
    """The test over posts with all pairs of runs in it."""
    rng = np.random.default_rng(seed)
    pairs = []
    for one, other in zip(first, second):
        sides = [dict(zip(scores.posts, scores.tasks[task].per_post)) for scores in (one, other)]
        posts = list(dict.fromkeys([*one.posts, *other.posts]))
        none = np.zeros(3, dtype="int64")
        pairs.append(tuple(np.stack([side.get(post, none) for post in posts]).astype("float64") for side in sides))
    observed = abs(np.mean([_f(ours.sum(0)) - _f(theirs.sum(0)) for ours, theirs in pairs]))
    extreme = 0
    for _ in range(samples):
        differences = []
        for ours, theirs in pairs:
            signs = rng.integers(0, 2, size=len(ours)) * 2.0 - 1.0
            total, swing = ours.sum(0) + theirs.sum(0), signs @ (ours - theirs)
            differences.append(_f((total + swing) / 2) - _f((total - swing) / 2))
        extreme += abs(np.mean(differences)) >= observed - 1e-12
    return float((extreme + 1) / (samples + 1))


def _over_seeds(values: list[float], count: int) -> float:
    observed = abs(np.mean(values[:count]) - np.mean(values[count:]))
    ways = list(itertools.combinations(range(len(values)), count))
    if len(ways) > 20000:
        return float("nan")
    extreme = 0
    for chosen in ways:
        rest = [value for place, value in enumerate(values) if place not in chosen]
        extreme += abs(np.mean([values[place] for place in chosen]) - np.mean(rest)) >= observed - 1e-12
    return extreme / len(ways)


def _f(counts: np.ndarray) -> float:
    total = counts[1] + counts[2]
    return float(2 * counts[0] / total) if total else 0.0


def _mean(values: list[Any]) -> Any:
    if all(isinstance(value, dict) for value in values):
        return {key: _mean([value[key] for value in values if key in value]) for key in values[0]}
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return values[0] if len(set(values)) == 1 else float(np.mean(values))
    return values[0]


__all__ = ["SeedTest", "compare_runs", "mean_of"]
