"""Jobs over files: enrichment, evaluation, finishing of pipelines."""

from .messages import Messages


class JobsMessages(Messages):
    """Jobs over files: enrichment, evaluation, finishing of pipelines."""

    E268 = "{path} has {size} MB, more than {most} MB: {sizes}. Leave out what the pipeline does not need."
    E269 = "{path} holds a pickle, which could run code where it is read. Save weights as safetensors or msgpack."
    E426 = "There is no source {name!r}. Use one of: {known}."
    E427 = "{path}: `[{section}]` is missing or wrong ({reason}). See configs/enrich_openai.cfg."
    E428 = "Post {post}: `tokens` and `tags` do not fit together, so it has no entities to expand. Give every token a tag."
    E444 = (
        "Post {post}: the tag {tag!r} belongs to no known scheme (O, B-PER, I-PER, E-PER, S-PER, ...) and is read as O. Correct it."
    )
    E539 = (
        "Post {post} has no answers of {name!r}, only {known}. Enrich the posts with that model, or name another with `--source`."
    )

    E832 = "There are no posts to measure with. Give a file of posts: `rivega benchmark PIPELINE POSTS`."


__all__ = ["JobsMessages"]
