"""The public vocabulary: one table of Doc and Span extensions, registered by `import rivega_spacy`.

Facts that shape it: spaCy keys span extensions by (name, start_char, end_char); `to_bytes` and DocBin store
`user_data` with msgpack, which turns tuples into lists and knows neither arrays nor PIL images. Hence pictures are kept as a
path or as encoded bytes, boxes as lists of floats, masks as COCO run lengths, and whatever can be computed is computed.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span

from .boxes import box_area, check_box
from .errors import Errors, RivegaError
from .expressions import expression_of
from .images import image_for_storage
from .text import brief, printable, replace_surrogates

ID_KEY = "id"
# How many notes a post carries: one with fifty thousand wrong entities says enough with the first of them.
MAX_NOTES = 100
# Fields of a post that are plain text, as they are called in JSON lines and in the context of `nlp.pipe(as_tuples=True)`.
TEXT_FIELDS = ("caption", "description", "knowledge")
# Gold data may have several masks of one entity. `Span._.mask_rle` holds one; all of them are kept in `user_data` under
# `span_key(span, MASKS_KEY)`, where spaCy would keep a span extension of that name.
MASKS_KEY = "rivega_masks"


@dataclass(frozen=True, eq=False)
class Grounding:
    """One row of Y_SMNER: an entity with what of it the picture shows. It unpacks like a tuple of the four.

    entity (Span): The entity.
    type (str): Its label.
    box (Optional[List[float]]): x1, y1, x2, y2 in pixels of the original picture, or None.
    mask (Optional[ndarray]): HxW bool at the original size, or None.
    """

    entity: Span
    type: str
    box: list[float] | None
    mask: np.ndarray | None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.entity, self.type, self.box, self.mask))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: Any) -> Any:
        return (self.entity, self.type, self.box, self.mask)[place]

    def __json__(self) -> str:
        # srsly asks for it, and so does `doc.to_json(underscore=["groundings"])`.
        place = {"start": self.entity.start_char, "end": self.entity.end_char, "text": self.entity.text}
        return json.dumps({**place, "type": self.type, "box": self.box, "mask_rle": self.entity._.mask_rle})


class EncodedPicture(bytes):
    """An encoded picture that `doc.to_json` and srsly write as a data URI; else it is bytes."""

    def __json__(self) -> str:
        kind = next((kind for start, kind in _SIGNATURES if self.startswith(start)), "octet-stream")
        return json.dumps(f"data:image/{kind};base64,{base64.b64encode(self).decode('ascii')}")


_SIGNATURES = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8", "jpeg"),
    (b"RIFF", "webp"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*", "tiff"),
    (b"MM", "tiff"),
)


# Keys of `user_data` are Any here: spaCy's own are tuples, and its types know strings alone.


def _doc_key(name: str) -> Any:
    """Where spaCy itself keeps what is set on a Doc extension; `Doc.from_docs` knows this shape."""
    return ("._.", name, None, None)


def span_key(span: Span, name: str) -> Any:
    """Where spaCy itself keeps what is set on a Span extension.

    span (Span): The span.
    name (str): Of the extension, or MASKS_KEY.
    RETURNS (Tuple[str, str, int, int]): A key of `doc.user_data`.
    """
    return ("._.", name, span.start_char, span.end_char)


def all_masks(span: Span) -> list[dict[str, Any]]:
    """All masks of an entity: gold data may have several, `span._.mask_rle` is one of them.

    span (Span): The entity.
    RETURNS (List[RLE]): COCO RLE, empty if it has none.
    """
    stored = span.doc.user_data.get(span_key(span, MASKS_KEY))
    if stored:
        # DocBin gives lists back as tuples.
        return [{"size": list(rle["size"]), "counts": rle["counts"]} for rle in stored]
    return [] if span._.mask_rle is None else [span._.mask_rle]


IMAGE_KEY = _doc_key("image")
ERRORS_KEY = _doc_key("rivega_errors")
# Set once what came beside the text in `nlp.pipe(as_tuples=True)` is taken over.
CONTEXT_KEY = _doc_key("rivega_context")
# Which text fields the captioner wrote: they are about the picture that the doc has now.
WRITTEN_KEY = "rivega_written"
# Span extensions, and what is kept beside them, that say something about one picture.
_SEEN = {"groundable", "groundable_score", "boxes", "box_score", "mask_rle", "mask_score", MASKS_KEY}


def _get_image(doc: Doc) -> Any:
    adopt_context(doc)
    stored = doc.user_data.get(IMAGE_KEY)
    if isinstance(stored, bytes) and not isinstance(stored, EncodedPicture):
        # It was read from bytes or from a DocBin.
        stored = doc.user_data[IMAGE_KEY] = EncodedPicture(stored)
    return stored


def _get_text(doc: Doc, *, name: str) -> str | None:
    adopt_context(doc)
    return doc.user_data.get(_doc_key(name))


def _set_text(doc: Doc, value: str | None, *, name: str) -> None:
    if value is not None and not isinstance(value, str):
        raise RivegaError(Errors.E016.format(post=post_name(doc), field=name, kind=type(value).__name__))
    doc.user_data[_doc_key(name)] = None if value is None else replace_surrogates(value)


def _text_field(name: str) -> dict[str, Any]:
    """Getter and setter of a text field, kept as a string in `user_data`; spaCy pickles them for worker processes."""
    return {"getter": partial(_get_text, name=name), "setter": partial(_set_text, name=name)}


def _set_image(doc: Doc, value: Any) -> None:
    former = doc.user_data.get(IMAGE_KEY)
    nothing = value is None or (isinstance(value, str) and not value.strip())
    stored = None if nothing else image_for_storage(value)
    if former is not None and former != stored:
        _forget_picture(doc)
    if stored is None:
        doc.user_data.pop(IMAGE_KEY, None)
    else:
        doc.user_data[IMAGE_KEY] = EncodedPicture(stored) if isinstance(stored, bytes) else stored


def move_image(doc: Doc, path: str) -> None:
    """The same picture under another path: what was found in it stays, which setting `doc._.image` would forget.

    doc (Doc): A post. path (str): Where its picture is.
    """
    doc.user_data[IMAGE_KEY] = path


def _forget_picture(doc: Doc) -> None:
    """What was found in the former picture says nothing about the next one."""
    for key in list(doc.user_data):
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "._." and key[2] is not None and key[1] in _SEEN:
            del doc.user_data[key]
    for name in doc.user_data.pop(WRITTEN_KEY, ()):
        doc.user_data.pop(_doc_key(name), None)
    kept = [entry for entry in _get_errors(doc) if entry["component"] == "post"]
    if ERRORS_KEY in doc.user_data:
        doc.user_data[ERRORS_KEY] = kept


def _get_errors(doc: Doc) -> list[dict[str, str]]:
    return list(doc.user_data.get(ERRORS_KEY, []))


def _get_groundings(doc: Doc) -> list[Grounding]:
    return [Grounding(ent, ent.label_, ent._.box, ent._.mask) for ent in doc.ents]


def referring_expression(span: Span) -> str:
    """The paper's wording of an entity, with all that is known of it (`expressions.Expression.text`)."""
    return expression_of(span).text()


