"""The answer store: every answer once, several processes, killed at any moment."""

import json
import multiprocessing
import os
import pickle
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.base import Answer, ChatRequest, ImageRef, Message, answer_key, image_ref, prompt_key
from rivega_spacy.llm.store import AnswerStore, Record
from rivega_spacy.post.errors import RivegaError


def record(number: int, **options: Any) -> Record:
    values = {
        "key": f"{number:064x}",
        "question": f"{number + 10**6:064x}",
        "model": "m",
        "identity": "{}",
        "prompt": "knowledge",
        "version": "v",
        "post": str(number),
        "entity": "",
        "attempt": 0,
        "text": f"answer {number}",
        "finish": "stop",
        "input_tokens": 10,
        "output_tokens": 5,
        "created": 1.0 + number,
    }
    return Record(**{**values, **options})


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def test_what_is_put_is_found_again_by_another_process(store: AnswerStore) -> None:
    store.put(record(1, text="naïve 😀 text"))
    again = AnswerStore(store.path)
    assert again.get_many([record(1).key, record(2).key]) == {
        record(1).key: Answer("naïve 😀 text", finish="stop", input_tokens=10, output_tokens=5, cached=True)
    }


def test_an_answer_is_never_replaced(store: AnswerStore) -> None:
    store.put(record(1))
    store.put(record(1, text="another"))
    assert store.get_many([record(1).key])[record(1).key].text == "answer 1"


def test_more_keys_than_sqlite_takes_at_once(store: AnswerStore) -> None:
    for number in range(0, 5000, 500):
        store.put(record(number))
    assert len(store.get_many([f"{number:064x}" for number in range(5000)])) == 10


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message("system", "s"), Message("user", "other"))},
        {"messages": (Message("user", "s"), Message("user", "q"))},
        {"messages": (Message("system", "sq"), Message("user", ""))},
        {"messages": (Message("system", "s"), Message("user", "q", (ImageRef("a.jpg", "d1"),)))},
        {"messages": (Message("system", "s"), Message("user", "q", (ImageRef("a.jpg", "d2"),)))},
        {"max_tokens": 17},
        {"prompt": "expansion"},
        {"version": "v2"},
        {"attempt": 1},
        "model",
        "temperature",
    ],
)
def test_whatever_shapes_an_answer_changes_its_key(change: Any) -> None:
    seen = set()
    for one in ({}, change):
        identity = {"model": "m", "temperature": 0.0}
        values = {
            "messages": (Message("system", "s"), Message("user", "q")),
            "max_tokens": 16,
            "prompt": "knowledge",
            "version": "v",
        }
        if isinstance(one, str):
            identity[one] = "other"
        else:
            values.update(one)
        seen.add(answer_key(identity, prompt_key(ChatRequest(**values))))
    assert len(seen) == 2


def test_what_does_not_shape_an_answer_leaves_its_key(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"the same picture")
    keys = set()
    for name, post in [("a.jpg", "1"), ("b.jpg", "2")]:
        message = Message("user", "q", (image_ref(str(tmp_path / name)),))
        keys.add(answer_key({"model": "m"}, prompt_key(ChatRequest((message,), 16, "caption", "v", post=post))))
    assert len(keys) == 1


def test_a_question_belongs_to_who_claimed_it(store: AnswerStore) -> None:
    keys = [record(number).key for number in range(4)]
    store.put(record(0))
    assert store.claim(keys[:3]) == keys[1:3]
    other = AnswerStore(store.path)
    # The same process is no exception: it asks already.
    assert other.claim(keys) == keys[3:]
    store.release(keys[1:2])
    assert other.claim(keys[:3]) == keys[1:2]


def test_an_answer_ends_its_claim(store: AnswerStore) -> None:
    assert store.claim([record(1).key])
    store.put(record(1))
    rows = sqlite3.connect(store.path).execute("SELECT COUNT(*) FROM claims").fetchone()
    assert rows == (0,)


def test_the_claim_of_a_dead_process_counts_for_nothing(store: AnswerStore) -> None:
    code = f"from rivega_spacy.llm.store import AnswerStore; import os; AnswerStore({store.path!r}).claim(['k']); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert store.claim(["k"]) == ["k"]


def test_the_claim_of_a_dead_process_whose_number_another_one_has_counts_for_nothing(store: AnswerStore) -> None:
    store.get_many([])
    mine = f"{socket.gethostname()}:{os.getpid()}"
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute("INSERT INTO claims VALUES ('k', ?, ?), ('odd', ?, 'x')", (f"{mine}:1", time.time(), f"{mine}:x:1"))
    assert store.claim(["k", "odd"]) == ["k", "odd"]
    assert store.claims(["k", "odd", "nobody"])["k"].who == f"process {os.getpid()} on {socket.gethostname()}"


