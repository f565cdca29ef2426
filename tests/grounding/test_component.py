"""`rivega_grounder`: which entities it looks for, and that its boxes are boxes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from blank import NLP, blank_nlp
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Adam, Model
from vision_tiny import SIZES, squares

from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.post.errors import RivegaError, SetupError

ARCHITECTURE = {"@architectures": "rivega.SmallGrounder.v1", "size": 64, **SIZES}


def fake(answer: Callable[[Any], Any]) -> Model:
    def forward(model, queries, is_train):
        return [np.asarray(answer(query), dtype="f").reshape(-1, 5) for query in queries], lambda gradient: []

    return Model("fake", forward)


def component(answer, **options) -> VisualGrounder:
    return VisualGrounder(NLP.vocab, fake(answer), **options)


def post(image=None, judged=(None, None, None)) -> Doc:
    doc = NLP.make_doc("Ada met Lea there")
    doc.ents = [Span(doc, i, i + 1, label="PER") for i in (0, 2, 3)]
    for ent, value in zip(doc.ents, judged):
        ent._.groundable = value
    if image is not None:
        doc._.image = image
    return doc


def boxes(query) -> list[list[float]]:
    return [[i, 1, 10 + i, 20, 0.5 + 0.1 * i] for i in range(len(query.expressions))]


def test_only_groundable_entities_are_looked_for(picture):
    seen = []
    doc = component(lambda q: seen.append([str(e) for e in q.expressions]) or boxes(q))(post(picture, (True, False, None)))
    assert seen == [["Ada (PER)", "there (PER)"]]
    assert [ent._.boxes for ent in doc.ents] == [[[0, 1, 10, 20]], [], [[1, 1, 11, 20]]]
    assert doc.ents[0]._.box == [0, 1, 10, 20]
    assert [ent._.box_score for ent in doc.ents] == [pytest.approx(0.5), None, pytest.approx(0.6)]


def test_unjudged_entities_can_be_left_alone(picture):
    doc = component(boxes, ground_unjudged=False)(post(picture, (True, False, None)))
    assert [len(ent._.boxes) for ent in doc.ents] == [1, 0, 0]


def test_boxes_are_ordered_within_the_picture_and_not_empty(picture):
    height, width = picture.shape[:2]
    wild = [[-5, -5, 9999, 9999, 0.9], [30, 20, 10, 5, 0.9], [width + 3, 7, width + 9, 7, 0.9]]
    doc = component(lambda q: wild)(post(picture))
    for ent in doc.ents:
        x0, y0, x1, y1 = ent._.box
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert doc.ents[0]._.box == [0, 0, width, height] and doc.ents[1]._.box == [10, 5, 30, 20]


def test_a_box_that_is_no_number_is_left_out(picture):
    doc = component(lambda q: [[np.nan, 0, 5, 5, 0.9], [0, 0, 5, 5, 0.9], [0, 0, np.inf, 5, 0.1]])(post(picture))
    assert doc.ents[0]._.boxes == [] and doc.ents[1]._.boxes == [[0, 0, 5, 5]]


def test_minimum_score(picture):
    doc = component(boxes, min_score=0.55)(post(picture))
    assert [len(ent._.boxes) for ent in doc.ents] == [0, 1, 1]
    with pytest.raises(RivegaError, match="min_score"):
        component(boxes, min_score=-1.0)


def test_no_picture_no_boxes(tmp_path):
    docs = list(component(boxes).pipe([post(), post(tmp_path / "none.png")]))
    assert all(ent._.boxes == [] and ent._.box_score is None for doc in docs for ent in doc.ents)
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1]


def test_predict_changes_nothing_and_given_boxes_can_be_kept(picture):
    doc = post(picture)
    doc.ents[0]._.boxes = [[1, 2, 3, 4]]
    before = dict(doc.user_data)
    component(boxes).predict([doc])
    assert dict(doc.user_data) == before
    component(boxes, overwrite=False)(doc)
    assert doc.ents[0]._.boxes == [[1, 2, 3, 4]] and doc.ents[1]._.boxes == [[0, 1, 10, 20]]


def test_old_boxes_of_what_is_not_shown_are_taken_away(picture):
    doc = post(picture, (False, True, True))
    doc.ents[0]._.boxes = [[1, 2, 3, 4]]
    assert component(boxes)(doc).ents[0]._.boxes == []


def test_a_failing_model_costs_only_its_post(picture):
    def moody(query):
        if query.image.max() == 0:
            raise RuntimeError("too dark")
        return boxes(query)

    docs = list(component(moody).pipe([post(picture), post(np.zeros_like(picture)), post(picture)]))
    assert [len(doc.ents[0]._.boxes) for doc in docs] == [1, 0, 1]
    assert "too dark" in docs[1]._.rivega_errors[0]["message"]


def example(nlp, colour, image, box) -> Example:
    docs = []
    for _ in range(2):
        doc = nlp.make_doc("Ada saw Lea")
        doc.ents = [Span(doc, 0, 1, label="OTHER"), Span(doc, 2, 3, label="OTHER")]
        doc._.image = image
        doc.ents[0]._.expansion, doc.ents[1]._.expansion = "a red square", "a green square"
        docs.append(doc)
    for ent, mine in zip(docs[1].ents, ("red", "green")):
        ent._.groundable = mine == colour
        ent._.boxes = [box.tolist()] if mine == colour else []
    return Example(docs[0], docs[1])


@pytest.mark.slow
def test_training_through_spacy_learns_where_the_square_is(tiny_weights):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_grounder", config={"model": ARCHITECTURE})
    nlp.config["initialize"]["components"]["rivega_grounder"] = {"weights": str(tiny_weights)}
    nlp.initialize()
    optimizer = Adam(0.01, L2=0.0, L2_is_weight_decay=True)
    fresh = [example(nlp, *item) for item in squares(12, seed=77)]
    before = nlp.evaluate(fresh)["vg_prec"]
    losses = []
    for step in range(60):
        batch = [example(nlp, *item) for item in squares(8, seed=step)]
        losses.append(nlp.update(batch, sgd=optimizer, drop=0.0, losses={})["rivega_grounder"])
    after = nlp.evaluate([example(nlp, *item) for item in squares(12, seed=77)])["vg_prec"]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert after >= 0.5 and after > (before or 0.0)


def test_weights_for_an_architecture_that_takes_none_are_refused():
    pipe = component(boxes)
    with pytest.raises(RivegaError, match="weights.bin"):
        pipe.initialize(list, weights="weights.bin")


def test_an_empty_network_says_so(picture):
    nlp = blank_nlp()
    pipe = nlp.add_pipe("rivega_grounder", config={"model": ARCHITECTURE})
    with pytest.raises(SetupError, match="no weights yet"):
        pipe(post(picture))


def test_both_components_see_the_post_as_one(tiny_weights, picture):
    nlp = blank_nlp()
    for name, build in (("rivega_entailment", "rivega.SmallEntailment.v1"), ("rivega_grounder", "rivega.SmallGrounder.v1")):
        pipe = nlp.add_pipe(name, config={"model": {**ARCHITECTURE, "@architectures": build}})
        pipe.initialize(list, nlp=nlp, weights=str(tiny_weights))
    nlp.get_pipe("rivega_entailment").cfg["threshold"] = 0.0
    doc = nlp(post(picture))
    assert all(ent._.groundable and ent._.box for ent in doc.ents)
    nlp.get_pipe("rivega_entailment").cfg["threshold"] = 1.0
    doc = nlp(post(picture))
    assert all(ent._.groundable is False and ent._.box is None for ent in doc.ents)
