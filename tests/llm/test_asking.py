"""Asking: the store first, each question once, an unusable answer asked again once."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.asking import Asker, Result
from rivega_spacy.llm.base import Answer, ChatRequest, finished
from rivega_spacy.llm.safety import InvalidAnswer
from rivega_spacy.llm.store import AnswerStore


class Scripted:
    """A model that answers by function and remembers what it was asked."""

    recorded = False

    def __init__(self, answer: Callable[[ChatRequest], Any], name: str = "scripted") -> None:
        self.answer, self.name = answer, name
        self.asked: list[ChatRequest] = []

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        futures = []
        for request in requests:
            self.asked.append(request)
            value = self.answer(request)
            futures.append(finished(value if isinstance(value, Answer) else Answer(value, input_tokens=2, output_tokens=3)))
        return futures

    def close(self) -> None:
        """Nothing to close."""


def no_bad_words(answer: Answer) -> str:
    if "bad" in (answer.text or ""):
        raise InvalidAnswer("it is bad")
    return (answer.text or "").upper()


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def test_a_second_run_asks_nothing(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    questions = [ask(f"q{n}") for n in range(10)]
    for run, (asked, stored) in enumerate([(10, 0), (0, 10)]):
        model = Scripted(lambda request: "fine")
        asker = Asker(model, store, "again")
        assert asker.start(questions, no_bad_words).results() == [Result("FINE")] * 10
        assert (len(model.asked), asker.counts.asked, asker.counts.stored) == (asked, asked, stored), run


def test_only_what_is_missing_is_asked(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    Asker(Scripted(lambda request: "fine"), store, "again").start([ask("a"), ask("c")], no_bad_words).results()
    model = Scripted(lambda request: "new")
    results = Asker(model, store, "again").start([ask("a"), None, ask("b"), ask("c")], no_bad_words).results()
    assert results == [Result("FINE"), None, Result("NEW"), Result("FINE")]
    assert [request.messages[-1].text for request in model.asked] == ["b"]


def test_the_same_question_twice_is_asked_once(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    model = Scripted(lambda request: "fine")
    results = Asker(model, store, "again").start([ask("a", post="1"), ask("a", post="2")], no_bad_words).results()
    assert results == [Result("FINE")] * 2 and len(model.asked) == 1


def test_an_unusable_answer_is_asked_again_once_with_a_reminder(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    model = Scripted(lambda request: "fine" if "Be good." in request.messages[-1].text else "bad")
    asker = Asker(model, store, "Be good.")
    assert asker.start([ask("a"), ask("b")], no_bad_words).results() == [Result("FINE")] * 2
    assert [request.attempt for request in model.asked] == [0, 0, 1, 1]
    # All four answers are kept: a second run pays for none of them.
    again = Scripted(lambda request: "never asked")
    assert Asker(again, store, "Be good.").start([ask("a"), ask("b")], no_bad_words).results() == [Result("FINE")] * 2
    assert again.asked == []


def test_twice_unusable_is_left_out_for_good(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    for calls in (2, 0):
        model = Scripted(lambda request: "bad")
        asker = Asker(model, store, "again")
        assert asker.start([ask("a")], no_bad_words).results() == [Result(None, "it is bad", unusable=True)]
        assert len(model.asked) == calls and asker.counts.unusable == 1


def test_failures_are_not_kept(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    failing = Asker(Scripted(lambda request: Answer(None, error="no server")), store, "again")
    assert failing.start([ask("a")], no_bad_words).results() == [Result(None, "no server")]
    assert failing.counts.failed == 1
    assert Asker(Scripted(lambda request: "fine"), store, "again").start([ask("a")], no_bad_words).results() == [Result("FINE")]


def test_two_askers_at_once_pay_once(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    pool = ThreadPoolExecutor(1)
    go = threading.Event()

    class Slow(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            self.asked.extend(requests)
            return [pool.submit(lambda: (go.wait(60), Answer("fine"))[1]) for _ in requests]

    model = Slow(lambda request: "")
    first = Asker(model, store, "again").start([ask("a")], no_bad_words)
    # Another store object, as another process has.
    second_asker = Asker(model, AnswerStore(store.path), "again")
    second = second_asker.start([ask("a")], no_bad_words)
    waiting = ThreadPoolExecutor(1).submit(second.results)
    go.set()
    assert first.results() == [Result("FINE")] == waiting.result(60)
    assert len(model.asked) == 1 and second_asker.counts.stored == 1


def test_what_another_asker_gave_up_is_taken_over(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    pool = ThreadPoolExecutor(1)
    go = threading.Event()

    class Failing(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            return [pool.submit(lambda: (go.wait(60), Answer(None, error="gone"))[1]) for _ in requests]

    first = Asker(Failing(lambda request: ""), store, "again").start([ask("a")], no_bad_words)
    model = Scripted(lambda request: "fine")
    # Same identity, so that it is the same question.
    second = Asker(model, AnswerStore(store.path), "again").start([ask("a")], no_bad_words)
    waiting = ThreadPoolExecutor(1).submit(second.results)
    assert model.asked == []
    go.set()
    assert first.results() == [Result(None, "gone")]
    assert waiting.result(60) == [Result("FINE")]


def test_cancelled_questions_are_free_again(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    class Never(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            return [Future() for _ in requests]

    pending = Asker(Never(lambda request: ""), store, "again").start([ask("a")], no_bad_words)
    pending.cancel()
    assert pending.results() == [Result(None, "it was cancelled")]
    assert Asker(Scripted(lambda request: "fine"), store, "again").start([ask("a")], no_bad_words).results() == [Result("FINE")]


def test_a_model_that_raises_leaves_no_claim(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    class Broken(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Asker(Broken(lambda request: ""), store, "again").start([ask("a")], no_bad_words)
    assert Asker(Scripted(lambda request: "fine"), store, "again").start([ask("a")], no_bad_words).results() == [Result("FINE")]


def test_it_works_without_a_store(ask: Callable[..., ChatRequest]) -> None:
    model = Scripted(lambda request: "fine")
    asker = Asker(model, None, "again")
    assert asker.start([ask("a")], no_bad_words).results() == [Result("FINE")]
    assert asker.counts.asked == 1 and (asker.counts.input_tokens, asker.counts.output_tokens) == (2, 3)
