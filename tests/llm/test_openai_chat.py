"""`rivega.OpenAIChat.v1` against a server with faults: every fault ends in an answer or in a reason, never in an exception."""

import email.utils
import logging
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rivega_spacy.llm.base import Answer, ChatRequest, Message, image_ref
from rivega_spacy.llm.limits import Budget
from rivega_spacy.llm.openai_chat import OpenAIChat, make_openai_chat
from rivega_spacy.llm.retries import backoff, retry_after
from rivega_spacy.post.errors import RivegaError, SetupError

from .servers import FaultProxy

KEY = "sk-test-0123456789abcdef-secret"


def answers(model: OpenAIChat, requests: list[ChatRequest]) -> list[Answer]:
    try:
        return [future.result(60) for future in model.submit(requests)]
    finally:
        model.close()


def chat(proxy: FaultProxy, **options: Any) -> OpenAIChat:
    return OpenAIChat("tiny", base_url=proxy.url, **options)


def test_an_answer_and_what_was_sent(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(lambda body: "Paris, a city.") as proxy:
        options = {"parameters": {"temperature": 0.0, "top_p": None, "seed": 3}, "extra": {"min_p": 0.1}}
        answer = answers(chat(proxy, **options), [ask("Paris?")])[0]
    assert answer == Answer("Paris, a city.", finish="stop", input_tokens=11, output_tokens=7)
    body = proxy.requests[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Paris?"}]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"], body["min_p"]) == ("tiny", 16, 0.0, 3, 0.1)
    assert "top_p" not in body


