"""`sources` of `rivega.Corpus.v1`: one example for each model in training, one named model for measuring."""

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from blank import NLP

from rivega_spacy.cli import main
from rivega_spacy.corpus.reader import PostCorpus
from rivega_spacy.corpus.sources import source_names, take_source
from rivega_spacy.post.errors import RivegaError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rows = [
        {
            "id": "1",
            "tokens": ["Ann", "in", "Rome"],
            "tags": ["B-PER", "O", "B-LOC"],
            "knowledge": "main 1",
            "knowledge_by_model": {"gpt": "g1", "llama": "l1"},
            "expansions_by_model": {"gpt": ["a woman", None], "llama": ["too few"]},
        },
        {"id": "2", "tokens": ["Bob"], "tags": ["B-PER"], "knowledge": "main 2", "knowledge_by_model": {"llama": "l2", "bad": 3}},
        {"id": "3", "tokens": ["none"], "tags": ["O"], "knowledge": "main 3"},
    ]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["convert", str(tmp_path / "posts.jsonl"), str(tmp_path / "posts.spacy")]) == 0
    return tmp_path / "posts.spacy"


def seen(path: Path, **options: Any) -> list[str | None]:
    examples = list(PostCorpus(path, **{"sources": "all", **options})(NLP))
    assert [e.predicted._.knowledge for e in examples] == [e.reference._.knowledge for e in examples]
    return [example.predicted._.knowledge for example in examples]


def test_training_sees_every_source_of_a_post(corpus: Path) -> None:
    assert seen(corpus) == ["g1", "l1", "l2", "main 3"]
    examples = list(PostCorpus(corpus, sources="all")(NLP))
    assert [example.reference._.knowledge for example in examples] == ["g1", "l1", "l2", "main 3"]
    assert [len(example.reference.ents) for example in examples] == [2, 2, 1, 0]
    assert [[ent._.expansion for ent in example.reference.ents] for example in examples[:2]] == [["a woman", None], [None, None]]
    assert all(len(example.predicted.ents) == 0 for example in examples)


def test_measuring_sees_one_named_source(corpus: Path) -> None:
    assert seen(corpus, sources=["llama"]) == ["l1", "l2", "main 3"]
    assert seen(corpus, sources=["gpt"]) == ["g1", "main 2", "main 3"]


def test_other_options_are_those_of_the_plain_corpus(corpus: Path) -> None:
    assert seen(corpus, knowledge="absent") == [None] * 3
    assert seen(corpus, knowledge="alternate") == ["g1", None, "l2", None]
    assert seen(corpus, limit=1) == ["g1", "l1"]
    assert sorted(str(k) for k in seen(corpus, shuffle=True)) == ["g1", "l1", "l2", "main 3"]


@pytest.mark.parametrize("sources", [[], ["a", "a"]])
def test_impossible_sources_are_refused(corpus: Path, sources: list[str]) -> None:
    with pytest.raises(RivegaError, match="sources"):
        PostCorpus(corpus, sources=sources)


def test_taking_a_source_changes_no_post(corpus: Path) -> None:
    doc = next(iter(PostCorpus(corpus, sources=["gpt"])(NLP))).reference
    assert source_names(doc) == ["gpt", "llama"]
    other = take_source(doc, "llama")
    assert (other._.knowledge, doc._.knowledge) == ("l1", "g1")
    assert take_source(doc, "nobody")._.knowledge is None


def test_a_config_asks_for_all_sources_by_one_word(corpus: Path) -> None:
    reader = {"@readers": "rivega.Corpus.v1", "path": str(corpus), "sources": "all"}
    examples = spacy.registry.resolve({"reader": reader})["reader"](NLP)
    assert [example.reference._.knowledge for example in examples] == ["g1", "l1", "l2", "main 3"]
