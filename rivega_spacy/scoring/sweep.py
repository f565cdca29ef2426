"""The scores over IoU thresholds (the paper's Figure 8), as numbers, as a table and as a picture."""

from collections.abc import Mapping, Sequence
from html import escape

from .tasks import TASKS, Scores, score_task

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")

Sweep = dict[str, list[float]]


def sweep_iou(scores: Scores, thresholds: Sequence[float] = THRESHOLDS) -> Sweep:
    """F1 of every task that looks at the picture, at each threshold.

    scores (Scores): From `score`; the overlaps measured there are used again.
    thresholds (Sequence[float]): IoU thresholds, 0..1.
    RETURNS (Dict[str, List[float]]): F1 by task, in the order of the thresholds.
    """
    result: Sweep = {}
    for task in scores.tasks:
        if TASKS[task][1]:
            result[task] = [
                score_task(scores.groups, scores.posts, task, scores.options, iou=threshold).total.f for threshold in thresholds
            ]
    return result


def sweep_table(sweep: Sweep, thresholds: Sequence[float] = THRESHOLDS) -> str:
    """The sweep as a Markdown table, F1 in percent."""
    lines = ["| IoU | " + " | ".join(task.upper() for task in sweep) + " |", "|---|" + "---|" * len(sweep)]
    for row, threshold in enumerate(thresholds):
        lines.append(f"| {threshold:.2f} | " + " | ".join(f"{100 * values[row]:.2f}" for values in sweep.values()) + " |")
    return "\n".join(lines)


def sweep_plot(sweep: Sweep, thresholds: Sequence[float] = THRESHOLDS, *, width: int = 560, height: int = 320) -> str:
    """The sweep as a line plot.

    sweep (Sweep): From `sweep_iou`.
    thresholds (Sequence[float]): At least two, rising.
    width (int), height (int): Size in pixels.
    RETURNS (str): An <svg> element that needs nothing else.
    """
    return line_plot({task.upper(): values for task, values in sweep.items()}, thresholds, "IoU threshold", "F1", width, height)


def line_plot(
    lines: Mapping[str, Sequence[float]], xs: Sequence[float], x_name: str, y_name: str, width: int = 560, height: int = 320
) -> str:
    """Lines over a common axis, values 0..1, as an <svg> element.

    lines (Dict[str, Sequence[float]]): Values by name, one for each of `xs`.
    xs (Sequence[float]): At least two, rising.
    x_name (str), y_name (str): Names of the axes.
    width (int), height (int): Size in pixels.
    RETURNS (str): The element.
    """
    left, right, top, bottom = 48, 90, 12, 40
    low, high = xs[0], xs[-1]

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1.0 - value)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">'
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="currentColor" stroke-opacity="0.15"/>'
        )
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{100 * tick:.0f}</text>')
    for tick in xs[:: max(1, -(-len(xs) // 10))]:
        parts.append(f'<text x="{x(tick):.1f}" y="{height - bottom + 16}" text-anchor="middle">{tick:.2f}</text>')
    parts.append(f'<text x="{(left + width - right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>')
    middle = (top + height - bottom) / 2
    parts.append(
        f'<text x="12" y="{middle:.0f}" transform="rotate(-90 12 {middle:.0f})" text-anchor="middle">{escape(y_name)}</text>'
    )
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in zip(xs, values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        # The legend stands in the margin, where it covers no line.
        row = top + 14 + 18 * number
        parts.append(f'<rect x="{width - right + 10}" y="{row - 9}" width="12" height="3" fill="{colour}"/>')
        parts.append(f'<text x="{width - right + 28}" y="{row - 3}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])
