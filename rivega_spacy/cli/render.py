"""`rivega render annotated.jsonl pages/`: annotated posts as HTML pages and pictures."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from .options import AnnotatedPosts, Limit, PostsImages
from .saying import say

EXAMPLES = ("rivega render annotated.jsonl pages", "rivega render annotated.jsonl pages --limit 50 --no-overlays")


def run(
    annotated: AnnotatedPosts,
    out: Annotated[Path, typer.Argument(help="Folder for index.html, further pages and overlays/.")],
    images: PostsImages = None,
    title: Annotated[str | None, typer.Option("--title", help="Heading of the pages.", show_default="the file's name")] = None,
    page_size: Annotated[int, typer.Option("--page-size", help="Posts per page.")] = 100,
    max_side: Annotated[int, typer.Option("--max-side", help="Longer side of embedded pictures in pixels.")] = 1280,
    limit: Limit = 0,
    no_overlays: Annotated[bool, typer.Option("--no-overlays", help="Write pages only, no PNG files.")] = False,
) -> int:
    """Render the file.

    RETURNS (int): 0, or 1 if posts carry errors (they are shown on the page, by their post).
    """
    from tqdm import tqdm

    from ..jobs.pages import page_name, write_pages
    from ..post.annotated import read_annotated
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_input, check_output, check_output_folder, open_output_folder

    for option, value, least in (("page_size", page_size, 1), ("max_side", max_side, 1), ("limit", limit, 0)):
        if value < least:
            raise RivegaError(Errors.E209.format(option=option, least=least, value=value))
    check_input(annotated)
    check_output_folder(out)
    check_output(out / page_name(1), inputs=[annotated])
    docs = tqdm(islice(read_annotated(annotated, images=images), limit or None), unit=" posts", disable=None)
    heading = title if title is not None else annotated.name
    with open_output_folder(out) as folder:
        line, failed = write_pages(docs, folder, title=heading, page_size=page_size, max_side=max_side, overlays=not no_overlays)
    say(f"{line} -> {out / page_name(1)}\n")
    return 1 if failed else 0
