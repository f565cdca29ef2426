"""Answers at run time: one image pass for both components, boxes within the picture."""

import numpy as np
import pytest
from blank import blank_nlp
from expressions_of import ODD_ENTITIES, expressions, odd_post
from thinc.api import Model
from vision_tiny import SIZES

from rivega_spacy.backends.small import answers
from rivega_spacy.backends.small.answers import clear_store
from rivega_spacy.backends.small.entailment import build_small_entailment
from rivega_spacy.backends.small.grounder import build_small_grounder
from rivega_spacy.backends.small.image import ImageEncoder
from rivega_spacy.backends.small.network import SmallVision
from rivega_spacy.backends.small.text import TYPES, PhraseEncoder
from rivega_spacy.backends.small.wordpiece import WordPieces
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError

EXPRESSIONS = expressions(("ada", "PER", "a person"), ("league", "ORG"))


def loaded(build, weights) -> Model:
    model = build(size=64, **SIZES)
    model.attrs["load"](model, weights)
    return model


@pytest.fixture
def passes(monkeypatch):
    """How many pictures went through the image encoder."""
    clear_store()
    counted = []
    forward = ImageEncoder.forward
    monkeypatch.setattr(ImageEncoder, "forward", lambda self, pixels: counted.append(len(pixels)) or forward(self, pixels))
    return counted


def picture(seed=0, height=50, width=80):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_both_components_cost_one_pass(tiny_weights, passes):
    entailment, grounder = loaded(build_small_entailment, tiny_weights), loaded(build_small_grounder, tiny_weights)
    queries = [ImageQueries(picture(), EXPRESSIONS, "", "key")]
    scores = entailment.predict(queries)
    boxes = grounder.predict([ImageQueries(picture(), EXPRESSIONS[:1], "", "key")])
    assert sum(passes) == 1
    assert scores[0].shape == (2,) and scores[0].dtype == np.float32 and ((scores[0] > 0) & (scores[0] < 1)).all()
    assert boxes[0].shape == (1, 5)


def test_long_phrases_are_answered_but_not_kept(tiny_weights, passes):
    grounder = loaded(build_small_grounder, tiny_weights)
    long = type(EXPRESSIONS[0])("Ada " * 5000, "PER", "a woman")
    kept, alone = grounder.predict([ImageQueries(picture(), [EXPRESSIONS[0], long], "", "key")])[0]
    assert len(answers._PHRASES) == 1 and np.isfinite(alone).all() and not np.array_equal(kept, alone)


@pytest.mark.parametrize("together", [1, 8])
def test_what_is_kept_of_a_batch_holds_nothing_else_of_it(together, tiny_weights, passes, monkeypatch):
    """A part of a tensor keeps all of it: of a batch of which one picture is kept the others would be too."""
    monkeypatch.setattr(SmallVision, "pictures_a_pass", lambda self, *, bf16: together)
    grounder = loaded(build_small_grounder, tiny_weights)
    grounder.predict([ImageQueries(picture(seed), EXPRESSIONS, "", str(seed)) for seed in range(3)])
    kept = [*answers._PICTURES._items.values(), *answers._PHRASES._items.values()]
    assert len(kept) == 3 + len(EXPRESSIONS)
    for part in (part for value in kept for part in value):
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


@pytest.mark.slow
def test_other_weights_are_another_network(tiny_weights, passes):
    first, second = loaded(build_small_grounder, tiny_weights), loaded(build_small_grounder, tiny_weights)
    module = second.shims[0].module
    module.heat_prior.data += 1
    second.shims[0].set_module(module)
    queries = [ImageQueries(picture(), EXPRESSIONS, "", "key")]
    low, high = first.predict(queries)[0], second.predict(queries)[0]
    assert sum(passes) == 2 and (high[:, 4] > low[:, 4]).all()


