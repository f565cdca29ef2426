"""Bodies of requests as posts: JSON or a form, with the picture itself in it. Nothing in them is ever opened as an address or a file."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ..post.errors import Errors, ImageError
from ..post.extensions import TEXT_FIELDS
from ..post.image_sources import is_data_uri, read_data_uri
from ..post.images import image_frame
from ..post.post_files import Post
from ..post.posts import describe_post
from ..post.text import brief
from .limits import Limits
from .problems import Problem

# Of forms. Python knows codecs that take hours, or fail in ways of their own.
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
# Fields of a form that hold JSON.
_JSON_FIELDS = ("tokens", "ents", "expansions", "boxes", "post", "number")
# A value takes more memory than its letters: "[]" is two bytes of a body, and seventy of Python.
_MOST_VALUES = 1_000_000
# The size of a PNG is known only when its pixels are decoded: one at a time.
_MEASURING = threading.Lock()


@dataclass
class Entry:
    """A post of a request.

    post (Dict[str, Any]): As far as it can be used; `image` is bytes.
    faults (List[Problem]): What cannot be used of it.
    """

    post: Post
    faults: list[Problem] = field(default_factory=list)


async def read_body(request: Request, limits: Limits) -> Any:
    """The value in the body of a request.

    request (Request): Its body has arrived.
    RETURNS (Any): Of JSON its value; of a form a dict, pictures as bytes and JSON in the fields that hold it read.
    RAISES (Problem): 400 if it cannot be read, 415 if it is of another type or compressed.
    """
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise Problem(415, Errors.E979.format(coding=coding[:60]))
    stated = request.headers.get("content-type", "")
    kind = stated.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return await run_in_threadpool(_parse, await request.body())
    if kind == "multipart/form-data":
        charset = parse_options_header(stated)[1].get(b"charset", b"utf-8")
        if charset.lower() not in _CHARSETS:
            raise Problem(415, Errors.E805.format(kind=stated[:60]))
        return await _read_form(request, limits)
    raise Problem(415, Errors.E805.format(kind=kind[:60]))


async def read_entries(value: Any, limits: Limits) -> list[Entry]:
    """The posts in a body.

    value (Any): What `read_body` returns: a post, or a list of them.
    RETURNS (List[Entry]): One for each.
    RAISES (Problem): 413 if they are too many, 422 if there are none.
    """
    posts = value if isinstance(value, list) else [value]
    if len(posts) > limits.posts:
        raise Problem(
            413,
            Errors.E807.format(post="list", what="it has", size=f"{len(posts)} posts", limit=limits.posts, option="--max-posts"),
        )
    if not posts:
        raise Problem(422, Errors.E806.format(post="list", field="list", value="empty", wanted="at least one post"))
    return await run_in_threadpool(lambda: [_check(post, limits) for post in posts])


def _parse(body: bytes | str) -> Any:
    # Each value is behind a comma, or the first in a list or an object.
    if sum(body.count(sign) if isinstance(body, str) else body.count(sign.encode()) for sign in ",[{") > _MOST_VALUES:
        raise Problem(413, Errors.E971.format(limit=_MOST_VALUES))
    try:
        return json.loads(body)
    except RecursionError as error:
        raise Problem(400, Errors.E800.format(reason="its JSON is nested too deep")) from error
    except ValueError as error:  # also bytes that are no UTF-8, and numbers of thousands of digits
        raise Problem(400, Errors.E800.format(reason=str(error)[:200])) from error


async def _read_form(request: Request, limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        async with request.form(max_files=4, max_fields=64, max_part_size=limits.body_bytes) as form:
            for name, value in form.multi_items():
                found[name] = await value.read() if isinstance(value, UploadFile) else value
    except (HTTPException, FormParserError) as error:  # not every Starlette makes the one of the other
        raise Problem(400, Errors.E800.format(reason=str(getattr(error, "detail", error))[:200])) from error
    for name in _JSON_FIELDS:
        given = found.get(name)
        # Tokens may stand between blanks as well.
        if isinstance(given, (bytes, str)) and (name != "tokens" or given.lstrip()[:1] in ("[", b"[")):
            found[name] = _parse(given)
    return found


def _check(value: Any, limits: Limits) -> Entry:
    if not isinstance(value, dict):
        return Entry({}, [_fault(422, "of the request", "post", brief(value), "an object with `text` and `image`")])
    entry = Entry(dict(value))
    post = entry.post
    name = describe_post(post)
    tokens = post.get("tokens")
    if isinstance(tokens, str):
        tokens = post["tokens"] = tokens.split()
    if "text" not in post and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        post["text"] = " ".join(tokens)
    if not isinstance(post.get("text"), str):
        given = brief(post["text"]) if "text" in post else "missing"
        entry.faults.append(_fault(422, name, "text", given, "the text of the post, or its `tokens` as a list of strings"))
        post.pop("text", None)
    entry.faults += check_lengths(post, name, limits)
    image = post.pop("image", None)
    if image is not None and image != "" and image != b"":
        try:
            post["image"] = picture_of(image, name, limits)
        except Problem as problem:
            entry.faults.append(problem)
    return entry


def check_lengths(post: Post, name: str, limits: Limits) -> list[Problem]:
    """Take texts that are too long out of a post.

    post (Dict[str, Any]): Is changed.
    name (str): How messages call it.
    RETURNS (List[Problem]): 413 for each of them.
    """
    faults = []
    for key in ("text", *TEXT_FIELDS):
        text = post.get(key)
        if isinstance(text, str) and len(text) > limits.text:
            size = f"has {len(text)} characters"
            detail = Errors.E807.format(post=name, what=f"`{key}`", size=size, limit=limits.text, option="--max-text")
            faults.append(Problem(413, detail))
            post.pop(key)
    return faults


def picture_of(image: Any, name: str, limits: Limits) -> bytes:
    """The encoded picture of a post.

    image (Any): Bytes, a data: URI, or base64.
    name (str): How messages call the post.
    RETURNS (bytes): Of a format that can be read, with no more pixels than `limits` allow.
    RAISES (Problem): 422 for anything else, 413 if it is too large.
    """
    bare = isinstance(image, str) and not is_data_uri(image)
    if isinstance(image, str):
        try:
            image = read_data_uri(f"data:;base64,{image}" if bare else image)
        except ImageError as error:
            raise Problem(422, Errors.E808.format(post=name, reason=_reason(error))) from error
    if not isinstance(image, bytes):
        raise _fault(422, name, "image", brief(image), "a data: URI, base64, or a file in a form")
    try:
        with _MEASURING:
            image_frame(image, pixels=limits.pixels)
    except ImageError as error:
        if "[E004]" in str(error):
            what = {"what": "its picture", "size": "has too many pixels", "limit": limits.pixels, "option": "--max-pixels"}
            raise Problem(413, Errors.E807.format(post=name, **what)) from error
        if bare and "[E030]" in str(error):  # the letters of many paths are base64, too
            raise Problem(422, Errors.E808.format(post=name, reason="what it encodes is no picture")) from error
        raise Problem(422, str(error)) from error
    return image


def _reason(error: ImageError) -> str:
    """What was wrong with the data alone; the message of the image door speaks of data: URIs."""
    cause = error.__cause__
    return str(cause) if cause is not None else str(error)


def _fault(status: int, name: str, key: str, value: str, wanted: str) -> Problem:
    return Problem(status, Errors.E806.format(post=name, field=key, value=value, wanted=wanted))
