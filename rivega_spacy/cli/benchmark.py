"""`rivega benchmark PIPELINE [POSTS]`: posts a second at several batch sizes, by stage, and peak memory."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, Columns, Form, GpuId, Images, Limit, ModelArgument, read_columns
from .saying import say, warn

if TYPE_CHECKING:
    from ..jobs.benchmark import Speed

EXAMPLES = (
    "rivega benchmark rivega_twitter posts.jsonl",
    "rivega benchmark rivega_twitter posts.jsonl --batch-size 32 --batch-size 128 --limit 500",
    "rivega benchmark training/rivega_twitter --json",
)


def run(
    model: ModelArgument,
    posts: Annotated[
        Path | None, typer.Argument(help="Posts as for `rivega annotate`.", show_default="those in assets/demo, which are few")
    ] = None,
    images: Images = None,
    batch_size: Annotated[list[int], typer.Option("--batch-size", help="Posts per batch; several values are compared.")] = [
        1,
        8,
        32,
    ],
    limit: Limit = 0,
    gpu_id: GpuId = -1,
    form: Form = "auto",
    column: Columns = [],
    as_json: AsJson = False,
) -> int:
    """Measure.

    RETURNS (int): 0, or 1 if posts carry errors.
    """
    from ..jobs.benchmark import run_benchmark
    from ..post.errors import Errors, RivegaError
    from ..post.post_files import check_posts, picture_root, read_posts
    from ..post.posts import check_images
    from .demo import find_posts

    if limit < 0:
        raise RivegaError(Errors.E209.format(option="limit", least=0, value=limit))
    path = posts if posts is not None else find_posts(None)
    check_posts(path)
    check_images(images)
    lines = list(islice(read_posts(path, form=form, columns=read_columns(column)), limit or None))
    root = images if images is not None else picture_root(path)
    speeds = []
    for speed in run_benchmark(model, lines, images=root, batch_sizes=batch_size, gpu_id=gpu_id):
        speeds.append(speed)
        if not as_json:
            warn(f"batches of {speed.batch_size}: {speed.posts_per_s:.2f} posts/s\n")
    if as_json:
        say(json.dumps([speed.to_dict() for speed in speeds], indent=1) + "\n")
    else:
        say("\n".join(_table(model, speeds)) + "\n")
    return 1 if speeds[0].failed else 0


def _table(model: str, speeds: "list[Speed]") -> list[str]:
    first = speeds[0]

    def row(name: str, values: list[str]) -> str:
        return f"{name:24}" + "".join(f"{value:>12}" for value in values)

    def milliseconds(name: str) -> list[str]:
        return [f"{1000 * speed.stages_s[name] / speed.posts:.1f}" for speed in speeds]

    def megabytes(name: str) -> list[str]:
        return [f"{getattr(speed, name) / 1e6:.0f}" for speed in speeds]

    failed = f", {first.failed} with errors" if first.failed else ""
    lines = [
        f"{Path(model).name}: {first.posts} posts, {first.entities} entities{failed}; loaded in {first.loading_s:.1f} s",
        row("posts a batch", [str(speed.batch_size) for speed in speeds]),
        row("posts/s", [f"{speed.posts_per_s:.2f}" for speed in speeds]),
        "ms a post",
        *(row(f"  {name}", milliseconds(name)) for name in first.stages_s),
        row("peak memory, MB", megabytes("memory_bytes")),
        row("  before the first post", megabytes("loaded_bytes")),
    ]
    return [*lines, row("peak on the card, MB", megabytes("gpu_bytes"))] if first.gpu_bytes else lines
