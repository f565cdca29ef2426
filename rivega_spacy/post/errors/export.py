"""Export to annotation tools."""

from .messages import Messages


class ExportMessages(Messages):
    """Export to annotation tools."""

    E620 = (
        "The size of the picture of post {post} ({source}) is unknown: the picture cannot be read, and no mask states its "
        "size. Give the folder of the pictures (`--images`)."
    )
    E624 = (
        "The picture of post {post} was given as bytes. This format names pictures by their paths, so the post's regions are left "
        "out. Save the picture, and give its path as `image`."
    )


__all__ = ["ExportMessages"]
