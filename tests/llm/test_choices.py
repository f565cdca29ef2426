"""Alternatives of an answer's tokens: asked for, read, stored, recorded, and what they say about a word."""

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.asking import Asker
from rivega_spacy.llm.base import Answer, ChatRequest, prompt_key
from rivega_spacy.llm.choices import TokenChoice, dump_choices, load_choices, odds_at, read_choices
from rivega_spacy.llm.openai_chat import OpenAIChat
from rivega_spacy.llm.replay import Replay
from rivega_spacy.llm.store import LAYOUT, AnswerStore
from rivega_spacy.llm.transformers_chat import TransformersChat

from .servers import FaultProxy, completion

YES, NO = ("yes", "true"), ("no", "false")


def log(**shares: float) -> dict[str, float]:
    return {token: math.log(share) for token, share in shares.items()}


def reply(*tokens: Any) -> dict[str, Any]:
    """A reply whose tokens are (token, {alternative: probability})."""
    content = []
    for token, shares in tokens:
        top = [{"token": other, "logprob": math.log(share)} for other, share in shares.items()]
        content.append({"token": token, "logprob": math.log(shares[token]), "bytes": [], "top_logprobs": top})
    whole = completion("".join(token for token, _ in tokens))
    whole["choices"][0]["logprobs"] = {"content": content}
    return whole


@pytest.mark.parametrize(
    "tokens, text, start, share",
    [
        ([("Yes", log(Yes=0.6, No=0.2, Maybe=0.1))], "Yes", 0, 0.75),
        # Pieces, capitals, marks and spaces in the same token; words that only begin alike do not count.
        (
            [('{"shown":', {}), (' "yes', {' "yes': math.log(0.3), ' "no': math.log(0.1), ' "none': math.log(0.5)}), ('"}', {})],
            '{"shown": "yes"}',
            11,
            0.75,
        ),
        ([(" ", {}), ("N", {"N": math.log(0.2), "YES": math.log(0.2), "y": math.log(0.4)}), ("o", log(o=1.0))], "No", 0, 0.75),
        ([('{"shown": ', {}), ("false", log(false=0.25, true=0.75))], '{"shown": false', 10, 0.75),
        ([("no", log(no=0.9))], "no", 0, 0.0),
        # Tokens that are not those of the text, that hold more than the word's beginning, or nothing at all.
        ([("Yes", log(Yes=0.6))], "No", 0, None),
        ([("shownyes", log(shownyes=1.0))], "shownyes", 5, None),
        ([("Yes", log(Perhaps=0.6))], "Yes", 0, None),
        ([], "Yes", 0, None),
    ],
)
def test_odds_of_two_words(tokens: list[Any], text: str, start: int, share: Any) -> None:
    found = odds_at(tuple(TokenChoice(*token) for token in tokens), text, start, YES, NO)
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("logprobs", [None, [], {}, {"content": None}, {"content": [1]}, {"content": [{"token": 3}]}, "x"])
def test_a_server_may_send_anything(logprobs: Any) -> None:
    assert read_choices(logprobs) == ()


def test_infinite_and_missing_values_are_tamed() -> None:
    item = {
        "token": "a",
        "logprob": float("-inf"),
        "top_logprobs": [{"token": "b", "logprob": float("nan")}, {"token": "c", "logprob": 1e-9}, 3],
    }
    (choice,) = read_choices({"content": [item]})
    assert choice == TokenChoice("a", {"c": 0.0, "a": -9999.0})
    assert load_choices(dump_choices((choice,))) == (choice,)
    for text in ("", "[", "[1]", '[["a", 1]]', '{"a": 1}'):
        assert load_choices(text) == ()


