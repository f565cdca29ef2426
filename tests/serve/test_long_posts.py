"""Posts of a million characters in a real browser: the page stays one that a person can work with."""

import json

import pytest
from browser import needs_browser

from rivega_spacy.serve.correcting import CorrectionQueue

from .test_page import Page, page_of  # noqa: F401

pytest.importorskip("selenium.webdriver", reason="needs selenium, which drives the browser")
pytestmark = [pytest.mark.slow, needs_browser]

MILLION = 1_000_000
FILLER = "lorem ipsum dolor 🚀 sit amet "
# So many milliseconds an action may keep the page busy; measured at a twentieth of it on a quiet machine.
BUSY = 5000


def long_text() -> str:
    """A million characters with three names in them, at the start, in the middle and at the end."""
    half = FILLER * (MILLION // (2 * len(FILLER)))
    return f"Ann {half}Rio {half}Zoo"


def timed(page, code, *arguments):
    """Milliseconds that something keeps the page busy, drawing included."""
    return page.run(
        "const begun = performance.now(); (() => {"
        + code
        + "})(); document.body.getBoundingClientRect(); return performance.now() - begun",
        *arguments,
    )


def click(page, selector):
    return timed(page, f"document.querySelector({json.dumps(selector)}).click()")


def work_on(page, told):
    """What a person does with a post: looks at an entity, changes it, adds one, undoes that."""
    names = len(page.marks())
    told["select"] = timed(page, "[...document.querySelectorAll('#text mark')].at(-1).click()")
    assert page.run("return document.querySelectorAll('#ents li button.name').length") == min(200, names)
    told["type"] = timed(
        page,
        "const s = document.querySelector('#ents li.selected [data-field=type]'); s.value = 'PER'; s.dispatchEvent(new Event('change'))",
    )
    told["edge"] = click(page, '#ents li.selected [data-do="start-on"]')
    told["hover"] = timed(
        page, "document.querySelector('#text mark').dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    told["add"] = click(page, "#add")
    assert len(page.marks()) == names + 1
    told["undo"] = click(page, "#undo")
    assert len(page.marks()) == names


def test_a_post_of_a_million_characters_is_corrected(page_of, tmp_path):  # noqa: F811
    text = long_text()
    posts = tmp_path / "posts.jsonl"
    posts.write_text(
        "".join(json.dumps({"id": str(n), "text": text if n < 2 else "Ann again"}) + "\n" for n in range(3)), encoding="utf8"
    )
    queue = CorrectionQueue(posts, tmp_path / "c.jsonl")
    page = page_of(queue=queue, seconds=600)
    told = {}
    page.until(lambda: page.marks() == [("Ann", "PER"), ("Rio", "LOC"), ("Zoo", "ORG")], "annotated", seconds=300)
    work_on(page, told)
    page.click("#save")
    page.until(lambda: page.text("#status") == "Post 1 is saved.", "saved", seconds=300)
    assert [ent["text"] for ent in json.loads(queue.path.read_text(encoding="utf8"))["ents"]] == ["Ann", "Rio", "Zoo"]
    page.click("#next")
    page.until(lambda: page.text("#post-name") == "Post 3: 2" and page.marks() == [("Ann", "PER")], "the next post", seconds=300)
    print(told)
    assert max(told.values()) < BUSY, told


def test_a_post_of_ten_thousand_entities_is_corrected(page_of, tmp_path):  # noqa: F811
    words = "Ann saw the Zoo " * 5000
    ents = [[16 * n + start, 16 * n + start + 3, label] for n in range(5000) for start, label in ((0, "PER"), (12, "ORG"))]
    posts = tmp_path / "posts.jsonl"
    posts.write_text(
        json.dumps({"id": "1", "text": words + long_text()[: MILLION - len(words)], "ents": ents}) + "\n", encoding="utf8"
    )
    queue = CorrectionQueue(posts, tmp_path / "c.jsonl")
    page = page_of(queue=queue, seconds=600)
    page.until(lambda: page.run("return document.querySelectorAll('#text mark').length"), "entities", seconds=300)
    told = {}
    work_on(page, told)
    page.click("#save")
    page.until(lambda: "are saved in" in page.text("#status"), "saved", seconds=300)
    assert len(json.loads(queue.path.read_text(encoding="utf8"))["ents"]) == 10_000
    print(told)
    assert max(told.values()) < BUSY, told


def test_a_text_of_ones_own_of_a_million_characters(page_of):  # noqa: F811
    page = page_of()
    page.give(long_text())
    assert "E807" in page.problem() and "--max-text" in page.problem()
    page.give("Ann")
    assert page.marks() == [("Ann", "PER")]
    told = {}
    page = page_of(text=2 * MILLION, seconds=600)
    page.run("document.querySelector('#given-text').value = arguments[0]", long_text())
    page.click("#annotate")
    page.until(lambda: len(page.marks()) == 3, "annotated", seconds=300)
    work_on(page, told)
    print(told)
    assert max(told.values()) < BUSY, told
