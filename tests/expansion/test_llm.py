"""`rivega.LLMExpander.v1`: the paper's template, one call an entity, one sentence an answer."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from blank import blank_nlp
from llm.servers import FaultProxy
from spacy.tokens import Span

from rivega_spacy.post.errors import RivegaError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def pipeline(url: str, *, concurrency: int = 4, **options: Any) -> Any:
    nlp = blank_nlp()
    model = {"@misc": "rivega.OpenAIChat.v1", "model": "sage", "base_url": url, "max_retries": 0, "concurrency": concurrency}
    nlp.add_pipe("rivega_expander", config={"model": {"@misc": "rivega.LLMExpander.v1", "model": model, **options}})
    return nlp


def make_doc(nlp: Any, text: str = "Ann met Bob in Rome", **fields: Any) -> Any:
    doc = nlp.make_doc(text)
    doc.ents = [Span(doc, 0, 1, label="PER"), Span(doc, 2, 3, label="PER"), Span(doc, 4, 5, label="LOC")]
    for name, value in fields.items():
        doc._.set(name, value)
    return doc


def entity(body: dict[str, Any]) -> str:
    """Which entity is asked about."""
    return body["messages"][-1]["content"].rsplit("what is << ", 1)[1].split(" >>")[0]


def test_template_and_referring_expression() -> None:
    with FaultProxy(lambda body: f"{entity(body)} is somebody. And more.") as proxy:
        nlp = pipeline(proxy.url)
        doc = nlp(make_doc(nlp, description="Two people shake hands.", caption="not used"))
    assert [ent._.expansion for ent in doc.ents] == ["Ann is somebody.", "Bob is somebody.", "Rome is somebody."]
    assert doc.ents[0]._.referring_expression == "Ann (PER) — Ann is somebody."
    assert len(proxy.requests) == 3
    prompt = next(body["messages"][-1]["content"] for body in proxy.requests if entity(body) == "Bob")
    lines = [line for line in prompt.split("\n") if line]
    assert [line.split(":")[0] for line in lines] == ["Background", "Text", "Question", "Answer"] * 5
    assert lines[-4:-2] == ["Background: << Two people shake hands. >>", "Text: << Ann met Bob in Rome >>"]
    assert "<< Bob >> (type: << PER >>)" in lines[-2] and lines[-1] == "Answer:"


def test_the_caption_stands_in_for_a_missing_description() -> None:
    with FaultProxy() as proxy:
        nlp = pipeline(proxy.url)
        nlp(make_doc(nlp, caption="two people"))
        nlp(make_doc(nlp))
    texts = [body["messages"][-1]["content"] for body in proxy.requests]
    assert sum("Background: << two people >>" in text for text in texts) == 3
    assert sum("Background: << nothing is known of the picture >>" in text for text in texts) == 3


def test_all_entities_of_a_batch_are_in_flight_together() -> None:
    with FaultProxy() as proxy:
        nlp = pipeline(proxy.url, concurrency=16)
        docs = [make_doc(nlp, f"Ann met Bob in Rome on day {n}") for n in range(4)]
        proxy.hold = threading.Event()
        worker = threading.Thread(target=lambda: list(nlp.get_pipe("rivega_expander").pipe(docs, batch_size=4)))
        worker.start()
        deadline = time.monotonic() + 60
        while proxy.active < 12 and time.monotonic() < deadline:
            time.sleep(0.01)
        proxy.hold.set()
        worker.join(60)
    assert proxy.most_active == 12
    assert all(ent._.expansion for doc in docs for ent in doc.ents)


def test_one_failed_entity_does_not_cost_the_others() -> None:
    def answer(body: dict[str, Any]) -> str:
        return {"Ann": "I'm sorry, I cannot.", "Bob": "A man. He laughs.", "Rome": "x" * 3000}[entity(body)]

    with FaultProxy(answer) as proxy:
        nlp = pipeline(proxy.url)
        doc = nlp(make_doc(nlp))
    assert [ent._.expansion for ent in doc.ents] == [None, "A man.", None]
    messages = " ".join(error["message"] for error in doc._.rivega_errors)
    assert len(doc._.rivega_errors) == 2 and "'Ann'" in messages and "'Rome'" in messages and "'Bob'" not in messages
    # Two were asked again, once.
    assert len(proxy.requests) == 5


def test_expansions_that_came_with_the_post_are_not_asked_about() -> None:
    with FaultProxy() as proxy:
        nlp = pipeline(proxy.url)
        doc = make_doc(nlp)
        doc.ents[1]._.expansion = "given"
        doc = nlp(doc)
        empty = nlp("Nobody is named here")
    assert doc.ents[1]._.expansion == "given" and len(proxy.requests) == 2 and empty.ents == ()


def test_the_entity_stays_in_view_of_a_very_long_post() -> None:
    with FaultProxy() as proxy:
        nlp = pipeline(proxy.url)
        doc = nlp.make_doc("word " * 3000 + "Bob")
        doc.ents = [Span(doc, len(doc) - 1, len(doc), label="PER")]
        nlp(doc)
    assert proxy.requests[0]["messages"][-1]["content"].rsplit("Text: ", 1)[1].split("\n")[0].endswith("Bob >>")


def test_wrong_examples_are_told(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(RivegaError, match="line 1"):
        pipeline("http://127.0.0.1:1/v1", examples=str(tmp_path / "e.jsonl"))
