"""`rivega.OFAEntailment.v1`: scores, sharing, bad input, training."""

import numpy as np
import pytest
import spacy
import torch
from expressions_of import expressions
from ofa_tiny import (
    answered,
    asked,
    demo_examples,
    learn,
    picture,
    run_config,
    sizes,
    tiny_network,
    trainable,
    write_vocabulary,
)
from thinc.api import Adam

import rivega_spacy  # noqa: F401
from rivega_spacy.backends.ofa.entailment import label_tokens, ofa_entailment, shown_probability
from rivega_spacy.backends.ofa.grounder import ofa_grounder
from rivega_spacy.backends.ofa.pictures import to_pixels
from rivega_spacy.backends.ofa.serving import pictures_of
from rivega_spacy.backends.ofa.tokens import OFATokenizer, entailment_prompt
from rivega_spacy.pipes.queries import ImageQueries, QueryTarget
from rivega_spacy.post.errors import RivegaError

SIDE = 64


@pytest.fixture
def model(folder):
    return ofa_entailment(path=str(folder), image_size=SIDE, batch_size=3)


def test_a_score_is_the_choice_between_labels_worked_out_by_hand(model, folder):
    """One expression, without any of the batching: prompt, prefix, three logits."""
    query = asked(1, ("Ada", "PER", "a woman"), caption="a street")
    (got,) = model.predict([query])
    network = tiny_network()
    tokenizer = OFATokenizer.from_folder(folder, size=network.config.vocab_size)
    source = tokenizer.source(entailment_prompt("ada(per) a woman", "a street"))
    with torch.inference_mode():
        pictures = network.encoder.pictures(to_pixels(query.image, SIDE)[None])
        encoded = network.encode(torch.tensor([source]), pictures)
        logits = network.logits(network.decode(torch.tensor([source[:-1]]), encoded)[0])[0, -1]
    no, yes, maybe = (label_tokens(tokenizer, name) for name in ("no", "yes", "maybe"))
    assert len(no) == len(yes) == len(maybe) == 1
    p = torch.softmax(logits[[no[0], yes[0], maybe[0]]], 0)
    assert got[0] == pytest.approx(float(p[1:].max() / (p[1:].max() + p[0])), abs=1e-5)
    assert (got[0] >= 0.5) == (int(p.argmax()) != 0), "one half is where the choice changes"


def test_probability_of_shown_labels():
    scores = torch.log(torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]]))
    got = shown_probability(scores, ("no", "yes", "maybe"), ("yes", "maybe"))
    assert got.tolist() == pytest.approx([0.3 / 0.8, 0.6 / 0.7])
    got = shown_probability(scores, ("no", "yes", "maybe"), ("yes",))
    assert got.tolist() == pytest.approx([0.2 / 0.7, 0.6 / 0.9])


@pytest.mark.slow
def test_a_batch_is_judged_like_its_members(model):
    batch = [
        asked(1, ("Ada", "PER"), ("Oslo", "LOC", "a city far in the north with many ships"), "x", caption="people"),
        ImageQueries(picture(9), []),
        asked(2, "the cat", caption=""),
        asked(3, "a", "b", "c", "d", "e"),
    ]
    together = model.predict(batch)
    assert [len(scores) for scores in together] == [2 + 1, 0, 1, 5]
    for query, scores in zip(batch, together):
        assert np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()
        for text, score in zip(query.expressions, scores):
            (alone,) = model.predict([ImageQueries(query.image, expressions(text), query.caption)])
            assert alone[0] == pytest.approx(score, abs=1e-5)


def test_the_caption_is_asked_about_unless_turned_off(folder):
    with_caption, without = (ofa_entailment(path=str(folder), image_size=SIDE, use_caption=on) for on in (True, False))
    plain, told = asked(1, ("Ada", "PER")), asked(1, ("Ada", "PER"), caption="a woman in a street")
    assert with_caption.predict([told])[0][0] != pytest.approx(with_caption.predict([plain])[0][0], abs=1e-6)
    assert without.predict([told])[0][0] == pytest.approx(with_caption.predict([plain])[0][0], abs=1e-6)


def test_a_picture_is_encoded_once_however_many_ask(folder):
    """Across expressions, posts, calls and components with the same weights."""
    judge, finder = ofa_entailment(path=str(folder), image_size=SIDE), ofa_grounder(path=str(folder), image_size=SIDE)
    cache = pictures_of(judge.shims[0].ready())
    cache.clear()
    before = cache.encoded
    judge.predict([asked(1, "a", "b", key="one"), asked(1, "c", key="one"), asked(2, "d", key="two")])
    assert cache.encoded == before + 2
    judge.predict([asked(1, "e", key="one")])
    finder.predict([asked(1, "e", key="one")])
    assert finder.shims[0].ready() is judge.shims[0].ready(), "the same weights are in memory once"
    assert cache.encoded == before + 2
    judge.predict([asked(1, "e")])
    assert cache.encoded == before + 3, "a picture without a key is not remembered"


