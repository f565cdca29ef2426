"""Worker processes that are spawned, as on macOS and Windows: everything that spaCy sends them can be pickled."""

import multiprocessing
import pickle

import numpy as np
import pytest
import spacy
import spacy.language
from vision_tiny import SIZES, tiny_weights  # noqa: F401

from rivega_spacy.post.extensions import DOC_EXTENSIONS, SPAN_EXTENSIONS

CHAT = {"@misc": "rivega.OpenAIChat.v1", "model": "m", "base_url": "http://127.0.0.1:9/v1", "requests_per_minute": 60}


def configs(folder):
    """Name -> (factory, config) of every part that needs no weights to be made."""
    (folder / "sam.pth").touch()
    store = {"@misc": "rivega.AnswerStore.v1", "path": str(folder / "answers.sqlite")}
    encoders = {"text_encoder": {"@misc": "rivega.HashedTextEncoder.v1"}, "image_encoder": {"@misc": "rivega.ColourEncoder.v1"}}
    return {
        "offline expander": ("rivega_expander", {}),
        "model's expander": ("rivega_expander", {"model": {"@misc": "rivega.LLMExpander.v1", "model": CHAT, "store": store}}),
        "captioner": (
            "rivega_captioner",
            {"model": {**CHAT, "budget": {"@misc": "rivega.Budget.v1", "requests": 3}}, "store": store},
        ),
        "similar examples": ("rivega_knowledge", {"model": CHAT, "examples": {"@misc": "rivega.MSEA.v1", **encoders}}),
        "fixed examples": ("rivega_knowledge", {"model": CHAT, "examples": {"@misc": "rivega.FixedExamples.v1"}}),
        "no examples": ("rivega_knowledge", {"model": CHAT, "examples": {"@misc": "rivega.NoExamples.v1"}}),
        "vectors of the pipeline": (
            "rivega_knowledge",
            {"model": CHAT, "examples": {"@misc": "rivega.MSEA.v1", "text_encoder": {"@misc": "rivega.DocVectors.v1"}}},
        ),
        "every scorer": ("rivega_grounder", {"scorer": {"@scorers": "rivega.post_scorer.v1"}}),
        "SmallSegmenter.v2": ("rivega_segmenter", {}),
        "SmallSegmenter.v3": ("rivega_segmenter", {"model": {"@architectures": "rivega.SmallSegmenter.v3"}}),
        "GrabCut": ("rivega_segmenter", {"model": {"@misc": "rivega.GrabCut.v1"}}),
        "HFSam": ("rivega_segmenter", {"model": {"@misc": "rivega.HFSam.v1", "name": "somewhere"}}),
        "SAM": ("rivega_segmenter", {"model": {"@misc": "rivega.SAM.v1", "checkpoint": str(folder / "sam.pth")}}),
        "CLIPSeg": ("rivega_text_segmenter", {}),
        "tagger": ("rivega_ner", {}),
    }


@pytest.mark.slow
def test_every_part_can_be_pickled(tmp_path):
    for name, (factory, config) in configs(tmp_path).items():
        pipe = spacy.blank("rivega").create_pipe(factory, config=config)
        again = pickle.loads(pickle.dumps(pipe))
        assert type(again) is type(pipe) and again.name == pipe.name, name
        assert getattr(again, "cfg", None) == getattr(pipe, "cfg", None), name


def test_extensions_can_be_pickled():
    assert set(pickle.loads(pickle.dumps((DOC_EXTENSIONS, SPAN_EXTENSIONS)))[0]) == set(DOC_EXTENSIONS)


@pytest.mark.slow
@pytest.mark.skipif(
    not spacy.util.is_package("rivega_twitter"), reason="rivega_twitter is not installed: pip install ./assets/rivega_twitter"
)
def test_the_shipped_pipeline_can_be_pickled():
    nlp = spacy.load("rivega_twitter")
    text = "Astronaut Eileen Collins before her flight for NASA"
    wanted = [(ent.text, ent._.ner_score) for ent in nlp(text).ents]
    doc = nlp.make_doc(text)
    for pipe in pickle.loads(pickle.dumps([pipe for _, pipe in nlp.pipeline])):
        doc = pipe(doc)
    assert [(ent.text, ent._.ner_score) for ent in doc.ents] == wanted and wanted


@pytest.mark.slow
def test_two_spawned_workers_say_what_one_process_says(tiny_weights, monkeypatch):  # noqa: F811
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.add_pipe("rivega_expander")
    for name, network in (("rivega_entailment", "SmallEntailment"), ("rivega_grounder", "SmallGrounder")):
        nlp.add_pipe(name, config={"model": {"@architectures": f"rivega.{network}.v1", "size": 64, **SIZES}})
        nlp.get_pipe(name).model.attrs["load"](nlp.get_pipe(name).model, tiny_weights)
    rng = np.random.default_rng(0)
    posts = [(f"Ada {n}", {"image": rng.integers(0, 255, (40, 50, 3)).astype("uint8"), "caption": "a square"}) for n in range(4)]

    def results(**options):
        docs = [doc for doc, _ in nlp.pipe(posts, as_tuples=True, batch_size=2, **options)]
        return [
            (d.text, d._.caption, d.ents[0]._.expansion, d.ents[0]._.groundable_score, d.ents[0]._.boxes, d._.rivega_errors)
            for d in docs
        ]

    wanted = results()
    assert all(errors == [] and score is not None for *_, score, _, errors in wanted)
    # spaCy takes its processes from this module.
    monkeypatch.setattr(spacy.language, "mp", multiprocessing.get_context("spawn"))
    found = results(n_process=2)
    assert [row[:3] for row in found] == [row[:3] for row in wanted] and all(row[5] == [] for row in found)
    for one, two in zip(found, wanted):
        np.testing.assert_allclose(one[3], two[3], atol=1e-5)
        np.testing.assert_allclose(one[4], two[4], atol=1e-2)
