"""What a GPU needs, tested without one: no tensor is made on another device than its neighbours, and nothing waits for the device post by post."""

import collections
import contextlib
import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import spacy
import torch
from pretended_gpu import DEVICE, pretended_gpu
from spacy.tokens import Doc, Span
from vision_tiny import tiny_vision, tiny_weights  # noqa: F401

from rivega_spacy.backends.shim import TorchShim, shim_of
from rivega_spacy.backends.small.answers import clear_store
from rivega_spacy.backends.small.lite import CLASSES
from rivega_spacy.backends.small.network import EncodedPictures, Questions
from rivega_spacy.backends.small.nouns import RELATIONS
from rivega_spacy.backends.small.predict import answers
from rivega_spacy.backends.small.seeing_segmenter import SeeingMaskNetwork
from rivega_spacy.backends.small.seen import SeenVision
from rivega_spacy.backends.small.segmenter_network import crop_features
from rivega_spacy.post.images import clear_cache

META = torch.device("meta")
# Each of them waits for a GPU to have done all that it was given.
WAITING = ("cpu", "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero")


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[collections.Counter]:
    """How often numbers are fetched from tensors."""
    counts: collections.Counter = collections.Counter()
    with monkeypatch.context() as patch:
        for name in WAITING:
            original: Callable = getattr(torch.Tensor, name)

            def call(self: torch.Tensor, *args: object, _name: str = name, _original: Callable = original, **kw: object) -> object:
                counts[_name] += 1
                return _original(self, *args, **kw)

            patch.setattr(torch.Tensor, name, call)
        yield counts


def docs_of(nlp: spacy.Language, count: int, seed: int) -> list[Doc]:
    rng = np.random.default_rng(seed)
    docs = []
    for _ in range(count):
        doc = nlp.make_doc("Ada and Lea")
        doc._.image = rng.integers(0, 255, (40, 50, 3)).astype("uint8")
        doc.ents = [Span(doc, 0, 1, label="PER"), Span(doc, 2, 3, label="PER")]
        docs.append(doc)
    return docs


@pytest.mark.slow
def test_nothing_waits_for_the_device_post_by_post(tiny_vision: spacy.Language, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    nlp = tiny_vision
    list(nlp.pipe(docs_of(nlp, 2, 0)))
    found = {}
    for count in (3, 7):
        docs = docs_of(nlp, count, seed=count)
        clear_cache()
        with counted(monkeypatch) as counts:
            for doc in nlp.pipe(docs, batch_size=count):
                assert all(ent._.boxes and ent._.mask_rle for ent in doc.ents) and not doc._.rivega_errors
        found[count] = dict(counts)
    assert found[3] == found[7] and sum(found[3].values()) <= 12, found


@pytest.fixture
def nothing_kept() -> Iterator[None]:
    """No picture or phrase that another device encoded, before and after."""
    clear_cache()
    clear_store()
    yield
    clear_cache()
    clear_store()


@pytest.mark.slow
def test_the_same_answers_on_a_device(tiny_vision: spacy.Language, nothing_kept: None) -> None:  # noqa: F811
    nlp = copy.deepcopy(tiny_vision)
    expected = [[(ent._.boxes, ent._.mask_rle) for ent in doc.ents] for doc in nlp.pipe(docs_of(nlp, 3, 1))]
    clear_cache()
    clear_store()
    with pretended_gpu():
        for name in nlp.pipe_names:
            shim = shim_of(nlp.get_pipe(name).model, TorchShim)
            shim.set_module(shim.module)
            assert shim.device.type == DEVICE.type
        docs = list(nlp.pipe(docs_of(nlp, 3, 1)))
    assert not any(doc._.rivega_errors for doc in docs)
    for doc, known in zip(docs, expected, strict=True):
        for ent, (boxes, rle) in zip(doc.ents, known, strict=True):
            assert np.allclose(ent._.boxes, boxes, atol=1e-3) and ent._.mask_rle == rle


def test_the_vision_network_stays_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which has no bfloat16 to switch on or off.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    network = SeenVision(nouns=(4, 1, 1)).eval().to(META)
    sizes = {"vector": (128,), "bias": (), "show": (256,), "show_bias": (), "film": (192,), "classes": (RELATIONS, CLASSES)}
    asked = Questions(
        *(
            torch.zeros((2, *sizes[name]), dtype=torch.uint8 if name == "classes" else None, device=META)
            for name in Questions._fields
        )
    )
    with torch.inference_mode():
        encoded = network.encode_images(torch.zeros((2, 3, 64, 64), dtype=torch.uint8, device=META))
        found = answers(network, EncodedPictures(*(part[:1] for part in encoded)), asked)
    assert {part.device for part in (*encoded, *found)} == {META} and found[1].shape == (2, 4)


def test_the_segmenter_stays_on_its_device() -> None:
    network = SeeingMaskNetwork((8, 16, 16, 16), (1, 1, 1, 1), fine=(8, 8)).eval().to(META)
    with torch.inference_mode():
        colours = torch.zeros((3, 32, 32, 3), dtype=torch.uint8, device=META)
        inside = torch.ones((3, 32, 32), dtype=torch.bool, device=META)
        features = crop_features(colours, inside, torch.zeros(3, device=META), (0.1, 0.9))
        assert network(features).device == META
