"""What servers send in place of an answer: it is said in their own words, paid for once, booked, and never waited for without end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.llm.asking import Asker, Result
from rivega_spacy.llm.base import Answer, ChatRequest
from rivega_spacy.llm.limits import Budget
from rivega_spacy.llm.openai_chat import OpenAIChat
from rivega_spacy.llm.replay import Replay
from rivega_spacy.llm.safety import clean_answer
from rivega_spacy.llm.store import AnswerStore

from .servers import FaultProxy, completion


def validate(answer: Answer) -> str:
    return clean_answer(answer.text or "", most_words=60)


def run(
    reply: Any, requests: list[ChatRequest], *, store: AnswerStore | None = None, script: list[str] | None = None, **options: Any
) -> tuple[list[Any], FaultProxy, OpenAIChat, Asker]:
    with FaultProxy(lambda body: reply, script=script) as proxy:
        chat = OpenAIChat("m", base_url=proxy.url, sleep=lambda seconds: None, **options)
        asker = Asker(chat, store, "again")
        results = asker.start(requests, validate).results()
        chat.close()
    return results, proxy, chat, asker


def message(finish: str = "stop", **fields: Any) -> dict[str, Any]:
    reply = completion(None, finish=finish, prompt_tokens=50, completion_tokens=200)
    reply["choices"][0]["message"].update(fields)
    return reply


FINAL = {
    "cut within the thought": (message("length", reasoning_content="Which bridge? " * 40), "max_tokens"),
    "cut, an empty text": (message("length", content=""), "max_tokens"),
    "cut, another word for it": (message("MAX_TOKENS"), "max_tokens"),
    "a refusal": (message(refusal="I cannot help with that."), "I cannot help with that."),
    "a refusal as a part": (message(content=[{"type": "refusal", "refusal": "I will not."}]), "I will not."),
    "a filter": (message("content_filter"), "content filter"),
    "a filter within the answer": (message("content_filter", content="The bridge"), "content filter"),
    "thought alone": (message(reasoning="Which bridge?"), "reasoning parser"),
    "a tool": (
        message("tool_calls", tool_calls=[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        "tool",
    ),
}


@pytest.mark.parametrize("reply, words", FINAL.values(), ids=FINAL)
def test_an_answer_without_text_is_paid_once_booked_and_kept(
    reply: Any, words: str, ask: Callable[..., ChatRequest], tmp_path: Path
) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    budget = Budget()
    (result,), proxy, _, asker = run(reply, [ask()], store=store, budget=budget)
    assert result.text is None and result.unusable and words in result.reason
    assert len(proxy.requests) == 1
    assert (budget.input_tokens, budget.output_tokens, budget.spent["requests"]) == (50, 200, 1)
    assert (asker.counts.input_tokens, asker.counts.output_tokens, asker.counts.unusable) == (50, 200, 1)
    # Neither a second run nor a replay pays for it again, and both know why there is nothing.
    (again,), proxy, _, asker = run(reply, [ask()], store=store)
    assert proxy.requests == [] and again.text is None and again.unusable and again.reason and asker.counts.stored == 1
    store.export(tmp_path / "answers.jsonl")
    (replayed,) = Asker(Replay(str(tmp_path / "answers.jsonl")), None, "again").start([ask()], validate).results()
    assert replayed == again


def test_a_budget_stops_answers_without_text(ask: Callable[..., ChatRequest]) -> None:
    budget = Budget(tokens=1000)
    results, proxy, _, _ = run(message("length"), [ask(f"q{n}", max_tokens=200) for n in range(10)], budget=budget)
    assert len(proxy.requests) == 4 and budget.spent["tokens"] == 1000
    assert sum("budget" in result.reason for result in results) == 6


def test_no_text_and_no_reason_is_tried_twice_at_most(ask: Callable[..., ChatRequest]) -> None:
    budget = Budget()
    (result,), proxy, _, asker = run(message(), [ask()], budget=budget)
    assert result.text is None and "no text" in result.reason and len(proxy.requests) == 2
    assert (budget.input_tokens, asker.counts.output_tokens) == (100, 400)


def test_what_failed_tries_cost_is_booked_with_the_answer(ask: Callable[..., ChatRequest]) -> None:
    replies = [
        {"error": {"message": "overloaded", "code": 503}, "usage": {"prompt_tokens": 30, "completion_tokens": 5}},
        completion("A bridge."),
    ]
    with FaultProxy(lambda body: replies.pop(0)) as proxy:
        chat = OpenAIChat("m", base_url=proxy.url, sleep=lambda seconds: None)
        answer = chat.submit([ask()])[0].result(30)
        chat.close()
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("A bridge.", 41, 12)
    assert (chat.budget.input_tokens, chat.budget.output_tokens) == (41, 12)


@pytest.mark.parametrize(
    "usage, booked",
    [
        ({"prompt_tokens": 50, "completion_tokens": 20}, (50, 20)),
        ({"input_tokens": 50, "output_tokens": 20}, (50, 20)),
        ({"prompt_tokens": 50.0, "completion_tokens": 20.0, "total_tokens": 70}, (50, 20)),
        # Thoughts counted in the total alone.
        ({"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 300}, (50, 250)),
        ({"completion_tokens": 20, "total_tokens": 70}, (50, 20)),
        ({"prompt_tokens": 50, "completion_tokens": None}, (50, 0)),
        ({"prompt_tokens": -1, "completion_tokens": True}, None),
        ({"prompt_tokens": "many"}, None),
        (None, None),
    ],
)
def test_usage_is_booked_as_it_is_stated(usage: Any, booked: Any, ask: Callable[..., ChatRequest]) -> None:
    reply = {**completion("A bridge in the bay of the old harbour."), "usage": usage}
    _, _, chat, _ = run(reply, [ask()])
    # Where nothing is stated it is estimated: four bytes a token.
    assert (chat.budget.input_tokens, chat.budget.output_tokens) == (booked or (ask().prompt_tokens(), 9))


ERRORS = {
    "429": (
        {"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}, "user_id": "u"},
        "free-models-per-day",
        True,
    ),
    "401": ({"error": {"message": "No auth credentials found", "code": 401}}, "No auth credentials", False),
    "402": ({"error": {"message": "Insufficient credits", "code": 402}}, "Insufficient credits", False),
    "404 as a word": ({"error": {"message": "No endpoints found", "code": "404"}}, "No endpoints found", False),
    "beside a null answer": (
        {**completion(None), "usage": None, "error": {"message": "Provider returned error", "code": 502}},
        "Provider returned error",
        True,
    ),
    "within the choice": (
        {
            "choices": [
                {"finish_reason": "error", "error": {"code": 502, "message": "Upstream idle"}, "message": {"content": "Half an"}}
            ]
        },
        "Upstream idle",
        True,
    ),
    "of the server behind": (
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "prompt is 9000 tokens too long"}}},
        "9000 tokens too long",
        False,
    ),
    "words alone": ({"error": "model 'm' not found, try pulling it first"}, "try pulling it", False),
    "a type alone": ({"error": {"message": "Slow down.", "type": "rate_limit_error"}}, "Slow down.", True),
    "vLLM's": (
        {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404},
        "does not exist",
        False,
    ),
    "a detail": ({"detail": "Not Found"}, "Not Found", False),
    "a code beside": ({"code": 503, "msg": "queue full"}, "queue full", True),
    "an empty account": (
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        "current quota",
        False,
    ),
    "unknown": ({"error": {"message": "Something went wrong"}}, "Something went wrong", True),
}


@pytest.mark.parametrize("reply, words, again", ERRORS.values(), ids=ERRORS)
def test_an_error_with_status_200_is_that_error(reply: Any, words: str, again: bool, ask: Callable[..., ChatRequest]) -> None:
    (result,), proxy, _, _ = run(reply, [ask()], max_retries=2)
    assert result.text is None and not result.unusable and words in result.reason
    assert len(proxy.requests) == (3 if again else 1)


def test_a_key_refused_with_status_200_is_used_once(ask: Callable[..., ChatRequest]) -> None:
    results, proxy, _, _ = run(
        {"error": {"message": "User not found.", "code": 401}}, [ask(f"q{n}") for n in range(10)], concurrency=1
    )
    assert len(proxy.requests) == 1 and all("User not found." in result.reason for result in results)


def test_a_post_that_moderation_stops_does_not_stop_the_others(ask: Callable[..., ChatRequest]) -> None:
    error = {"error": {"message": "flagged", "code": 403, "metadata": {"reasons": ["violence"], "flagged_input": "..."}}}
    replies = [error, completion("A bridge.")]
    with FaultProxy(lambda body: replies.pop(0)) as proxy:
        chat = OpenAIChat("m", base_url=proxy.url, concurrency=1)
        first, second = [future.result(30) for future in chat.submit([ask("a"), ask("b")])]
        chat.close()
    assert "flagged" in first.error and second.text == "A bridge." and len(proxy.requests) == 2


@pytest.mark.parametrize(
    "content, text",
    [
        ([{"type": "text", "text": "A bridge."}], "A bridge."),
        ([{"type": "text", "text": "A "}, "bridge", {"type": "text", "text": {"value": "."}}], "A bridge."),
        ([{"text": "A bridge."}, {"type": "image_url", "image_url": {}}, None, 3], "A bridge."),
    ],
)
def test_content_as_a_list_of_parts_is_text(content: Any, text: str, ask: Callable[..., ChatRequest]) -> None:
    (result,), proxy, _, _ = run(message(content=content), [ask()])
    assert result == Result(text) and len(proxy.requests) == 1


def test_json_that_is_not_called_so_is_json(ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    send = FaultProxy._send
    plain = staticmethod(lambda handler, status, data, headers=None: send(handler, status, data, {"content-type": "text/plain"}))
    monkeypatch.setattr(FaultProxy, "_send", plain)
    (result,), _, _, _ = run(completion("A bridge."), [ask()])
    assert result == Result("A bridge.")


def test_usage_of_a_failed_request_is_booked(ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    send = FaultProxy._send
    body = json.dumps({"error": {"message": "context exceeded"}, "usage": {"prompt_tokens": 77, "completion_tokens": 1}}).encode()
    monkeypatch.setattr(FaultProxy, "_send", staticmethod(lambda handler, status, data, headers=None: send(handler, 400, body)))
    (result,), proxy, chat, _ = run("", [ask()])
    assert "context exceeded" in result.reason and len(proxy.requests) == 1 and chat.budget.input_tokens == 77
