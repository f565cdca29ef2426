"""`rivega.OWLv2.v1` with a tiny network: equal to transformers, learning, odd input."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from tiny_networks import box_questions, learn, odd_batch, overlaps, photographs, reloaded, spoil, tiny_owlv2

from rivega_spacy.backends.boxes import corners
from rivega_spacy.backends.owlv2.grounder import owlv2_grounder, preprocess
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_owlv2(tmp_path_factory.mktemp("owlv2"))


def make(folder, **options):
    torch.manual_seed(0)
    model = owlv2_grounder(path=folder, **options)
    model.initialize()
    return model


def test_answers_are_those_of_transformers(folder):
    model = make(folder)
    queries = box_questions()[0][0]
    network, tools = model.shims[0].module, model.shims[0].tools
    found = model.predict([queries])[0]
    ids, mask = tools.tokens([str(e) for e in queries.expressions])
    pixels = torch.from_numpy(preprocess(tools, queries.image, 64)[None])
    with torch.inference_mode():
        output = network(pixel_values=pixels, input_ids=ids, attention_mask=mask)
    scores, best = output.logits[0].sigmoid().max(0)
    boxes = np.clip(corners(output.pred_boxes[0, best]).numpy() * 80, 0, [80, 60, 80, 60])
    assert np.allclose(found[:, 4], scores.numpy(), atol=1e-4)
    big = (boxes[:, 2:] - boxes[:, :2] > 1).all(axis=1)
    assert np.allclose(found[big, :4], boxes[big], atol=0.05)


def test_pictures_are_prepared_nearly_as_transformers_does_it(folder):
    pytest.importorskip("scipy")
    from transformers import Owlv2ImageProcessor

    image = photographs(("rex",))[0][0].image
    height, width = image.shape[:2]
    # Padded with black beforehand: earlier releases of transformers pad with grey, which the authors' code does not.
    square = np.zeros((max(height, width),) * 2 + (3,), dtype="uint8")
    square[:height, :width] = image
    wanted = Owlv2ImageProcessor(size={"height": 64, "width": 64})(square, return_tensors="np")["pixel_values"][0]
    ours = preprocess(make(folder).shims[0].tools, image, 64)
    difference = np.abs(ours - wanted)
    # Another filter: the same picture at the same place, not the same values.
    assert difference.mean() < 0.05 and np.corrcoef(ours.ravel(), wanted.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("height,width", [(20, 40), (40, 20), (1, 64)])
def test_what_the_picture_does_not_fill_is_black(folder, height, width):
    """The value of the authors' code."""
    tools = make(folder).shims[0].tools
    found = preprocess(tools, np.full((height, width, 3), 255, dtype="uint8"), 64)
    black, white = ((value - tools.pictures.mean) / tools.pictures.std for value in (0.0, 1.0))
    inner = round(height * 64 / max(height, width)), round(width * 64 / max(height, width))
    inside = np.zeros((64, 64), dtype=bool)
    inside[: inner[0], : inner[1]] = True
    assert np.allclose(found[:, inside], white[:, None], atol=1e-4) and np.allclose(found[:, ~inside], black[:, None], atol=1e-6)


@pytest.mark.slow
def test_learns_boxes_and_predicts_the_same_when_loaded_again(folder):
    model = make(folder)
    batch, targets = box_questions()
    losses = learn(model, batch, targets, steps=150, rate=3e-3)
    assert losses[-1] < 0.2 * losses[0]
    assert min(overlaps(model, batch, targets)) > 0.75
    for a, b in zip(model.predict(batch), reloaded(model, owlv2_grounder).predict(batch)):
        assert np.allclose(a[:, :4], b[:, :4], atol=0.5) and np.allclose(a[:, 4], b[:, 4], atol=1e-2)


@pytest.mark.slow
def test_overfits_photographs(folder):
    model = make(folder)
    batch, targets = photographs()
    learn(model, batch, targets, steps=60, rate=3e-3)
    assert min(overlaps(model, batch, targets)) > 0.6


def test_odd_input_batches_and_low_precision(folder):
    model = make(folder, bf16=True, gradient_checkpointing=True)
    batch = odd_batch()
    for queries, rows in zip(batch, model.predict(batch)):
        height, width = queries.image.shape[:2]
        assert rows.shape == (len(queries.expressions), 5) and np.isfinite(rows).all()
        assert (rows[:, 0] < rows[:, 2]).all() and (rows[:, 1] < rows[:, 3]).all()
        assert (rows[:, :2] >= 0).all() and (rows[:, 2] <= width).all() and (rows[:, 3] <= height).all()
    assert np.isfinite(learn(model, *box_questions(), steps=2, rate=1e-3)).all()
    plain = make(folder, batch_size=2)
    many = [*box_questions()[0], ImageQueries(batch[0].image, []), ImageQueries(batch[3].image, expressions("red", "cat", "dog"))]
    for queries, rows in zip(many, plain.predict(many)):
        assert np.allclose(rows, plain.predict([queries])[0], atol=1e-3)


def test_damaged_weights_are_told_from_a_box(folder):
    model = make(folder)
    spoil(model)
    with pytest.raises(RivegaError, match="OWLv2 computed values that are not finite"):
        model.predict(box_questions()[0])
