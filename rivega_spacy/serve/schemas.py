"""What the API takes and gives, for its OpenAPI page: the answers themselves are the lines that `rivega annotate` writes."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field


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


_PICTURE = {"type": "string", "description": "The picture itself: a data: URI or base64. No address, no path."}
_TEXTS = {
    "id": {"type": "string"},
    "text": {"type": "string"},
    "tokens": {"type": "array", "items": {"type": "string"}, "description": "In place of `text`: joined by blanks."},
    "knowledge": {"type": "string"},
    "caption": {"type": "string"},
    "description": {"type": "string"},
    "ents": {
        "type": "array",
        "items": {},
        "description": "Known entities, [start, end, label] or objects: none are then looked for.",
    },
}
_POST = {"type": "object", "properties": {**_TEXTS, "image": _PICTURE}, "required": ["text"]}
_FILE = {"type": "string", "format": "binary"}
_BOXES = {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}}
_NUMBER = {"type": "integer", "description": "In place of `image`: the number of a post in the queue."}


def _body(fields: dict[str, Any], *, many: bool = False) -> dict[str, Any]:
    alone: dict[str, Any] = {"type": "object", "properties": {**fields, "image": _PICTURE}}
    value = {"oneOf": [alone, {"type": "array", "items": alone}]} if many else alone
    form = {"type": "object", "properties": {**fields, "image": _FILE}}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": value}, "multipart/form-data": {"schema": form}},
        }
    }


ANNOTATE = _body(_TEXTS, many=True)
MASKS = _body({"boxes": _BOXES, "number": _NUMBER})
EXPORT = _body(
    {"post": {"type": "object", "description": "A line of annotated posts."}, "number": _NUMBER, "name": {"type": "string"}}
)
PREVIEW = _body({})
SAVE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "ents": {"type": "array", "items": {"$ref": "#/components/schemas/Entity"}},
                        "revision": {"type": "integer"},
                    },
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
