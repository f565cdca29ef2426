"""`rivega.JoinedCorpus.v1`: several corpora as one, and as much of each as is wanted."""

import random
from collections import Counter
from typing import Any

import pytest
from blank import NLP
from spacy.training import Example
from spacy.util import registry

from rivega_spacy.corpus.joined import make_joined_corpus
from rivega_spacy.post.errors import RivegaError


def corpus(word: str, count: int) -> Any:
    def read(nlp: Any) -> Any:
        for number in range(count):
            doc = nlp.make_doc(f"{word} {number}")
            yield Example(doc, doc.copy())

    return read


def texts(reader: Any) -> list[str]:
    return [example.reference.text for example in reader(NLP)]


def test_corpora_are_mixed_and_shares_drawn_anew() -> None:
    random.seed(0)
    reader = make_joined_corpus({"a": corpus("a", 300), "b": corpus("b", 300), "c": corpus("c", 20)}, {"b": 0.5, "c": 2.0})
    first, second = texts(reader), texts(reader)
    for found in (first, second):
        counts = Counter(text.split()[0] for text in found)
        assert counts["a"] == 300 and counts["c"] == 40 and 100 < counts["b"] < 200
        assert found != sorted(found)
    assert {text for text in first if text[0] == "b"} != {text for text in second if text[0] == "b"}
    repeated = [example for example in reader(NLP) if example.reference.text == "c 7"]
    assert len(repeated) == 2 and repeated[0].predicted is not repeated[1].predicted


def test_without_shuffling_one_comes_after_the_other() -> None:
    reader = make_joined_corpus({"b": corpus("b", 2), "a": corpus("a", 2)}, {"b": 0.0}, shuffle=False)
    assert texts(reader) == ["a 0", "a 1"]
    assert texts(make_joined_corpus({"b": corpus("b", 2), "a": corpus("a", 1)}, shuffle=False)) == ["b 0", "b 1", "a 0"]


@pytest.mark.parametrize("shares", [{"x": 1.0}, {"a": -0.5}])
def test_impossible_shares_are_refused(shares: Any) -> None:
    with pytest.raises(RivegaError, match="corpora, a, b, a share"):
        make_joined_corpus({"a": corpus("a", 1), "b": corpus("b", 1)}, shares)
    with pytest.raises(RivegaError, match="corpora, none"):
        make_joined_corpus({})


def test_a_config_can_name_it() -> None:
    assert registry.readers.get("rivega.JoinedCorpus.v1") is make_joined_corpus