def test_they_are_asked_for_where_wanted_and_nowhere_else(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(lambda body: reply(("Yes", {"Yes": 0.9, "No": 0.1}))) as server:
        chat = OpenAIChat("m", base_url=server.url)
        plain, with_choices = [future.result(10) for future in chat.submit([ask(), ask(alternatives=4)])]
        chat.close()
    bodies = {"logprobs" in body: body for body in server.requests}
    assert len(bodies) == 2 and bodies[True]["logprobs"] is True and bodies[True]["top_logprobs"] == 4
    assert plain.choices == () and with_choices.choices == (
        TokenChoice("Yes", {"Yes": pytest.approx(-0.105361), "No": pytest.approx(-2.302585)}),
    )
    assert prompt_key(ask()) != prompt_key(ask(alternatives=4))


def test_a_model_that_gives_none_is_asked_without_from_then_on(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(lambda body: "Yes", script=["nologprobs"]) as server:
        chat = OpenAIChat("m", base_url=server.url, concurrency=1)
        answers = [future.result(10) for future in chat.submit([ask("a", alternatives=4), ask("b", alternatives=4)])]
        chat.close()
    assert [answer.text for answer in answers] == ["Yes", "Yes"] and not any(answer.choices for answer in answers)
    assert ["logprobs" in body for body in server.requests] == [True, False, False]


def test_they_are_stored_exported_and_replayed(ask: Callable[..., ChatRequest], tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    request = ask(alternatives=2)
    seen: list[Any] = []

    def keep(answer: Answer) -> str:
        seen.append(answer.choices)
        return answer.text or ""

    with FaultProxy(lambda body: reply(("Yes", {"Yes": 0.9, "No": 0.1}))) as server:
        for _ in range(2):
            chat = OpenAIChat("m", base_url=server.url)
            Asker(chat, store, "again").start([request], keep).results()
            chat.close()
        assert len(server.requests) == 1
    store.export(tmp_path / "answers.jsonl")
    other = AnswerStore(tmp_path / "other.sqlite")
    assert other.import_file(tmp_path / "answers.jsonl") == (1, 0, [])
    for path in ("answers.sqlite", "answers.jsonl", "other.sqlite"):
        Asker(Replay(str(tmp_path / path)), None, "again").start([request], keep).results()
    assert (
        len(seen) == 5
        and all(choices == seen[0] for choices in seen)
        and seen[0][0].options["No"] == pytest.approx(math.log(0.1), abs=1e-6)
    )


def test_a_store_of_the_first_layout_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE answers (key TEXT PRIMARY KEY, question TEXT NOT NULL, model TEXT NOT NULL, identity TEXT NOT NULL, prompt TEXT NOT NULL,"
        "version TEXT NOT NULL, post TEXT NOT NULL, entity TEXT NOT NULL, attempt INTEGER NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,"
        "input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, created REAL NOT NULL);"
        "CREATE INDEX by_question ON answers (question, model);"
        "CREATE TABLE claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL, since REAL NOT NULL) WITHOUT ROWID;"
        f"PRAGMA application_id = {0x52695645}; PRAGMA user_version = 1;"
    )
    old.execute("INSERT INTO answers VALUES ('k', 'q', 'm', '{}', 'p', 'v', '', '', 0, 'kept', 'stop', 1, 2, 3.0)")
    old.commit()
    old.close()
    first, second = AnswerStore(path), AnswerStore(path)
    assert first.get_many(["k"])["k"].text == second.get_many(["k"])["k"].text == "kept"
    assert [record.choices for record in first.records()] == [""]
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (LAYOUT,)


def test_local_weights_give_them_too(tiny_llama: Path, ask: Callable[..., ChatRequest]) -> None:
    chat = TransformersChat(str(tiny_llama), name="tiny", batch_size=4)
    plain, *told = [
        future.result(120)
        for future in chat.submit(
            [
                ask("Who?", max_tokens=5),
                ask("Who?", max_tokens=5, alternatives=3),
                ask("Which Bob is it?", max_tokens=7, alternatives=2),
            ]
        )
    ]
    chat.close()
    assert plain.choices == () and plain.text == told[0].text
    for answer, count in zip(told, (3, 2)):
        assert "".join(choice.token for choice in answer.choices) == answer.text and answer.choices
        for choice in answer.choices:
            # Greedy: what was said is the likeliest.
            assert choice.options[choice.token] == max(choice.options.values()) and len(choice.options) <= count
            assert sum(math.exp(value) for value in choice.options.values()) <= 1.0 + 1e-4
