"""`rivega score --predictions FILE --gold FILE`: any system's predictions by the same rules."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..scoring.forms import FORMS
from .options import AsJson, Bootstrap, Calibration, Comparison, Iou, Rule, Sweep, Types

if TYPE_CHECKING:
    from ..scoring.mentions import Annotations

EXAMPLES = (
    "rivega score --predictions predictions.jsonl --gold corpus/test.spacy",
    "rivega score --predictions ours.jsonl --gold test.spacy --against theirs.jsonl --bootstrap 1000",
    "rivega score --predictions boxes.jsonl --gold test.spacy --segment-with sam_vit_h_4b8939.pth --images images",
)
MORE_HELP = FORMS


class COMMAND_CLASS(TyperCommand):
    """`--tops 10 15 20`: the words after --tops, up to the next option, are all its values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class, with --tops before each of its values."""
        return super().parse_args(ctx, spread(args, "--tops"))


def spread(words: list[str], option: str) -> list[str]:
    """Words of a command line with an option said again before each of its values after the first."""
    result: list[str] = []
    within = 0
    for word in words:
        within = 1 if word == option else 0 if word.startswith("-") else within + (within > 0)
        result += [option, word] if within > 2 else [word]
    return result


def run(
    predictions: Annotated[Path, typer.Option("--predictions", help="What a system found.")],
    gold: Annotated[Path, typer.Option("--gold", help="What is right.")],
    against: Annotated[
        Path | None, typer.Option("--against", help="Another system's predictions: difference, interval, p-value.")
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option("--candidates", help="JSONL id, boxes, scores: TopN-Prec of a detector.")
    ] = None,
    tops: Annotated[list[int], typer.Option("--tops", help="The N of TopN-Prec; several may follow.", show_default="10 15 20")] = [
        10,
        15,
        20,
    ],
    sweep: Sweep = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the sweep as an SVG picture.")] = None,
    bootstrap: Bootstrap = 0,
    segment_with: Annotated[
        str | None,
        typer.Option(
            "--segment-with",
            metavar="SEGMENTER",
            help="Make masks from the predicted boxes with a pipeline, a SAM checkpoint (.pth) or a folder of a transformers SAM.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of the pictures, for --segment-with.", show_default="that of the gold file"),
    ] = None,
    segmented: Annotated[
        Path | None, typer.Option("--segmented", help="Write the predictions with their masks as JSON lines.")
    ] = None,
    calibration: Calibration = False,
    rule: Rule = "offset",
    types: Types = "folded",
    iou: Iou = 0.5,
    comparison: Comparison = ">=",
    as_json: AsJson = False,
) -> int:
    """Score the file.

    RETURNS (int): 0, or 1 where lines of a file were left out.
    """
    from ..post.files import check_output, write_text
    from ..scoring.calibration import calibrate
    from ..scoring.candidates import read_candidates, top_n_precision
    from ..scoring.matching import MatchOptions
    from ..scoring.printing import print_result
    from ..scoring.read import read_annotations
    from ..scoring.significance import bootstrap as resample
    from ..scoring.significance import compare
    from ..scoring.sweep import THRESHOLDS, sweep_iou, sweep_plot
    from ..scoring.tasks import score

    options = MatchOptions(rule=rule, types=types, iou=iou, comparison=comparison)
    inputs = [predictions, gold, against, candidates]
    for output in (plot, segmented):
        if output is not None:
            check_output(output, inputs=inputs)
            inputs.append(output)
    right = read_annotations(gold, skip=True)
    found = _read_predictions(predictions, right, candidates)
    if segment_with is not None:
        folder = images if images is not None else gold.resolve().parent
        found = _segment(found, right, segment_with, folder, segmented)
    scores = score(found, right, options)
    result = scores.to_dict()
    if bootstrap:
        for name, task in scores.tasks.items():
            result[name]["intervals"] = {key: list(value) for key, value in resample(task, samples=bootstrap).items()}
    if against is not None:
        other = score(_read_predictions(against, right, candidates), right, options)
        both = [name for name in scores.tasks if name in other.tasks]
        result["against"] = {name: compare(scores, other, name)._asdict() for name in both}
    if candidates is not None:
        precision = top_n_precision(read_candidates(candidates), right, tops=tops, options=options)
        result["candidates"] = {str(top): value for top, value in precision.items()}
    if sweep or plot:
        swept = sweep_iou(scores)
        result["sweep"] = {"thresholds": list(THRESHOLDS), **swept}
        if plot is not None:
            write_text(plot, sweep_plot(swept))
    if calibration:
        judged = calibrate(scores.groups)
        result["calibration"] = None if judged is None else judged.to_dict()
    print_result(result, as_json=as_json)
    return 1 if found.refused or right.refused else 0


def _read_predictions(path: Path, gold: "Annotations", candidates: Path | None) -> "Annotations":
    from ..scoring.candidates import read_candidates
    from ..scoring.h_index import is_h_index, read_h_index
    from ..scoring.read import read_annotations

    if not is_h_index(path):
        return read_annotations(path, skip=True)
    return read_h_index(path, list(gold.posts), candidates=None if candidates is None else read_candidates(candidates))


def _segment(found: "Annotations", gold: "Annotations", segmenter: str, folder: Path, output: Path | None) -> "Annotations":
    from ..scoring.segment import add_masks, find_picture, load_segmenter, write_mentions

    pictures = find_picture(folder, {**found.images, **gold.images})
    found = add_masks(found, load_segmenter(segmenter), pictures)
    if output is not None:
        write_mentions(found, output)
    return found