def test_batches_give_what_single_pictures_give(tiny_weights, passes):
    grounder = loaded(build_small_grounder, tiny_weights)
    queries = [ImageQueries(picture(i, 40 + 5 * i, 90 - 3 * i), EXPRESSIONS[: i % 3]) for i in range(11)]
    together = grounder.predict(queries)
    assert sum(passes) == sum(1 for q in queries if q.expressions)
    for query, rows in zip(queries, together):
        assert rows.shape == (len(query.expressions), 5)
        # To the last bit, with all that is remembered forgotten.
        clear_store()
        assert np.array_equal(grounder.predict([query])[0], rows)
        height, width = query.image.shape[:2]
        assert (rows[:, :2] >= 0).all() and (rows[:, 2] <= width).all() and (rows[:, 3] <= height).all()
        assert (rows[:, 2:4] > rows[:, :2]).all()


def test_equal_pictures_of_a_batch_are_encoded_once(tiny_weights, passes):
    loaded(build_small_entailment, tiny_weights).predict([ImageQueries(picture(), EXPRESSIONS, "", "same")] * 3)
    assert sum(passes) == 1


def test_bfloat16_answers_nearly_the_same_and_is_the_configs_to_say(tiny_weights, passes):
    exact = loaded(build_small_grounder, tiny_weights)
    fast = build_small_grounder(size=64, bf16=True, **SIZES).from_bytes(exact.to_bytes())
    queries = [ImageQueries(picture(), EXPRESSIONS, "", "key")]
    boxes, near = exact.predict(queries)[0], fast.predict(queries)[0]
    # Equal weights, yet two passes: what bfloat16 encodes is not handed to a component that asks for single precision.
    assert sum(passes) == 2 and not np.array_equal(boxes, near)
    assert np.abs(boxes[:, :4] - near[:, :4]).max() < 4 and np.abs(boxes[:, 4] - near[:, 4]).max() < 0.05


@pytest.mark.parametrize("factory", ["rivega_entailment", "rivega_grounder"])
def test_names_types_and_expansions_reach_the_network_whatever_they_hold(tiny_weights, factory, monkeypatch):
    clear_store()
    nlp = blank_nlp()
    architecture = "rivega.SmallEntailment.v1" if factory == "rivega_entailment" else "rivega.SmallGrounder.v1"
    pipe = nlp.add_pipe(factory, config={"model": {"@architectures": architecture, "size": 64, **SIZES}})
    pipe.initialize(list, nlp=nlp, weights=str(tiny_weights))
    read: list[list[str]] = []
    types: list[int] = []
    tokenize, encode = PhraseEncoder.tokenize, WordPieces.encode

    def spy(self, asked):
        found = tokenize(self, asked)
        types.extend(found[2].tolist())
        return found

    monkeypatch.setattr(PhraseEncoder, "tokenize", spy)
    monkeypatch.setattr(WordPieces, "encode", lambda self, text: read.append(text) or encode(self, text))
    doc = pipe(odd_post(nlp.vocab, picture()))
    assert doc._.rivega_errors == []
    assert read == [part for name, _, expansion, *_ in ODD_ENTITIES for part in (name, expansion)]
    assert types == [1 + TYPES.index(kind) for kind in ("OTHER", "PER", "OTHER", "ORG")]
    pipe.expression = "expansion"
    read.clear(), types.clear()
    pipe(odd_post(nlp.vocab, picture()))
    # Plain words have neither name nor type, also where they look like "Name (TYPE)". Ada has no expansion, and is remembered.
    assert read == ["", ODD_ENTITIES[0][2], "", ODD_ENTITIES[2][2], "", ODD_ENTITIES[3][2]] and types == [0, 0, 0]


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", b"\xff" * 64])
def test_a_file_that_holds_no_weights_is_told(tmp_path, content):
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    with pytest.raises(RivegaError, match=r"network\.safetensors is not weights of the small vision network"):
        loaded(build_small_grounder, path)
