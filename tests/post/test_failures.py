"""What fails: a post's trouble goes to spaCy's error handler, which by default notes it; a pipeline's trouble is raised at once."""

import inspect
import logging
from importlib.metadata import entry_points

import numpy as np
import pytest
import torch
from blank import blank_nlp
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.util import raise_error
from thinc.api import Model

from rivega_spacy.captioning.component import Captioner
from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.expansion.component import EntityExpander
from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.knowledge.component import KnowledgeRefiner
from rivega_spacy.knowledge.retriever import KnowledgeRetriever
from rivega_spacy.llm.base import Answer, finished
from rivega_spacy.ner.component import KnowledgeNER
from rivega_spacy.ner.crf import ChainScores
from rivega_spacy.ner.shared_encoder.carrier import FullTransformerBatch
from rivega_spacy.ner.shared_encoder.component import SharedTransformer
from rivega_spacy.ner.tagger import TaggerScores
from rivega_spacy.ner.token_classifier import HFNER
from rivega_spacy.post.errors import SetupError
from rivega_spacy.post.failures import _HANDED_OVER
from rivega_spacy.post.images import read_image
from rivega_spacy.segmentation.component import BoxSegmenter
from rivega_spacy.segmentation.text_component import TextSegmenter

RNG = np.random.default_rng(0)


def bad_if_large(size):
    if size > 30:
        raise KeyError("too large")


def components(vocab):
    """One of every class of components of ours, each of which fails on the post with the large picture, or the long text."""

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

    def tag(docs):
        for doc in docs:
            bad_if_large(len(doc.text))
        return [[] for _ in docs]

    def encode(model, docs, is_train):
        tag(docs)
        return FullTransformerBatch.empty(len(docs)), list

    def emit(model, docs, is_train):
        tag(docs)
        chains = ChainScores(
            torch.zeros(len(docs), 1, 3), torch.ones(len(docs), dtype=torch.long), *map(torch.zeros, (3, 3, (3, 3)))
        )
        return TaggerScores(chains, [1] * len(docs)), list

    def look_up(docs):
        tag(docs)
        return ["what is known of it" for _ in docs]

    def choose(docs):
        return [[] for _ in docs]

    tagger = KnowledgeNER(vocab, Model("emit", emit))
    tagger.add_label("PER")
    return [
        VisualEntailment(vocab, Model("judge", judge)),
        VisualGrounder(vocab, Model("locate", locate)),
        BoxSegmenter(vocab, segment),
        TextSegmenter(vocab, segment_text),
        EntityExpander(vocab, expand),
        HFNER(vocab, tag, overwrite_ents=True),
        KnowledgeRetriever(vocab, look_up),
        SharedTransformer(vocab, Model("encode", encode)),
        tagger,
        KnowledgeRefiner(vocab, Asked(), choose),
        Captioner(vocab, Asked()),
    ]


class Asked:
    """A language model that is not reached for a long text or a large picture."""

    name, recorded = "asked", False

    def identity(self):
        return {"name": self.name}

    def submit(self, requests):
        for request in requests:
            last = request.messages[-1]
            bad_if_large(len(read_image(last.images[0].source)) if last.images else 40 * ("Bertha" in last.text))
        return [finished(Answer("Named entities: none.")) for _ in requests]

    def close(self):
        """Nothing to close."""


KINDS = [
    "entailment",
    "grounder",
    "segmenter",
    "text segmenter",
    "expander",
    "hf_ner",
    "retriever",
    "transformer",
    "ner",
    "knowledge",
    "captioner",
]


def test_every_class_of_components_is_tried():
    found = {type(pipe) for pipe in components(blank_nlp().vocab)}
    listed = {inspect.getmodule(factory) for factory in factories()}
    defined = {
        kind
        for module in listed
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Pipe) and kind.__module__ == module.__name__
    }
    assert found == defined and len(found) == len(KINDS)


def factories():
    return [point.load() for point in entry_points(group="spacy_factories") if point.name.startswith("rivega_")]


def posts(vocab):
    for name, side in (("Ada", 20), ("Bertha" * 9, 40), ("Cleo", 20)):
        doc = Doc(vocab, words=[name], spaces=[False])
        doc.ents = [Span(doc, 0, 1, label="PER")]
        doc._.image = RNG.integers(0, 255, (side, side, 3)).astype("uint8")
        doc.ents[0]._.boxes = [[1, 1, 10, 10]]
        yield doc


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_by_default_the_reason_is_noted_and_the_traceback_logged(number, caplog):
    nlp = blank_nlp()
    pipe = components(nlp.vocab)[number]
    with caplog.at_level(logging.WARNING, logger="rivega_spacy"):
        docs = list(pipe.pipe(posts(nlp.vocab), batch_size=3))
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1, 0]
    assert docs[1]._.rivega_errors[0]["component"] == pipe.name and "too large" in docs[1]._.rivega_errors[0]["message"]
    record = next(record for record in caplog.records if record.name.startswith("rivega_spacy"))
    assert record.exc_info[0] is KeyError


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_a_handler_of_the_users_is_called_instead(number):
    nlp = blank_nlp()
    pipe = components(nlp.vocab)[number]
    calls = []
    pipe.set_error_handler(lambda name, proc, docs, error: calls.append((name, proc, [doc.text for doc in docs], type(error))))
    docs = list(pipe.pipe(posts(nlp.vocab), batch_size=3))
    assert calls == [(pipe.name, pipe, ["Bertha" * 9], KeyError)]
    # As for every component of spaCy, the stream goes on without what failed.
    assert [doc.text for doc in docs] == ["Ada", "Cleo"] and all(doc._.rivega_errors == [] for doc in docs)
    single = pipe(list(posts(nlp.vocab))[1])
    assert len(calls) == 2 and single.text == "Bertha" * 9
    # Handed over once, and not for ever: whoever goes on with the post goes on with all of it.
    assert _HANDED_OVER not in single.user_data
    pipe.set_error_handler(raise_error)
    with pytest.raises(KeyError):
        list(pipe.pipe(posts(nlp.vocab)))


def test_set_error_handler_of_the_pipeline_reaches_every_component():
    nlp = blank_nlp()
    nlp.add_pipe("rivega_expander")
    nlp.get_pipe("rivega_expander").model = lambda requests: [bad_if_large(len(request.text)) for request in requests]
    calls = []
    nlp.set_error_handler(lambda *call: calls.append(call))
    assert [doc.text for doc in nlp.pipe(posts(nlp.vocab))] == ["Ada", "Cleo"] and len(calls) == 1


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
