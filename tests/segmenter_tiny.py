"""A small untrained segmenter and posts for it."""

from collections.abc import Sequence

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

import rivega_spacy  # noqa: F401

TINY = {
    "@architectures": "rivega.SmallSegmenter.v2",
    "size": 32,
    "widths": [8, 8, 12, 12],
    "depths": [1, 1, 1, 1],
    "fine": [8, 8],
    "flip": False,
}


@pytest.fixture
def tiny_nlp() -> Language:
    nlp = spacy.blank("rivega")
    nlp.add_pipe("rivega_segmenter", config={"model": TINY})
    nlp.initialize()
    return nlp


def make_post(nlp: Language, words: str, image: object, boxes: Sequence[Sequence[Sequence[float]]]) -> Doc:
    """A post whose words are all entities, each with its boxes."""
    doc = Doc(nlp.vocab, words=words.split())
    doc.ents = [Span(doc, i, i + 1, label="PER") for i in range(len(doc))]
    doc._.image = image
    for ent, own in zip(doc.ents, boxes):
        ent._.boxes = own
        ent._.groundable = True if own else None
    return doc


def disc_picture(height: int, width: int, seed: int) -> tuple[np.ndarray, list[float], np.ndarray]:
    """A bright disc on dark ground: picture, box and mask."""
    rng = np.random.default_rng(seed)
    radius = rng.integers(8, min(height, width) // 3)
    y, x = rng.integers(radius, height - radius), rng.integers(radius, width - radius)
    rows, columns = np.mgrid[:height, :width]
    mask = (rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 < radius**2
    image = rng.integers(0, 60, (height, width, 3)).astype("uint8")
    image[mask] += 150
    return image, [float(x - radius), float(y - radius), float(x + radius), float(y + radius)], mask
