"""`rivega.ALBEFEntailment.v1` at tiny sizes: learning, saving, odd input, in a pipeline."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from expressions_of import expressions
from tiny_networks import ALBEF_SIZES, colour_questions, learn, odd_batch, photographs, reloaded, spoil, target, write_vocab

from rivega_spacy.backends.albef.entailment import albef_entailment
from rivega_spacy.backends.albef.model import Albef, AlbefConfig
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError


@pytest.fixture
def make(tmp_path):
    vocab = write_vocab(tmp_path)

    def build(**options):
        torch.manual_seed(0)
        np.random.seed(0)
        settings = {"network": ALBEF_SIZES, "vocab": vocab, "distillation": 0.0, "augmentation": False, **options}
        model = albef_entailment(**settings)
        model.initialize()
        return model

    return build


def right(model, batch, targets):
    return [(score >= 0.5) == t.groundable for row, ts in zip(model.predict(batch), targets) for score, t in zip(row, ts)]


@pytest.mark.slow
def test_learns_what_neither_picture_nor_text_tells_alone(make):
    model = make()
    batch, targets = colour_questions()
    losses = learn(model, batch, targets, steps=110, rate=3e-3)
    assert losses[-1] < 0.1 < losses[0]
    assert all(right(model, batch, targets))


@pytest.mark.slow
def test_overfits_photographs_and_predicts_the_same_when_loaded_again(make):
    model = make()
    batch, targets = photographs()
    learn(model, batch, targets, steps=80, rate=3e-3)
    assert all(right(model, batch, targets))
    again = reloaded(model, albef_entailment)
    for a, b in zip(model.predict(batch), again.predict(batch)):
        # Half precision on disk.
        assert np.allclose(a, b, atol=5e-3)


def test_distillation_needs_no_more_than_the_twin(make):
    model = make(distillation=0.4, augmentation=True)
    batch, targets = colour_questions()
    losses = learn(model, batch, targets, steps=12, rate=2e-3)
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert not any("_m." in name for name, _ in model.shims[0].module.named_parameters())


def test_batches_give_what_single_questions_give(make):
    model = make(batch_size=2)
    batch, _ = colour_questions()
    batch = [
        *batch,
        ImageQueries(batch[0].image, []),
        ImageQueries(batch[1].image, expressions("cat", "dog", "woman", "rocket", "red")),
    ]
    together = model.predict(batch)
    assert [len(row) for row in together] == [2, 2, 0, 5]
    for queries, row in zip(batch, together):
        alone = [model.predict([ImageQueries(queries.image, expressions(text))])[0][0] for text in queries.expressions]
        assert np.allclose(row, alone, atol=1e-5)


def test_a_picture_is_encoded_once_however_many_entities_ask(make):
    model = make()
    pictures = []
    network = model.shims[0].module
    network.visual_encoder.register_forward_pre_hook(lambda module, args: pictures.append(len(args[0])))
    model.predict([ImageQueries(np.zeros((9, 9, 3), dtype="uint8"), expressions("red", "blue", "cat", "dog"))] * 3)
    assert sum(pictures) == 3


def test_odd_pictures_and_texts_have_a_score(make):
    for row in make().predict(odd_batch()):
        assert np.isfinite(row).all() and ((row >= 0) & (row <= 1)).all()


def test_unjudged_expressions_are_not_learned_from(make):
    model = make()
    batch, _ = colour_questions()
    losses = model.attrs["train_step"](model, batch, [[target(None), target(None)]] * 2, dropout=0.1)
    assert losses == {"entailment": 0.0}
    assert all(p.grad is None for p in model.shims[0].module.parameters())


def test_frozen_parts_stay_and_low_precision_and_checkpointing_train(make):
    model = make(freeze=["visual_encoder."], bf16=True, gradient_checkpointing=True)
    before = {key: value.clone() for key, value in model.shims[0].module.state_dict().items()}
    batch, targets = colour_questions()
    learn(model, batch, targets, steps=2, rate=1e-2)
    changed = {
        key.split(".")[0] for key, value in model.shims[0].module.state_dict().items() if not torch.equal(value, before[key])
    }
    assert changed == {"text_encoder", "cls_head"}
    assert np.isfinite(np.concatenate(model.predict(batch))).all()
    with pytest.raises(RivegaError, match="no parameter begins with 'visualencoder'"):
        make(freeze=["visualencoder"])


def test_damaged_weights_are_told_from_a_score(make):
    model = make()
    spoil(model)
    with pytest.raises(RivegaError, match="ALBEF computed values that are not finite"):
        model.predict(colour_questions()[0])


def test_a_released_file_is_loaded_when_first_needed(make, tmp_path):
    torch.manual_seed(3)
    network = Albef(AlbefConfig(**ALBEF_SIZES))
    torch.save({"model": network.state_dict(), "epoch": 4}, tmp_path / "ve.pth")
    options = {"path": str(tmp_path / "ve.pth"), "image_size": 32, "vision_heads": 4, "text_heads": 4}
    model = albef_entailment(vocab=str(tmp_path / "vocab.txt"), **options)
    assert model.shims[0]._model is None
    batch, _ = colour_questions()
    scores = model.predict(batch)
    saved = model.to_bytes()
    (tmp_path / "ve.pth").unlink()
    # A saved pipeline needs neither the file nor the vocabulary.
    again = albef_entailment(vocab="gone", **options).from_bytes(saved)
    assert np.allclose(np.concatenate(again.predict(batch)), np.concatenate(scores), atol=5e-3)
    with pytest.raises(RivegaError, match="does not exist"):
        albef_entailment(vocab=str(tmp_path / "vocab.txt"), **options).predict(batch)
    with pytest.raises(RivegaError, match="neither weights nor a `path`"):
        albef_entailment().predict(batch)


def test_in_a_pipeline_with_posts_without_pictures(make, tmp_path):
    nlp = blank_nlp()
    config = {
        "model": {"@architectures": "rivega.ALBEFEntailment.v1", "network": ALBEF_SIZES, "vocab": str(tmp_path / "vocab.txt")}
    }
    nlp.add_pipe("rivega_entailment", config=config)
    nlp.initialize()
    docs = []
    for picture in (np.zeros((20, 30, 3), dtype="uint8"), None, "missing.jpg"):
        doc = nlp.make_doc("Rex the dog")
        doc.ents = [doc.char_span(0, 3, label="PER")]
        doc._.image = picture
        docs.append(doc)
    docs = list(nlp.pipe(docs))
    assert isinstance(docs[0].ents[0]._.groundable, bool) and 0 <= docs[0].ents[0]._.groundable_score <= 1
    assert docs[1].ents[0]._.groundable is None and not docs[1]._.rivega_errors
    assert docs[2].ents[0]._.groundable is None and "missing.jpg" in docs[2]._.rivega_errors[0]["message"]
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "vocab.txt").unlink()
    doc = spacy.load(tmp_path / "pipeline")(docs[0].copy())
    assert doc.ents[0]._.groundable_score == pytest.approx(docs[0].ents[0]._.groundable_score, abs=5e-3)
