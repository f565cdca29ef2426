"""`rivega_entailment`: what it writes, and what bad pictures do to a batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import spacy
from blank import NLP, blank_nlp
from PIL import Image
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Model
from vision_tiny import SIZES, squares

from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.post.errors import RivegaError

ARCHITECTURE = {"@architectures": "rivega.SmallEntailment.v1", "size": 64, **SIZES}


def fake(answer: Callable[[Any], list[float]]) -> Model:
    def forward(model, queries, is_train):
        return [np.asarray(answer(query), dtype="f") for query in queries], lambda gradient: []

    return Model("fake", forward)


def component(answer, **options) -> VisualEntailment:
    return VisualEntailment(NLP.vocab, fake(answer), **options)


def post(text="Ada met Lea", names=((0, 1, "PER"), (2, 3, "PER")), image=None) -> Doc:
    doc = NLP.make_doc(text)
    doc.ents = [Span(doc, start, end, label=label) for start, end, label in names]
    if image is not None:
        doc._.image = image
    return doc


def judged(doc: Doc) -> list[Any]:
    return [(ent._.groundable, ent._.groundable_score) for ent in doc.ents]


def test_threshold_splits_shown_from_not_shown(picture):
    doc = component(lambda q: [0.7, 0.6999], threshold=0.7)(post(image=picture))
    assert [ent._.groundable for ent in doc.ents] == [True, False]
    assert np.allclose([ent._.groundable_score for ent in doc.ents], [0.7, 0.6999])


def test_the_model_gets_picture_caption_and_expressions(picture):
    seen = []
    doc = post(image=picture)
    doc._.caption = "two people"
    doc.ents[0]._.expansion = "a programmer"
    component(lambda q: seen.append(q) or [0.5, 0.5])(doc)
    assert [str(e) for e in seen[0].expressions] == ["Ada (PER) — a programmer", "Lea (PER)"]
    assert seen[0].caption == "two people" and np.array_equal(seen[0].image, picture) and seen[0].image_key


def test_predict_changes_nothing(picture):
    doc = post(image=picture)
    before = dict(doc.user_data)
    found = component(lambda q: [0.9, 0.1]).predict([doc])
    assert dict(doc.user_data) == before
    assert [j.groundable for j in found[0]] == [True, False]


def test_without_picture_nothing_is_judged():
    doc = component(lambda q: [1.0, 1.0])(post())
    assert judged(doc) == [(None, None), (None, None)] and doc._.rivega_errors == []


def test_one_bad_picture_leaves_the_others(tmp_path, picture):
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    Image.fromarray(picture).save(good)
    broken.write_bytes(good.read_bytes()[:60])
    docs = [post(image=good), post(image=broken), post(image=tmp_path / "none.png"), post(image=b""), post(), post(image=picture)]
    docs = list(component(lambda q: [0.8, 0.2]).pipe(docs, batch_size=6))
    assert [doc.ents[0]._.groundable for doc in docs] == [True, None, None, None, None, True]
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1, 1, 1, 0, 0]
    assert docs[1]._.rivega_errors[0]["component"] == "rivega_entailment"


def test_a_failing_model_costs_only_its_post(picture):
    dark = np.zeros_like(picture)

    def moody(query):
        if query.image.max() == 0:
            raise ZeroDivisionError("too dark")
        return [0.9, 0.9]

    docs = list(component(moody).pipe([post(image=picture), post(image=dark), post(image=picture)]))
    assert [doc.ents[0]._.groundable for doc in docs] == [True, None, True]
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1, 0]
    assert "too dark" in docs[1]._.rivega_errors[0]["message"]
    alone = component(moody)(post(image=dark))
    assert alone.ents[0]._.groundable is None and len(alone._.rivega_errors) == 1


def test_posts_without_entities_ask_nothing(picture):
    asked = []
    doc = component(lambda q: asked.append(q) or [])(post(names=(), image=picture))
    assert asked == [] and doc._.rivega_errors == []


def test_given_judgements_can_be_kept(picture):
    doc = post(image=picture)
    doc.ents[0]._.groundable = False
    component(lambda q: [0.9] * len(q.expressions), overwrite=False)(doc)
    assert [ent._.groundable for ent in doc.ents] == [False, True]
    component(lambda q: [0.9] * len(q.expressions))(doc)
    assert [ent._.groundable for ent in doc.ents] == [True, True]


def test_wrong_threshold_is_said():
    with pytest.raises(RivegaError, match="threshold"):
        component(lambda q: [], threshold=1.5)


def test_untrainable_architecture_is_said(picture):
    doc = post(image=picture)
    with pytest.raises(RivegaError, match="fake"):
        component(lambda q: []).update([Example(doc, doc)])


@pytest.fixture(scope="module")
def nlp(tiny_weights):
    nlp = blank_nlp()
    pipe = nlp.add_pipe("rivega_entailment", config={"model": ARCHITECTURE})
    pipe.initialize(list, nlp=nlp, weights=str(tiny_weights))
    return nlp


def posts(count=5):
    return [post(image=image) for _, image, _ in squares(2 * count)][:count]


@pytest.mark.slow
def test_streams_and_processes_agree(nlp):
    one = [judged(doc) for doc in nlp.pipe(posts(), batch_size=1)]
    batch = [judged(doc) for doc in nlp.pipe(posts(), batch_size=5)]
    two = [judged(doc) for doc in nlp.pipe(posts(), n_process=2, batch_size=2)]
    assert all(score is not None for doc in one for _, score in doc)
    for other in (batch, two):
        assert [[g for g, _ in doc] for doc in other] == [[g for g, _ in doc] for doc in one]
        assert np.allclose([[s for _, s in doc] for doc in other], [[s for _, s in doc] for doc in one], atol=1e-4)


@pytest.mark.slow
def test_bytes_and_disk_keep_the_network(nlp, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    assert not any(b"torch" in p.read_bytes()[:200] for p in tmp_path.rglob("model"))
    from_disk = spacy.load(tmp_path / "pipeline")
    from_bytes = blank_nlp()
    from_bytes.add_pipe("rivega_entailment", config={"model": ARCHITECTURE})
    from_bytes.from_bytes(nlp.to_bytes())
    wanted = [judged(doc) for doc in nlp.pipe(posts())]
    for other in (from_disk, from_bytes):
        assert [judged(doc) for doc in other.pipe(posts())] == wanted


def test_results_survive_to_bytes(nlp):
    doc = nlp(posts()[0])
    assert judged(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == judged(doc)
