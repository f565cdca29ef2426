"""A small untrained segmenter and posts for it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image
from spacy.language import Language
from spacy.tokens import Doc, Span

import rivega_spacy  # noqa: F401
from rivega_spacy.post.rle import encode_mask

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
    nlp = blank_nlp()
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


def write_masked_photos(folder: Path, sources: Sequence[str]) -> None:
    """Photographs of discs with masks under the names of sources, each with ids of every remainder by five."""
    for source in sources:
        (folder / source).mkdir(parents=True)
        rows = []
        for number in range(6):
            image, box, mask = disc_picture(48, 64, number)
            Image.fromarray(image).save(folder / source / f"{number}.png")
            item = {"class": "person", "bbox": box, "segmentation": encode_mask(mask), "mask_box_iou": 1.0, "score": 0.9}
            rows.append({"id": str(number), "file": f"{number}.png", "w": 64, "h": 48, "objects": [item]})
        (folder / source / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
