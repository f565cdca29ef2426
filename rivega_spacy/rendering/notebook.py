"""Posts shown where they are worked on: as text of HTML, as pictures, as JSON, and in a notebook."""

import base64
import io
import sys
from collections.abc import Iterable
from html import escape
from typing import Any, Literal

from spacy.tokens import Doc, Span

from ..post.errors import Errors, RivegaError
from ..post.posts import doc_to_post
from ..post.text import printable
from .html import render_posts
from .overlay import render_overlay

STYLES = ("post", "overlay", "json")
# A frame in a notebook is so high, in CSS pixels: a post's share, and at most.
_POST_HEIGHT, _MOST_HEIGHT = 470, 860


def render(
    docs: Doc | Span | Iterable[Doc],
    style: Literal["post", "overlay", "json"] = "post",
    *,
    jupyter: bool | None = None,
    **options: Any,
) -> Any:
    """Show posts, in the manner of displaCy.

    docs (Union[Doc, Span, Iterable[Doc]]): One post, an entity of one, or several posts.
    style (str): "post": text with marks beside picture with masks and boxes, as an HTML page; "overlay": pictures with masks, boxes and names
        drawn on them; "json": what `rivega annotate` writes.
    jupyter (Optional[bool]): Display it in the notebook instead of returning it; None does so where one is running.
    options (Any): Of `rivega_spacy.rendering.render_posts` for "post", of `render_overlay` for "overlay".
    RETURNS (Any): None if it was displayed. Else for "post" the HTML; for "overlay" a PIL image, and for "json" a dict, where one post was
        given, and lists of them otherwise.
    RAISES (RivegaError): E738 for another style, E600 for an overlay of a post without a picture.
    """
    if style not in STYLES:
        raise RivegaError(Errors.E738.format(option="style", allowed=f"one of {', '.join(STYLES)}", value=style))
    one = isinstance(docs, (Doc, Span))
    posts = [docs.doc if isinstance(docs, Span) else docs] if isinstance(docs, (Doc, Span)) else list(docs)
    show = in_notebook() if jupyter is None else jupyter
    if style == "post":
        page = render_posts(posts, **options)
        if show:
            _display({"text/html": frame(page, len(posts)), "text/plain": _plain(posts)})
            return None
        return page
    if style == "json" and options:
        raise RivegaError(Errors.E738.format(option="options", allowed="empty for style json", value=sorted(options)))
    results: list[Any] = [doc_to_post(doc) if style == "json" else render_overlay(doc, **options) for doc in posts]
    if show:
        for doc, result in zip(posts, results):
            plain = {"text/plain": _plain([doc])}
            _display({"application/json": result, **plain} if style == "json" else {"image/png": _png(result), **plain})
        return None
    return results[0] if one else results


def in_notebook() -> bool:
    """Whether this runs in a notebook, which can show more than text."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def frame(page: str, posts: int) -> str:
    """A page within another one: neither sees the other's rules, and nothing in it can run."""
    height = min(_MOST_HEIGHT, 110 + _POST_HEIGHT * max(1, posts))
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox title="annotated posts" '
        f'style="width:100%;height:{height}px;border:0;border-radius:8px"></iframe>'
    )


def register_formatter(ipython: Any) -> None:
    """Let a notebook show a doc with a picture as its post: spaCy's Doc takes no methods, so IPython is told how.

    ipython (InteractiveShell): From `get_ipython()`; `%load_ext rivega_spacy` calls this.
    """
    ipython.display_formatter.formatters["text/html"].for_type(Doc, _doc_html)


def _doc_html(doc: Doc) -> str | None:
    # Without a picture, IPython goes on with what it does for any doc.
    return None if doc._.image is None else frame(render_posts([doc], title="Post"), 1)


def _display(data: dict[str, Any]) -> None:
    try:
        from IPython.display import display
    except ImportError as error:
        raise RivegaError(Errors.E830) from error
    display(data, raw=True)


def _plain(docs: list[Doc]) -> str:
    # What a frontend without HTML, a terminal, shows.
    return printable("\n".join(doc.text for doc in docs))


def _png(picture: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


__all__ = ["STYLES", "frame", "in_notebook", "register_formatter", "render"]
