"""`rivega export annotated.jsonl OUT --to FORM`: annotated posts for other tools."""

import argparse
import sys
from pathlib import Path

NAME = "export"
HELP = (
    "Write annotated posts in another tool's form: COCO, labelme, Label Studio, Prodigy, W3C Web Annotation, CSV, Parquet, DocBin."
)
FORMS = ("coco", "labelme", "label-studio", "prodigy", "web-annotation", "csv", "parquet", "docbin")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("annotated", type=Path, help="JSON lines that `rivega annotate` wrote (.gz: gzipped)")
    parser.add_argument("out", type=Path, help="file; folder for labelme, label-studio and prodigy")
    parser.add_argument("--to", required=True, choices=FORMS, help="the form")
    parser.add_argument(
        "--images", type=Path, default=None, help="folder that relative image paths start from (default: that of ANNOTATED)"
    )
    parser.add_argument(
        "--image-prefix", default="", help="label-studio: put before each picture's path, e.g. /data/local-files/?d="
    )


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): 0, or 1 where posts carry errors."""
    from ..export.writing import counted, export_posts
    from ..post.annotated import read_annotated
    from ..post.errors import Errors, RivegaError

    if args.image_prefix and args.to != "label-studio":
        raise RivegaError(Errors.E623.format(form=args.to))
    counts = {"posts": 0, "entities": 0, "errors": 0}
    docs = counted(read_annotated(args.annotated, images=args.images), counts)
    export_posts(docs, args.out, args.to, image_prefix=args.image_prefix)
    sys.stdout.write(
        f"{counts['posts']} posts, {counts['entities']} entities, {counts['errors']} posts with errors -> {args.out}\n"
    )
    return 1 if counts["errors"] else 0
