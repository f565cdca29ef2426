"""Rendering and reports."""

from .messages import Messages


class RenderingMessages(Messages):
    """Rendering and reports."""

    E065 = "Post {post}: it cannot be shown ({reason}). Correct what its line says, or leave it out."
    E502 = (
        "{path}, line {line}: not the expected form of a post ({reason}). Give each line `id` and `ents` with start, end, "
        "labels, shown."
    )
    E600 = (
        "Post {post} has no picture that can be read, so there is nothing to draw on. Look at `doc._.rivega_errors` for the reason."
    )
    E601 = "Post {post}: a box of {ent!r} is outside the picture ({width}x{height}). Give boxes in pixels of the original picture."
    E602 = "Post {post}: the mask of {ent!r} cannot be drawn ({reason}). Give masks the size of the original picture."

    E830 = "IPython is not installed, so nothing can be displayed. Leave `jupyter` out to have the result returned, or run `pip install ipython`."


__all__ = ["RenderingMessages"]
