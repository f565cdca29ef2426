"""`rivega retrieve`: posts with the passages of a collection as their knowledge, for training and for looking."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say, warn

EXAMPLES = (
    "rivega retrieve collection.sqlite posts.jsonl posts_with_knowledge.jsonl",
    "rivega retrieve collection.sqlite posts.jsonl out.jsonl --n 5 --image-encoder colour",
)


def run(
    collection: Annotated[Path, typer.Argument(help="What `rivega index` wrote.")],
    posts: Annotated[Path, typer.Argument(help="JSON lines of posts (text or tokens, optional image).")],
    out: Annotated[Path, typer.Argument(help="The same posts with `knowledge`.")],
    n: Annotated[int, typer.Option("--n", min=0, help="Passages by the words of the post.")] = 3,
    n_image: Annotated[int, typer.Option("--n-image", min=0, help="Passages by the picture, with --image-encoder.")] = 1,
    max_words: Annotated[int, typer.Option("--max-words", min=1, help="Maximum number of words of knowledge.")] = 120,
    image_encoder: Annotated[
        str | None,
        typer.Option("--image-encoder", metavar="FOLDER", help="The encoder with which the collection was built, or `colour`."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace knowledge that posts already have.")] = False,
) -> int:
    """RETURNS (int): 0, or 1 if lines were refused."""
    from ..knowledge.encoders import ColourEncoder, TransformersImageEncoder
    from ..knowledge.lookup import add_knowledge
    from ..knowledge.retrieval import RetrievedKnowledge
    from ..post.files import check_input, check_output

    check_input(posts)
    check_output(out, inputs=[posts, collection])
    encoder = (
        None if image_encoder is None else ColourEncoder() if image_encoder == "colour" else TransformersImageEncoder(image_encoder)
    )
    source = RetrievedKnowledge(str(collection), n=n, image_encoder=encoder, n_image=n_image, max_words=max_words)
    counts = add_knowledge(posts, out, source, overwrite=overwrite)
    for line in counts.wrong:
        warn(line + "\n")
    say(f"{counts.posts} posts, {counts.found} with new knowledge, {len(counts.wrong)} problems -> {out}\n")
    return 1 if counts.wrong else 0
