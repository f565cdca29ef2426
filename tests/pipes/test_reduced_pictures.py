"""A large JPEG is decoded reduced where the network needs less of it; boxes and masks are those of the picture itself."""

import io

import numpy as np
import pytest
import spacy
from PIL import Image
from spacy.tokens import Doc, Span
from vision_tiny import tiny_vision, tiny_weights  # noqa: F401

from rivega_spacy.post import images
from rivega_spacy.post.images import clear_cache, doc_view


def large(width: int, height: int) -> Image.Image:
    """Smooth colours with a red rectangle, so that a reduced picture shows the same."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([80 + 60 * x, 90 + 60 * y, 120 - 40 * x], axis=2).astype("uint8")
    pixels[height // 4 : height // 2, width // 3 : 2 * width // 3] = (220, 30, 30)
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, form: str, turn: int = 1) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    picture.save(buffer, format=form, exif=exif, **({"quality": 95} if form == "JPEG" else {}))
    return buffer.getvalue()


def annotated(nlp: spacy.Language, picture: bytes) -> Doc:
    clear_cache()
    doc = nlp.make_doc("Ada sang")
    doc._.image = picture
    doc.ents = [Span(doc, 0, 1, label="PER")]
    return nlp(doc)


@pytest.mark.slow
def test_boxes_and_masks_are_the_pictures_own(tiny_vision: spacy.Language, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    nlp = tiny_vision
    picture = large(1501, 1203)
    looked = []
    original = images._read_view
    monkeypatch.setattr(images, "_read_view", lambda *args: looked.append(original(*args)) or looked[-1])
    reduced, whole = annotated(nlp, encoded(picture, "JPEG")), annotated(nlp, encoded(picture, "PNG"))
    # 128 pixels are enough for an input of 64: an eighth of the size has 151.
    assert looked[0][0].shape == (151, 188, 3) and looked[0][1] == (1203, 1501)
    # And each picture was decoded once for the two stages that look at it so.
    assert looked[1][0].shape == (1203, 1501, 3) and len(looked) == 2
    for doc in (reduced, whole):
        assert doc._.rivega_errors == [] and doc.ents[0]._.mask.shape == (1203, 1501)
    np.testing.assert_allclose(reduced.ents[0]._.box, whole.ents[0]._.box, atol=30)
    assert abs(reduced.ents[0]._.groundable_score - whole.ents[0]._.groundable_score) < 0.02


def test_turned_small_and_broken_ones(tiny_vision: spacy.Language) -> None:  # noqa: F811
    nlp = tiny_vision
    doc = annotated(nlp, encoded(large(1200, 800), "JPEG", turn=6))
    view, frame = doc_view(doc, "test", 128)
    assert view.shape == (300, 200, 3) and frame == (1200, 800) and doc.ents[0]._.mask.shape == (1200, 800)
    small = annotated(nlp, encoded(large(200, 150), "JPEG"))
    assert doc_view(small, "test", 128)[0].shape == (150, 200, 3) and small._.rivega_errors == []
    broken = annotated(nlp, encoded(large(1200, 800), "JPEG")[:2000])
    (error,) = broken._.rivega_errors
    assert "E003" in error["message"] and broken.ents[0]._.boxes == []
