"""`rivega evaluate MODEL CORPUS.spacy`: run a pipeline over gold posts and score everything they have gold data for."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .enrich import read_override
from .score import add_options, read_options, write_result

NAME = "evaluate"
HELP = "Run a pipeline over annotated posts (pictures and knowledge kept) and score it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("model", help="installed pipeline or folder")
    parser.add_argument("corpus", type=Path, help=".spacy file or folder of them, from `rivega convert`")
    parser.add_argument("--images", type=Path, default=None, help="folder that relative image paths start from")
    parser.add_argument(
        "--knowledge", choices=("present", "absent"), default="present", help="keep z or take it away (default: %(default)s)"
    )
    parser.add_argument("--source", default=None, metavar="NAME", help="take the answers of this language model (`rivega enrich`)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="change a value of the pipeline's config"
    )
    parser.add_argument(
        "--own-tokens", action="store_true", help="let the pipeline tokenize; else it gets the tokens of the corpus"
    )
    parser.add_argument("--propagation", action="store_true", help="also with gold entities, groundability and boxes fed in")
    parser.add_argument(
        "--fed", action="append", metavar="ROW", help="of --propagation only this row, for example 'gold entities'; may be repeated"
    )
    parser.add_argument("--sweep", action="store_true", help="F1 over IoU thresholds")
    parser.add_argument("--calibration", action="store_true", help="judge the groundability scores")
    parser.add_argument("--bootstrap", type=int, default=0, metavar="N", help="95 %% intervals from N resamples of the posts")
    parser.add_argument("--limit", type=int, default=0, help="take so many posts at most (default: all)")
    parser.add_argument("--output", type=Path, default=None, help="write the scores as JSON")
    parser.add_argument("--predictions", type=Path, default=None, help="write the processed posts as JSON lines")
    parser.add_argument("--gpu-id", type=int, default=-1, help="GPU to use; -1 for the CPU (default: %(default)s)")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate the pipeline.

    RETURNS (int): 0.
    """
    from ..corpus.docbin import docbin_files
    from ..pipes.loading import load_pipeline
    from ..post.files import check_output, write_json

    files = docbin_files(args.corpus)  # says at once where there is nothing to read
    if args.output is not None:
        check_output(args.output, inputs=files)
    if args.predictions is not None:
        check_output(args.predictions, inputs=[*files, args.output])
    nlp = load_pipeline(args.model, gpu_id=args.gpu_id, config=dict(read_override(text) for text in args.set))
    result = evaluate(nlp, args)
    write_result(result, as_json=args.json)
    for line in format_propagation(result.get("propagation", {})) if not args.json else ():
        sys.stdout.write(line + "\n")
    if args.output is not None:
        write_json(args.output, result)
    return 0


def evaluate(nlp: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Score a pipeline.

    nlp (Language): The pipeline.
    args (Namespace): The command's arguments.
    RETURNS (Dict[str, Any]): `Scores.to_dict()`, with `speed`, `errors` and what was asked for beside.
    """
    from tqdm import tqdm

    from ..corpus.docbin import read_docbin
    from ..post.errors import Errors, RivegaError
    from ..post.posts import write_posts
    from ..scoring.calibration import calibrate
    from ..scoring.mentions import doc_annotations
    from ..scoring.propagation import VARIANTS, run_pipeline
    from ..scoring.significance import bootstrap
    from ..scoring.sweep import THRESHOLDS, sweep_iou
    from ..scoring.tasks import score

    options = read_options(args)
    unknown = [row for row in args.fed or () if row not in VARIANTS]
    if unknown:
        raise RivegaError(Errors.E510.format(option="fed", value=unknown[0], known=", ".join(VARIANTS)))

    def references() -> Iterator[Any]:
        docs = read_docbin(args.corpus, nlp.vocab, images=args.images, limit=args.limit)
        return docs if args.source is None else (_answers_of(doc, args.source) for doc in docs)

    gold = doc_annotations(references(), name=str(args.corpus))
    predictions: Any | None = None
    failed: list[Any] = []

    def process(variant: str, path: Path | None) -> Any:
        docs: Iterable[Any] = run_pipeline(
            nlp, references(), gold=VARIANTS[variant], knowledge=args.knowledge, own_tokens=args.own_tokens
        )
        docs = tqdm(docs, total=len(gold.posts), unit=" posts", desc=variant, disable=None)
        if path is not None:
            docs = write_posts(docs, path)
        return doc_annotations(_noting(docs, failed if variant == "pipeline" else []), name=variant)

    started = time.perf_counter()
    predictions = process("pipeline", args.predictions)
    seconds = time.perf_counter() - started
    scores = score(predictions, gold, options)
    result = scores.to_dict()
    result["speed"] = {"seconds": seconds, "posts_per_second": len(gold.posts) / seconds}
    result["errors"] = {"posts": len(failed), "examples": failed[:5]}
    if failed:
        scores.notes.append(f"{len(failed)} posts carry errors, for example: {failed[0]['message']}")
    if args.bootstrap:
        for name, task in scores.tasks.items():
            result[name]["intervals"] = {key: list(value) for key, value in bootstrap(task, samples=args.bootstrap).items()}
    if args.sweep:
        result["sweep"] = {"thresholds": list(THRESHOLDS), **sweep_iou(scores)}
    if args.calibration:
        found = calibrate(scores.groups)
        result["calibration"] = None if found is None else found.to_dict()
    if args.propagation:
        table = {"pipeline": _summary(result)}
        for variant in VARIANTS:
            if variant != "pipeline" and (args.fed is None or variant in args.fed):
                table[variant] = _summary(score(process(variant, None), gold, options).to_dict())
        result["propagation"] = table
    return result


def _answers_of(doc: Any, name: str) -> Any:
    from ..corpus.sources import source_names, take_source
    from ..post.errors import Errors, RivegaError
    from ..post.extensions import post_name

    if name not in source_names(doc):
        raise RivegaError(Errors.E539.format(post=post_name(doc), name=name, known=", ".join(source_names(doc)) or "none"))
    return take_source(doc, name)


def format_propagation(table: dict[str, dict[str, float]]) -> list[str]:
    """The error propagation as a Markdown table, in percent."""
    if not table:
        return []
    columns = list(next(iter(table.values())))
    lines = ["", "| fed in | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, row in table.items():
        values = ("–" if row.get(column) is None else f"{100 * row[column]:.2f}" for column in columns)
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return lines


def _summary(result: dict[str, Any]) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for task in ("mner", "eeg", "gmner", "ees", "smner"):
        row[task.upper()] = result[task]["f"] if task in result else None
    for name, step, key in (("VE", "entailment", "accuracy"), ("VG", "grounding", "prec"), ("mIoU", "segmentation", "miou")):
        row[name] = result[step][key] if step in result else None
    return row


def _noting(docs: Iterable[Any], failed: list[Any]) -> Iterator[Any]:
    for doc in docs:
        failed += doc._.rivega_errors[:1]
        yield doc
