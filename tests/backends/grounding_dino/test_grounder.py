"""`rivega.GroundingDINO.v1` with a tiny network: equal to transformers, learning, odd input."""

import numpy as np
import pytest
import torch
from dino_answers import assert_answers_are_transformers_own
from expressions_of import expressions
from tiny_networks import box_questions, learn, odd_batch, photographs, reloaded, shown_boxes, spoil, tiny_grounding_dino

from rivega_spacy.backends.boxes import generalised_iou
from rivega_spacy.backends.detection import fitted_size, one_box_loss
from rivega_spacy.backends.grounding_dino.grounder import encode_prompts, grounding_dino, prompt
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.errors import RivegaError

SIZES = {"shortest": 64, "longest": 96, "max_tokens": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_grounding_dino(tmp_path_factory.mktemp("grounding_dino"))


def make(folder, **options):
    torch.manual_seed(0)
    model = grounding_dino(path=folder, **{**SIZES, **options})
    model.initialize()
    return model


def test_answers_are_those_of_transformers_with_the_picture_encoded_once(folder):
    assert_answers_are_transformers_own(make(folder, batch_size=2))


@pytest.mark.slow
def test_pictures_are_prepared_as_transformers_does_it(folder):
    from transformers import GroundingDinoImageProcessor

    rng = np.random.default_rng(0)
    for height, width in ((60, 80), (100, 30), (64, 64), (37, 200)):
        image = rng.integers(0, 256, (height, width, 3)).astype("uint8")
        processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
        wanted = processor(image, return_tensors="np")["pixel_values"][0]
        size = fitted_size(height, width, shortest=64, longest=96, least=1)
        assert size == wanted.shape[1:], (height, width)
        pictures = make(folder).shims[0].tools.pictures
        # This folder has no preprocessor_config.json, so values are normalised as CLIP's: compare before that.
        ours = pictures.resized(image, *size, resample=2) * pictures.std[:, None, None] + pictures.mean[:, None, None]
        mean, std = np.array(processor.image_mean)[:, None, None], np.array(processor.image_std)[:, None, None]
        assert np.allclose(ours, wanted * std + mean, atol=1e-4)


@pytest.mark.parametrize("height,width", [(1, 1), (1, 4000), (4000, 1), (3000, 4000)])
def test_no_side_vanishes(height, width):
    size = fitted_size(height, width, shortest=800, longest=1333)
    assert min(size) >= 32 and max(size) <= 1333 and (size[0] >= size[1]) == (height >= width)


@pytest.mark.slow
def test_overfits_photographs_and_predicts_the_same_when_loaded_again(folder):
    model = make(folder, backbone_rate=1.0)
    batch, targets = photographs()
    rows = [[(text, t) for text, t in zip(queries.expressions, row) if len(t.boxes)] for queries, row in zip(batch, targets)]
    batch = [ImageQueries(queries.image, [text for text, _ in row]) for queries, row in zip(batch, rows)]
    targets = [[t for _, t in row] for row in rows]
    losses = learn(model, batch, targets, steps=110, rate=1e-3, clip=1.0)
    assert losses[-1] < 0.1 * losses[0]
    found, again = model.predict(batch), reloaded(model, lambda: grounding_dino(**SIZES)).predict(batch)
    for boxes, same, gold in zip(found, again, shown_boxes(targets)):
        assert (np.diag(box_iou(boxes[:, :4], gold)) > 0.6).all()
        assert np.allclose(boxes[:, :4], same[:, :4], atol=5) and np.allclose(boxes[:, 4], same[:, 4], atol=1e-2)


@pytest.mark.slow
def test_a_step_on_photographs_changes_what_is_not_frozen(folder):
    model = make(folder, bf16=True, gradient_checkpointing=True, freeze=["model.text_backbone."])
    before = {key: value.clone() for key, value in model.shims[0].module.state_dict().items()}
    batch, targets = photographs(("rex",))
    losses = learn(model, batch, targets, steps=2, rate=1e-3, clip=0.1)
    assert np.isfinite(losses).all()
    after = model.shims[0].module.state_dict()
    parts = {".".join(key.split(".")[:2]) for key, value in after.items() if not torch.equal(value, before[key])}
    assert {"model.backbone", "model.encoder", "model.decoder"} <= parts and "model.text_backbone" not in parts


def test_the_encoders_learn_at_a_share_of_the_rate(folder):
    scale = make(folder, backbone_rate=0.1).shims[0].lr_scale
    assert scale("model.backbone.conv_encoder.x") == scale("model.text_backbone.x") == 0.1 and scale("model.decoder.x") == 1.0


def test_odd_pictures_and_texts_have_a_box_within_the_picture(folder):
    batch = odd_batch()
    for queries, rows in zip(batch, make(folder).predict(batch)):
        height, width = queries.image.shape[:2]
        assert rows.shape == (len(queries.expressions), 5) and np.isfinite(rows).all()
        assert (rows[:, 0] < rows[:, 2]).all() and (rows[:, 1] < rows[:, 3]).all()
        assert (rows[:, :2] >= 0).all() and (rows[:, 2] <= width).all() and (rows[:, 3] <= height).all()


def test_prompts_are_one_phrase(folder):
    assert prompt("Rex. The (DOG)?  Yes") == "rex the (dog) yes ."
    tools = make(folder).shims[0].tools
    ids, mask, phrase = encode_prompts(tools, expressions("red dog", "", "red " * 50))
    assert ids[0, :5].tolist() == [101, 200, int(ids[0, 2]), 1012, 102] and phrase[0].sum() == 2
    # Nothing to name: every token counts. Cut: the full stop is put back.
    assert phrase[1].sum() == mask[1].sum() == 3
    assert ids[2].tolist()[-2:] == [1012, 102] and ids.shape[1] == 32 and phrase[2].sum() == 29


def test_loss_against_one_gold_box_is_least_where_it_is_found():
    gold = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    boxes = torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.5, 0.5, 0.2, 0.4]]])
    phrase = torch.tensor([[True, True, False]])
    right = torch.tensor([[[-9.0, -9.0, 9.0], [9.0, 9.0, 9.0]]])
    loss, parts = one_box_loss(right, phrase, boxes, gold)
    assert float(loss) < 1e-3 and parts["l1"] == parts["giou"] == 0.0
    # The third token names nothing and counts for nothing; padding may be minus infinity.
    assert float(one_box_loss(right.index_fill(2, torch.tensor([2]), float("-inf")), phrase, boxes, gold)[0]) == float(loss)
    assert float(one_box_loss(-right, phrase, boxes, gold)[0]) > 1.0
    a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 3.0, 3.0])
    assert float(generalised_iou(a, b)[1]) == pytest.approx(1 / 7 - 2 / 9)


def test_damaged_weights_are_told_from_a_box(folder):
    model = make(folder)
    spoil(model)
    with pytest.raises(RivegaError, match="Grounding DINO computed values that are not finite"):
        model.predict(box_questions()[0])
