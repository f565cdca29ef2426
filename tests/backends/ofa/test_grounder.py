"""`rivega.OFAGrounder.v1`: boxes, bad input, training."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from expressions_of import expressions
from ofa_tiny import (
    BINS,
    answered,
    asked,
    demo_examples,
    learn,
    picture,
    run_config,
    sizes,
    tiny_network,
    trainable,
)
from spacy.tokens import Span
from thinc.api import Adam

import rivega_spacy  # noqa: F401
from rivega_spacy.backends.ofa.decoding import BeamOptions, beam_search
from rivega_spacy.backends.ofa.grounder import ofa_grounder
from rivega_spacy.backends.ofa.pictures import bins_to_box, box_to_bins, to_pixels
from rivega_spacy.backends.ofa.tokens import OFATokenizer, grounding_prompt
from rivega_spacy.pipes.queries import ImageQueries, QueryTarget
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.errors import RivegaError

SIDE = 64


@pytest.mark.parametrize(
    "box, size", [((3, 4, 20, 30), (40, 56)), ((0, 0, 640, 480), (480, 640)), ((10.5, 2.25, 30, 40), (61, 33))]
)
def test_bins_and_back_are_within_half_a_bin(box, size):
    bins = box_to_bins(box, size, size=512, scale=512, bins=1000)
    again = bins_to_box(bins, size, size=512, scale=512, bins=1000)
    step = np.array([size[1], size[0]] * 2) / 999
    assert (np.abs(again - np.array(box)) <= step * 0.5 + 1e-4).all()


def test_the_picture_fills_the_square():
    pixels = to_pixels(np.full((3, 200, 3), 255, dtype="uint8"), 32)
    assert pixels.shape == (3, 32, 32) and torch.equal(pixels, torch.ones(3, 32, 32))
    assert torch.equal(to_pixels(np.zeros((9, 9, 3), dtype="uint8"), 16), -torch.ones(3, 16, 16))


def test_a_box_is_the_best_beam_worked_out_by_hand(folder):
    model = ofa_grounder(path=str(folder), image_size=SIDE)
    query = asked(4, ("Ada", "PER", "a woman"))
    (got,) = model.predict([query])
    network = tiny_network()
    config = network.config
    tokenizer = OFATokenizer.from_folder(folder, size=config.vocab_size)
    source = tokenizer.source(grounding_prompt("ada(per) a woman"))
    with torch.inference_mode():
        encoded = network.encode(torch.tensor([source]), network.encoder.pictures(to_pixels(query.image, SIDE)[None]))
    options = BeamOptions(beam=5, no_repeat_ngram=3, allowed=(config.bin_0, config.vocab_size), bins_only=True)
    best = beam_search(network, encoded, options)[0][0]
    bins = np.array([token - config.bin_0 for token in best.tokens[:4]])
    box = bins / (BINS - 1) * np.array([56, 40, 56, 40])
    want = [min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3])]
    # One pixel at least in each direction, which may move a corner.
    np.testing.assert_allclose(got[0, :4], want, atol=1.001)
    assert got[0, 4] == pytest.approx(np.exp(best.score), abs=1e-5)


@pytest.mark.parametrize("bins_only", [True, False])
@pytest.mark.slow
def test_boxes_lie_in_the_picture_and_a_batch_is_read_like_its_members(folder, bins_only):
    model = ofa_grounder(path=str(folder), image_size=SIDE, batch_size=3, bins_only=bins_only)
    batch = [
        asked(1, "a", ("Oslo", "LOC", "a city far in the north"), "c"),
        ImageQueries(picture(2), []),
        asked(3, "d", "e", "f", "g"),
    ]
    together = model.predict(batch)
    assert [rows.shape for rows in together] == [(3, 5), (0, 5), (4, 5)]
    for query, rows in zip(batch, together):
        assert (rows[:, 0] < rows[:, 2]).all() and (rows[:, 1] < rows[:, 3]).all()
        assert (rows[:, :4] >= 0).all() and (rows[:, 2] <= 56).all() and (rows[:, 3] <= 40).all()
        assert ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all()
        for text, row in zip(query.expressions, rows):
            np.testing.assert_allclose(model.predict([ImageQueries(query.image, expressions(text))])[0][0], row, atol=1e-4)


def test_only_locations_are_answered_where_asked_for(folder):
    """Weights that would rather answer with a word are made to point somewhere; otherwise their answer is no box."""
    found = {}
    for bins_only in (True, False):
        model = ofa_grounder(path=str(folder), image_size=SIDE, bins_only=bins_only, freeze=["encoder.embed_images"])
        network = model.shims[0].ready()
        with torch.no_grad():
            # One word's row points where the decoder's states do.
            network.decoder.layer_norm.bias.fill_(1.0)
            network.embed_tokens.weight[40] = 5.0
        found[bins_only] = model.predict([asked(1, "a")])[0][0]
    assert found[False].tolist() == [0, 0, 56, 40, 0]
    assert 0 < found[True][4] <= 1


@pytest.mark.parametrize("text", ["word " * 500, "", "\U0001f600" * 40, "\U0001f600 " * 500, "x" * 5000, "<bin_3> </s> <s>"])
def test_odd_expressions_get_a_box(folder, text):
    (rows,) = ofa_grounder(path=str(folder), image_size=SIDE).predict([asked(1, text, "plain")])
    assert rows.shape == (2, 5) and np.isfinite(rows).all()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 4000), (4000, 1)])
def test_odd_pictures_get_a_box_within_them(folder, height, width):
    image = np.full((height, width, 3), 77, dtype="uint8")
    ((row,),) = ofa_grounder(path=str(folder), image_size=SIDE).predict([ImageQueries(image, expressions("a"))])
    assert 0 <= row[0] < row[2] <= width and 0 <= row[1] < row[3] <= height


def test_weights_that_broke_are_told(folder):
    model = ofa_grounder(path=str(folder), image_size=SIDE, freeze=["encoder.embed_images"])
    with torch.no_grad():
        model.shims[0].ready().decoder.layer_norm.weight.fill_(float("nan"))
    with pytest.raises(RivegaError, match="not finite"):
        model.predict([asked(1, "a")])


def test_a_post_that_fails_leaves_the_others_their_boxes(folder):
    nlp = blank_nlp()
    architecture = {"@architectures": "rivega.OFAGrounder.v1", "path": str(folder), "image_size": SIDE}
    nlp.add_pipe("rivega_grounder", config={"model": architecture})
    docs = []
    for image in (picture(1), None, b"not a picture", picture(2)):
        doc = nlp.make_doc("Ada met Lea in Oslo")
        if image is not None:
            doc._.image = image
        doc.ents = [Span(doc, 0, 1, label="PER"), Span(doc, 4, 5, label="LOC")]
        docs.append(doc)
    docs = list(nlp.get_pipe("rivega_grounder").pipe(docs))
    assert [[len(ent._.boxes) for ent in doc.ents] for doc in docs] == [[1, 1], [0, 0], [0, 0], [1, 1]]
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 0, 1, 0]


@pytest.mark.slow
def test_only_the_largest_box_is_a_target_and_what_is_not_shown_has_none(vocab):
    """Two boxes teach what the larger one alone teaches, and an entity that is not shown teaches nothing."""

    def gradient(target):
        model = ofa_grounder(network=sizes(), vocab=str(vocab), image_size=SIDE, drop_path=0.0)
        losses = model.attrs["train_step"](model, [asked(1, "a")], [[target]], dropout=0.0)
        grad = model.shims[0].ready().embed_tokens.weight.grad
        return losses, None if grad is None else grad.clone()

    small, large = [1, 1, 9, 9], [5, 5, 40, 30]
    both = gradient(QueryTarget(True, np.array([small, large], dtype="float32")))
    alone = gradient(QueryTarget(True, np.array([large], dtype="float32")))
    other = gradient(QueryTarget(True, np.array([small], dtype="float32")))
    torch.testing.assert_close(both[1], alone[1])
    assert (both[1] - other[1]).abs().max() > 1e-3
    assert gradient(QueryTarget(False, np.zeros((0, 4), dtype="float32"))) == ({"grounding": 0.0}, None)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True, "freeze": ["encoder.embed_images", "encoder.layers.0"]}])
def test_it_learns_real_photographs_and_predicts_the_same_after_reloading(vocab, tmp_path, options):
    nlp = trainable("rivega_grounder", "rivega.OFAGrounder.v1", vocab, image_size=SIDE, label_smoothing=0.0, **options)
    examples = demo_examples(nlp, limit=3, only_boxes=True)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.005
    losses = learn(nlp, "rivega_grounder", examples, optimizer, 30)
    assert losses[-1] < 0.2 * losses[0]

    def located(pipe):
        return [ent._.box for ent in answered(pipe, "rivega_grounder", examples)]

    got = located(nlp)
    gold = [ent._.box for example in examples for ent in example.reference.ents]
    overlaps = [float(box_iou(np.array([one]), np.array([two]))[0, 0]) for one, two in zip(got, gold)]
    assert np.mean([overlap >= 0.5 for overlap in overlaps]) >= 0.75, overlaps
    nlp.to_disk(tmp_path / "pipeline")
    np.testing.assert_allclose(located(spacy.load(tmp_path / "pipeline")), got, atol=1e-3)


@pytest.mark.slow
def test_bfloat16_trains(vocab):
    model = ofa_grounder(network=sizes(), vocab=str(vocab), image_size=SIDE, bf16=True)
    target = QueryTarget(True, np.array([[5, 5, 40, 30]], dtype="float32"))
    losses = []
    for _ in range(8):
        losses.append(model.attrs["train_step"](model, [asked(1, "a", "b")], [[target, target]], dropout=0.1)["nll"])
        model.finish_update(Adam(0.003))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert np.isfinite(model.predict([asked(1, "a")])[0]).all()


@pytest.mark.slow
def test_spacy_train_runs_the_config(folder, tmp_path):
    """`spacy train configs/grounder_ofa.cfg` at tiny sizes: batches, accumulation, warm-up, saving."""
    best = run_config("grounder_ofa.cfg", "rivega_grounder", folder, tmp_path, image_size=SIDE)
    pipe = best.get_pipe("rivega_grounder")
    before = ofa_grounder(path=str(folder), image_size=SIDE).shims[0].ready()
    assert not torch.equal(before.embed_tokens.weight, pipe.model.shims[0].ready().embed_tokens.weight)
    assert np.isfinite(pipe.model.predict([asked(1, "a")])[0]).all()