def test_what_fails_amid_claiming_leaves_no_lock_and_no_half(store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other = AnswerStore(store.path, patience=0.1)
    with pytest.raises(ZeroDivisionError):
        store.claim(key if key != "c" else 1 / 0 for key in "abc")
    assert other.claim("abc") == ["a", "b", "c"]
    other.put(record(1))
    assert len(store.get_many([record(1).key])) == 1


@pytest.mark.slow
def test_a_lock_that_another_thread_holds_is_not_taken_into_a_fork(store: AnswerStore) -> None:
    """Nor is the connection, which two processes must not share."""
    store.put(record(1))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store._open():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    process = multiprocessing.get_context("fork").Process(target=store.put, args=(record(2),))
    process.start()
    process.join(30)
    hanging = process.is_alive()
    process.kill()
    done.set()
    thread.join()
    process.join()
    assert not hanging and len(store.get_many([record(2).key])) == 1


@pytest.mark.slow
def test_the_claim_of_a_killed_process_counts_for_nothing_before_its_parent_looks(store: AnswerStore) -> None:
    """Its number is kept until then, and in a container often for ever."""
    process = multiprocessing.get_context("fork").Process(target=claim_and_wait, args=(store.path,))
    process.start()
    while not store.claims(["k"]):
        time.sleep(0.01)
    assert store.claim(["k"]) == []
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert store.claim(["k"]) == ["k"]
    process.join()


def claim_and_wait(path: str) -> None:
    AnswerStore(path).claim(["k"])
    time.sleep(600)


def test_the_claim_of_another_machine_lapses(store: AnswerStore) -> None:
    store.get_many([])
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(
            "INSERT INTO claims VALUES ('new', 'elsewhere:1:1', ?), ('old', 'elsewhere:1:1', ?)", (time.time(), time.time() - 3600)
        )
    assert store.claim(["new", "old"]) == ["old"]


def write_many(path: str, start: int, count: int) -> None:
    store = AnswerStore(path)
    for number in range(start, start + count):
        store.claim([f"{number:064x}"])
        store.put(record(number))
    store.close()


@pytest.mark.slow
def test_several_processes_write_one_store(store: AnswerStore) -> None:
    context = multiprocessing.get_context("spawn")
    # Overlapping halves: each answer is written by two of them.
    processes = [context.Process(target=write_many, args=(store.path, start, 200)) for start in (0, 100, 200)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert store.stats() == [{"model": "m", "prompt": "knowledge", "answers": 400, "input_tokens": 4000, "output_tokens": 2000}]


def test_it_goes_on_in_forked_workers(store: AnswerStore) -> None:
    store.put(record(1))
    context = multiprocessing.get_context("fork")
    process = context.Process(target=store.put, args=(record(2),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    store.put(record(3))
    assert len(store.get_many([record(n).key for n in (1, 2, 3)])) == 3
    assert len(pickle.loads(pickle.dumps(store)).get_many([record(1).key])) == 1


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    code = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from llm.test_store import AnswerStore, record
        store = AnswerStore({str(path)!r})
        for number in range(int(sys.argv[1]), 10**9):
            store.claim([record(number).key])
            store.put(record(number, text="x" * 3000))
            print(number, flush=True)
        """
    )
    last = -1
    for lines in (1, 7, 40):
        process = subprocess.Popen([sys.executable, "-c", code, str(last + 1)], stdout=subprocess.PIPE, text=True)
        for _ in range(lines):
            last = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        # What it managed to print before it died was put as well.
        for line in process.stdout.read().split("\n")[:-1]:
            last = int(line)
        process.wait()
        store = AnswerStore(path)
        found = store.get_many([record(number).key for number in range(last + 3)])
        assert {record(number).key for number in range(last + 1)} <= set(found)
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        last = len(found) - 1
        store.close()


def test_answers_travel_as_json_lines(store: AnswerStore, tmp_path: Path) -> None:
    for number in range(3):
        store.put(record(number, model="a" if number < 2 else "b", text=f"line\u2028break {number}"))
    assert store.export(tmp_path / "all.jsonl") == 3
    assert store.export(tmp_path / "a.jsonl", model="a") == 2
    other = AnswerStore(tmp_path / "other.sqlite")
    assert other.import_file(tmp_path / "a.jsonl") == (2, 0, [])
    assert other.import_file(tmp_path / "all.jsonl") == (1, 2, [])
    assert list(other.records()) == list(store.records())


def test_bad_lines_are_refused_and_the_others_taken(store: AnswerStore, tmp_path: Path) -> None:
    store.put(record(1))
    store.export(tmp_path / "good.jsonl")
    good = json.loads((tmp_path / "good.jsonl").read_text())
    changes: list[Any] = [
        {"key": "zz"},
        {"text": 3},
        {"input_tokens": -1},
        {"identity": "x"},
        {"created": "now"},
        {"attempt": True},
    ]
    lines = [json.dumps({**good, **change}) for change in changes] + ["no json", "[1]", "", json.dumps(good)]
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    new, known, wrong = AnswerStore(tmp_path / "other.sqlite").import_file(tmp_path / "bad.jsonl")
    assert (new, known, len(wrong)) == (1, 0, len(changes) + 2)
    assert all(f"line {number}" in reason for number, reason in enumerate(wrong, start=1))


def test_files_that_are_no_store_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(RivegaError, match="cannot be opened"):
        AnswerStore(tmp_path / "text").get_many(["k"])
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    with pytest.raises(RivegaError, match="E411"):
        AnswerStore(tmp_path / "other.sqlite").get_many(["k"])
    AnswerStore(tmp_path / "new.sqlite").put(record(1))
    later = sqlite3.connect(tmp_path / "new.sqlite")
    later.execute("PRAGMA user_version = 99")
    later.commit()
    with pytest.raises(RivegaError, match="layout 99"):
        AnswerStore(tmp_path / "new.sqlite").get_many(["k"])


def test_it_is_a_write_ahead_log_without_pickle(store: AnswerStore, ask: Callable[..., ChatRequest]) -> None:
    store.put(record(1, text="lone \ud800 surrogate"))
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    kinds = connection.execute("SELECT DISTINCT typeof(text), typeof(identity), typeof(key) FROM answers").fetchall()
    assert kinds == [("text", "text", "text")]
    assert store.get_many([record(1).key])[record(1).key].text == "lone ? surrogate"
