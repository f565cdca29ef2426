"""`rivega.ITMEntailment.v1` with tiny BLIP and BLIP-2 networks, and detectors' scores as entailment."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from thinc.api import Model
from tiny_networks import colour_questions, learn, odd_batch, photographs, reloaded, spoil, tiny_blip

from rivega_spacy.backends.itm.entailment import itm_entailment
from rivega_spacy.entailment.grounding_score import grounding_score
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError

KINDS = ["blip", "blip-2"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return tiny_blip(tmp_path_factory.mktemp(request.param), request.param)


def make(folder, **options):
    torch.manual_seed(0)
    model = itm_entailment(path=folder, **options)
    model.initialize()
    return model


def test_scores_are_those_of_transformers(folder):
    model = make(folder)
    batch, _ = colour_questions()
    network, tools = model.shims[0].module, model.shims[0].tools
    for queries, scores in zip(batch, model.predict(batch)):
        ids, mask = tools.tokens([str(e) for e in queries.expressions])
        pixels = torch.from_numpy(np.stack([tools.pictures.resized(queries.image, 32, 32)] * len(ids)))
        with torch.inference_mode():
            if network.config.model_type == "blip":
                rows = network(input_ids=ids, attention_mask=mask, pixel_values=pixels).itm_score
            else:
                rows = network(pixels, ids, mask, use_image_text_matching_head=True).logits_per_image
        assert np.allclose(rows.softmax(-1)[:, 1].numpy(), scores, atol=1e-5)


def test_pictures_are_prepared_as_transformers_does_it(folder):
    from transformers import BlipImageProcessor

    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3)).astype("uint8")
    wanted = BlipImageProcessor(size={"height": 32, "width": 32})(image, return_tensors="np")["pixel_values"][0]
    assert np.allclose(make(folder).shims[0].tools.pictures.resized(image, 32, 32), wanted, atol=1e-5)


@pytest.mark.slow
def test_overfits_photographs_and_predicts_the_same_when_loaded_again(folder):
    model = make(folder)
    batch, targets = photographs()
    losses = learn(model, batch, targets, steps=50, rate=2e-3)
    assert losses[-1] < 0.2
    scores = model.predict(batch)
    for row, ts in zip(scores, targets):
        assert [score >= 0.5 for score in row] == [t.groundable for t in ts]
    for a, b in zip(scores, reloaded(model, itm_entailment).predict(batch)):
        assert np.allclose(a, b, atol=5e-3)


@pytest.mark.slow
def test_odd_input_batches_and_low_precision(folder):
    model = make(folder, bf16=True, gradient_checkpointing=True, batch_size=2)
    for row in model.predict(odd_batch()):
        assert np.isfinite(row).all() and ((row >= 0) & (row <= 1)).all()
    batch, targets = colour_questions()
    assert np.isfinite(learn(model, batch, targets, steps=2, rate=1e-3)).all()
    plain = make(folder, batch_size=2)
    many = [ImageQueries(batch[0].image, expressions("red", "blue thing", "cat")), ImageQueries(batch[1].image, []), batch[1]]
    for queries, row in zip(many, plain.predict(many)):
        alone = [plain.predict([ImageQueries(queries.image, expressions(text))])[0][0] for text in queries.expressions]
        assert np.allclose(row, alone, atol=1e-5)


def test_damaged_and_foreign_folders(folder, tmp_path):
    model = make(folder)
    spoil(model)
    with pytest.raises(RivegaError, match="not finite"):
        model.predict(colour_questions()[0])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for path, message in [
        (str(tmp_path), "'bert', not blip"),
        (str(tmp_path / "none"), "neither a file or folder"),
        (None, "neither weights"),
    ]:
        with pytest.raises(RivegaError, match=message):
            make(path)


def test_detector_scores_serve_as_entailment():
    rows = [np.array([[0, 0, 1, 1, 0.7], [0, 0, 1, 1, 0.1]], dtype="f"), np.zeros((0, 5), dtype="f")]
    detector = Model("detector", lambda model, batch, is_train: (rows, lambda gradients: []))
    found = grounding_score(detector).predict(colour_questions()[0])
    assert [row.tolist() for row in found] == [pytest.approx([0.7, 0.1]), []]
