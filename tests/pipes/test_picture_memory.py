"""How many decoded pictures and masks the stages hold at once: a bound that the batch size has no say in."""

import io
import weakref
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image
from spacy.tokens import Doc, Span
from thinc.api import Model

from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.knowledge.encoders import ColourEncoder, HashedTextEncoder
from rivega_spacy.knowledge.example_bank import encode_docs, encode_examples
from rivega_spacy.knowledge.examples import Example
from rivega_spacy.post import images
from rivega_spacy.post.rle import decode_mask
from rivega_spacy.segmentation.component import BoxSegmenter
from rivega_spacy.segmentation.text_component import TextSegmenter

HEIGHT, WIDTH = 120, 160
PICTURE = HEIGHT * WIDTH * 3
MASK = HEIGHT * WIDTH


class Living:
    """Counts arrays that are still held by somebody.

    most (int): As many as there ever were at once.
    """

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.most = 0

    def add(self, array: np.ndarray) -> np.ndarray:
        self.held = [ref for ref in self.held if ref() is not None] + [weakref.ref(array)]
        self.most = max(self.most, len(self.held))
        return array


@pytest.fixture
def decoded(monkeypatch) -> Living:
    """Pictures that came through the door."""
    living, read = Living(), images.read_image

    def counted(source):
        return living.add(read(source))

    for place in ("rivega_spacy.post.images", "rivega_spacy.knowledge.example_bank"):
        monkeypatch.setattr(f"{place}.read_image", counted)
    images.clear_cache()
    return living


@pytest.fixture
def room_for_two(monkeypatch):
    """Stages may hold two of the pictures below, and so may the cache that they share."""
    monkeypatch.setattr(images, "PART_BYTES", 2 * PICTURE)
    monkeypatch.setattr(images._CACHE, "limit", 2 * PICTURE)


# Those of a part, those of the cache, and the one that was read last and did not fit any more.
BOUND = 2 + 2 + 1


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype="uint8").repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@lru_cache(maxsize=1)
def blank():
    return blank_nlp()


def posts(count: int) -> list[Doc]:
    nlp = blank()
    docs = []
    for number in range(count):
        doc = nlp.make_doc("Ada met Lea")
        doc.ents = [Span(doc, 0, 1, label="PER"), Span(doc, 2, 3, label="PER")]
        doc._.image = png(number)
        docs.append(doc)
    return docs


def brightness(query) -> float:
    return float(np.asarray(query.image).mean()) / 255


def shown(model, queries, is_train):
    return [np.full(len(query.expressions), brightness(query), dtype="f") for query in queries], lambda gradient: []


def located(model, queries, is_train):
    boxes = [[[n, n, 40 + 99 * brightness(query), 60, 0.5] for n in range(len(query.expressions))] for query in queries]
    return [np.array(rows, dtype="f") for rows in boxes], lambda gradient: []


def filled(masks: Living):
    def segment(prompts):
        return [[(masks.add(box_mask(image, box)), 0.5) for box in boxes] for image, boxes in prompts]

    return segment


def box_mask(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], dtype=bool)
    x1, y1, x2, y2 = np.round(box).astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


def dark(masks: Living):
    return lambda queries: [
        [(masks.add(np.asarray(query.image)[:, :, n] < 100), 0.5) for n in range(len(query.expressions))] for query in queries
    ]


def run(docs: list[Doc], masks: Living, *, batch_size: int) -> list[Any]:
    vocab = docs[0].vocab
    stream = docs
    for stage in (
        VisualEntailment(vocab, Model("shown", shown), threshold=0.0),
        VisualGrounder(vocab, Model("located", located)),
        BoxSegmenter(vocab, filled(masks)),
    ):
        stream = stage.pipe(stream, batch_size=batch_size)
    return [
        [(ent._.groundable_score, ent._.boxes, ent._.box_score, ent._.mask_rle, ent._.mask_score) for ent in doc.ents]
        for doc in stream
    ]


def test_a_batch_of_any_size_holds_no_more_pictures(decoded, room_for_two):
    wide = run(posts(12), Living(), batch_size=12)
    assert decoded.most <= BOUND
    narrow = run(posts(12), Living(), batch_size=1)
    assert wide == narrow and all(row[3] is not None for rows in wide for row in rows)


