"""Export to annotation tools."""

from .messages import Messages


class ExportMessages(Messages):
    """Export to annotation tools."""

    E620 = (
        "The size of the picture of post {post} ({source}) is unknown: the picture cannot be read, and no mask states its "
        "size. Give the folder of the pictures (`--images`)."
    )


__all__ = ["ExportMessages"]
