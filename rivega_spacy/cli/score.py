"""`rivega score --predictions FILE --gold FILE`: any system's predictions by the same rules."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..scoring.matching import COMPARISONS, RULES, TYPES, MatchOptions
from ..scoring.read import FORMS

NAME = "score"
HELP = "Score predictions against gold data: MNER, GMNER, EEG, EES, SMNER, and the single steps."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"{HELP}\n\n{FORMS}"
    parser.add_argument("--predictions", type=Path, required=True, help="what a system found")
    parser.add_argument("--gold", type=Path, required=True, help="what is right")
    parser.add_argument("--against", type=Path, default=None, help="another system's predictions: difference, interval, p-value")
    parser.add_argument("--candidates", type=Path, default=None, help="JSONL id, boxes, scores: TopN-Prec of a detector")
    parser.add_argument("--tops", type=int, nargs="+", default=[10, 15, 20], help="the N of TopN-Prec (default: 10 15 20)")
    parser.add_argument("--sweep", action="store_true", help="F1 over IoU thresholds")
    parser.add_argument("--plot", type=Path, default=None, help="write the sweep as an SVG picture")
    parser.add_argument("--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals from N resamples of the posts")
    source = "make masks from the predicted boxes with a pipeline, a SAM checkpoint (.pth) or a folder of a transformers SAM"
    parser.add_argument("--segment-with", default=None, metavar="SEGMENTER", help=source)
    parser.add_argument(
        "--images", type=Path, default=None, help="folder of the pictures, for --segment-with (default: that of the gold file)"
    )
    parser.add_argument("--segmented", type=Path, default=None, help="write the predictions with their masks as JSON lines")
    parser.add_argument("--calibration", action="store_true", help="judge the groundability scores")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The matching rules and the output, which other commands share."""
    parser.add_argument("--rule", choices=RULES, default="offset", help="what is the same entity (default: %(default)s)")
    parser.add_argument(
        "--types", choices=TYPES, default="folded", help="types as written, MISC as OTHER, or none (default: %(default)s)"
    )
    parser.add_argument("--iou", type=float, default=0.5, help="IoU that box and mask need (default: %(default)s)")
    parser.add_argument(
        "--comparison", choices=COMPARISONS, default=">=", help="reach the threshold, or exceed it (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def read_options(args: argparse.Namespace) -> MatchOptions:
    """The matching rules from the arguments of `add_options`."""
    return MatchOptions(rule=args.rule, types=args.types, iou=args.iou, comparison=args.comparison)


def run(args: argparse.Namespace) -> int:
    """Score the file.

    RETURNS (int): 0, or 1 where lines of a file were left out.
    """
    from ..post.files import check_output, write_text
    from ..scoring.calibration import calibrate
    from ..scoring.candidates import read_candidates, top_n_precision
    from ..scoring.read import read_annotations
    from ..scoring.significance import bootstrap, compare
    from ..scoring.sweep import THRESHOLDS, sweep_iou, sweep_plot
    from ..scoring.tasks import score

    options = read_options(args)
    inputs = [args.predictions, args.gold, args.against, args.candidates]
    for output in (args.plot, args.segmented):
        if output is not None:
            check_output(output, inputs=inputs)
            inputs.append(output)
    gold = read_annotations(args.gold, skip=True)
    predicted = _read_predictions(args.predictions, gold, args)
    if args.segment_with is not None:
        predicted = _segment(args, predicted, gold)
    scores = score(predicted, gold, options)
    result = scores.to_dict()
    if args.bootstrap:
        for name, task in scores.tasks.items():
            result[name]["intervals"] = {key: list(value) for key, value in bootstrap(task, samples=args.bootstrap).items()}
    if args.against is not None:
        other = score(_read_predictions(args.against, gold, args), gold, options)
        both = [name for name in scores.tasks if name in other.tasks]
        result["against"] = {name: compare(scores, other, name)._asdict() for name in both}
    if args.candidates is not None:
        found = top_n_precision(read_candidates(args.candidates), gold, tops=args.tops, options=options)
        result["candidates"] = {str(top): value for top, value in found.items()}
    if args.sweep or args.plot:
        sweep = sweep_iou(scores)
        result["sweep"] = {"thresholds": list(THRESHOLDS), **sweep}
        if args.plot is not None:
            write_text(args.plot, sweep_plot(sweep))
    if args.calibration:
        found = calibrate(scores.groups)
        result["calibration"] = None if found is None else found.to_dict()
    write_result(result, as_json=args.json)
    return 1 if predicted.refused or gold.refused else 0


def _read_predictions(path: Path, gold: Any, args: argparse.Namespace) -> Any:
    from ..scoring.candidates import read_candidates
    from ..scoring.h_index import is_h_index, read_h_index
    from ..scoring.read import read_annotations

    if not is_h_index(path):
        return read_annotations(path, skip=True)
    return read_h_index(path, list(gold.posts), candidates=None if args.candidates is None else read_candidates(args.candidates))


def _segment(args: argparse.Namespace, predicted: Any, gold: Any) -> Any:
    from ..scoring.segment import add_masks, find_picture, load_segmenter, write_mentions

    folder = args.images if args.images is not None else args.gold.resolve().parent
    pictures = find_picture(folder, {**predicted.images, **gold.images})
    predicted = add_masks(predicted, load_segmenter(args.segment_with), pictures)
    if args.segmented is not None:
        write_mentions(predicted, args.segmented)
    return predicted


def write_result(result: dict[str, Any], *, as_json: bool) -> None:
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
    for task, test in result.get("against", {}).items():
        low, high = test["interval"]
        lines.append(
            f"{task.upper()} against the other run: {100 * test['difference']:+.2f} F1 ({100 * low:+.2f} to {100 * high:+.2f}), "
            f"p = {test['p_value']:.4f}"
        )
    if "sweep" in result:
        from ..scoring.sweep import sweep_table

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
    return f"{name:13}{values}{counts['right']:8d}{counts['predicted']:8d}{counts['gold']:8d}"