def test_newer_models_want_another_name_for_the_limit(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy() as proxy:
        model = make_openai_chat("o9", base_url=proxy.url, token_parameter="max_completion_tokens", temperature=None)
        answers(model, [ask()])
    assert proxy.requests[0]["max_completion_tokens"] == 16
    assert not {"max_tokens", "temperature"} & set(proxy.requests[0])


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_questions(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(lambda body: body["messages"][-1]["content"][::-1]) as proxy:
        found = answers(chat(proxy, concurrency=6), [ask(f"question {n}") for n in range(30)])
    assert [answer.text for answer in found] == [f"question {n}"[::-1] for n in range(30)]


def test_no_more_than_the_allowed_number_are_in_flight(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy() as proxy:
        model = chat(proxy, concurrency=3)
        # Every request is held until three are there: fewer threads would never get that far, more would be seen.
        proxy.hold = threading.Event()
        futures = model.submit([ask(f"q{n}") for n in range(12)])
        deadline = time.monotonic() + 60
        while proxy.active < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        proxy.hold.set()
        assert all(future.result(60).text for future in futures)
        model.close()
    assert proxy.most_active == 3


def test_retry_after_is_honoured_to_the_second(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=["429 7", "429 90"]) as proxy:
        answer = answers(chat(proxy, clock=fake_time.clock, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text == "A plain answer."
    assert fake_time.slept == [7.0, 90.0]


def test_retry_after_holds_back_every_thread(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=["429 30"]) as proxy:
        model = chat(proxy, concurrency=1, clock=fake_time.clock, sleep=fake_time.sleep)
        first = model.submit([ask("a")])
        assert first[0].result(60).text
        began = fake_time.now
        model._running.pace.pause(12)
        assert model.submit([ask("b")])[0].result(60).text
        model.close()
    assert fake_time.now == began + 12


def test_a_pause_of_more_than_ten_minutes_is_not_waited_for(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=["429 86400"]) as proxy:
        answer = answers(chat(proxy, clock=fake_time.clock, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text is None and "429" in answer.error
    assert fake_time.slept == [] and len(proxy.requests) == 1


def test_pauses_of_one_question_are_not_waited_for_beyond_ten_minutes(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    """A server that answers every try with "in five minutes" would hold each question for half an hour."""
    with FaultProxy(script=["429 290"] * 20) as proxy:
        answer = answers(chat(proxy, clock=fake_time.clock, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text is None and "429" in answer.error
    assert fake_time.slept == [290.0, 290.0] and len(proxy.requests) == 3


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": email.utils.formatdate(1_800_000_060, usegmt=True)}, 60.0),
        ({"retry-after": email.utils.formatdate(1_700_000_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: Any, seconds: Any) -> None:
    assert retry_after(headers, now=1_800_000_000.0) == seconds


def test_backoff_doubles_up_to_a_top() -> None:
    for tries, most in [(1, 0.5), (2, 1.0), (4, 4.0), (20, 30.0)]:
        assert all(0.75 * most <= backoff(tries) <= most for _ in range(20))


@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "cut", "drop", "garbage", "html", "empty", "null"])
def test_a_passing_fault_costs_one_more_try(fault: str, ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=[fault]) as proxy:
        answer = answers(chat(proxy, clock=fake_time.clock, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text == "A plain answer." and answer.error == ""
    assert len(proxy.requests) == 2


@pytest.mark.slow
def test_a_stall_ends_after_the_timeout(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=["stall"]) as proxy:
        answer = answers(chat(proxy, timeout=0.5, sleep=fake_time.sleep), [ask()])[0]
    # On a machine that has much else to do, the second try may be too slow as well.
    assert answer.text == "A plain answer." and len(proxy.requests) >= 2


@pytest.mark.slow
def test_a_lasting_fault_becomes_a_reason(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy(script=["500"] * 50) as proxy:
        found = answers(chat(proxy, max_retries=2, concurrency=1, sleep=fake_time.sleep), [ask("a"), ask("b")])
    assert all(answer.text is None and "3 attempts" in answer.error and "500" in answer.error for answer in found)
    assert len(proxy.requests) == 6


@pytest.mark.parametrize("status", ["400", "404", "422"])
def test_what_cannot_pass_is_not_tried_again(status: str, ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(script=[status]) as proxy:
        found = answers(chat(proxy, concurrency=1), [ask("a"), ask("b")])
    assert status in found[0].error and found[1].text == "A plain answer."
    assert len(proxy.requests) == 2


def test_a_refused_key_is_used_once(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy(script=["401"] * 20) as proxy:
        found = answers(chat(proxy, concurrency=1), [ask(f"q{n}") for n in range(10)])
    assert all(answer.text is None and "401" in answer.error for answer in found)
    assert len(proxy.requests) == 1


def test_no_server_at_all(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    with FaultProxy() as proxy:
        url = proxy.url
    answer = answers(OpenAIChat("m", base_url=url, max_retries=1, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text is None and "connection failed" in answer.error


def test_without_a_key_openai_is_not_asked(ask: Callable[..., ChatRequest]) -> None:
    with pytest.raises(SetupError, match="OPENAI_API_KEY"):
        answers(OpenAIChat("gpt"), [ask()])


def test_the_budget_stops_cleanly(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy() as proxy:
        found = answers(chat(proxy, budget=Budget(requests=7), concurrency=4), [ask(f"q{n}") for n in range(20)])
    assert sum(answer.text is not None for answer in found) == 7 == len(proxy.requests)
    assert all("7 of 7 requests" in answer.error for answer in found if answer.text is None)


def test_a_token_budget_is_never_overrun_by_requests_in_flight(ask: Callable[..., ChatRequest]) -> None:
    budget = Budget(tokens=200)
    with FaultProxy() as proxy:
        found = answers(chat(proxy, budget=budget, concurrency=8), [ask(f"q{n}") for n in range(40)])
    done = sum(answer.text is not None for answer in found)
    # 18 tokens an answer, 35 at most: the tenth began with 162 spent, an eleventh could not with 180.
    assert done == 10
    assert budget.spent["tokens"] == 18 * done <= 200
    assert (budget.input_tokens, budget.output_tokens) == (11 * done, 7 * done)


def test_failures_are_not_charged(ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    budget = Budget(requests=1)
    with FaultProxy(script=["500", "429 1"]) as proxy:
        answer = answers(chat(proxy, budget=budget, clock=fake_time.clock, sleep=fake_time.sleep), [ask()])[0]
    assert answer.text is not None and budget.spent["requests"] == 1


def test_pictures_go_as_small_jpegs(tmp_path: Any) -> None:
    import base64
    import io

    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("RGB", (400, 100), (200, 30, 30)).save(path)
    request = ChatRequest((Message("user", "What?", (image_ref(str(path)),)),), 16, "caption", "v")
    with FaultProxy() as proxy:
        assert answers(chat(proxy, max_image_side=100), [request])[0].text
    picture, words = proxy.requests[0]["messages"][0]["content"]
    assert words == {"type": "text", "text": "What?"}
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (100, 25)


def test_a_damaged_picture_is_a_reason(tmp_path: Any) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    request = ChatRequest((Message("user", "What?", (image_ref(str(path)),)),), 16, "caption", "v")
    with FaultProxy() as proxy:
        answer = answers(chat(proxy), [request])[0]
    assert answer.text is None and "cannot be decoded" in answer.error and proxy.requests == []


@pytest.mark.slow
def test_keys_reach_the_server_and_nothing_else(
    ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with FaultProxy(script=["echo", "500", "leak"]) as proxy:
        model = chat(proxy, api_key_env="MY_KEY", concurrency=1, sleep=abs)
        found = [future.result(60) for future in model.submit([ask("a"), ask("b")])]
        seen = [repr(found), repr(model.__dict__), repr(model), repr(model.identity()), repr(pickle.dumps(model))]
        model.close()
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in proxy.headers)
    # The server quoted the key in its answer and in its error; both are kept, without it.
    assert found[0].text == "Your key is Bearer [key]." and "401" in found[1].error and "[key]" in found[1].error
    assert len(caplog.records) > 0
    out, err = capfd.readouterr()
    for text in [*seen, *(record.getMessage() for record in caplog.records), caplog.text, out, err]:
        assert KEY not in text


@pytest.mark.parametrize(
    "options",
    [
        {"api_key_env": KEY},
        {"api_key_env": "sk_live_0123456789abcdefghij"},
        {"base_url": "http://user:hunter2hunter2@localhost/v1"},
        {"base_url": f"http://localhost/v1?api_key={KEY}"},
        {"extra": {"api_key": KEY}},
        {"extra": {"headers": {"Authorization": f"Bearer {KEY}"}}},
        {"base_url": "localhost:8000"},
    ],
)
def test_keys_in_a_config_are_refused_and_not_repeated(options: Any) -> None:
    with pytest.raises(RivegaError) as caught:
        OpenAIChat("m", **options)
    assert KEY not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"timeout": -1}, {"token_parameter": "tokens"}, {"max_image_side": 0}])
def test_wrong_settings_are_named(options: Any) -> None:
    with pytest.raises(RivegaError, match=next(iter(options))):
        OpenAIChat("m", **options)


def test_it_goes_on_after_pickling(ask: Callable[..., ChatRequest]) -> None:
    with FaultProxy() as proxy:
        model = chat(proxy)
        assert model.submit([ask()])[0].result(60).text
        copy = pickle.loads(pickle.dumps(model))
        assert copy.identity() == model.identity()
        assert answers(copy, [ask()])[0].text
        model.close()
