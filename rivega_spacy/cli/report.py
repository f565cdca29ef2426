"""`rivega report PREDICTIONS --gold CORPUS.spacy --output report.html`: why a number is what it is, on one page."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .score import add_options, read_options

NAME = "report"
HELP = "One HTML page of an evaluation: tables, curves, confusion, the worst and the best posts with their pictures."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("predictions", type=Path, help="what a system found: any form that `rivega score` reads")
    parser.add_argument("--gold", type=Path, required=True, help="what is right: a .spacy file shows pictures too")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="where to write the page (default: %(default)s)")
    parser.add_argument("--images", type=Path, default=None, help="folder that relative image paths start from")
    parser.add_argument(
        "--scores", type=Path, default=None, help="JSON of `rivega evaluate --propagation --output`: its propagation table is shown"
    )
    parser.add_argument("--examples", type=int, default=10, help="worst and best posts, each (default: %(default)s)")
    parser.add_argument("--title", default="Evaluation", help="heading of the page")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page.

    RETURNS (int): 0, or 1 where lines of a file were left out.
    """
    from ..post.files import check_output, write_text
    from ..post.jsonl import dump_line
    from ..rendering.report import example_posts, render_report
    from ..scoring.read import read_annotations
    from ..scoring.tasks import score

    check_output(args.output, inputs=[args.predictions, args.gold, args.scores])
    found, right = read_annotations(args.predictions, skip=True), read_annotations(args.gold, skip=True)
    scores = score(found, right, read_options(args))
    wanted = {post for posts in example_posts(scores, args.examples).values() for post in posts}
    gold = _find_docs(args.gold, wanted, args.images)
    predicted = _find_docs(args.predictions, wanted, args.images)
    for post, doc in predicted.items():
        # Predictions of other systems know their post's picture only through the gold data.
        if doc._.image is None and post in gold and gold[post]._.image is not None:
            doc._.image = gold[post]._.image
    propagation: dict[str, Any] | None = None
    if args.scores is not None:
        propagation = read_propagation(args.scores)
    page = render_report(scores, predicted=predicted, gold=gold, examples=args.examples, title=args.title, propagation=propagation)
    write_text(args.output, page)
    sys.stdout.write(f"{len(scores.posts)} posts -> {args.output}\n")
    if args.json:
        sys.stdout.write(dump_line(scores.to_dict()))
    return 1 if found.refused or right.refused else 0


def read_propagation(path: Path) -> dict[str, Any] | None:
    """The propagation table of `rivega evaluate --propagation --output`; RivegaError E059 where the file is something else."""
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_input
    from ..post.textfiles import read_text

    check_input(path)
    try:
        table = json.loads(read_text(path)).get("propagation")
        if table is not None:
            {name: dict(row) for name, row in table.items()}
        return table
    except (ValueError, RecursionError, AttributeError, TypeError, EOFError) as error:
        raise RivegaError(Errors.E059.format(path=path, reason=error)) from error


def _find_docs(path: Path, wanted: set[str], images: Path | None) -> dict[str, Any]:
    """The wanted posts of a file as docs, as far as its form has texts."""
    import spacy

    from ..corpus.docbin import read_docbin
    from ..post.annotated import read_annotated
    from ..post.extensions import ID_KEY, move_image
    from ..post.image_sources import locate_image

    found: dict[str, Any] = {}
    binary = path.is_dir() or path.suffix == ".spacy"
    if not binary and ".jsonl" not in path.name:
        return found
    docs = read_docbin(path, spacy.blank("rivega").vocab) if binary else read_annotated(path, images=images)
    for number, doc in enumerate(docs):
        post = str(doc.user_data.get(ID_KEY, number))
        if post in wanted and len(doc):
            image = doc._.image
            if binary and images is not None and isinstance(image, str):
                move_image(doc, locate_image(image, images))
            found[post] = doc
    return found
