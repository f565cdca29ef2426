"""Rendering and reports."""

from .messages import Messages


class RenderingMessages(Messages):
    """Rendering and reports."""

    E065 = "Post {post}: it cannot be shown ({reason})."
    E502 = "{path}, line {line}: not what is expected of a post ({reason}). Each line needs `id` and `ents` with start, end, labels, shown."
    E600 = (
        "Post {post} has no picture that can be read, so there is nothing to draw on. Look at `doc._.rivega_errors` for the reason."
    )
    E601 = "Post {post}: a box of {ent!r} lies outside the picture ({width}x{height}). Boxes are in pixels of the original picture."
    E602 = "Post {post}: the mask of {ent!r} cannot be drawn ({reason}). Masks have the size of the original picture."


__all__ = ["RenderingMessages"]
