"""The public vocabulary: one table of Doc and Span extensions, registered by `import rivega_spacy`.

Facts that shape it: spaCy keys span extensions by (name, start_char, end_char); `to_bytes` and DocBin store
`user_data` with msgpack, which turns tuples into lists and knows neither arrays nor PIL images. Hence pictures are kept as a
path or as encoded bytes, boxes as lists of floats, masks as COCO run lengths, and whatever can be computed is computed.
"""
from typing import Any, Dict, List, NamedTuple, Optional

import numpy as np
from spacy.tokens import Doc, Span

from .boxes import box_area, check_box
from .errors import Errors
from .images import image_for_storage

IMAGE_KEY = "rivega_image"
ERRORS_KEY = "rivega_errors"
ID_KEY = "id"


class Grounding(NamedTuple):
    """One row of Y_SMNER: an entity with what of it the picture shows.

    entity (Span): The entity.
    type (str): Its label.
    box (Optional[List[float]]): x1, y1, x2, y2 in pixels of the original picture, or None.
    mask (Optional[ndarray]): HxW bool at the original size, or None.
    """

    entity: Span
    type: str
    box: Optional[List[float]]
    mask: Optional[np.ndarray]


def _get_image(doc: Doc) -> Any:
    return doc.user_data.get(IMAGE_KEY)


def _set_image(doc: Doc, value: Any) -> None:
    if value is None:
        doc.user_data.pop(IMAGE_KEY, None)
    else:
        doc.user_data[IMAGE_KEY] = image_for_storage(value)


def _get_errors(doc: Doc) -> List[Dict[str, str]]:
    return doc.user_data.get(ERRORS_KEY, [])


def _get_groundings(doc: Doc) -> List[Grounding]:
    return [Grounding(ent, ent.label_, ent._.box, ent._.mask) for ent in doc.ents]


def _get_referring_expression(span: Span) -> str:
    """The paper's "Named Entity (Entity Type) — Expansion Expression" (section IV-B 2)."""
    head = f"{span.text} ({span.label_})"
    expansion = span._.expansion
    return f"{head} — {expansion}" if expansion else head


def _get_boxes(span: Span) -> List[List[float]]:
    return span.doc.user_data.get(("._.", "rivega_boxes", span.start_char, span.end_char), [])


def _set_boxes(span: Span, value: Any) -> None:
    key = ("._.", "rivega_boxes", span.start_char, span.end_char)
    span.doc.user_data[key] = [check_box(box) for box in value or []]


def _get_box(span: Span) -> Optional[List[float]]:
    boxes = span._.boxes
    return max(boxes, key=box_area) if boxes else None


def _get_mask(span: Span) -> Optional[np.ndarray]:
    from .rle import decode_mask

    rle = span._.mask_rle
    return None if rle is None else decode_mask(rle)


# name -> arguments of Doc.set_extension
DOC_EXTENSIONS: Dict[str, Dict[str, Any]] = {
    "image": {"getter": _get_image, "setter": _set_image},
    "caption": {"default": None},
    "description": {"default": None},
    "knowledge": {"default": None},
    "groundings": {"getter": _get_groundings},
    "rivega_errors": {"getter": _get_errors},
}

# name -> arguments of Span.set_extension
SPAN_EXTENSIONS: Dict[str, Dict[str, Any]] = {
    "expansion": {"default": None},
    "referring_expression": {"getter": _get_referring_expression},
    "ner_score": {"default": None},
    "groundable": {"default": None},
    "groundable_score": {"default": None},
    "boxes": {"getter": _get_boxes, "setter": _set_boxes},
    "box": {"getter": _get_box},
    "box_score": {"default": None},
    "mask_rle": {"default": None},
    "mask": {"getter": _get_mask},
    "mask_score": {"default": None},
}


def register_extensions() -> None:
    """Register the two tables above; calling it again changes nothing."""
    for name, arguments in DOC_EXTENSIONS.items():
        Doc.set_extension(name, force=True, **arguments)
    for name, arguments in SPAN_EXTENSIONS.items():
        Span.set_extension(name, force=True, **arguments)


def post_name(doc: Doc) -> str:
    """How errors name a post: its id where it has one, else the start of its text.

    doc (Doc): The post.
    RETURNS (str): For example "'797970'" or "'RT @MahaveerM_ : Pak...'".
    """
    name = doc.user_data.get(ID_KEY)
    if name is not None:
        return repr(str(name))
    return repr(doc.text if len(doc.text) <= 40 else doc.text[:37] + "...")


def record_error(doc: Doc, component: str, message: str) -> None:
    """Note on the post what could not be done for it, and why; the same note is kept once.

    doc (Doc): The post.
    component (str): The component that could not do its work.
    message (str): What was wrong and what to do, from errors.py.
    """
    errors = doc.user_data.setdefault(ERRORS_KEY, [])
    entry = {"component": component, "message": message}
    if entry not in errors:
        errors.append(entry)


def record_failure(component: str, docs: List[Doc], error: Exception) -> None:
    """Error handler for spaCy's `set_error_handler` shape: one note on each post, the batch goes on.

    component (str): Name of the component that failed.
    docs (List[Doc]): The posts it failed on.
    error (Exception): What it raised.
    """
    for doc in docs:
        reason = f"{type(error).__name__}: {error}"
        record_error(doc, component, Errors.E017.format(post=post_name(doc), component=component, reason=reason))
