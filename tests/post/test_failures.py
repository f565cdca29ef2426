"""What fails: a post's trouble goes to spaCy's error handler, which by default notes it; a pipeline's trouble is raised at once."""

import logging

import numpy as np
import pytest
from blank import blank_nlp
from spacy.tokens import Doc, Span
from spacy.util import raise_error
from thinc.api import Model

from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.expansion.component import EntityExpander
from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.post.errors import SetupError
from rivega_spacy.segmentation.component import BoxSegmenter
from rivega_spacy.segmentation.text_component import TextSegmenter

RNG = np.random.default_rng(0)


def bad_if_large(size):
    if size > 30:
        raise KeyError("too large")


def components(vocab):
    """Every kind of component of ours, each of which fails on the post with the large picture, or the long text."""

    def judge(model, batch, is_train):
        for query in batch:
            bad_if_large(len(query.image))
        return [np.ones(len(query.expressions), "f") for query in batch], list

    def locate(model, batch, is_train):
        for query in batch:
            bad_if_large(len(query.image))
        return [np.ones((len(query.expressions), 5), "f") for query in batch], list

    def segment(prompts):
        for image, _ in prompts:
            bad_if_large(len(image))
        return [[(np.ones(image.shape[:2], bool), 1.0) for _ in boxes] for image, boxes in prompts]

    def segment_text(batch):
        for query in batch:
            bad_if_large(len(query.image))
        return [[(np.ones(query.image.shape[:2], bool), 1.0) for _ in query.expressions] for query in batch]

    def expand(requests):
        for request in requests:
            bad_if_large(len(request.text))
        return ["a person" for _ in requests]

    return [
        VisualEntailment(vocab, Model("judge", judge)),
        VisualGrounder(vocab, Model("locate", locate)),
        BoxSegmenter(vocab, segment),
        TextSegmenter(vocab, segment_text),
        EntityExpander(vocab, expand),
    ]


def posts(vocab):
    for name, side in (("Ada", 20), ("Bertha" * 9, 40), ("Cleo", 20)):
        doc = Doc(vocab, words=[name], spaces=[False])
        doc.ents = [Span(doc, 0, 1, label="PER")]
        doc._.image = RNG.integers(0, 255, (side, side, 3)).astype("uint8")
        doc.ents[0]._.boxes = [[1, 1, 10, 10]]
        yield doc


@pytest.mark.parametrize("number", range(5))
def test_by_default_the_reason_is_noted_and_the_traceback_logged(number, caplog):
    nlp = blank_nlp()
    pipe = components(nlp.vocab)[number]
    with caplog.at_level(logging.WARNING, logger="rivega_spacy"):
        docs = list(pipe.pipe(posts(nlp.vocab), batch_size=1 if number == 4 else 3))
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1, 0]
    assert docs[1]._.rivega_errors[0]["component"] == pipe.name and "too large" in docs[1]._.rivega_errors[0]["message"]
    record = next(record for record in caplog.records if record.name.startswith("rivega_spacy"))
    assert record.exc_info[0] is KeyError


@pytest.mark.parametrize("number", range(5))
def test_a_handler_of_the_users_is_called_instead(number):
    nlp = blank_nlp()
    pipe = components(nlp.vocab)[number]
    calls = []
    pipe.set_error_handler(lambda name, proc, docs, error: calls.append((name, proc, [doc.text for doc in docs], type(error))))
    docs = list(pipe.pipe(posts(nlp.vocab), batch_size=1 if number == 4 else 3))
    assert calls == [(pipe.name, pipe, ["Bertha" * 9], KeyError)]
    # As for every component of spaCy, the stream goes on without what failed.
    assert [doc.text for doc in docs] == ["Ada", "Cleo"] and all(doc._.rivega_errors == [] for doc in docs)
    single = pipe(list(posts(nlp.vocab))[1])
    assert len(calls) == 2 and single.text == "Bertha" * 9
    pipe.set_error_handler(raise_error)
    with pytest.raises(KeyError):
        list(pipe.pipe(posts(nlp.vocab)))


def test_set_error_handler_of_the_pipeline_reaches_every_component():
    nlp = blank_nlp()
    nlp.add_pipe("rivega_expander")
    nlp.get_pipe("rivega_expander").model = lambda requests: [bad_if_large(len(request.text)) for request in requests]
    calls = []
    nlp.set_error_handler(lambda *call: calls.append(call))
    assert [doc.text for doc in nlp.pipe(posts(nlp.vocab), batch_size=1)] == ["Ada", "Cleo"] and len(calls) == 1


class Counting:
    """A segmenter without weights, which counts how often they are asked for."""

    def __init__(self, tries):
        self.tries = tries

    def __call__(self, prompts):
        self.tries.append(1)
        raise SetupError("no weights")


@pytest.mark.parametrize("handler", [None, raise_error, lambda *call: None])
def test_errors_of_setup_are_raised_once_and_not_noted(handler):
    nlp = blank_nlp()
    tries = []
    pipe = BoxSegmenter(nlp.vocab, Counting(tries))
    if handler is not None:
        pipe.set_error_handler(handler)
    docs = list(posts(nlp.vocab))
    with pytest.raises(SetupError, match="no weights"):
        list(pipe.pipe(docs, batch_size=2))
    assert len(tries) == 1 and all(doc._.rivega_errors == [] for doc in docs)


def untrained(nlp, folder):
    """Components that cannot work: no weights, nothing at the path, no such device, no such extra, no key."""
    small = {"@architectures": "rivega.SmallGrounder.v1"}
    (folder / "config.json").write_text("{}")
    chat = {"@misc": "rivega.OpenAIChat.v1", "model": "m", "api_key_env": "RIVEGA_NO_SUCH_KEY"}
    local = {"@misc": "rivega.TransformersChat.v1", "path": str(folder)}
    return [
        ("rivega_grounder", {"model": small}),
        ("rivega_grounder", {"model": {"@architectures": "rivega.OWLv2.v1"}}),
        ("rivega_grounder", {"model": {"@architectures": "rivega.OWLv2.v1", "path": str(folder)}}),
        (
            "rivega_entailment",
            {"model": {"@architectures": "rivega.GroundingScore.v1", "grounder": {"@architectures": "rivega.OWLv2.v1"}}},
        ),
        ("rivega_entailment", {"model": {"@architectures": "rivega.OFAEntailment.v1", "path": str(folder / "gone.pt")}}),
        ("rivega_segmenter", {"model": {"@misc": "rivega.HFSam.v1", "name": str(folder), "local_files_only": True}}),
        ("rivega_text_segmenter", {"model": {"@misc": "rivega.CLIPSeg.v1", "path": str(folder)}}),
        ("rivega_captioner", {"model": chat}),
        ("rivega_captioner", {"model": local}),
        ("rivega_knowledge", {"model": local}),
        ("rivega_expander", {"model": {"@misc": "rivega.LLMExpander.v1", "model": chat}}),
    ]


@pytest.mark.parametrize("number", range(11))
def test_a_pipeline_that_cannot_work_says_so_at_the_first_post(number, tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    nlp = blank_nlp()
    factory, config = untrained(nlp, tmp_path)[number]
    nlp.add_pipe(factory, config=config)
    docs = list(posts(nlp.vocab))
    with pytest.raises(SetupError):
        list(nlp.pipe(docs))
    with pytest.raises(SetupError):
        nlp(docs[0])
    assert all(doc._.rivega_errors == [] for doc in docs)
