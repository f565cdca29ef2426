"""Annotated posts as HTML pages and PNG pictures."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from spacy.tokens import Doc

from ..post.errors import Errors
from ..post.extensions import post_name, record_error
from ..post.files import open_output, write_text
from ..post.images import doc_image
from ..rendering.html import render_posts
from ..rendering.overlay import render_overlay


def write_pages(
    docs: Iterable[Doc], out: Path, *, title: str, page_size: int = 100, max_side: int = 1280, overlays: bool = True
) -> tuple[str, int]:
    """Write the pages and pictures.

    docs (Iterable[Doc]): Annotated posts.
    out (Path): The folder.
    title (str): Heading of the pages.
    page_size (int): Posts a page.
    max_side (int): Longer side of embedded pictures in pixels.
    overlays (bool): Write a PNG for every post's picture as well.
    RETURNS (Tuple[str, int]): What was done, and how many posts carry errors.
    """
    docs = iter(docs)
    page: list[Doc] = list(islice(docs, page_size))
    number, count, pictures, failed = 1, 0, 0, 0
    while page or number == 1:
        following = list(islice(docs, page_size))
        links = {}
        if number > 1:
            links["← earlier posts"] = page_name(number - 1)
        if following:
            links["later posts →"] = page_name(number + 1)
        if overlays:
            pictures += write_overlays(page, out / "overlays", start=count)
        html = render_posts(page, title=title, max_side=max_side, links=links)
        write_text(out / page_name(number), html)
        failed += sum(bool(doc._.rivega_errors) for doc in page)
        number, count, page = number + 1, count + len(page), following
    return f"{count} posts on {number - 1} pages, {pictures} pictures, {failed} posts with errors", failed


def page_name(number: int) -> str:
    """File name of the page with this number, from 1."""
    return "index.html" if number == 1 else f"page-{number}.html"


def write_overlays(docs: list[Doc], folder: Path, *, start: int = 0) -> int:
    """Write a PNG for every post with a picture that can be read.

    docs (List[Doc]): Processed posts.
    folder (Path): Where to.
    start (int): How many posts came before; the names begin with the post's number.
    RETURNS (int): How many were written.
    """
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


def overlay_names(docs: list[Doc], start: int = 0) -> Iterator[str]:
    """File names from the posts' numbers and ids: "0007-astronaut.png"."""
    for number, doc in enumerate(docs, start=start + 1):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(doc.user_data.get("id") or "")).strip("-")[:60]
        yield f"{number:04d}-{name}.png" if name else f"{number:04d}.png"