def test_with_room_for_all_a_batch_is_one_part_with_the_same_answers(decoded, room_for_two):
    parts = run(posts(6), Living(), batch_size=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "PART_BYTES", 10 * PICTURE)
        patch.setattr(images._CACHE, "limit", 10 * PICTURE)
        images.clear_cache()
        decoded.most = 0
        assert run(posts(6), Living(), batch_size=6) == parts
        # The count sees what it should: here all six are held.
        assert decoded.most == 6


def test_masks_of_one_post_count_as_well(decoded, room_for_two):
    """A part has room for a picture and three masks, whether of one post or of many."""
    [doc] = posts(1)
    words = [f"w{n}" for n in range(30)]
    crowded = Doc(doc.vocab, words=words)
    crowded.ents = [Span(crowded, n, n + 1, label="PER") for n in range(30)]
    crowded._.image = doc._.image
    for n, ent in enumerate(crowded.ents):
        ent._.boxes = [[n, n, n + 20, n + 30]]
    for segmenter in (BoxSegmenter,):
        masks = Living()
        segmenter(doc.vocab, filled(masks))(crowded)
        assert masks.most <= 3 + 1
        assert [int(decode_mask(ent._.mask_rle).sum()) for ent in crowded.ents] == [600] * 30


def test_a_text_segmenter_is_bounded_alike(decoded, room_for_two):
    masks = Living()
    docs = list(TextSegmenter(posts(1)[0].vocab, dark(masks)).pipe(posts(10), batch_size=10))
    assert decoded.most <= BOUND
    # Picture and two masks a post: one of them fits into a part.
    assert masks.most <= 2 + 1
    assert all(ent._.mask_rle is not None for doc in docs for ent in doc.ents)


def test_an_oversized_picture_is_worked_on_alone(decoded, monkeypatch):
    monkeypatch.setattr(images, "PART_BYTES", PICTURE // 2)
    monkeypatch.setattr(images._CACHE, "limit", PICTURE // 2)
    results = run(posts(5), Living(), batch_size=5)
    assert decoded.most <= 3 and all(row[3] is not None for rows in results for row in rows)


def test_a_damaged_picture_is_noted_and_the_others_of_its_part_go_on(decoded, room_for_two):
    docs = posts(6)
    docs[3]._.image = docs[3]._.image[:200]
    results = run(docs, Living(), batch_size=6)
    assert [bool(doc._.rivega_errors) for doc in docs] == [False] * 3 + [True] + [False] * 2
    assert [rows[0][3] is not None for rows in results] == [True] * 3 + [False] + [True] * 2
    assert len(docs[3]._.rivega_errors) == 1


def test_features_of_examples_are_bounded_alike(decoded, room_for_two, tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    examples = [Example("a text", "a caption", "an answer", str(n), str(tmp_path / f"{n}.png")) for n in range(10)]
    bank = encode_examples(examples, HashedTextEncoder(), ColourEncoder(), batch_size=10)
    assert bank.has_image.all() and decoded.most <= BOUND
    decoded.most = 0
    _, vectors, has = encode_docs(posts(10), HashedTextEncoder(), ColourEncoder())
    assert has.all() and decoded.most <= BOUND
    assert np.allclose(vectors, bank.image, atol=1e-6)


def test_decoding_a_large_picture_takes_little_besides_the_picture(monkeypatch):
    """NumPy's arrays are traced: besides the result there are strips, not whole pictures, whatever the mode."""
    import tracemalloc

    for mode in ("RGBA", "I;16", "CMYK"):
        values = np.zeros((3000, 2000), dtype="uint16") if mode == "I;16" else None
        picture = Image.fromarray(values) if values is not None else Image.new(mode, (2000, 3000))
        monkeypatch.setattr(images, "_STRIP", 100_000)
        tracemalloc.start()
        seen = images.read_image(picture)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert seen.shape == (3000, 2000, 3) and peak < 1.5 * seen.nbytes, mode


def test_thumbnails_are_decoded_one_at_a_time(monkeypatch):
    """Sixteen threads that send pictures to a server hold one at full size."""
    import threading
    import time
    from concurrent.futures import ThreadPoolExecutor

    living, read = Living(), images.read_image
    lock = threading.Lock()

    def counted(source):
        pixels = read(source)
        with lock:
            living.add(pixels)
        # Held for as long as the others would take to decode theirs.
        time.sleep(0.02)
        return pixels

    monkeypatch.setattr(images, "read_image", counted)
    with ThreadPoolExecutor(16) as pool:
        sizes = [thumbnail.size for thumbnail in pool.map(images.read_thumbnail, [png(n) for n in range(16)], [80] * 16)]
    assert sizes == [(80, 60)] * 16
    assert living.most <= 2
