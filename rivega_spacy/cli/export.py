"""`rivega export annotated.jsonl OUT --to FORM`: annotated posts for other tools."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import AnnotatedPosts, PostsImages
from .saying import say, warn

EXAMPLES = (
    "rivega export annotated.jsonl annotations.json --to coco",
    "rivega export annotated.jsonl tasks --to label-studio --image-prefix '/data/local-files/?d='",
    "rivega export annotated.jsonl entities.csv --to csv",
)
Form = Literal["coco", "labelme", "label-studio", "prodigy", "web-annotation", "csv", "parquet", "docbin"]


def run(
    annotated: AnnotatedPosts,
    out: Annotated[Path, typer.Argument(help="File; folder for labelme, label-studio and prodigy.")],
    to: Annotated[Form, typer.Option("--to", help="Output format.")],
    images: PostsImages = None,
    image_prefix: Annotated[
        str, typer.Option("--image-prefix", help="label-studio: put before each picture's path, e.g. /data/local-files/?d=")
    ] = "",
) -> int:
    """RETURNS (int): 0, or 1 if posts carry errors."""
    from ..export.writing import counted, export_posts
    from ..post.annotated import read_annotated
    from ..post.errors import Errors, RivegaError

    if image_prefix and to != "label-studio":
        raise RivegaError(Errors.E623.format(form=to))
    _check_apart(annotated, out, to)
    counts = {"posts": 0, "entities": 0, "errors": 0}
    reported: list[str] = []
    docs = counted(read_annotated(annotated, images=images), counts, reported)
    export_posts(docs, out, to, image_prefix=image_prefix)
    for line in reported:
        warn(f"rivega export: {line}\n")
    if counts["errors"] > len(reported):
        warn(f"rivega export: and {counts['errors'] - len(reported)} more\n")
    say(f"{counts['posts']} posts, {counts['entities']} entities, {counts['errors']} posts with errors -> {out}\n")
    return 1 if counts["errors"] else 0


# What the forms that are folders write there; labelme's files have the names of the pictures.
_IN_FOLDER = {"labelme": (), "label-studio": ("tasks.json", "config.xml"), "prodigy": ("text.jsonl", "images.jsonl")}


def _check_apart(annotated: Path, out: Path, form: str) -> None:
    """RAISES (RivegaError): E050 where the posts would be written over while they are read."""
    from ..post.files import check_output, check_output_folder

    if form not in _IN_FOLDER:
        check_output(out, inputs=[annotated])
        return
    check_output_folder(out)
    own = [annotated.name] if form == "labelme" and annotated.suffix == ".json" else []
    for name in (*_IN_FOLDER[form], *own):
        check_output(out / name, inputs=[annotated])
