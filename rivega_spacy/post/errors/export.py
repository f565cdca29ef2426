"""Export to annotation tools."""

from .messages import Messages


class ExportMessages(Messages):
    """Export to annotation tools."""

    E620 = (
        "The size of the picture of post {post} ({source}) is unknown: the picture cannot be read, and no mask states its "
        "size. Give the folder of the pictures (`--images`)."
    )
    E621 = "A brush stroke cannot be read: {reason}. Export it from Label Studio as JSON, which contains its run lengths."


__all__ = ["ExportMessages"]