def test_training_one_leaves_the_other_as_it_was(folder):
    judge, finder = ofa_entailment(path=str(folder), image_size=SIDE), ofa_grounder(path=str(folder), image_size=SIDE)
    query = asked(1, "a", key="k")
    want = finder.predict([query])[0]
    assert finder.shims[0].ready() is judge.shims[0].ready()
    first = judge.predict([query])[0]
    judge.attrs["train_step"](judge, [query], [[QueryTarget(True, np.zeros((0, 4)))]], dropout=0.0)
    judge.finish_update(Adam(0.01))
    assert finder.shims[0].ready() is not judge.shims[0].ready()
    np.testing.assert_allclose(finder.predict([query])[0], want)
    assert abs(float(judge.predict([query])[0][0] - first[0])) > 1e-6, "nor does it see a picture encoded before the step"


def test_equal_pipelines_from_disk_share_one_network(folder, tmp_path):
    model = ofa_entailment(path=str(folder), image_size=SIDE)
    data = model.to_bytes()
    one, two = ofa_entailment(image_size=SIDE), ofa_entailment(image_size=SIDE)
    one.from_bytes(data)
    two.from_bytes(data)
    assert one.shims[0].ready() is two.shims[0].ready()
    query = asked(1, "a", "b")
    np.testing.assert_allclose(one.predict([query])[0], model.predict([query])[0], atol=5e-3)


@pytest.mark.parametrize("text", ["word " * 500, "", "\U0001f600" * 40, "\U0001f600 " * 500, "x" * 5000, "<bin_3> </s> <s>"])
@pytest.mark.slow
def test_odd_expressions_get_a_score(model, text):
    for caption in ("", "a street", "word " * 500):
        (scores,) = model.predict([asked(1, text, "plain", caption=caption)])
        assert scores.shape == (2,) and np.isfinite(scores).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1)])
def test_odd_pictures_get_a_score(model, shape):
    (scores,) = model.predict([ImageQueries(np.full((*shape, 3), 77, dtype="uint8"), expressions("a"))])
    assert np.isfinite(scores).all()


def test_weights_that_broke_after_loading_are_told(folder):
    model = ofa_entailment(path=str(folder), image_size=SIDE, freeze=["encoder.embed_images"])
    with torch.no_grad():
        model.shims[0].ready().encoder.layer_norm.weight.fill_(float("nan"))
    with pytest.raises(RivegaError, match="not finite"):
        model.predict([asked(1, "a")])


def test_pictures_larger_than_the_tables_are_refused(folder):
    # Six patches of 16 pixels a side.
    assert len(ofa_entailment(path=str(folder), image_size=96).predict([asked(1, "a")])[0]) == 1
    with pytest.raises(RivegaError, match="image_size"):
        ofa_entailment(path=str(folder), image_size=112).predict([asked(1, "a")])


def test_a_model_without_source_says_so():
    with pytest.raises(RivegaError, match="path"):
        ofa_entailment().predict([asked(1, "a")])


@pytest.mark.parametrize("options", [{"shown": ["sure"]}, {"shown": []}, {"labels": ["a", "b"]}, {"shown": ["no", "yes", "maybe"]}])
def test_labels_that_make_no_sense_are_refused(options):
    with pytest.raises(RivegaError, match="labels"):
        ofa_entailment(**options)


@pytest.fixture(scope="module")
def vocab(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("vocab"))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True, "freeze": ["encoder.embed_images"]}])
def test_it_learns_real_photographs_and_predicts_the_same_after_reloading(vocab, tmp_path, options):
    nlp = trainable("rivega_entailment", "rivega.OFAEntailment.v1", vocab, image_size=SIDE, **options)
    examples = demo_examples(nlp, limit=3)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.005
    stem = {
        k: v.clone() for k, v in nlp.get_pipe("rivega_entailment").model.shims[0].ready().encoder.embed_images.state_dict().items()
    }
    losses = learn(nlp, "rivega_entailment", examples, optimizer, 18)
    assert losses[-1] < 0.2 * losses[0]
    network = nlp.get_pipe("rivega_entailment").model.shims[0].ready()
    kept = all(torch.equal(value, stem[name]) for name, value in network.encoder.embed_images.state_dict().items())
    assert kept == ("freeze" in options), "frozen parts stay, statistics included; others learn"

    def judged(pipe):
        return [(ent._.groundable, ent._.groundable_score) for ent in answered(pipe, "rivega_entailment", examples)]

    got = judged(nlp)
    gold = [ent._.groundable for example in examples for ent in example.reference.ents]
    assert True in gold and False in gold
    assert [groundable for groundable, _ in got] == gold
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    for (one, score), (two, other) in zip(got, judged(again)):
        assert one == two and score == pytest.approx(other, abs=1e-4)


