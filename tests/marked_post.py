"""A post with four entities and a mask with a hole, for tests of what is written and read back."""

import numpy as np
from spacy.tokens import Doc, Span

HEIGHT, WIDTH = 60, 80
TEXT = "\U0001f600 Ada Lovelace with Babbage of =SUM(A1) in London"
ENTITIES = (("Ada Lovelace", "PER"), ("Babbage", "PER"), ("=SUM(A1)", "OTHER"), ("London", "LOC"))


def blob(y: int = 30, x: int = 20, size: int = 200) -> np.ndarray:
    """A disc with a square hole in its middle: HEIGHT x WIDTH bool."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    mask = (rows - y) ** 2 + (columns - x) ** 2 < size
    mask[y - 2 : y + 3, x - 2 : x + 3] = False
    return mask


def with_entities(doc: Doc) -> Doc:
    """The doc of TEXT with its entities."""
    spans = []
    for text, label in ENTITIES:
        start = TEXT.index(text)
        span = doc.char_span(start, start + len(text), label=label, alignment_mode="expand")
        spans.append(Span(doc, span.start, span.end, label=label))
    doc.ents = spans
    return doc
