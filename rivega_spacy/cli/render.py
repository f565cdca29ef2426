"""`rivega render annotated.jsonl pages/`: annotated posts as HTML pages and pictures."""

import argparse
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.tokens import Doc

NAME = "render"
HELP = "Show annotated posts: JSON lines in, HTML pages and PNG pictures with boxes and masks out."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("annotated", type=Path, help="JSON lines that `rivega annotate` wrote (.gz: gzipped)")
    parser.add_argument("out", type=Path, help="folder for index.html, further pages and overlays/")
    parser.add_argument(
        "--images", type=Path, default=None, help="folder that relative image paths start from (default: that of ANNOTATED)"
    )
    parser.add_argument("--title", default=None, help="heading of the pages (default: the file's name)")
    parser.add_argument("--page-size", type=int, default=100, help="posts a page (default: %(default)s)")
    parser.add_argument(
        "--max-side", type=int, default=1280, help="longer side of embedded pictures in pixels (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, default=0, help="posts at most (default: all)")
    parser.add_argument("--no-overlays", action="store_true", help="write pages only, no PNG files")


def run(args: argparse.Namespace) -> int:
    """Render the file.

    RETURNS (int): 0, or 1 where posts carry errors (they are shown on the page, by their post).
    """
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_input, check_output, check_output_folder, open_output_folder

    for option, value, least in (("page_size", args.page_size, 1), ("max_side", args.max_side, 1), ("limit", args.limit, 0)):
        if value < least:
            raise RivegaError(Errors.E209.format(option=option, least=least, value=value))
    check_input(args.annotated)
    check_output_folder(args.out)
    check_output(args.out / page_name(1), inputs=[args.annotated])
    with open_output_folder(args.out) as folder:
        line, failed = render_file(args, folder)
    sys.stdout.write(f"{line} -> {args.out / page_name(1)}\n")
    return 1 if failed else 0


def render_file(args: argparse.Namespace, out: Path) -> tuple[str, int]:
    """Write the pages and pictures.

    args (Namespace): The command's arguments.
    out (Path): The folder.
    RETURNS (Tuple[str, int]): What was done, and how many posts carry errors.
    """
    from tqdm import tqdm

    from ..post.annotated import read_annotated
    from ..post.files import write_text
    from ..rendering.html import render_posts

    title = args.title if args.title is not None else args.annotated.name
    size = args.page_size
    annotated = islice(read_annotated(args.annotated, images=args.images), args.limit or None)
    docs = iter(tqdm(annotated, unit=" posts", disable=None))
    page: list[Doc] = list(islice(docs, size))
    number, count, pictures, failed = 1, 0, 0, 0
    while page or number == 1:
        following = list(islice(docs, size))
        links = {}
        if number > 1:
            links["← earlier posts"] = page_name(number - 1)
        if following:
            links["later posts →"] = page_name(number + 1)
        if not args.no_overlays:
            pictures += write_overlays(page, out / "overlays", start=count)
        html = render_posts(page, title=title, max_side=args.max_side, links=links)
        write_text(out / page_name(number), html)
        failed += sum(bool(doc._.rivega_errors) for doc in page)
        number, count, page = number + 1, count + len(page), following
    return f"{count} posts on {number - 1} pages, {pictures} pictures, {failed} posts with errors", failed


def page_name(number: int) -> str:
    """File name of the page with this number, from 1."""
    return "index.html" if number == 1 else f"page-{number}.html"


def write_overlays(docs: list["Doc"], folder: Path, *, start: int = 0) -> int:
    """Write a PNG for every post with a picture that can be read.

    docs (List[Doc]): Processed posts.
    folder (Path): Where to.
    start (int): How many posts came before; the names begin with the post's number.
    RETURNS (int): How many were written.
    """
    from ..post.errors import Errors
    from ..post.extensions import post_name, record_error
    from ..post.files import open_output
    from ..post.images import doc_image
    from ..rendering.overlay import render_overlay

    count = 0
    for doc, name in zip(docs, overlay_names(docs, start)):
        if doc_image(doc, "rendering") is not None:
            try:
                picture = render_overlay(doc)
            except Exception as error:  # whatever is odd about one post, the others have their pictures
                reason = f"{type(error).__name__}: {error}"
                record_error(doc, "rendering", Errors.E065.format(post=post_name(doc), reason=reason))
                continue
            with open_output(folder / name, binary=True) as out:
                picture.save(out, format="PNG")
            count += 1
    return count


def overlay_names(docs: list["Doc"], start: int = 0) -> Iterator[str]:
    """File names from the posts' numbers and ids: "0007-astronaut.png"."""
    for number, doc in enumerate(docs, start=start + 1):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(doc.user_data.get("id") or "")).strip("-")[:60]
        yield f"{number:04d}-{name}.png" if name else f"{number:04d}.png"
