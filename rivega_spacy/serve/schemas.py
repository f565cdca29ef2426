"""What the API takes and gives, for its OpenAPI page: the answers themselves are the lines that `rivega annotate` writes."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field

from .limits import Limits

# A JSON schema, or a part of an OpenAPI document.
Schema = dict[str, Any]


class Mask(BaseModel):
    """A mask as COCO's compressed run lengths."""

    size: list[int] = Field(description="Height and width of the picture.", examples=[[480, 640]])
    counts: str


class Entity(BaseModel):
    """A named entity, and what of it the picture shows."""

    start: int = Field(description="First character.")
    end: int = Field(description="Behind the last character.")
    label: str = Field(examples=["PER"])
    text: str
    score: float | None = None
    expansion: str | None = None
    groundable: bool | None = Field(None, description="Whether the picture shows it; null where that was not judged.")
    groundable_score: float | None = None
    boxes: list[list[float]] = Field([], description="x1, y1, x2, y2 in pixels of the upright picture.")
    box: list[float] | None = Field(None, description="The largest of `boxes`.")
    box_score: float | None = None
    mask_rle: Mask | None = None
    mask_score: float | None = None


class Note(BaseModel):
    """What could not be done for a post."""

    component: str
    message: str


class AnnotatedPost(BaseModel):
    """One line of `rivega annotate`. Fields of the post's own follow as they were."""

    id: str | None = None
    text: str
    image: str | None = Field(None, description="null: the picture came with the request.")
    caption: str | None = None
    description: str | None = None
    knowledge: str | None = None
    ents: list[Entity]
    errors: list[Note]


class MaskAnswer(BaseModel):
    """The mask of an entity with the boxes that were sent."""

    mask_rle: Mask | None
    mask_score: float | None
    errors: list[Note]


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str | None = Field(None, description="Of the message, see docs/errors.md.")
    notes: list[str] | None = None


# Of the formats, `picture`, `json` and `words` are the API's own: the text of a picture that can be read, a text that is JSON, one of words.
_ANY_PICTURE = {
    "type": "string",
    "format": "picture",
    "description": "The picture itself: a data: URI or base64. No address, no path.",
}
_PICTURE = {**_ANY_PICTURE, "type": ["string", "null"]}
_FILE = {"type": "string", "format": "binary"}
_BOXES = {
    "type": "array",
    "minItems": 1,
    "maxItems": 100,
    "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
}
_NUMBER = {"type": "integer", "description": "In place of `image`: the number of a post in the queue."}
_LINE = {"type": "object", "description": "A line of annotated posts."}
_NAME = {"description": "Of the file."}


def _body(value: Schema, form: Schema) -> Schema:
    content = {"application/json": {"schema": value}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def _json_text(field: Schema) -> Schema:
    """A field of a form that holds JSON."""
    return {"type": "string", "format": "json", "description": f"JSON. {field.get('description', '')}".rstrip()}


def annotate(limits: Limits) -> Schema:
    """The body of /annotate: what else comes, and is no text, is noted in `errors` of the post's line."""
    text = {"type": "string", "maxLength": limits.text}
    noted = {"maxLength": limits.text, "description": "A string; what is none is noted."}
    shared: Schema = {"id": {"description": "A string."}, "text": text, "knowledge": noted, "caption": noted, "description": noted}
    ents = {
        "description": "Known entities, [start, end, label] or objects: none are then looked for. Those that are no entities are noted."
    }
    words = {
        "anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}],
        "description": "In place of `text`: joined by blanks.",
    }
    post: Schema = {
        "type": "object",
        "properties": {**shared, "ents": ents, "image": _PICTURE},
        "anyOf": [{"required": ["text"]}, {"required": ["tokens"], "properties": {"tokens": words}}],
    }
    posts = {
        "type": "array",
        "items": {
            "description": "A post as above. What cannot be used of it stands in `errors` of its line, and the others are done."
        },
        "minItems": 1,
        "maxItems": limits.posts,
    }
    tokens = {"type": "string", "format": "words", "description": "In place of `text`: between blanks, or a JSON list."}
    form = {
        "type": "object",
        "properties": {**shared, "tokens": tokens, "ents": _json_text(ents), "image": _FILE},
        "anyOf": [{"required": ["text"]}, {"required": ["tokens"]}],
    }
    return _body({"oneOf": [post, posts]}, form)


def about_picture(fields: Schema, *, needs_picture: bool, queue: bool) -> Schema:
    """The body of a route about one picture.

    fields (Dict[str, Any]): What else it has to have. needs_picture (bool): Whether it has to have the picture.
    queue (bool): Whether the picture may be that of a post of the queue.
    RETURNS (Dict[str, Any]): For `openapi_extra`.
    """

    needed = sorted(set(fields) - {"name"})
    picture = {"image": _ANY_PICTURE if needs_picture else _PICTURE}
    texts = {name: _json_text(field) if field is not _NAME else field for name, field in fields.items()}
    body: Schema = {"type": "object", "properties": fields, "required": needed}
    form: Schema = {"type": "object", "properties": {**texts, "image": _FILE}, "required": needed}
    own = ["image"] if needs_picture else []
    if queue:
        # Where there is a number, nobody looks at the picture beside it.
        no_number = {"properties": {**picture, "number": {"type": "null"}}, "required": own}
        body["anyOf"] = [{"properties": {"number": _NUMBER}, "required": ["number"]}, no_number]
        form["properties"]["number"] = _json_text(_NUMBER)
        form["anyOf"] = [{"properties": {"image": _FILE}, "required": own}, {"required": ["number"]}]
    else:
        body = {**body, "properties": {**fields, **picture}, "required": needed + own}
        form["required"] = needed + own
    return _body(body, form)


MASKS: Schema = {"boxes": _BOXES}
EXPORT: Schema = {"post": _LINE, "name": _NAME}
SAVE: Schema = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "ents": {
                            "type": "array",
                            "items": {"description": "An entity of an annotated post, or [start, end, label]."},
                        },
                        "revision": {"type": "integer"},
                    },
                    "required": ["ents"],
                }
            }
        },
    }
}


def files(kinds: Iterable[str]) -> dict[str, Any]:
    """The answer of a route that is a file of one of these media types."""
    return {"content": {kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}}


# What `pictures.for_browser` makes.
PICTURE = files(("image/jpeg", "image/png", "image/gif"))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problem details."""
    return {status: {"model": ProblemDetails, "content": {"application/problem+json": {}}} for status in statuses}
