"""`rivega enrich`: captions, knowledge and expansions of one or several language models for a file of posts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Changes, Columns, Form, PostsImages, print_summary, read_columns
from .overrides import read_override

if TYPE_CHECKING:
    from ..jobs.enrich import Enricher

EXAMPLES = (
    "rivega enrich posts.jsonl enriched.jsonl --config configs/enrich_openai.cfg --model rivega_twitter",
    "rivega enrich train.jsonl.gz enriched.jsonl.gz --config configs/enrich_openai.cfg --measured dev.jsonl.gz --measured test.jsonl.gz",
)


def run(
    posts: Annotated[
        Path,
        typer.Argument(
            help="JSON lines: text, or tokens and tags; optional id, image, caption, description, ents. Or what else `rivega annotate` reads."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Where to write the enriched JSON lines (.gz compresses); - is stdout.")],
    config: Annotated[Path, typer.Option("--config", help="Models, store, examples, and what is asked: configs/enrich_openai.cfg")],
    changes: Changes = [],
    images: PostsImages = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Pipeline that finds the entities of posts without `ents` or `tags`.")
    ] = None,
    measured: Annotated[
        list[Path], typer.Option("--measured", metavar="POSTS", help="Posts that are measured: never shown as an example.")
    ] = [],
    form: Form = "auto",
    column: Columns = [],
) -> int:
    """Enrich the file.

    RETURNS (int): 0 where every post got all its answers, 1 where some carry errors (they are in the output, on their lines).
    """
    import spacy
    from tqdm import tqdm

    from ..jobs.enrich import Enricher, read_settings
    from ..pipes.loading import load_pipeline
    from ..post.files import check_output
    from ..post.jsonl import write_lines
    from ..post.post_files import check_posts, picture_root, read_posts
    from ..post.posts import check_images, json_fields

    overrides = dict(read_override(text) for text in changes)
    columns = read_columns(column)
    check_posts(posts)
    check_output(out, inputs=[posts, config, *measured])
    images = images if images is not None else picture_root(posts)
    check_images(images)
    settings = read_settings(config, measured=measured, overrides=overrides)
    enricher = Enricher(load_pipeline(model) if model else spacy.blank("rivega"), settings)
    failed = 0

    def counted(post: dict[str, Any]) -> dict[str, Any]:
        nonlocal failed
        failed += bool(post.get("errors"))
        return json_fields(post)

    try:
        # What a stopped run had asked is in the store, and the next one writes the file at once.
        enriched = tqdm(enricher.run(read_posts(posts, form=form, columns=columns), images=images), unit=" posts", disable=None)
        total = write_lines(out, map(counted, enriched))
    finally:
        enricher.close()
    print_summary(f"{total} posts, {failed} of them with errors", out, _summary(enricher))
    return 1 if failed else 0


def _summary(enricher: "Enricher") -> list[str]:
    """What was asked and what was known, a line each."""
    lines = []
    for what, asker in enricher.askers().items():
        counts = asker.counts
        line = f"{what}: {counts.questions} questions, {counts.stored} answers from the store, {counts.asked} asked"
        if counts.asked:
            line += f" ({counts.input_tokens} tokens in, {counts.output_tokens} out)"
        if counts.failed:
            line += f", {counts.failed} failed"
        if counts.unusable:
            line += f", {counts.unusable} not usable"
        lines.append(line)
    return lines
