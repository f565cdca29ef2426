"""`rivega annotate posts.jsonl out.jsonl`: entities, boxes and masks for a file of posts, or for a million of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import Columns, Form, GpuId, Model, PostsImages, print_summary, read_columns
from .saying import say, warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..jobs.annotate import EngineOptions
    from ..jobs.bulk.annotating import AnnotateWork
    from ..jobs.bulk.tally import Tally
    from ..jobs.bulk.work import Given

EXAMPLES = (
    "rivega annotate posts.jsonl annotated.jsonl",
    "rivega annotate posts.jsonl.gz annotated.jsonl.gz --images pictures --workers 4",
    "rivega annotate tweets.csv annotated.jsonl --column text=tweet --column image=photo",
    "rivega annotate photos/ annotated.jsonl --model training/rivega_twitter --gpu-id 0",
    "rivega annotate - annotated.jsonl --images pictures",
    "rivega annotate january.jsonl february.jsonl annotated/ --workers 8 --format parquet --resume",
    "rivega annotate posts.jsonl annotated/ --engine ray --address 10.0.0.1:6379 --workers 64 --resume",
)
MORE_HELP = "If OUT is a folder (it ends in /, or exists), a job writes shards into it, and --resume continues it after an interruption: see docs/jobs.md."
JOB = "Jobs: OUT is a folder"


def run(
    posts: Annotated[
        list[Path],
        typer.Argument(
            metavar="POSTS",
            help="JSONL, JSON, CSV or Parquet with text, image; optional id, knowledge, caption, description, ents, expansions. A folder "
            "of pictures with a.txt or a.json beside a.jpg. - is stdin.",
        ),
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="File for JSON lines (.gz compresses), - for stdout, folder/ for a job's shards.")
    ],
    model: Model = "rivega_twitter",
    images: PostsImages = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Posts per batch.", show_default="the pipeline's")] = None,
    workers: Annotated[
        int, typer.Option("--workers", "--n-process", help="Worker processes or Ray actors; -1 for one per core.")
    ] = 1,
    gpu_id: GpuId = -1,
    form: Form = "auto",
    column: Columns = [],
    shard_size: Annotated[
        int | None, typer.Option("--shard-size", help="Posts per shard.", show_default="1000", rich_help_panel=JOB)
    ] = None,
    shard_form: Annotated[
        Literal["jsonl", "parquet", "docbin"] | None,
        typer.Option("--format", help="Format of the shards.", show_default="jsonl", rich_help_panel=JOB),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the job in OUT, or start it.", rich_help_panel=JOB)] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard the results in OUT and start over.", rich_help_panel=JOB)
    ] = False,
    engine: Annotated[Literal["local", "ray"], typer.Option("--engine", help="Where workers run.", rich_help_panel=JOB)] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster; by default one is started on this machine.", rich_help_panel=JOB)
    ] = None,
    worker_cpus: Annotated[
        float | None, typer.Option("--worker-cpus", help="Cores per Ray worker.", show_default="1", rich_help_panel=JOB)
    ] = None,
    worker_gpus: Annotated[
        float | None,
        typer.Option("--worker-gpus", help="GPUs per Ray worker.", show_default="1 with --gpu-id, else 0", rich_help_panel=JOB),
    ] = None,
) -> int:
    """Annotate the posts.

    RETURNS (int): 0 if every post went through whole, 1 if some carry errors (they are in the output, on their lines).
    """
    from ..jobs.annotate import EngineOptions, annotate_job
    from ..jobs.bulk.annotating import AnnotateWork
    from ..jobs.bulk.job import CHUNK_SIZE, SHARD_SIZE, JobOptions
    from ..post.files import is_pipe
    from ..post.post_files import check_posts
    from ..post.posts import check_batches, check_images

    # What is wrong with the call is reported before the pipeline is loaded.
    check_batches(batch_size, workers)
    for file in posts:
        check_posts(file)
    ray = {"--address": address, "--worker-cpus": worker_cpus, "--worker-gpus": worker_gpus}
    if engine != "ray":
        _refuse(ray, "without `--engine ray`")
    root = images if images is not None else _root_of(posts)
    check_images(root)
    lines = _read(posts, form, read_columns(column))
    where = EngineOptions(engine, workers, address, worker_cpus or 1.0, worker_gpus or float(gpu_id >= 0))
    target = Path(out)
    shards = {"--shard-size": shard_size, "--format": shard_form, "--resume": resume or None, "--restart": restart or None}
    if not (out.endswith("/") or target.is_dir() or any(value is not None for value in shards.values())):
        if engine == "ray":
            _refuse({"--engine ray": True}, "on a single output file", "name a folder/")
        return _file(lines, target, AnnotateWork(model, str(root), batch_size, gpu_id), posts, where)
    if is_pipe(target):
        _refuse(shards, "on stdout", "name a folder/")
    if resume and restart:
        _refuse({"--resume": resume}, "beside `--restart`")
    work = AnnotateWork(model, str(root), gpu_id=gpu_id, form=shard_form or "jsonl")
    options = JobOptions(
        form=work.form,
        shard_size=SHARD_SIZE if shard_size is None else shard_size,
        chunk_size=CHUNK_SIZE if batch_size is None else batch_size,
        resume=resume,
        restart=restart,
        inputs=[str(path) for path in posts],
    )
    job, tallies = annotate_job(lines, target, work, options, where, report=_tell)
    total = _progress(tallies, job.before)
    if job.before:
        say(f"{job.before} posts were done before\n")
    return _say(total, target)


def _file(lines: "Iterator[Given]", path: Path, work: "AnnotateWork", posts: list[Path], where: "EngineOptions") -> int:
    from itertools import chain, islice

    from ..jobs.annotate import annotate_file, annotate_here
    from ..post.files import check_output

    check_output(path, inputs=posts)
    # What is wrong with the file as a whole shows before the pipeline is loaded.
    lines = chain(list(islice(lines, 1)), lines)
    tallies = annotate_here(lines, path, work) if where.workers == 1 else annotate_file(lines, path, work, where, report=_tell)
    return _say(_progress(tallies), path)


def _read(posts: list[Path], form: str, columns: dict[str, str]) -> "Iterator[Given]":
    from ..post.post_files import read_posts

    for path in posts:
        yield from read_posts(path, form=form, columns=columns)


def _progress(tallies: "Iterable[Tally]", before: int = 0) -> "Tally":
    """Counts of all posts, shown while they come."""
    from tqdm import tqdm

    from ..jobs.bulk.tally import Tally

    total = Tally()
    with tqdm(unit=" posts", disable=None, initial=0) as bar:
        for tally in tallies:
            total.add(tally)
            bar.update(tally.posts)
            if total.posts == before:
                # What was done before says nothing of the speed.
                bar.unpause()
    return total


def _say(total: "Tally", out: Path) -> int:
    counts = f"{total.posts} posts, {total.entities} entities, {total.grounded} of them grounded, {total.failed} posts with errors"
    print_summary(counts, out)
    return 1 if total.failed else 0


def _tell(message: str) -> None:
    warn(f"{message}\n")


def _root_of(posts: list[Path]) -> Path:
    """The folder that relative image paths start from. RAISES (RivegaError): E852 if the inputs lie in several."""
    from ..post.errors import Errors, RivegaError
    from ..post.post_files import picture_root

    folders = {picture_root(path) for path in posts}
    if len(folders) > 1:
        raise RivegaError(Errors.E852.format(folders=", ".join(sorted(str(folder) for folder in folders))))
    return folders.pop()


def _refuse(options: "Mapping[str, object]", where: str, remedy: str = "see `rivega annotate --help`") -> None:
    """RAISES (RivegaError): E849 for the first option that was given."""
    from ..post.errors import Errors, RivegaError

    for option, value in options.items():
        if value is not None:
            raise RivegaError(Errors.E849.format(option=option, where=where, remedy=remedy))
