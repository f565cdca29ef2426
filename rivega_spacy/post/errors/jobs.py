"""Enrichment of files of posts."""

from .messages import Messages


class JobsMessages(Messages):
    """Enrichment of files of posts."""

    E426 = "There is no source {name!r}. Known are: {known}."
    E427 = "{path}: `[{section}]` is missing or wrong ({reason}). See configs/enrich_openai.cfg."
    E428 = "Post {post}: `tokens` and `tags` do not fit together, so it has no entities to expand."
    E444 = "Post {post}: the tag {tag!r} is of no known scheme (O, B-PER, I-PER, E-PER, S-PER, ...); it is read as O."


__all__ = ["JobsMessages"]
