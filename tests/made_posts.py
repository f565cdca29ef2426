"""Posts as a pipeline would leave them, made by hand."""

from typing import Any

import numpy as np
import pytest
from blank import blank_nlp
from spacy.tokens import Doc

from rivega_spacy.post.rle import encode_mask


@pytest.fixture(scope="session")
def blank() -> Any:
    return blank_nlp()


@pytest.fixture
def make_post(blank: Any) -> Any:
    """make_post(text, image, [{"text": ..., "label": ..., any span extension: ...}], id=...) -> Doc"""

    def make(text: str, image: Any = None, ents: list[dict[str, Any]] | None = None, **fields: Any) -> Doc:
        doc = blank.make_doc(text)
        if "id" in fields:
            doc.user_data["id"] = fields.pop("id")
        if image is not None:
            doc._.image = image
        for name, value in fields.items():
            doc._.set(name, value)
        spans, at = [], 0
        for values in ents or []:
            values = dict(values)
            name = values.pop("text")
            at = text.index(name, at)
            span = doc.char_span(at, at + len(name), label=values.pop("label", "PER"), alignment_mode="expand")
            at = span.end_char
            mask = values.pop("mask", None)
            if mask is not None:
                span._.mask_rle = encode_mask(mask)
            for key, value in values.items():
                span._.set(key, value)
            spans.append(span)
        doc.ents = spans
        return doc

    return make


@pytest.fixture
def grey() -> Any:
    """grey(height, width) -> an even grey picture, so that whatever is drawn on it shows."""
    return lambda height, width: np.full((height, width, 3), 128, dtype="uint8")


@pytest.fixture
def block() -> Any:
    """block(height, width, box) -> a mask that fills the box."""

    def make(height: int, width: int, box: list[int]) -> np.ndarray:
        mask = np.zeros((height, width), dtype=bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    return make
