"""Against `transformers serve`, a server that nobody here wrote, alone and behind a proxy that breaks things."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from rivega_spacy.llm.base import Answer, ChatRequest
from rivega_spacy.llm.openai_chat import OpenAIChat
from rivega_spacy.llm.transformers_chat import TransformersChat

from .servers import FaultProxy, RealServer

pytestmark = pytest.mark.slow


def answers(model: OpenAIChat, requests: list[ChatRequest]) -> list[Answer]:
    try:
        return [future.result(120) for future in model.submit(requests)]
    finally:
        model.close()


def test_it_answers_as_the_same_weights_do_here(real_server: RealServer, ask: Callable[..., ChatRequest]) -> None:
    requests = [ask(f"Who is number {n}?") for n in range(4)]
    over_there = answers(OpenAIChat(real_server.model, base_url=real_server.url, concurrency=2), requests)
    local = TransformersChat(real_server.model)
    here = answers(local, requests)
    assert [answer.text for answer in over_there] == [answer.text for answer in here]
    # The server counts the tokens itself, and counts as we do.
    assert [answer.input_tokens for answer in over_there] == [answer.input_tokens for answer in here]
    assert all(answer.output_tokens == 16 and answer.finish == "length" for answer in over_there)


def test_a_model_that_it_does_not_have_is_a_reason(
    real_server: RealServer, ask: Callable[..., ChatRequest], fake_time: Any
) -> None:
    model = OpenAIChat("no/such-model", base_url=real_server.url, max_retries=1, sleep=fake_time.sleep)
    answer = answers(model, [ask()])[0]
    assert answer.text is None and answer.error


def test_every_fault_in_between_is_survived(real_server: RealServer, ask: Callable[..., ChatRequest], fake_time: Any) -> None:
    script = ["429 3", "500", "cut", "pass", "garbage", "stall", "pass", "drop", "html", "503", "pass", "empty"]
    requests = [ask(f"question {n}", max_tokens=4) for n in range(8)]
    plain = answers(OpenAIChat(real_server.model, base_url=real_server.url), requests)
    with FaultProxy(upstream=real_server.url, script=script) as proxy:
        model = OpenAIChat(
            real_server.model, base_url=proxy.url, timeout=5, concurrency=2, clock=fake_time.clock, sleep=fake_time.sleep
        )
        found = answers(model, requests)
    assert [answer.text for answer in found] == [answer.text for answer in plain]
    # Nine faults, each cost one request more; on a machine that has much else to do, an answer may take longer than the stall lasts.
    assert proxy.script == [] and len(proxy.requests) >= 8 + 9


def test_a_pipeline_over_it_twice(real_server: RealServer, tmp_path: Path) -> None:
    model = {"@misc": "rivega.OpenAIChat.v1", "model": real_server.model, "base_url": "set below", "name": "tiny"}
    store = {"@misc": "rivega.AnswerStore.v1", "path": str(tmp_path / "answers.sqlite")}
    texts = [f"Number {n} was seen in Paris with Bob" for n in range(6)]
    seen = []
    for _ in range(2):
        with FaultProxy(upstream=real_server.url, script=["429 1", "500"]) as proxy:
            nlp = spacy.blank("rivega")
            examples = {"@misc": "rivega.NoExamples.v1"}
            config = {"model": {**model, "base_url": proxy.url}, "store": store, "max_tokens": 8, "examples": examples}
            refiner = nlp.add_pipe("rivega_knowledge", config=config)
            docs = list(nlp.pipe(texts, batch_size=4))
            refiner.asker.model.close()
            seen.append(([doc._.knowledge for doc in docs], len(proxy.requests)))
        # A random network babbles: what it says is kept or refused, but never lost and never raised.
        assert all(doc._.knowledge or "not usable" in doc._.rivega_errors[0]["message"] for doc in docs)
    assert seen[0][1] >= 8 and seen[1] == (seen[0][0], 0)
