"""`rivega.MMGroundingDINO.v1` with a tiny network: equal to transformers, learning, and what an old transformers is told."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from tiny_networks import box_questions, learn, odd_batch, photographs, reloaded, shown_boxes, tiny_grounding_dino

from rivega_spacy.backends.boxes import corners
from rivega_spacy.backends.grounding_dino.grounder import encode_prompts
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
    model = make(folder, batch_size=2)
    batch = [ImageQueries(box_questions()[0][0].image, expressions(("red thing", "PER"), "blue.", "the cat — a dog"))]
    network, tools = model.shims[0].module, model.shims[0].tools
    seen = []
    hook = network.model.backbone.conv_encoder.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    found = model.predict(batch)[0]
    hook.remove()
    assert seen == [1]
    for row, text in zip(found, batch[0].expressions):
        ids, mask, phrase = encode_prompts(tools, [text])
        pixels = tools.pictures.resized(batch[0].image, 64, 85, resample=2)[None]
        with torch.inference_mode():
            output = network(pixel_values=torch.from_numpy(pixels), input_ids=ids, attention_mask=mask)
        scores = output.logits[0, :, : ids.shape[1]].sigmoid()[:, phrase[0]].amax(1)
        best = int(scores.argmax())
        box = corners(output.pred_boxes[0, best]).numpy() * np.array([80, 60, 80, 60])
        assert row[4] == pytest.approx(float(scores[best]), abs=1e-4)
        assert np.allclose(row[:4], np.clip(box, 0, [80, 60, 80, 60]), atol=0.05)


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
