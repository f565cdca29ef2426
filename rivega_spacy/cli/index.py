"""`rivega index`: passages that knowledge is retrieved from, in one searchable file."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say, warn

EXAMPLES = (
    "rivega index wiki.jsonl.gz collection.sqlite",
    "rivega index news.txt posts.jsonl collection.sqlite --image-encoder ../weights/clip-vit-base-patch32",
)


def run(
    sources: Annotated[
        list[Path],
        typer.Argument(help="JSON lines with text, optional id, title and image; or .txt, a paragraph a passage. Gzipped or not."),
    ],
    out: Annotated[Path, typer.Argument(help="The collection to write or continue.")],
    image_encoder: Annotated[
        str | None,
        typer.Option(
            "--image-encoder",
            metavar="FOLDER",
            help="Vision encoder of transformers for the passages' pictures; `colour` needs no weights.",
        ),
    ] = None,
    passage_words: Annotated[
        int, typer.Option("--passage-words", min=1, help="Maximum number of words per passage; longer texts are split.")
    ] = 100,
    restart: Annotated[bool, typer.Option("--restart", help="Start again instead of continuing.")] = False,
) -> int:
    """RETURNS (int): 0, or 1 if lines or pictures were refused."""
    from ..knowledge.collection import build
    from ..knowledge.encoders import ColourEncoder, TransformersImageEncoder
    from ..post.files import check_input, check_output

    for source in sources:
        check_input(source)
    check_output(out, inputs=list(sources))
    encoder = (
        None if image_encoder is None else ColourEncoder() if image_encoder == "colour" else TransformersImageEncoder(image_encoder)
    )
    done = build(sources, out, image_encoder=encoder, passage_words=passage_words, restart=restart)
    for line in done.wrong:
        warn(line + "\n")
    say(f"{done.added} passages added, {done.known} known already, {len(done.wrong)} problems -> {out}\n")
    return 1 if done.wrong else 0
