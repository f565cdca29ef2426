"""`rivega_transformer`: what spacy-transformers does for a pipeline, and the pipelines it saved, without it."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import spacy
from blank import blank_nlp
from spacy.tokens import Doc
from thinc.api import reduce_mean

from rivega_spacy.ner.shared_encoder.component import SharedTransformer, by_length
from rivega_spacy.ner.shared_encoder.data import TransformerData
from rivega_spacy.ner.shared_encoder.pooling import token_vectors
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.versions import installed, spacy_transformers_fits

from .conftest import make_examples, make_transformer

needs_spacy_transformers = pytest.mark.skipif(
    not spacy_transformers_fits(), reason="spacy-transformers is not installed, or does not fit the installed transformers"
)
TEXTS = ["Kevin Durant enters Oracle Arena", "Nike rocks Paris", "", "the lions of Detroit play tonight"]


def pipeline(folder, factory="rivega_transformer", listener="rivega.TransformerListener.v1"):
    spacy.util.fix_random_seed(0)
    nlp = blank_nlp()
    model = {"@architectures": "rivega.KnowledgeTransformerModel.v1", "name": str(folder)}
    nlp.add_pipe(factory, name="transformer", config={"model": model})
    tok2vec = {"@architectures": listener, "grad_factor": 1.0, "pooling": {"@layers": "reduce_mean.v1"}}
    head = {"@architectures": "rivega.CRFTagger.v1", "tok2vec": tok2vec, "learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0}
    nlp.add_pipe("rivega_ner", config={"model": head})
    return nlp


def trained(nlp, steps=4):
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    losses = [nlp.update(make_examples(nlp), sgd=optimizer, drop=0.0) for _ in range(steps)]
    return nlp, losses


def scores(nlp):
    return [[(ent.text, ent.label_, ent._.ner_score) for ent in doc.ents] for doc in nlp.pipe(TEXTS)]


@pytest.mark.slow
def test_it_learns_with_the_tagger_and_loads_again(encoder_dir, tmp_path):
    nlp, losses = trained(pipeline(encoder_dir), steps=30)
    assert isinstance(nlp.get_pipe("transformer"), SharedTransformer)
    assert losses[-1]["rivega_ner"] < 0.5 * losses[0]["rivega_ner"] and losses[-1]["transformer"] > 0
    assert any(scores(nlp))
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    # Weights are saved in half precision.
    for before, after in zip(scores(nlp), scores(again)):
        assert [row[:2] for row in before] == [row[:2] for row in after]


@pytest.mark.slow
@needs_spacy_transformers
@pytest.mark.parametrize("listener", ["rivega.TransformerListener.v1", "spacy-transformers.TransformerListener.v1"])
def test_it_takes_the_steps_of_spacy_transformers(encoder_dir, listener):
    ours, found = trained(pipeline(encoder_dir, listener=listener))
    theirs, expected = trained(pipeline(encoder_dir, "transformer", "spacy-transformers.TransformerListener.v1"))
    for one, other in zip(found, expected):
        assert one == pytest.approx(other, rel=1e-4)
    assert scores(ours) == scores(theirs)


@pytest.mark.slow
@needs_spacy_transformers
@pytest.mark.parametrize("saved,read", [("transformer", "rivega_transformer"), ("rivega_transformer", "transformer")])
def test_each_reads_what_the_other_saved(encoder_dir, tmp_path, saved, read):
    nlp, _ = trained(pipeline(encoder_dir, saved, "spacy-transformers.TransformerListener.v1"))
    nlp.to_disk(tmp_path)
    config = tmp_path / "config.cfg"
    config.write_text(config.read_text().replace(f'factory = "{saved}"', f'factory = "{read}"'))
    found = spacy.load(tmp_path)
    assert found.get_pipe_meta("transformer").factory == read
    for before, after in zip(scores(spacy.load(_as_saved(tmp_path, saved, read))), scores(found)):
        assert before == after


def _as_saved(path, saved, read):
    config = path / "config.cfg"
    config.write_text(config.read_text().replace(f'factory = "{read}"', f'factory = "{saved}"'))
    return path


@needs_spacy_transformers
def test_token_vectors_and_their_gradients_are_those_of_spacy_transformers(encoder_dir):
    from spacy_transformers.layers import trfs2arrays

    nlp = blank_nlp()
    docs = [nlp.make_doc(text) for text in [*TEXTS, " "]]
    data = make_transformer(encoder_dir).predict(docs).doc_data
    rng = np.random.default_rng(0)
    answers = []
    for layer in (token_vectors(reduce_mean(), 0.5), trfs2arrays(reduce_mean(), 0.5)):
        vectors, back = layer(data, True)
        rng = np.random.default_rng(0)
        gradients = back([rng.normal(size=rows.shape).astype("f") for rows in vectors])
        answers.append((vectors, [gradient.tensors[0] for gradient in gradients]))
    (ours, up), (theirs, expected) = answers
    for one, other in zip([*ours, *up], [*theirs, *expected], strict=True):
        assert one.size == other.size and np.allclose(one.reshape(other.shape), other, atol=1e-6)


@pytest.mark.slow
def test_an_encoder_of_the_tagger_s_own_gives_the_same(encoder_dir, tmp_path):
    nlp, _ = trained(pipeline(encoder_dir))
    before = scores(nlp)
    nlp.replace_listeners("transformer", "rivega_ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    assert [[row[:2] for row in post] for post in scores(nlp)] == [[row[:2] for row in post] for post in before]
    nlp.to_disk(tmp_path)
    assert len(scores(spacy.load(tmp_path))) == len(TEXTS)


def test_posts_of_any_length_come_back_in_order_within_the_limit():
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("a " * count) for count in (3, 1, 0, 9, 2, 40)]
    groups = by_length(docs, 10)
    assert sorted(id(doc) for group in groups for doc in group) == sorted(map(id, docs))
    assert all(len(group) == 1 or len(group) * max(map(len, group)) <= 10 for group in groups)


def test_listeners_say_what_is_wrong(encoder_dir):
    nlp, _ = trained(pipeline(encoder_dir), steps=1)
    [listener] = nlp.get_pipe("transformer").listeners
    docs = [nlp.make_doc("Nike rocks")]
    with pytest.raises(RivegaError, match="E902.*annotating_components"):
        listener(docs, True)
    listener.receive(1, [], lambda gradients: [])
    with pytest.raises(RivegaError, match="E901"):
        listener(docs, True)
    # Without the encoder's output there are zeros, as many as tokens.
    assert nlp.get_pipe("transformer").remove_listener(listener, "rivega_ner")
    listener.forget()
    assert listener(docs, False)[0][0].model_output["last_hidden_state"].shape == (1, 2, 16)


def test_output_survives_bytes(encoder_dir):
    from rivega_spacy.ner.shared_encoder.data import read_encoded

    nlp = blank_nlp()
    doc = nlp.make_doc("Nike rocks Paris")
    made = make_transformer(encoder_dir).predict([doc]).doc_data[0]
    own = TransformerData.from_dict({**made.to_dict(), "model_output": dict(made.model_output)})
    assert isinstance(pipeline(encoder_dir).get_pipe("transformer"), SharedTransformer)
    doc._.trf_data = own
    if not spacy_transformers_fits():
        read_encoded()
    back = Doc(nlp.vocab).from_bytes(doc.to_bytes())._.trf_data
    assert np.array_equal(back.model_output["last_hidden_state"], made.model_output["last_hidden_state"])
    assert back.width == 16 and np.array_equal(back.align.lengths, made.align.lengths)


ALONE = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "spacy_transformers":
            raise ModuleNotFoundError(name)

import rivega_spacy.post.versions as versions
versions.spacy_transformers_fits = lambda: False
sys.meta_path.insert(0, Absent())
import spacy
nlp = spacy.load("rivega_twitter", exclude=["rivega_entailment", "rivega_grounder", "rivega_segmenter"])
assert type(nlp.get_pipe("transformer")).__module__.startswith("rivega_spacy."), type(nlp.get_pipe("transformer"))
for doc in nlp.pipe(sys.argv[1:]):
    print([(ent.text, ent.label_, ent._.ner_score) for ent in doc.ents])
assert "spacy_transformers" not in sys.modules
"""


@pytest.mark.slow
@needs_spacy_transformers
def test_the_shipped_pipeline_answers_the_same_without_spacy_transformers():
    pytest.importorskip("rivega_twitter")
    texts = ["Kevin Durant enters Oracle Arena in Oakland with Nike", "Eileen Collins before her flight for NASA", "nothing here"]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(ALONE), *texts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    nlp = spacy.load("rivega_twitter", exclude=["rivega_entailment", "rivega_grounder", "rivega_segmenter"])
    expected = [str([(ent.text, ent.label_, ent._.ner_score) for ent in doc.ents]) for doc in nlp.pipe(texts)]
    assert done.stdout.splitlines() == expected and "PER" in expected[0]


def test_versions_are_numbers():
    assert installed("spacy")[:1] == (3,) and installed("no-such-package-here") == ()
