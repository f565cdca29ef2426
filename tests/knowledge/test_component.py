"""`rivega_knowledge`: the prompt, the stream that nothing stops, worker processes, packages."""

import copy
from pathlib import Path
from typing import Any

import pytest
import spacy
from blank import blank_nlp
from llm.servers import FaultProxy

KNOWLEDGE = "Named entities: 1. Paris (city). Reasoning: It follows in."


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def pipeline(url: str, **options: Any) -> Any:
    nlp = blank_nlp()
    model = {"@misc": "rivega.OpenAIChat.v1", "model": "sage", "base_url": url, "max_retries": 0, "concurrency": 4}
    nlp.add_pipe("rivega_knowledge", config={"model": {**model, **options.pop("model", {})}, **options})
    return nlp


def last_text(body: dict[str, Any]) -> str:
    return body["messages"][-1]["content"]


def test_the_papers_prompt() -> None:
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        nlp = pipeline(proxy.url)
        doc = nlp.make_doc("Nice day in Paris")
        doc._.caption = "a tower"
        assert nlp(doc)._.knowledge == KNOWLEDGE
    system, user = proxy.requests[0]["messages"]
    assert system["role"] == "system" and "examples" in system["content"]
    labels = [line.split(":")[0] for line in user["content"].split("\n") if line]
    # Five in-context examples, then the post, whose answer is open.
    assert labels == ["Text", "Image", "Question", "Answer"] * 6
    assert user["content"].split("\n")[-4:-2] == ["Text: << Nice day in Paris >>", "Image: << a tower >>"]
    assert user["content"].endswith("Answer:")


@pytest.mark.parametrize("name, n", [("rivega.MSEA.v1", 2), ("rivega.FixedExamples.v1", 3), ("rivega.NoExamples.v1", 0)])
def test_the_number_of_examples(name: str, n: int) -> None:
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        examples: dict[str, Any] = {"@misc": name, **({"n": n} if n else {})}
        pipeline(proxy.url, examples=examples)("Nice day in Paris")
    assert last_text(proxy.requests[0]).count("\nAnswer:") == n + 1


@pytest.mark.slow
def test_nothing_stops_the_stream(tmp_path: Path) -> None:
    def answer(body: dict[str, Any]) -> str:
        text = last_text(body)
        return "I'm sorry, I can't." if "refused" in text else "<b>markup</b>" if "markup" in text else KNOWLEDGE

    texts = ["fine one", "refused two", "", "markup three", "fine four", " \n "]
    with FaultProxy(answer, script=["400"]) as proxy:
        nlp = pipeline(proxy.url, examples={"@misc": "rivega.NoExamples.v1"}, model={"concurrency": 1})
        docs = list(nlp.pipe(texts, batch_size=2))
    assert [doc.text for doc in docs] == texts
    assert [bool(doc._.knowledge) for doc in docs] == [False, False, False, False, True, False]
    messages = [[error["message"] for error in doc._.rivega_errors] for doc in docs]
    assert "400" in messages[0][0] and "refusal" in messages[1][0] and "markup" in messages[3][0]
    assert messages[2] == messages[4] == messages[5] == []


def test_other_components_still_do_their_work() -> None:
    with FaultProxy(script=["500"] * 100) as proxy:
        nlp = pipeline(proxy.url)
        ruler = nlp.add_pipe("entity_ruler")
        ruler.add_patterns([{"label": "LOC", "pattern": "Paris"}])
        nlp.add_pipe("rivega_expander")
        docs = list(nlp.pipe(["Nice day in Paris"] * 3))
    for doc in docs:
        assert doc._.knowledge is None and "500" in doc._.rivega_errors[0]["message"]
        assert [ent._.referring_expression for ent in doc.ents] == ["Paris (LOC) — a place"]


def test_a_store_that_cannot_be_opened_is_a_note(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("no store " * 500)
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        store = {"@misc": "rivega.AnswerStore.v1", "path": str(tmp_path / "answers.sqlite")}
        docs = list(pipeline(proxy.url, store=store).pipe(["a b", "c d"]))
    assert all("cannot be opened" in doc._.rivega_errors[0]["message"] for doc in docs)
    assert proxy.requests == []


def test_examples_that_cannot_be_chosen_are_done_without() -> None:
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        examples = {"@misc": "rivega.MSEA.v1", "text_encoder": {"@misc": "rivega.DocVectors.v1"}}
        doc = pipeline(proxy.url, examples=examples)("Nice day in Paris")
    assert doc._.knowledge == KNOWLEDGE
    assert "E425" in doc._.rivega_errors[0]["message"] and last_text(proxy.requests[0]).count("Answer:") == 1


def test_knowledge_that_came_with_the_post_is_kept() -> None:
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        ((doc, _),) = pipeline(proxy.url).pipe([("Hello Paris", {"knowledge": "given"})], as_tuples=True)
        assert doc._.knowledge == "given" and proxy.requests == []
        ((doc, _),) = pipeline(proxy.url, overwrite=True).pipe([("Hello Paris", {"knowledge": "given"})], as_tuples=True)
        assert doc._.knowledge == KNOWLEDGE


def test_predict_changes_no_post() -> None:
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        nlp = pipeline(proxy.url)
        doc = nlp.make_doc("Hello Paris")
        before = copy.deepcopy(doc.user_data)
        results, _ = nlp.get_pipe("rivega_knowledge").predict([doc])
    assert results[0].text == KNOWLEDGE and doc.user_data == before


@pytest.mark.slow
def test_two_worker_processes_share_a_store(tmp_path: Path) -> None:
    store = {"@misc": "rivega.AnswerStore.v1", "path": str(tmp_path / "answers.sqlite")}
    texts = [f"number {n % 10} in Paris" for n in range(20)]
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        nlp = pipeline(proxy.url, store=store, examples={"@misc": "rivega.NoExamples.v1"})
        docs = list(nlp.pipe(texts, n_process=2, batch_size=5))
    assert [doc.text for doc in docs] == texts and all(doc._.knowledge == KNOWLEDGE for doc in docs)
    # Ten different questions, each of them twice, in two processes.
    assert len(proxy.requests) == 10


@pytest.mark.slow
def test_a_saved_pipeline_asks_what_this_one_asks(tmp_path: Path) -> None:
    prompt = tmp_path / "mine.txt"
    prompt.write_text("[[user]]\nTweet: {text}\nNames:")
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        nlp = pipeline(proxy.url, prompt=str(prompt))
        nlp.to_disk(tmp_path / "saved")
        prompt.write_text("[[user]]\nSomething else: {text}")
        spacy.load(tmp_path / "saved")("Hello Paris")
        copied: list[Any] = [blank_nlp()]
        settings = {name: value for name, value in nlp.get_pipe_config("rivega_knowledge").items() if name != "factory"}
        copied[0].add_pipe("rivega_knowledge", config=settings)
        copied[0].from_bytes(nlp.to_bytes())("Hello Bob")
    assert [last_text(body) for body in proxy.requests] == ["Tweet: << Hello Paris >>\nNames:", "Tweet: << Hello Bob >>\nNames:"]


def test_the_config_on_disk_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef-secret")
    store = {"@misc": "rivega.AnswerStore.v1", "path": str(tmp_path / "answers.sqlite")}
    with FaultProxy(lambda body: KNOWLEDGE) as proxy:
        nlp = pipeline(proxy.url, store=store)
        assert nlp("Hello Paris")._.knowledge
        nlp.to_disk(tmp_path / "saved")
    assert proxy.headers[0]["authorization"] == "Bearer sk-test-0123456789abcdef-secret"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert b"0123456789abcdef-secret" not in path.read_bytes(), path
