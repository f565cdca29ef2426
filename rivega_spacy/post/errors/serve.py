"""The server of `rivega serve`: what a request lacks, and what the queue of posts cannot do."""

from .messages import Messages


class ServeMessages(Messages):
    """The server of `rivega serve`: requests and the queue of posts."""

    E800 = "The body of the request cannot be read ({reason}). Send JSON, or multipart/form-data with the fields of a post."
    E801 = "The server does not answer to the name {host!r}. Use the address that it printed when it started, or allow the name with `--allow-host`."
    E802 = "The request comes from the page of another site, {origin}. Send it from this server's own page or from a program."
    E803 = "The body did not arrive within {seconds:g} seconds. Send it without pauses, or raise `--body-seconds`."
    E804 = "The body has more than {limit} bytes. Send a smaller picture or fewer posts, or raise `--max-bytes`."
    E805 = "The content type {kind!r} is not supported. Send application/json or multipart/form-data."
    E806 = "Post {post}: `{field}` is {value}. Give {wanted}."
    E807 = "Post {post}: {what} {size}, more than {limit}. Send less at a time, or raise `{option}`."
    E808 = (
        "Post {post}: `image` is neither a data: URI nor base64 ({reason}). Send the picture itself; "
        "the server opens no addresses and no files for a request."
    )
    E809 = "{client} already has {limit} requests under way. Wait for their answers, or raise `--max-per-client`."
    E810 = "The server cannot take the request now: {reason}. Send it again in a moment."
    E811 = "The answer took more than {seconds:g} seconds. Send fewer posts at a time, or raise `--seconds`."
    E812 = "The pipeline has no segmenter that uses boxes, so there are no masks to compute. Add a `rivega_segmenter` to it."
    E813 = "The server failed on this request ({reason}). The traceback is in its log; please report it."
    E815 = "{path} was not saved from {queue} ({reason}). Name another file with `--save`; this one was left as it is."
    E816 = "{path} was changed by another program since it was last saved. Restart the server to continue from what the file contains now."
    E817 = "There is no post {number} in the queue, which has {total}. Ask for a number from 1 on."
    E818 = "Post {number} was saved from another page in the meantime. Load it again, and make the change there."
    E819 = "The server cannot listen on {host}:{port} ({reason}). Stop what listens there, or choose another `--port`."
    E970 = "The request is not valid HTTP/1.1 ({reason}). Check its first line, its headers, and the length that it states."
    E971 = "The body has more than {limit} values. Send fewer posts at a time, and only fields that belong to a post."
    E979 = "The body is coded as {coding!r} (Content-Encoding). Send it as it is: compressed bodies are not unpacked."


__all__ = ["ServeMessages"]
