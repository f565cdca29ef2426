"""Asking: the store first, each question once, an unusable answer asked again once."""

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm import asking
from rivega_spacy.llm.asking import Asker, Result
from rivega_spacy.llm.base import Answer, ChatRequest, finished
from rivega_spacy.llm.safety import InvalidAnswer
from rivega_spacy.llm.store import AnswerStore
from rivega_spacy.post.errors import RivegaError


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


def claim_and_hang(path: str, keys: list[str], ready: Any) -> None:
    AnswerStore(path).claim(keys)
    ready.set()
    time.sleep(600)


@pytest.mark.slow
def test_a_process_that_hangs_is_waited_for_no_longer_than_the_lease(
    store: AnswerStore, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("LEASE", 0.6), ("SIGN_SECONDS", 0.05), ("TELL_SECONDS", 0.2)):
        monkeypatch.setattr(asking, name, seconds)
    model = Scripted(lambda request: "fine")
    asker = Asker(model, store, "again")
    keys = [asking.answer_key(model.identity(), asking.prompt_key(ask(text))) for text in ("a", "b")]
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=claim_and_hang, args=(store.path, keys, ready), daemon=True)
    process.start()
    assert ready.wait(120)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        first, second, third = asker.start([ask("a"), ask("b"), ask("c")], no_bad_words).results()
        for result in (first, second):
            assert result.text is None and not result.unusable
            assert f"process {process.pid} on " in result.reason and "run again" in result.reason
        # What nobody else asks is asked, and what is paid for elsewhere is not asked again.
        assert third == Result("FINE") and [request.messages[-1].text for request in model.asked] == ["c"]
        assert f"process {process.pid} on " in caplog.text
    finally:
        process.kill()
        process.join(60)
    assert asker.start([ask("a"), ask("b")], no_bad_words).results() == [Result("FINE")] * 2


def test_whoever_keeps_answers_is_waited_for(
    store: AnswerStore, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow process that works is no hanging one: each of its answers is a sign of life for its other questions."""
    for name, seconds in (("LEASE", 1.0), ("SIGN_SECONDS", 0.02)):
        monkeypatch.setattr(asking, name, seconds)
    monkeypatch.setattr("rivega_spacy.llm.store.LEASE", 1.0)
    pool = ThreadPoolExecutor(1)
    questions = [ask(str(n)) for n in range(5)]

    class Slow(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            self.asked.extend(requests)
            return [pool.submit(lambda: (time.sleep(0.4), Answer("fine"))[1]) for _ in requests]

    model = Slow(lambda request: "")
    first = Asker(model, store, "again").start(questions, no_bad_words)
    other = Asker(model, AnswerStore(store.path), "again").start(questions[-1:], no_bad_words)
    assert other.results() == [Result("FINE")]
    assert first.results() == [Result("FINE")] * 5 and len(model.asked) == 5


def test_an_answer_that_cannot_be_kept_leaves_no_claim(
    store: AnswerStore, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same process, and every other one, would wait for itself."""

    def full(*arguments: Any) -> None:
        raise RivegaError("the disk is full")

    asker = Asker(Scripted(lambda request: "fine"), store, "again")
    with monkeypatch.context() as patched:
        patched.setattr(store, "put", full)
        (result,) = asker.start([ask("a")], no_bad_words).results()
        assert result.text is None and "full" in result.reason
    assert sqlite3.connect(store.path).execute("SELECT COUNT(*) FROM claims").fetchone() == (0,)
    assert asker.start([ask("a")], no_bad_words).results() == [Result("FINE")]


def test_claims_that_cannot_be_given_up_now_are_given_up_later(
    store: AnswerStore, ask: Callable[..., ChatRequest], tmp_path: Path
) -> None:
    asker = Asker(Scripted(lambda request: "fine"), store, "again")
    assert store.claim(["other"]) == ["other"]
    writer = sqlite3.connect(store.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    store.close()
    store.patience = 0.05
    with pytest.raises(RivegaError, match="E410.*locked"):
        store.release(["other"])
    writer.execute("ROLLBACK")
    assert asker.start([ask("a")], no_bad_words).results() == [Result("FINE")]
    assert writer.execute("SELECT COUNT(*) FROM claims").fetchone() == (0,)
    writer.close()


def test_an_answer_that_breaks_what_reads_it_costs_no_other(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    def validate(answer: Answer) -> str:
        if answer.text == "odd":
            raise RecursionError("too deep")
        return answer.text or ""

    model = Scripted(lambda request: "odd" if request.messages[-1].text == "a" else "fine")
    results = Asker(model, None, "again").start([ask("a"), ask("b")], validate).results()
    assert results == [Result(None, "RecursionError: too deep", unusable=True), Result("fine")] and len(model.asked) == 2


def test_a_reason_is_one_clean_line(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    """A server writes it, and it is noted on a post."""
    said = "no\n\x1b[31m<b>way</b>\u202e" + "x" * 9000
    (result,) = Asker(Scripted(lambda request: Answer(None, error=said)), store, "again").start([ask("a")], no_bad_words).results()
    assert result.reason.startswith("no [31m‹b›way‹/b›xxx") and len(result.reason) <= 300 and "\n" not in result.reason


def test_an_answer_is_on_the_disk_before_anybody_sees_it(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    """Else a process that is killed once its post is written would pay for it again."""
    inner: Future[Answer] = Future()

    class Waiting(Scripted):
        def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
            return [inner]

    pending = Asker(Waiting(lambda request: ""), store, "again").start([ask("a")], no_bad_words)
    (key,) = pending.round.requests
    seen: list[int] = []
    pending.round.futures[key].add_done_callback(lambda future: seen.append(len(AnswerStore(store.path).get_many([key]))))
    inner.set_result(Answer("fine", input_tokens=4, output_tokens=5))
    assert seen == [1]
    (row,) = store.records()
    assert (row.input_tokens, row.output_tokens, row.text, row.choices) == (4, 5, "fine", "")


def test_what_is_final_is_kept_and_worth_no_reminder(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    def validate(answer: Answer) -> str:
        raise InvalidAnswer("it was cut within its thought", final=answer.text == "cut")

    for text, calls in (("cut", 1), ("odd", 2)):
        model = Scripted(lambda request, text=text: text, name=text)
        for asked in (calls, calls):
            (result,) = Asker(model, store, "again").start([ask("a")], validate).results()
            assert result.unusable and len(model.asked) == asked
