"""An evaluation as one HTML page that needs nothing else: tables, curves, and the posts that went worst and best."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..post.errors import ImageError
from .escaping import html_text

if TYPE_CHECKING:
    from spacy.tokens import Doc

    from ..scoring.tasks import Judged, Scores

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 10px 0 22px; }
.sheet > svg { max-width: 100%; height: auto; }
th, td { text-align: right; padding: 4px 12px; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
td.hit { font-weight: 650; }
h2 { font-size: 1.15rem; margin: 30px 0 6px; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; padding: 0 20px 20px; }
.two figure { margin: 0; } .two img { width: 100%; border-radius: 8px; } figcaption { font-size: .8rem; color: var(--soft); }
.two figcaption { padding: 6px 0 0; } .two ul { margin: 2px 0 0; padding-left: 1.2em; } .two .wrong { color: var(--bad); }
.note { color: var(--soft); font-size: .88rem; }
svg text { fill: currentColor; }
@media (max-width: 780px) {
  th, td { padding: 4px 7px; } th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); }
  .two { grid-template-columns: minmax(0, 1fr); padding: 0 16px 18px; }
}
"""
_TASKS = ("mner", "gmner", "eeg", "ees", "smner")
# Names of the stages' scores as the field writes them.
_NAMES = {
    "p": "P",
    "r": "R",
    "f": "F1",
    "prec": "Prec of boxed",
    "prec_all": "Prec of all",
    "miou": "mIoU",
    "miou_all": "mIoU of all",
}


def render_report(
    scores: "Scores",
    *,
    predicted: Mapping[str, "Doc"] | None = None,
    gold: Mapping[str, "Doc"] | None = None,
    examples: int = 10,
    title: str = "Evaluation",
    propagation: Mapping[str, Mapping[str, float | None]] | None = None,
    max_side: int = 480,
) -> str:
    """The page.

    scores (Scores): From `score`.
    predicted (Optional[Mapping[str, Doc]]), gold (Optional[Mapping[str, Doc]]): Posts by id, for the examples (only those of
        `example_posts` are looked at); without them, or where a picture cannot be read, text alone is shown.
    examples (int): Worst and best posts, each.
    title (str): The heading.
    propagation (Optional[Mapping]): F1 by what of gold was fed in (`rivega evaluate --propagation`).
    max_side (int): Longer side of the embedded pictures in pixels.
    RETURNS (str): The HTML.
    """
    from ..scoring.calibration import calibrate
    from ..scoring.confusion import confuse_types
    from ..scoring.sweep import line_plot, sweep_iou, sweep_plot

    options = scores.options
    body = [f"<h1>{html_text(title)}</h1>"]
    rule = f"Rule {options.rule}, types {options.types}, IoU {options.comparison} {options.iou}, {len(scores.posts)} posts."
    body.append(f"<p class='lead'>{html_text(rule)}</p>")
    body += [f"<p class='note'>{html_text(note)}</p>" for note in scores.notes]
    body += ["<h2>Scores</h2>", _table(["", "P", "R", "F1", "right", "predicted", "gold"], _score_rows(scores))]
    body += _steps(scores)
    if propagation:
        columns = list(next(iter(propagation.values())))
        rows = [[name, *(_percent(row.get(column)) for column in columns)] for name, row in propagation.items()]
        body += ["<h2>Where the errors come from: gold fed in</h2>", _table(["fed in", *columns], rows)]
    sweep = sweep_iou(scores)
    if sweep:
        body += ["<h2>F1 over the IoU threshold</h2>", sweep_plot(sweep)]
    if options.types != "none":
        body += ["<h2>Types: gold in rows, predicted in columns</h2>", _confusion(confuse_types(scores.groups, options))]
    found = calibrate(scores.groups)
    if found is not None:
        lines = {
            name: [row[key] for row in found.curve] for name, key in (("accuracy", "accuracy"), ("precision", "p"), ("recall", "r"))
        }
        body += [
            "<h2>Groundability over its threshold</h2>",
            line_plot(lines, [row["threshold"] for row in found.curve], "threshold", "%"),
        ]
        numbers = f"Brier score {found.brier:.4f}, calibration error {100 * found.ece:.2f}, average precision {100 * found.average_precision:.2f}"
        body.append(f"<p class='note'>{numbers}; {found.count} entities.</p>")
        shares = [
            [f"{row['low']:.1f}–{row['high']:.1f}", row["count"], _percent(row["score"]), _percent(row["shown"])]
            for row in found.bins
        ]
        body.append(_table(["score", "entities", "mean score", "in the picture"], shares))
    if predicted is not None and gold is not None:
        body += _examples(scores, predicted, gold, examples, max_side)
    css = (Path(__file__).parent / "page.css").read_text(encoding="utf8") + _CSS
    policy = f"<meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">"
    policy += "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    head = f"<meta charset='utf-8'>{policy}<title>{html_text(title)}</title><style>{css}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><main class='sheet'>{''.join(body)}</main></body></html>\n"


