"""`rivega.SeqTRGrounder.v1` at tiny sizes: learning, new words, saving, odd input, in a pipeline."""

from functools import partial

import numpy as np
import pytest
import spacy
import srsly
import torch
from blank import blank_nlp
from expressions_of import expressions
from tiny_networks import SEQTR_SIZES, box_questions, coloured, learn, odd_batch, overlaps, photographs, reloaded, spoil, target

from rivega_spacy.backends.seqtr.darknet import DarkNet53, save_yolo_weights
from rivega_spacy.backends.seqtr.grounder import SeqtrTrainer, seqtr_grounder
from rivega_spacy.backends.seqtr.model import Seqtr, SeqtrConfig
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError


def make(**options):
    torch.manual_seed(0)
    np.random.seed(0)
    model = seqtr_grounder(**{"network": SEQTR_SIZES, "max_side": 96, "max_words": 6, **options})
    model.initialize()
    return model


@pytest.mark.slow
def test_learns_boxes_and_words_and_predicts_the_same_when_loaded_again():
    model = make()
    batch, targets = box_questions()
    losses = learn(model, batch, targets, steps=90, rate=1e-3, clip=0.15)
    assert losses[-1] < 0.35 * losses[0]
    # The largest of two gold boxes is the target; coordinates are cut into 50 bins.
    assert min(overlaps(model, batch, targets)) > 0.85
    assert model.shims[0].cfg["words"] == ["PAD", "UNK", "CLS", "red", "thingper", "blue", "thingloc"]
    again = reloaded(model, partial(seqtr_grounder, max_side=96, max_words=6))
    for a, b in zip(model.predict(batch), again.predict(batch)):
        assert np.allclose(a[:, :4], b[:, :4]) and np.allclose(a[:, 4], b[:, 4], atol=5e-3)


@pytest.mark.slow
def test_overfits_photographs():
    model = make()
    batch, targets = photographs()
    learn(model, batch, targets, steps=70, rate=1e-3, clip=0.15)
    assert len(overlaps(model, batch, targets)) == 3 and min(overlaps(model, batch, targets)) > 0.7


def test_pictures_of_a_batch_do_not_change_each_others_boxes():
    model = make()
    rng = np.random.default_rng(0)
    shapes = [(60, 80), (60, 80), (80, 60), (10, 90), (61, 80)]
    batch = [ImageQueries(rng.integers(0, 255, (*shape, 3)).astype("uint8"), expressions("red", "blue dog")) for shape in shapes]
    for queries, rows in zip(batch, model.predict(batch)):
        assert np.allclose(rows, model.predict([queries])[0], atol=1e-4)


@pytest.mark.slow
def test_a_picture_is_encoded_once_however_many_entities_ask():
    model = make(batch_size=3)
    passed = []
    model.shims[0].module.vis_enc.register_forward_pre_hook(lambda module, args: passed.append(len(args[0])))
    rows = model.predict([ImageQueries(coloured(40, 40), expressions("a", "b", "c", "d", "e"))] * 2)
    assert sum(passed) == 2 and [len(row) for row in rows] == [5, 5]


def test_odd_pictures_and_texts_have_a_box_within_the_picture():
    batch = odd_batch()
    for queries, rows in zip(batch, make().predict(batch)):
        height, width = queries.image.shape[:2]
        assert rows.shape == (len(queries.expressions), 5) and np.isfinite(rows).all()
        assert (rows[:, 0] < rows[:, 2]).all() and (rows[:, 1] < rows[:, 3]).all()
        assert (rows[:, :2] >= 0).all() and (rows[:, 2] <= width).all() and (rows[:, 3] <= height).all()
        assert ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all()


def test_what_is_not_shown_is_not_learned_from():
    model = make()
    losses = model.attrs["train_step"](model, [ImageQueries(coloured(40, 40), expressions("red"))], [[target(False)]], dropout=0.1)
    assert losses == {"grounding": 0.0}


def test_the_trunk_and_the_words_are_frozen_but_statistics_move():
    model = make(bf16=True, gradient_checkpointing=True, averaging=0.9, freeze=["head.predictor."])
    batch, targets = box_questions()
    learn(model, batch, targets, steps=1, rate=1e-2)
    before = {key: value.clone() for key, value in model.shims[0].module.state_dict().items()}
    learn(model, batch, targets, steps=2, rate=1e-2)
    after = model.shims[0].module.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert not any(key.startswith(("lan_enc.embedding", "head.predictor", "vis_enc.darknet.5.conv")) for key in changed)
    assert {"vis_enc.darknet.13.conv.weight", "vis_enc.darknet.5.bn.running_mean", "lan_enc.lstm.weight_ih_l0"} <= changed
    # The average has grown with the list of words.
    with model.shims[0].use_params({}):
        assert np.isfinite(model.predict(batch)[0]).all()


