"""`rivega demo [OUT]`: the posts and photographs that come with the project, through the pipeline, as a page to look at."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import GpuId, Model
from .saying import say

if TYPE_CHECKING:
    from spacy.tokens import Doc

    from ..rendering.expected import ExpectedEntity

EXAMPLES = ("rivega demo", "rivega demo out --posts my_posts.jsonl", "rivega demo --model training/rivega_twitter")
POSTS = Path("assets", "demo", "posts.jsonl")


def run(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("demo"),
    model: Model = "rivega_twitter",
    posts: Annotated[Path | None, typer.Option("--posts", help="Posts of your own.", show_default="those in assets/demo")] = None,
    expected: Annotated[
        Path | None,
        typer.Option("--expected", help="What to write to the posts.", show_default="expected.jsonl beside the posts"),
    ] = None,
    gpu_id: GpuId = -1,
) -> int:
    """Run the demo.

    RETURNS (int): 0, or 1 if posts carry errors.
    """
    from tqdm import tqdm

    from ..jobs.pages import write_overlays
    from ..pipes.loading import load_pipeline
    from ..post.files import check_output, check_output_folder, open_output_folder, write_text
    from ..post.posts import annotate, read_posts, write_posts
    from ..rendering.entity_table import entity_table
    from ..rendering.expected import check_post, read_expected, summarize
    from ..rendering.html import render_posts

    path = find_posts(posts)
    expectation = expected if expected is not None else path.with_name("expected.jsonl")
    wanted: dict[str, list[ExpectedEntity]] = {}
    if expected is not None or expectation.is_file():
        wanted = read_expected(expectation)
    check_output_folder(out)
    for name in ("posts.jsonl", "index.html"):
        check_output(out / name, inputs=[path, expectation])
    lines = list(read_posts(path))
    started = time.perf_counter()
    name = Path(model).name
    with tqdm(total=len(lines), unit=" posts", desc=f"loading {name}", disable=None) as progress:
        nlp = load_pipeline(model, gpu_id=gpu_id)
        loaded = time.perf_counter()
        progress.set_description(name)
        docs: list[Doc] = []
        for doc in write_posts(annotate(nlp, lines, images=path.resolve().parent), out / "posts.jsonl"):
            docs.append(doc)
            progress.update()
    done = time.perf_counter()
    checks = {key: check_post(doc, wanted[key]) for doc in docs if (key := str(doc.user_data.get("id"))) in wanted}
    title = f"What {name} sees in {'the demo posts' if posts is None else path.name}"
    write_text(out / "index.html", render_posts(docs, title=title, checks=checks or None))
    with open_output_folder(out / "overlays") as folder:
        pictures = write_overlays(docs, folder)
    say("\n" + entity_table(docs, checks) + "\n\n")
    if checks:
        say(summarize(list(checks.values())) + "\n")
    say(f"{len(docs)} posts in {done - loaded:.1f} s, after {loaded - started:.1f} s to load {name}.\n\n")
    say(f"Look at   {(out / 'index.html').resolve().as_uri()}\n")
    say(f"Pictures  {out / 'overlays'} ({pictures} PNG files)\nRecords   {out / 'posts.jsonl'}\n")
    failed = [doc for doc in docs if doc._.rivega_errors]
    for doc in failed:
        for entry in doc._.rivega_errors:
            say(f"! {entry['component']}: {entry['message']}\n")
    return 1 if failed else 0


def find_posts(given: Path | None) -> Path:
    """The file of posts: the one given, else the demo's in the working folder or in the checkout that this package is part of.

    RAISES (RivegaError): E501 if there is none.
    """
    from ..post.errors import Errors, RivegaError

    tried = [given] if given is not None else [POSTS, Path(__file__).resolve().parents[2] / POSTS]
    for path in tried:
        if path.is_file():
            return path
    raise RivegaError(Errors.E501.format(path=tried[-1]))