def test_gradients_are_means_over_the_tokens_of_all_batches_since_the_last_step(vocab):
    """Accumulated halves give the step of the whole, batch statistics aside."""

    def trained(parts):
        model = ofa_entailment(network=sizes(), vocab=str(vocab), image_size=SIDE, drop_path=0.0, freeze=["encoder.embed_images"])
        for part in parts:
            targets = [[QueryTarget(i % 2 == 0, np.zeros((0, 4))) for i, _ in enumerate(query.expressions)] for query in part]
            model.attrs["train_step"](model, part, targets, dropout=0.0)
        # A large eps: steps are then proportional to gradients, and tiny ones do not flip signs.
        model.finish_update(Adam(1.0, eps=1.0, L2=0.0, grad_clip=0.0))
        return model.shims[0].ready().state_dict()

    queries = [asked(1, "a", "b", "c"), asked(2, "d")]
    whole, halves = trained([queries]), trained([queries[:1], queries[1:]])
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, atol=2e-5, rtol=1e-3, msg=name)


def test_expressions_that_nobody_judged_teach_nothing(vocab):
    model = ofa_entailment(network=sizes(), vocab=str(vocab), image_size=SIDE)
    losses = model.attrs["train_step"](model, [asked(1, "a")], [[QueryTarget(None, np.zeros((0, 4)))]], dropout=0.0)
    assert losses == {"entailment": 0.0}
    assert all(parameter.grad is None for parameter in model.shims[0].ready().parameters())


@pytest.mark.slow
def test_bfloat16_is_close_and_trains(vocab):
    plain, half = (
        ofa_entailment(network=sizes(), vocab=str(vocab), image_size=SIDE, bf16=on, freeze=["encoder.embed_images"])
        for on in (False, True)
    )
    queries = [asked(1, "a", "b"), asked(2, "c")]
    for one, two in zip(plain.predict(queries), half.predict(queries)):
        np.testing.assert_allclose(one, two, atol=0.05)
    targets = [[QueryTarget(True, np.zeros((0, 4)))] * 2, [QueryTarget(False, np.zeros((0, 4)))]]
    first = half.attrs["train_step"](half, queries, targets, dropout=0.1)["loss"]
    half.finish_update(Adam(0.001))
    for _ in range(10):
        last = half.attrs["train_step"](half, queries, targets, dropout=0.1)["loss"]
        half.finish_update(Adam(0.001))
    assert np.isfinite(last) and last < first


@pytest.mark.slow
def test_spacy_train_runs_the_config(folder, tmp_path):
    """`spacy train configs/entailment_ofa.cfg` at tiny sizes: batches, accumulation, warm-up, saving."""
    best = run_config("entailment_ofa.cfg", "rivega_entailment", folder, tmp_path, image_size=SIDE)
    pipe = best.get_pipe("rivega_entailment")
    before = ofa_entailment(path=str(folder), image_size=SIDE).shims[0].ready()
    after = pipe.model.shims[0].ready()
    assert not torch.equal(before.embed_tokens.weight, after.embed_tokens.weight)
    (scores,) = pipe.model.predict([asked(1, "a")])
    assert 0 <= scores[0] <= 1


def test_the_moving_average_is_used_while_spacy_evaluates(vocab):
    """And pictures encoded with other weights are not."""
    model = ofa_entailment(network=sizes(), vocab=str(vocab), image_size=SIDE, averaging=0.9)
    query, target = asked(1, "a", key="k"), QueryTarget(True, np.zeros((0, 4)))
    for _ in range(2):
        model.attrs["train_step"](model, [query], [[target]], dropout=0.0)
        model.finish_update(Adam(0.01, use_averages=True))
    now = float(model.predict([query])[0][0])
    with model.use_params({}):
        average = float(model.predict([query])[0][0])
        plain = float(model.predict([asked(1, "a")])[0][0])
    assert average == pytest.approx(plain, abs=1e-6) and abs(average - now) > 1e-6
    assert float(model.predict([query])[0][0]) == pytest.approx(now, abs=1e-6)