def example_posts(scores: "Scores", count: int) -> dict[str, list[str]]:
    """Which posts are shown.

    scores (Scores): From `score`.
    count (int): Of each kind.
    RETURNS (Dict[str, List[str]]): Ids under "worst" (most errors first) and "best" (most entities first, no error).
    """
    from ..scoring.confusion import rank_posts

    _, ranked = rank_posts(scores)
    worst = [post.post for post in ranked if post.errors][:count]
    best = [post.post for post in reversed(ranked) if not post.errors][:count]
    return {"worst": worst, "best": best}


def _score_rows(scores: "Scores") -> Iterable[list[Any]]:
    for name in _TASKS:
        if name in scores.tasks:
            task = scores.tasks[name]
            for label, counts in [(name.upper(), task.total), *((f"· {label}", counts) for label, counts in task.types.items())]:
                yield [
                    label,
                    _percent(counts.p),
                    _percent(counts.r),
                    _percent(counts.f),
                    counts.right,
                    counts.predicted,
                    counts.gold,
                ]


def _steps(scores: "Scores") -> list[str]:
    lines = []
    for name, values in (("Entailment", scores.entailment), ("Grounding", scores.grounding), ("Segmentation", scores.segmentation)):
        if values:
            # Shares first, what they are shares of behind them.
            shares = [f"{_NAMES.get(key, key)} {_percent(value)}" for key, value in values.items() if isinstance(value, float)]
            counts = [f"{key.replace('_', ' ')} {value}" for key, value in values.items() if not isinstance(value, float)]
            lines.append(
                f"<p><b>{name}</b>: {html_text(', '.join(shares))} <span class='note'>({html_text(', '.join(counts))})</span></p>"
            )
    return lines


def _confusion(table: Mapping[tuple[str, str], int]) -> str:
    golds, ours = sorted({gold for gold, _ in table}), sorted({own for _, own in table})
    head = "".join(f"<th>{html_text(name)}</th>" for name in ours)
    rows = ""
    for gold in golds:
        cells = "".join(f"<td{' class=hit' if gold == own else ''}>{table.get((gold, own), 0)}</td>" for own in ours)
        rows += f"<tr><td>{html_text(gold)}</td>{cells}</tr>"
    return _scrolled(f"<tr><th></th>{head}</tr>{rows}", "types")


def _examples(
    scores: "Scores", predicted: Mapping[str, "Doc"], gold: Mapping[str, "Doc"], count: int, max_side: int
) -> Iterable[str]:
    from ..scoring.confusion import rank_posts
    from ..scoring.tasks import judge_mentions

    task, _ = rank_posts(scores)
    if task is None:
        return
    judged = judge_mentions(scores, task)
    posts = example_posts(scores, count)
    for name, heading in (("worst", "Posts with the most errors"), ("best", "Posts where all is right")):
        if posts[name]:
            yield f"<h2>{heading} ({task.upper()})</h2>"
        for post in posts[name]:
            yield _example(post, judged[post], {"gold": gold.get(post), "predicted": predicted.get(post)}, max_side)


def _example(post: str, judged: tuple["Judged", "Judged"], docs: Mapping[str, Optional["Doc"]], max_side: int) -> str:
    text = next((doc.text for doc in docs.values() if doc is not None), "")
    pictures = {name: "" if doc is None or doc._.image is None else _picture(doc, max_side) for name, doc in docs.items()}
    sides = ""
    for (name, mentions), wrong in zip(zip(pictures, judged), ("missed", "wrong")):
        picture = pictures[name] or ("<p class='note'>no picture</p>" if any(pictures.values()) else "")
        sides += f"<figure>{picture}<figcaption>{name}:{_mentions(mentions, wrong)}</figcaption></figure>"
    words = f"<p class='text'>{html_text(text)}</p>" if text else ""
    head = f"<div class='words'><div class='head'><h3 class='id'>{html_text(post)}</h3></div>{words}</div>"
    return f"<article class='post'>{head}<div class='two'>{sides}</div></article>"


def _mentions(judged: "Judged", wrong: str) -> str:
    said = {True: ", in the picture", False: ", not in the picture", None: ""}
    items = ""
    for mention, right in judged:
        words = f"{html_text(mention.text)} ({html_text(mention.type)}{said[mention.groundable]})"
        items += f"<li>{words}</li>" if right else f"<li class=wrong>{words}: {wrong}</li>"
    return f"<ul>{items}</ul>" if items else " no entities"


def _picture(doc: "Doc", max_side: int) -> str:
    from .html import describe
    from .overlay import render_overlay
    from .shapes import doc_shapes

    try:
        picture = render_overlay(doc, min_side=min(320, max_side), max_side=max_side)
    except ImageError:
        return "<p class='note'>no picture</p>"
    except Exception as error:  # whatever is odd about one post, the page has the others
        return f"<p class='note'>{html_text(f'it cannot be drawn ({type(error).__name__}: {error})')}</p>"
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=82, optimize=True)
    alt = html_text(describe(doc, doc_shapes(doc)))
    return f"<img loading=lazy alt='{alt}' src='data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}'>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html_text(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{html_text(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return _scrolled(f"<tr>{top}</tr>{lines}", ", ".join(name for name in head if name))


def _scrolled(rows: str, name: str) -> str:
    """A table that is scrolled by itself where the page is narrow, by the keyboard too."""
    return f"<div class=scroll tabindex=0 role=region aria-label='table: {html_text(name)}'><table>{rows}</table></div>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}"
