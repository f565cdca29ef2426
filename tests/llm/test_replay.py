"""`rivega.Replay.v1`: recorded answers, from the store and from JSON lines."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.asking import Asker
from rivega_spacy.llm.base import Answer, ChatRequest
from rivega_spacy.llm.replay import Replay, make_replay
from rivega_spacy.llm.store import AnswerStore
from rivega_spacy.post.errors import RivegaError

from .test_asking import Scripted


def texts(model: Replay, requests: list[ChatRequest]) -> list[str | None]:
    return [future.result().text for future in model.submit(requests)]


def plain(answer: Answer) -> str:
    return answer.text or ""


@pytest.fixture
def recorded(tmp_path: Path, ask: Callable[..., ChatRequest]) -> AnswerStore:
    """Two models' answers to one question, one model's to another."""
    store = AnswerStore(tmp_path / "answers.sqlite")
    Asker(Scripted(lambda request: "from one", "one"), store, "").start([ask("a"), ask("b")], plain).results()
    Asker(Scripted(lambda request: "from two", "two"), store, "").start([ask("a")], plain).results()
    return store


def test_from_a_store(recorded: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    assert texts(Replay(recorded.path, source="one"), [ask("a"), ask("b"), ask("c")]) == ["from one", "from one", None]
    assert texts(Replay(recorded.path, source="two"), [ask("a"), ask("b")]) == ["from two", None]
    assert texts(make_replay(recorded.path), [ask("a"), ask("b")]) == ["from two", "from one"]


def test_from_an_exported_store(recorded: AnswerStore, ask: Callable[..., ChatRequest], tmp_path: Path) -> None:
    recorded.export(tmp_path / "answers.jsonl")
    assert texts(Replay(str(tmp_path / "answers.jsonl"), source="one"), [ask("a"), ask("b"), ask("c")]) == [
        "from one",
        "from one",
        None,
    ]


def test_from_posts_with_knowledge(ask: Callable[..., ChatRequest], tmp_path: Path) -> None:
    rows = [
        {"id": "7", "tokens": ["a"], "knowledge": "k7", "caption_blip2": "c7", "description_owl": "d7"},
        {"id": 8, "knowledge": "k8", "knowledge_by_model": {"gpt": "g8"}},
        {"id": "9", "text": "Bob", "type": "PER", "expansion": "A man."},
        {"id": "10", "knowledge": ""},
    ]
    path = tmp_path / "posts.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.write("\n".join([*map(json.dumps, rows), "no json"]))
    model = Replay(str(path))
    asked = [
        ask(post="7"),
        ask(post="8"),
        ask(post="10"),
        ask(post=""),
        ask(post="7", prompt="caption"),
        ask(post="7", prompt="description"),
    ]
    assert texts(model, asked) == ["k7", "k8", None, None, "c7", "d7"]
    assert texts(model, [ask(post="9", prompt="expansion", entity="Bob"), ask(post="9", prompt="expansion", entity="Al")]) == [
        "A man.",
        None,
    ]
    assert texts(Replay(str(path), source="gpt"), [ask(post="8")]) == ["g8"]


def test_what_is_not_recorded_is_a_reason(ask: Callable[..., ChatRequest], tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text("{}")
    assert "recorded" in Replay(str(tmp_path / "posts.jsonl")).submit([ask()])[0].result().error
    with pytest.raises(RivegaError, match="does not exist"):
        Replay(str(tmp_path / "none.jsonl"))


def test_recorded_answers_are_not_stored_again(recorded: AnswerStore, ask: Callable[..., ChatRequest], tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "second.sqlite")
    asker = Asker(Replay(recorded.path), store, "")
    assert asker.start([ask("b")], plain).results()[0].text == "from one"
    assert asker.counts.stored == 1 and asker.counts.asked == 0 and store.stats() == []


@pytest.mark.shared
def test_the_recorded_knowledge_of_the_published_posts(shared_dir: Path, ask: Callable[..., ChatRequest]) -> None:
    path = shared_dir / "data" / "posts" / "twitter_gmner_dev.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows: list[Any] = [json.loads(line) for line in lines]
    found = texts(Replay(str(path)), [ask(post=row["id"]) for row in rows])
    assert found == [row["knowledge"] or None for row in rows]
