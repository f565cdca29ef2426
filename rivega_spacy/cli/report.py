"""`rivega report PREDICTIONS --gold CORPUS.spacy --output report.html`: why a number is what it is, on one page."""

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Comparison, Images, Iou, Rule, Types
from .saying import say

EXAMPLES = (
    "rivega report predictions.jsonl --gold corpus/test.spacy",
    "rivega report predictions.jsonl --gold corpus/test.spacy --scores metrics/test.json --output metrics/report.html",
)


def run(
    predictions: Annotated[Path, typer.Argument(help="Predictions in any format that `rivega score` reads.")],
    gold: Annotated[Path, typer.Option("--gold", help="Gold data; with a .spacy file, pictures are shown too.")],
    output: Annotated[Path, typer.Option("--output", help="File for the page.")] = Path("report.html"),
    images: Images = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="JSON of `rivega evaluate --propagation --output`: its propagation table is shown."),
    ] = None,
    examples: Annotated[int, typer.Option("--examples", help="Number of worst and of best posts.")] = 10,
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = "Evaluation",
    rule: Rule = "offset",
    types: Types = "folded",
    iou: Iou = 0.5,
    comparison: Comparison = ">=",
    as_json: AsJson = False,
) -> int:
    """Write the page.

    RETURNS (int): 0, or 1 if lines of a file were left out.
    """
    from ..jobs.evaluation_page import write_report
    from ..post.jsonl import dump_line
    from ..scoring.matching import MatchOptions

    options = MatchOptions(rule=rule, types=types, iou=iou, comparison=comparison)
    found, refused = write_report(
        predictions, gold, output, options, images=images, propagation=scores, examples=examples, title=title
    )
    say(f"{len(found.posts)} posts -> {output}\n")
    if as_json:
        say(dump_line(found.to_dict()))
    return 1 if refused else 0