# Spans keep their values where spaCy keeps those of other span extensions. DocBin gives lists back as tuples: hence `list` in the
# getters.


def _get_boxes(span: Span) -> list[list[float]]:
    stored = span.doc.user_data.get(span_key(span, "boxes"), [])
    return [list(box) for box in stored]


def _set_boxes(span: Span, value: Any) -> None:
    boxes = [] if value is None else value
    span.doc.user_data[span_key(span, "boxes")] = [check_box(box) for box in boxes]


def _get_mask_rle(span: Span) -> dict[str, Any] | None:
    stored = span.doc.user_data.get(span_key(span, "mask_rle"))
    return None if stored is None else {"size": list(stored["size"]), "counts": stored["counts"]}


def _set_mask_rle(span: Span, value: Any) -> None:
    if value is not None:
        if not isinstance(value, dict) or not isinstance(value.get("counts"), str) or len(value.get("size", ())) != 2:
            raise RivegaError(Errors.E007.format(value=repr(value)[:80]))
        value = {"size": [int(x) for x in value["size"]], "counts": value["counts"]}
    span.doc.user_data[span_key(span, "mask_rle")] = value


def _set_box(span: Span, value: Any) -> None:
    _set_boxes(span, None if value is None else [check_box(value)])


def _set_mask(span: Span, value: Any) -> None:
    from .rle import encode_mask

    if value is None:
        _set_mask_rle(span, None)
        return
    if not isinstance(value, np.ndarray) or value.dtype != bool or value.ndim != 2:
        kind = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise RivegaError(Errors.E085.format(kind=kind))
    _set_mask_rle(span, encode_mask(value))