def test_random_scales_keep_boxes_on_their_things():
    trainer = SeqtrTrainer(new_words=True, vectors=None, jitter=(0.3, 1.4))
    rng = np.random.default_rng(0)
    config = SeqtrConfig()
    image = coloured(90, 120, ((30, 20, 70, 60), (255, 255, 255)))
    for _ in range(30):
        item, boxes = trainer._view(image, np.array([[30.0, 20.0, 70.0, 60.0]]), config, 128, rng)
        left, top, right, bottom = boxes[0]
        assert max(item.size) <= 128 and 0 <= left < right <= item.size[1] and 0 <= top < bottom <= item.size[0]
        inside = item.pixels[:, int(top) + 2 : int(bottom) - 1, int(left) + 2 : int(right) - 1]
        assert inside.size == 0 or inside.min() > 200
        assert item.pixels[:, : max(0, int(top) - 1)].max(initial=0) < 60


@pytest.mark.slow
def test_a_released_checkpoint_with_and_without_its_words(tmp_path):
    words = ["PAD", "UNK", "CLS", "red", "thingper"]
    torch.manual_seed(1)
    network = Seqtr(SeqtrConfig.from_dict({**SEQTR_SIZES, "vocab_size": 5}))
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "det.pth")
    srsly.write_json(tmp_path / "words.json", words)
    options = {"network": None, "path": str(tmp_path / "det.pth"), "heads": 4}
    batch, targets = box_questions()
    model = make(words=str(tmp_path / "words.json"), **options)
    assert torch.equal(model.shims[0].module.lan_enc.embedding.weight, network.lan_enc.embedding.weight)
    scores = model.predict(batch)
    again = reloaded(model, lambda: seqtr_grounder(path="gone.pth", max_side=96, max_words=6))
    assert np.allclose(scores[0][:, 4], again.predict(batch)[0][:, 4], atol=5e-3)
    srsly.write_json(tmp_path / "words.json", [*words, "dog"])
    assert len(make(words=str(tmp_path / "words.json"), **options).shims[0].module.lan_enc.embedding.weight) == 6
    with pytest.warns(UserWarning, match="W740"):
        model = make(**options)
    learn(model, batch, targets, steps=1, rate=1e-4)
    assert model.shims[0].cfg["words"][3:] == ["red", "thingper", "blue", "thingloc"]
    with pytest.raises(RivegaError, match="neither weights nor a `path`"):
        seqtr_grounder().predict(batch)


def test_training_begins_from_yolo_weights(tmp_path):
    save_yolo_weights(DarkNet53(stem=4), tmp_path / "yolov3.weights")
    first, second = make(darknet=str(tmp_path / "yolov3.weights")), make()
    weight = [model.shims[0].module.vis_enc.darknet[0].conv.weight for model in (first, second)]
    data = np.fromfile(tmp_path / "yolov3.weights", dtype="<f4", offset=20 + 16 * 4, count=4 * 3 * 9)
    assert np.array_equal(weight[0].detach().numpy().ravel(), data) and not torch.equal(*weight)


def test_damaged_weights_are_told_from_a_box():
    model = make()
    spoil(model)
    with pytest.raises(RivegaError, match="SeqTR computed values that are not finite"):
        model.predict(box_questions()[0])


@pytest.mark.slow
def test_in_a_pipeline_with_posts_without_pictures(tmp_path):
    nlp = blank_nlp()
    nlp.add_pipe(
        "rivega_grounder", config={"model": {"@architectures": "rivega.SeqTRGrounder.v1", "network": SEQTR_SIZES, "max_side": 64}}
    )
    nlp.initialize()
    docs = []
    for picture in (coloured(40, 60), None):
        doc = nlp.make_doc("Rex the dog")
        doc.ents = [doc.char_span(0, 3, label="PER")]
        doc._.image = picture
        docs.append(doc)
    first, second = nlp.pipe(docs)
    assert len(first.ents[0]._.boxes) == 1 and 0 < first.ents[0]._.box_score <= 1
    assert second.ents[0]._.boxes == [] and not second._.rivega_errors
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")(nlp.make_doc("x"))
    assert list(again.ents) == []
