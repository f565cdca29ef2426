"""`rivega enrich`: captions, knowledge and expansions of one or several language models for a file of posts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Changes, Columns, Form, PostsImages, print_summary, read_columns
from .overrides import read_override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..jobs.bulk.work import Given
    from ..jobs.enrich import Enricher

EXAMPLES = (
    "rivega enrich posts.jsonl enriched.jsonl --config configs/enrich_openai.cfg --model rivega_twitter",
    "rivega enrich train.jsonl.gz enriched.jsonl.gz --config configs/enrich_openai.cfg --measured dev.jsonl.gz --measured test.jsonl.gz",
    "rivega enrich posts.jsonl enriched/ --config configs/enrich_openai.cfg --model rivega_twitter --resume",
)

JOB = "Jobs: OUT is a folder"


def run(
    posts: Annotated[
        Path,
        typer.Argument(
            help="JSON lines: text, or tokens and tags; optional id, image, caption, description, ents. Or what else `rivega annotate` reads."
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            metavar="OUT", help="File for the enriched JSON lines (.gz compresses), - for stdout, folder/ for a job's shards."
        ),
    ],
    config: Annotated[Path, typer.Option("--config", help="Models, store, examples, and what is asked: configs/enrich_openai.cfg")],
    changes: Changes = [],
    images: PostsImages = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Pipeline that finds the entities of posts without `ents` or `tags`.")
    ] = None,
    measured: Annotated[
        list[Path], typer.Option("--measured", metavar="POSTS", help="Posts to measure on: never used as an example.")
    ] = [],
    form: Form = "auto",
    column: Columns = [],
    shard_size: Annotated[
        int | None, typer.Option("--shard-size", help="Posts per shard.", show_default="1000", rich_help_panel=JOB)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the job in OUT and ask again about posts that lack answers; start it if there is none.",
            rich_help_panel=JOB,
        ),
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the results in OUT and start over.", rich_help_panel=JOB)
    ] = False,
) -> int:
    """Enrich the file.

    RETURNS (int): 0 if every post got all its answers, 1 if some carry errors (they are in the output, on their lines).
    """
    import spacy

    from ..jobs.enrich import Enricher, read_config, read_settings
    from ..pipes.loading import load_pipeline
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output
    from ..post.post_files import check_posts, picture_root, read_posts
    from ..post.posts import check_images

    overrides = dict(read_override(text) for text in changes)
    columns = read_columns(column)
    check_posts(posts)
    target = Path(out)
    job = out.endswith("/") or target.is_dir() or resume or restart or shard_size is not None
    if not job:
        check_output(target, inputs=[posts, config, *measured])
    elif resume and restart:
        raise RivegaError(Errors.E849.format(option="--resume", where="beside `--restart`", remedy="choose one of them"))
    images = images if images is not None else picture_root(posts)
    check_images(images)
    settings = read_settings(config, measured=measured, overrides=overrides)
    enricher = Enricher(load_pipeline(model) if model else spacy.blank("rivega"), settings)
    lines = read_posts(posts, form=form, columns=columns)
    try:
        # What a stopped run had asked is in the store, and the next one gets it from there.
        if job:
            given = read_config(config, measured=measured, overrides=overrides)
            total, failed = _job(lines, target, enricher, given, model, images, shard_size, resume, restart, posts)
        else:
            total, failed = _file(lines, target, enricher, images)
    finally:
        enricher.close()
    print_summary(f"{total} posts, {failed} of them with errors", target, _summary(enricher))
    return 1 if failed else 0


def _file(lines: "Iterator[Given]", path: Path, enricher: "Enricher", images: Path) -> tuple[int, int]:
    """Posts, and how many of them with errors."""
    from tqdm import tqdm

    from ..post.jsonl import write_lines
    from ..post.posts import json_fields

    failed = 0

    def counted(post: dict[str, Any]) -> dict[str, Any]:
        nonlocal failed
        failed += bool(post.get("errors"))
        return json_fields(post)

    enriched = tqdm(enricher.run(lines, images=images), unit=" posts", disable=None)
    return write_lines(path, map(counted, enriched)), failed


def _job(
    lines: "Iterator[Given]",
    folder: Path,
    enricher: "Enricher",
    config: dict[str, Any],
    model: str | None,
    images: Path,
    shard_size: int | None,
    resume: bool,
    restart: bool,
    posts: Path,
) -> tuple[int, int]:
    from tqdm import tqdm

    from ..jobs.bulk.enriching import EnrichWork
    from ..jobs.bulk.here import HereEngine
    from ..jobs.bulk.job import SHARD_SIZE, Job, JobOptions

    size = SHARD_SIZE if shard_size is None else shard_size
    options = JobOptions(shard_size=size, chunk_size=size, resume=resume, restart=restart, failed_again=resume, inputs=[str(posts)])
    work = EnrichWork(enricher, config, model, str(images))
    total = failed = 0
    with tqdm(unit=" posts", disable=None) as bar:
        for tally in Job(folder, work, options).run(lines, HereEngine(work)):
            total, failed = total + tally.posts, failed + tally.failed
            bar.update(tally.posts)
    return total, failed


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
