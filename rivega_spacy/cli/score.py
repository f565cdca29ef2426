"""`rivega score --predictions FILE --gold FILE`: any system's predictions by the same rules."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ..scoring.forms import FORMS
from .options import AsJson, Bootstrap, Calibration, Comparison, Iou, Rule, Sweep, TrainedOn, Types

if TYPE_CHECKING:
    from ..scoring.mentions import Annotations

EXAMPLES = (
    "rivega score --predictions predictions.jsonl --gold corpus/test.spacy",
    "rivega score --predictions ours.jsonl --gold test.spacy --against theirs.jsonl --bootstrap 1000",
    "rivega score --predictions ours_1.jsonl ours_2.jsonl ours_3.jsonl --gold test.spacy --against theirs_1.jsonl theirs_2.jsonl theirs_3.jsonl",
    "rivega score --predictions ours.jsonl --gold test.spacy --rule entry --trained-on train.spacy",
    "rivega score --predictions boxes.jsonl --gold test.spacy --segment-with sam_vit_h_4b8939.pth --images images",
)
MORE_HELP = FORMS


class COMMAND_CLASS(TyperCommand):
    """`--tops 10 15 20`: the words after --tops (--predictions, --against), up to the next option, are all its values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the base class, with such an option before each of its values."""
        for option in ("--tops", "--predictions", "--against"):
            args = spread(args, option)
        return super().parse_args(ctx, args)


def spread(words: list[str], option: str) -> list[str]:
    """Words of a command line with an option said again before each of its values after the first."""
    result: list[str] = []
    within = 0
    for word in words:
        within = 1 if word == option else 0 if word.startswith("-") else within + (within > 0)
        result += [option, word] if within > 2 else [word]
    return result


def run(
    predictions: Annotated[
        list[Path],
        typer.Option("--predictions", help="Predictions; several files are runs with different seeds, and their mean is reported."),
    ],
    gold: Annotated[Path, typer.Option("--gold", help="Gold data.")],
    against: Annotated[
        list[Path],
        typer.Option(
            "--against",
            help="Another system's predictions, as many files as --predictions: difference, interval, p-value over posts (and seeds).",
        ),
    ] = [],
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
    trained_on: TrainedOn = None,
    output: Annotated[Path | None, typer.Option("--output", help="Write the scores as JSON.")] = None,
    rule: Rule = "offset",
    types: Types = "folded",
    iou: Iou = 0.5,
    comparison: Comparison = ">=",
    as_json: AsJson = False,
) -> int:
    """Score the file.

    RETURNS (int): 0, or 1 if lines of a file were left out.
    """
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output, write_json, write_text
    from ..scoring.calibration import calibrate
    from ..scoring.candidates import read_candidates, top_n_precision
    from ..scoring.matching import MatchOptions
    from ..scoring.novelty import score_by_novelty
    from ..scoring.printing import print_result
    from ..scoring.read import read_annotations, read_training_names
    from ..scoring.seeds import compare_runs, mean_of
    from ..scoring.significance import bootstrap as resample
    from ..scoring.significance import compare
    from ..scoring.sweep import THRESHOLDS, sweep_iou, sweep_plot
    from ..scoring.tasks import score

    options = MatchOptions(rule=rule, types=types, iou=iou, comparison=comparison)
    inputs: list[Path | None] = [*predictions, gold, *against, candidates, trained_on]
    for path in (plot, segmented, output):
        if path is not None:
            check_output(path, inputs=inputs)
            inputs.append(path)
    several = len(predictions) > 1
    for option, used in (("--segment-with", segment_with), ("--plot", plot), ("--calibration", calibration), ("--sweep", sweep)):
        if several and used:
            raise RivegaError(Errors.E862.format(option=option, count=len(predictions)))
    if against and len(against) != len(predictions):
        raise RivegaError(Errors.E861.format(first=len(predictions), second=len(against)))
    right = read_annotations(gold, skip=True)
    runs = [_read_predictions(path, right, candidates) for path in predictions]
    found = runs[0]
    if segment_with is not None:
        folder = images if images is not None else gold.resolve().parent
        found = runs[0] = _segment(found, right, segment_with, folder, segmented)
    all_scores = [score(run, right, options) for run in runs]
    scores = all_scores[0]
    results = [each.to_dict() for each in all_scores]
    if trained_on is not None:
        known = read_training_names(trained_on)
        for run, result in zip(runs, results):
            result["novelty"] = {name: part.summary() for name, part in score_by_novelty(run, right, known, options).items()}
    result = mean_of(results) if several else results[0]
    if bootstrap:
        for name, task in scores.tasks.items():
            result[name]["intervals"] = {key: list(value) for key, value in resample(task, samples=bootstrap).items()}
    if against:
        others = [score(_read_predictions(path, right, candidates), right, options) for path in against]
        both = [name for name in scores.tasks if all(name in other.tasks for other in (*others, *all_scores))]
        if several:
            result["against"] = {name: compare_runs(all_scores, others, name)._asdict() for name in both}
        else:
            result["against"] = {name: compare(scores, others[0], name)._asdict() for name in both}
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
    if output is not None:
        write_json(output, result)
    return 1 if right.refused or any(run.refused for run in runs) else 0


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
