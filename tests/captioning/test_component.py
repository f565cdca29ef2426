"""`rivega_captioner`: captions, descriptions, and pictures that cannot be had."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blank import blank_nlp
from llm.servers import FaultProxy
from PIL import Image

from rivega_spacy.post.errors import RivegaError


def describe(body: dict[str, Any]) -> str:
    """A caption or a paragraph, by what is asked."""
    words = body["messages"][-1]["content"][-1]["text"]
    return "A red square." if "twenty words" in words else "There is a square. It is red and lies on the left."


def pipeline(proxy: FaultProxy, **options: Any) -> Any:
    nlp = blank_nlp()
    model = {"@misc": "rivega.OpenAIChat.v1", "model": "seer", "base_url": proxy.url, "max_retries": 0}
    nlp.add_pipe("rivega_captioner", config={"model": model, **options})
    return nlp


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10), (200, 0, 0)).save(path)
    return str(path)


@pytest.mark.slow
def test_both_fields(image: str) -> None:
    with FaultProxy(describe) as proxy:
        nlp = pipeline(proxy)
        ((doc, _),) = nlp.pipe([("Look", {"image": image})], as_tuples=True)
    assert doc._.caption == "A red square."
    assert doc._.description == "There is a square. It is red and lies on the left."
    assert doc._.rivega_errors == [] and len(proxy.requests) == 2


def test_what_is_there_is_kept_unless_overwritten(image: str) -> None:
    for overwrite, caption, calls in [(False, "given", 1), (True, "A red square.", 2)]:
        with FaultProxy(describe) as proxy:
            nlp = pipeline(proxy, overwrite=overwrite)
            doc = nlp.make_doc("Look")
            doc._.image, doc._.caption = image, "given"
            doc = nlp(doc)
        assert (doc._.caption, len(proxy.requests)) == (caption, calls)
        assert doc._.description


def test_one_field_only(image: str) -> None:
    with FaultProxy(describe) as proxy:
        nlp = pipeline(proxy, fields=["caption"])
        doc = nlp.make_doc("Look")
        doc._.image = image
        doc = nlp(doc)
    assert doc._.caption and doc._.description is None and len(proxy.requests) == 1
    with pytest.raises(RivegaError, match="fields"):
        pipeline(proxy, fields=["title"])


def test_posts_without_a_usable_picture_go_through(image: str, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    posts = [
        ("none", {}),
        ("missing", {"image": str(tmp_path / "x.png")}),
        ("bad", {"image": str(tmp_path / "bad.png")}),
        ("good", {"image": image}),
    ]
    with FaultProxy(describe) as proxy:
        docs = [doc for doc, _ in pipeline(proxy).pipe(posts, as_tuples=True)]
    assert [bool(doc._.caption) for doc in docs] == [False, False, False, True]
    assert docs[0]._.rivega_errors == [] and docs[3]._.rivega_errors == []
    assert "does not exist" in docs[1]._.rivega_errors[0]["message"]
    assert "cannot be decoded" in docs[2]._.rivega_errors[0]["message"]


def test_equal_pictures_are_described_once(tmp_path: Path) -> None:
    picture = np.full((8, 8, 3), 100, dtype="uint8")
    store = {"@misc": "rivega.AnswerStore.v1", "path": str(tmp_path / "answers.sqlite")}
    with FaultProxy(describe) as proxy:
        nlp = pipeline(proxy, store=store)
        docs = []
        for _ in range(2):
            doc = nlp.make_doc("Look")
            doc._.image = picture
            docs.append(doc)
        docs = list(nlp.pipe(docs))
    assert all(doc._.caption for doc in docs) and len(proxy.requests) == 2


def test_a_failed_call_is_noted_and_the_other_field_stands(image: str) -> None:
    with FaultProxy(describe) as proxy:
        nlp = pipeline(proxy)
        proxy.script = ["400"]
        nlp.get_pipe("rivega_captioner").asker.model.concurrency = 1
        doc = nlp.make_doc("Look")
        doc._.image, doc.user_data["id"] = image, "77"
        doc = nlp(doc)
    assert doc._.caption is None and doc._.description
    (error,) = doc._.rivega_errors
    assert error["component"] == "rivega_captioner" and "'77'" in error["message"] and "caption" in error["message"]
