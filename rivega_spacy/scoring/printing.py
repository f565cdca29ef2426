"""Scores as lines of text for people."""

import json
import sys
from typing import Any

from .sweep import sweep_table


def print_result(result: dict[str, Any], *, as_json: bool) -> None:
    """Print scores.

    result (Dict[str, Any]): `Scores.to_dict()` and what was added to it.
    as_json (bool): JSON, or a table in percent for people.
    """
    sys.stdout.write((json.dumps(result, ensure_ascii=False) if as_json else "\n".join(format_result(result))) + "\n")


def format_result(result: dict[str, Any]) -> list[str]:
    """Scores as lines of text, in percent."""
    lines = [
        f"rule {result['rule']}, types {result['types']}, IoU {result['comparison']} {result['iou']}, {result['posts']} posts",
        "",
    ]
    lines.append(f"{'':14}{'P':>7}{'R':>8}{'F1':>8}{'right':>8}{'pred':>8}{'gold':>8}")
    for task in ("mner", "gmner", "eeg", "ees", "smner"):
        if task not in result:
            continue
        lines.append(_row(task.upper(), result[task]))
        if "intervals" in result[task]:
            low, high = result[task]["intervals"]["f"]
            lines.append(f"{'':14}F1 95 % interval {100 * low:.2f} to {100 * high:.2f}")
        for label, counts in result[task].get("types", {}).items():
            lines.append(_row(f"  {label}", counts))
    for name, keys in (
        ("entailment", ("accuracy", "p", "r", "f", "judged")),
        ("grounding", ("prec", "prec_all", "miou", "boxed", "grounded")),
        ("segmentation", ("miou", "miou_all", "masked", "grounded")),
        ("candidates", None),
    ):
        if name in result:
            values = result[name]
            shown = ((key, values[key]) for key in (keys or values))
            lines.append(
                f"{name}: " + ", ".join(f"{key} {100 * v:.2f}" if isinstance(v, float) else f"{key} {v}" for key, v in shown)
            )
    for name, tasks in result.get("novelty", {}).items():
        lines += [f"entities {name} in training:", *(_row(task.upper(), counts) for task, counts in tasks.items())]
    for task, value in result.get("deviation", {}).items():
        lines.append(f"{task.upper()}: mean of {result['runs']} runs, standard deviation of F1 {100 * value:.2f}")
    for task, test in result.get("against", {}).items():
        if "runs" in test:
            lines.append(
                f"{task.upper()} against the other runs: {100 * test['difference']:+.2f} F1, p = {test['p_value']:.4f} over posts, "
                f"{test['p_seeds']:.4f} over seeds"
            )
            continue
        low, high = test["interval"]
        lines.append(
            f"{task.upper()} against the other run: {100 * test['difference']:+.2f} F1 ({100 * low:+.2f} to {100 * high:+.2f}), "
            f"p = {test['p_value']:.4f}"
        )
    if "sweep" in result:
        sweep = {key: value for key, value in result["sweep"].items() if key != "thresholds"}
        lines += ["", sweep_table(sweep, result["sweep"]["thresholds"])]
    if result.get("calibration"):
        found = result["calibration"]
        lines.append(
            f"groundable_score: Brier {found['brier']:.4f}, ECE {100 * found['ece']:.2f}, average precision "
            f"{100 * found['average_precision']:.2f} ({found['count']} entities)"
        )
    return lines + [f"note: {note}" for note in result["notes"]]


def _row(name: str, counts: dict[str, Any]) -> str:
    values = "".join(f"{100 * counts[key]:8.2f}" for key in ("p", "r", "f"))
    numbers = "".join(f"{counts[key]:8.5g}" for key in ("right", "predicted", "gold"))
    return f"{name:13}{values}{numbers}"
