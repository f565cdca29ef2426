"""`rivega.MMGroundingDINO.v1` with a tiny network: equal to transformers, learning, and what an old transformers is told."""

import numpy as np
import pytest
import torch
from dino_answers import assert_answers_are_transformers_own
from tiny_networks import learn, odd_batch, photographs, reloaded, shown_boxes, tiny_grounding_dino

from rivega_spacy.backends.mm_grounding_dino.grounder import mm_grounding_dino
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.errors import SetupError
from rivega_spacy.post.versions import installed

SIZES = {"shortest": 64, "longest": 96, "max_tokens": 32}
needs_network = pytest.mark.skipif(installed("transformers") < (4, 55), reason="transformers before 4.55 has no MM Grounding DINO")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_grounding_dino(tmp_path_factory.mktemp("mm_grounding_dino"), "MMGroundingDino")


def make(folder, **options):
    torch.manual_seed(0)
    model = mm_grounding_dino(path=folder, **{**SIZES, **options})
    model.initialize()
    return model


@needs_network
def test_answers_are_those_of_transformers_with_the_picture_encoded_once(folder):
    assert_answers_are_transformers_own(make(folder, batch_size=2))


@pytest.mark.slow
@needs_network
def test_it_learns_and_predicts_the_same_when_loaded_again(folder):
    model = make(folder, backbone_rate=1.0)
    batch, targets = photographs(("rex",))
    batch, targets = [ImageQueries(batch[0].image, batch[0].expressions[:1])], [targets[0][:1]]
    losses = learn(model, batch, targets, steps=60, rate=1e-3)
    assert losses[-1] < 0.4 * losses[0]
    found, again = model.predict(batch), reloaded(model, lambda: mm_grounding_dino(**SIZES)).predict(batch)
    for boxes, same, gold in zip(found, again, shown_boxes(targets)):
        assert (np.diag(box_iou(boxes[:, :4], gold)) > 0.4).all()
        assert np.allclose(boxes[:, :4], same[:, :4], atol=5) and np.allclose(boxes[:, 4], same[:, 4], atol=1e-2)


@needs_network
def test_odd_pictures_and_texts_have_a_box_within_the_picture(folder):
    batch = odd_batch()
    for queries, rows in zip(batch, make(folder).predict(batch)):
        height, width = queries.image.shape[:2]
        assert rows.shape == (len(queries.expressions), 5) and np.isfinite(rows).all()
        assert (rows[:, :2] >= 0).all() and (rows[:, 2] <= width).all() and (rows[:, 3] <= height).all()


def test_a_transformers_without_the_network_says_which_has_it(monkeypatch, tmp_path):
    monkeypatch.setattr("rivega_spacy.backends.mm_grounding_dino.grounder.SINCE", "9.9")
    kinds = {"mm-grounding-dino": ("transformers", "NoSuchConfig", "NoSuchNetwork")}
    monkeypatch.setattr("rivega_spacy.backends.mm_grounding_dino.grounder.KINDS", kinds)
    with pytest.raises(SetupError, match="E900.*NoSuchNetwork, which came with version 9.9"):
        mm_grounding_dino(path=str(tmp_path)).initialize()