def _refuse(_: Any, value: Any, *, name: str, instead: str) -> None:
    raise RivegaError(Errors.E086.format(name=name, instead=instead))


def _computed(name: str, getter: Callable[..., Any], instead: str) -> dict[str, Any]:
    """An extension that follows from others; setting it is an error instead of nothing."""
    return {"getter": getter, "setter": partial(_refuse, name=name, instead=instead)}


def _get_box(span: Span) -> list[float] | None:
    boxes = span._.boxes
    return max(boxes, key=box_area) if boxes else None


def _get_mask(span: Span) -> np.ndarray | None:
    from .rle import decode_mask

    rle = span._.mask_rle
    return None if rle is None else decode_mask(rle)


# name -> arguments of Doc.set_extension
DOC_EXTENSIONS: dict[str, dict[str, Any]] = {
    "image": {"getter": _get_image, "setter": _set_image},
    **{name: _text_field(name) for name in TEXT_FIELDS},
    "groundings": _computed("groundings", _get_groundings, "`doc.ents` and their `boxes` and `mask`"),
    "rivega_errors": _computed("rivega_errors", _get_errors, "them with `rivega_spacy.post.extensions.record_error`"),
}

# name -> arguments of Span.set_extension
SPAN_EXTENSIONS: dict[str, dict[str, Any]] = {
    "expansion": {"default": None},
    "referring_expression": _computed("referring_expression", referring_expression, "`expansion`"),
    "ner_score": {"default": None},
    "groundable": {"default": None},
    "groundable_score": {"default": None},
    "boxes": {"getter": _get_boxes, "setter": _set_boxes},
    "box": {"getter": _get_box, "setter": _set_box},
    "box_score": {"default": None},
    "mask_rle": {"getter": _get_mask_rle, "setter": _set_mask_rle},
    "mask": {"getter": _get_mask, "setter": _set_mask},
    "mask_score": {"default": None},
}


def register_extensions() -> None:
    """Register the two tables above; calling it again changes nothing."""
    for name, arguments in DOC_EXTENSIONS.items():
        Doc.set_extension(name, force=True, **arguments)
    for name, arguments in SPAN_EXTENSIONS.items():
        Span.set_extension(name, force=True, **arguments)


def adopt_context(doc: Doc) -> None:
    """Take over what `nlp.pipe([(text, {"image": ...}), ...], as_tuples=True)` gave beside the text.

    The language class `rivega` does this when it makes the doc; for pipelines of other languages the first component that asks
    for one of these fields does. What is unfit is noted on the post, and the rest is taken.

    doc (Doc): The post; nothing happens where its context is not a dict or was taken over before.
    """
    context = getattr(doc, "_context", None)
    if not isinstance(context, dict) or CONTEXT_KEY in doc.user_data:
        return
    doc.user_data[CONTEXT_KEY] = True
    if context.get(ID_KEY) is not None:
        doc.user_data.setdefault(ID_KEY, str(context[ID_KEY]))
    for name in ("image", *TEXT_FIELDS):
        if context.get(name) is not None:
            try:
                doc._.set(name, context[name])
            except RivegaError as error:
                record_error(doc, "post", str(error))


def post_name(doc: Doc) -> str:
    """How errors name a post: its id where it has one, else the start of its text.

    doc (Doc): The post.
    RETURNS (str): For example "'797970'" or "'RT @MahaveerM_ : Pak...'".
    """
    name = doc.user_data.get(ID_KEY)
    if name is not None:
        return brief(str(name))
    start = doc[:41].text  # the whole text would be put together of all tokens
    return repr(start if len(start) <= 40 else start[:37] + "...")


def record_error(doc: Doc, component: str, message: str) -> None:
    """Note on the post what could not be done for it, and why; the same note is kept once.

    doc (Doc): The post.
    component (str): The component that could not do its work.
    message (str): What was wrong and what to do, from errors.py. After `MAX_NOTES` of them one says that there were more.
    """
    errors = _get_errors(doc)
    entry = {"component": component, "message": printable(message)}
    if len(errors) == MAX_NOTES:
        entry = {"component": "post", "message": Errors.E063.format(post=post_name(doc), limit=MAX_NOTES)}
    if len(errors) <= MAX_NOTES and entry not in errors:
        doc.user_data[ERRORS_KEY] = [*errors, entry]
