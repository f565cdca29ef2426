"""The page in a real browser: every action, by pointer and by keyboard, and what it says where something goes wrong."""

import csv
import io
import json
import time
import zipfile
from contextlib import contextmanager

import pytest
from browser import needs_browser

from rivega_spacy.post.rle import rle_area, rle_to_box
from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.correcting import CorrectionQueue
from rivega_spacy.serve.limits import Limits

from .conftest import BOX, HEIGHT, WIDTH, encoded, make_pipeline

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, which drives the browser")
ActionBuilder = pytest.importorskip("selenium.webdriver.common.actions.action_builder").ActionBuilder
pytestmark = [pytest.mark.slow, needs_browser]
TEXT = "Ann met 🚀 Rio at the Zoo"
CSS = "css selector"


class Page:
    """What a person does on the page and sees of it."""

    def __init__(self, driver, url):
        self.driver, self.url = driver, url

    def open(self, path="/"):
        self.driver.get(self.url + path)
        self.until(lambda: self.run("return document.body.dataset.ready"))

    def run(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def all(self, selector):
        return self.driver.find_elements(CSS, selector)

    def one(self, selector):
        return self.until(lambda: next((each for each in self.all(selector) if each.is_displayed()), None), selector)

    def click(self, selector):
        self.one(selector).click()

    def until(self, condition, what="", seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = condition()
            except Exception:  # drawn anew meanwhile
                found = None
            if found:
                return found
            time.sleep(0.03)
        raise AssertionError(f"did not happen: {what}; the page says {self.text('#problem')!r} and {self.text('#status')!r}")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)", selector)

    def marks(self):
        """Words and types of the marks in the text."""
        return [tuple(text.rsplit("\n", 1)) if "\n" in text else tuple(text.rsplit(" ", 1)) for text in self.run(
            "return [...document.querySelectorAll('#text mark')].map(m => m.querySelector('span').textContent + ' ' + m.querySelector('small').textContent)"
        )]  # fmt: skip

    def choose(self, selector, value):
        self.run(
            "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change', {bubbles: true}))",
            selector, value,
        )  # fmt: skip

    def select_words(self, start, end):
        """As a pointer would: by code points of the text."""
        self.run(
            """
            const find = (place, last) => {
              for (const span of document.querySelectorAll('#text span[data-start]')) {
                const from = Number(span.dataset.start), signs = [...span.firstChild.data];
                if (last ? place > from && place <= from + signs.length : place >= from && place < from + signs.length)
                  return [span.firstChild, signs.slice(0, place - from).join('').length];
              }
            };
            const range = document.createRange();
            range.setStart(...find(arguments[0], false));
            range.setEnd(...find(arguments[1], true));
            getSelection().removeAllRanges();
            getSelection().addRange(range);
            """,
            start, end,
        )  # fmt: skip

    def place(self, x, y):
        """A place in the picture as one in the window."""
        self.run("document.querySelector('#frame').scrollIntoView({block: 'center'})")
        left, top, width, height = self.run(
            "const r = document.querySelector('#marks').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]"
        )
        return round(left + x / WIDTH * width), round(top + y / HEIGHT * height)

    def drag(self, start, end):
        """From one place in the picture to another."""
        pointer = ActionBuilder(self.driver, duration=20)
        self.place(*start)
        pointer.pointer_action.move_to_location(*self.place(*start)).pointer_down().move_to_location(*self.place(*end)).pointer_up()
        pointer.perform()

    def press(self, *keys, alt=False, ctrl=False):
        chain = webdriver.ActionChains(self.driver)
        held = [webdriver.Keys.ALT] * alt + [webdriver.Keys.CONTROL] * ctrl
        for key in held:
            chain.key_down(key)
        for key in keys:
            chain.send_keys(key)
        for key in held:
            chain.key_up(key)
        chain.perform()

    def boxes(self):
        """Boxes on the picture, in its pixels."""
        return self.run(
            "return [...document.querySelectorAll('#marks g.box .over')].map(r => ['x', 'y', 'width', 'height'].map(a => Math.round(Number(r.getAttribute(a)))))"
        )

    def painted(self):
        """Pixels of the masks that are shown."""
        return self.run(
            "return [...document.querySelectorAll('#layers canvas')].map(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 3 && v).length)"
        )

    def settled(self):
        """Once masks have followed their boxes."""
        self.until(lambda: not self.all("#ents .waiting") and self.painted(), "masks")

    def give(self, text, picture=None):
        area = self.one("#given-text")
        area.clear()
        self.run("arguments[0].value = arguments[1]", area, text)
        if picture is not None:
            self.driver.find_element(CSS, "#given-picture").send_keys(str(picture))
        self.click("#annotate")
        self.until(lambda: not self.all("#annotate:disabled"))

    def problem(self):
        return self.one("#problem").text


@pytest.fixture
def page_of(driver, serving):
    """Pages of servers of their own; at the end nothing may stand in the browser's console but what a test expected."""

    def make(*, pipeline=None, queue=None, **limits):
        running = serving(create_app(pipeline or make_pipeline(), limits=Limits(**limits), queue=queue))
        page = Page(driver, running.url)
        page.running = running
        page.open()
        return page

    yield make
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    # Leaving a page with changes asks whether that is meant.
    driver.execute_script("window.addEventListener('beforeunload', event => event.stopImmediatePropagation(), true)")
    # What the browser itself says about answers that are errors, and about that question.
    own_words = ("Failed to load resource", "beforeunload")
    log = [entry["message"] for entry in driver.get_log("browser") if not any(word in entry["message"] for word in own_words)]
    driver.get("about:blank")
    assert not log


@pytest.fixture
def own(page_of, tmp_path, png):
    """A page with a post of one's own, annotated."""
    (tmp_path / "my picture.png").write_bytes(png)
    page = page_of()
    page.give(TEXT, tmp_path / "my picture.png")
    page.one("#work")
    page.settled()
    return page


def area(box):
    return (box[2] - 4) * (box[3] - 4)


def test_names_of_boxes_in_one_place_stand_apart(page_of, tmp_path, png):
    (tmp_path / "a.png").write_bytes(png)
    page = page_of()
    page.give("Ann saw Ann and Ann", tmp_path / "a.png")
    page.settled()
    tops = page.run(
        "return [...document.querySelectorAll('#marks g.box text')].map(each => each.getBBox().y).sort((a, b) => a - b)"
    )
    heights = page.run("return [...document.querySelectorAll('#marks g.box text')].map(each => each.getBBox().height)")
    assert len(tops) == 3 and all(low - high >= max(heights) for high, low in zip(tops, tops[1:]))


def test_a_post_is_annotated_and_shown(own):
    assert own.marks() == [("Ann", "PER"), ("Rio", "LOC"), ("Zoo", "ORG")]
    assert own.boxes() == [[32, 40, 128, 140]] and own.painted() == [area([0, 0, 128, 140])]
    assert own.run("return document.querySelector('#picture').alt") == "Picture of the post; shown: Ann"
    assert own.text("#caption") == "my picture.png, 320 × 200"
    facts = own.texts("#ents li")
    assert "box" in facts[0] and "mask 0.50" in facts[0] and "tagger 0.75" in facts[1]
    # The pixels are where the box is.
    corner = own.run("return [...document.querySelector('#layers canvas').getContext('2d').getImageData(34, 42, 1, 1).data]")
    outside = own.run("return [...document.querySelector('#layers canvas').getContext('2d').getImageData(30, 42, 1, 1).data]")
    assert corner[3] > 0 and outside[3] == 0


def test_dropped_and_pasted_pictures(page_of, png):
    page = page_of()
    for kind, event, field in (("drop", "DragEvent", "dataTransfer"), ("paste", "ClipboardEvent", "clipboardData")):
        page.run(
            """
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(arguments[0])], arguments[1] + ".png", {type: "image/png"}));
            document.querySelector('#drop').dispatchEvent(new window[arguments[2]](arguments[1], {[arguments[3]]: data, bubbles: true, cancelable: true}));
            """,
            list(png), kind, event, field,
        )  # fmt: skip
        assert f"{kind}.png" in page.text("#drop-hint")
        page.give("Ann " + kind)
        page.until(lambda name=kind: page.text("#caption") == f"{name}.png, 320 × 200" and page.boxes(), kind)
    page.click("#without-picture")
    page.give("Ann alone")
    page.until(lambda: page.text("#nophoto") == "no picture" and not page.boxes())


def test_pointer_and_focus_link_text_list_and_picture(own):
    def hot():
        return own.run("return [...document.querySelectorAll('#work .hot')].map(each => each.tagName.toLowerCase()).sort()")

    everything = ["button", "canvas", "g", "li", "mark"]
    move = webdriver.ActionChains(own.driver)
    for selector in ("#text mark", "#ents li"):
        own.run("document.querySelector('#post-name').scrollIntoView()")
        move.move_to_element(own.one(selector)).perform()
        own.until(lambda: hot() == everything, selector)
        move.move_to_element(own.one("h1")).perform()
        own.until(lambda: hot() == [], "left")
    pointer = ActionBuilder(own.driver, duration=10)
    pointer.pointer_action.move_to_location(*own.place(90, 100))  # the mask
    pointer.perform()
    own.until(lambda: hot() == everything, "mask")
    pointer.pointer_action.move_to_location(*own.place(300, 10))
    pointer.perform()
    own.until(lambda: hot() == [], "beside the mask")
    for selector in ("#text mark", "#marks g.box", "#ents button.name"):
        own.run("document.querySelector(arguments[0]).focus()", selector)
        own.until(lambda: hot() == everything, f"focus on {selector}")
    own.run("document.querySelector('#add').focus()")
    own.until(lambda: hot() == [], "focus elsewhere")
    # What is not shown is in text and list alone.
    own.run("document.querySelectorAll('#text mark')[1].focus()")
    own.until(lambda: hot() == ["button", "li", "mark"])


def test_words_and_types_are_changed(own):
    own.click("#ents button.name")
    own.click('[data-do="end-on"]')
    assert own.marks()[0] == ("Ann met", "PER") and "tagger" not in own.texts("#ents li")[0]
    own.press(webdriver.Keys.ENTER)  # the button has the focus still
    assert own.marks()[0] == ("Ann met 🚀", "PER")
    own.press(webdriver.Keys.ENTER)
    assert own.marks()[0] == ("Ann met 🚀", "PER") and "overlaps “Rio”" in own.text("#status")
    own.click('[data-do="end-back"]')
    own.run(
        "document.querySelector('[data-do=\"end-back\"]').dispatchEvent(new MouseEvent('click', {altKey: true, bubbles: true}))"
    )
    assert own.marks()[0] == ("Ann me", "PER")
    own.click('[data-do="start-on"]')
    assert own.marks()[0] == ("me", "PER")
    own.select_words(0, 3)
    own.click('[data-do="use-selection"]')
    assert own.marks()[0] == ("Ann", "PER")
    own.choose('#ents [data-field="type"]', "ORG")
    assert own.marks()[0] == ("Ann", "ORG")
    own.run("const i = document.querySelector('[data-field=expansion]'); i.value = 'a band'; i.dispatchEvent(new Event('change'))")
    assert "a band" in own.texts("#ents li")[0]
    for _ in range(2):
        own.press("z", ctrl=True)
    assert own.marks()[0] == ("Ann", "PER")


def test_entities_are_added_and_deleted(own):
    own.select_words(8, 9)  # one character for Python, two for the browser
    own.click("#add")
    assert own.marks() == [("Ann", "PER"), ("🚀", "LOC"), ("Rio", "LOC"), ("Zoo", "ORG")]
    assert own.run("return document.activeElement.dataset.field") == "type"
    own.choose('#ents li.selected [data-field="type"]', "ORG")
    own.select_words(10, 24)
    own.click("#add")
    assert "overlaps" in own.text("#status") and len(own.marks()) == 4
    own.run("getSelection().removeAllRanges()")
    own.click("#add")  # without a selection: the first free word
    assert ("met", "LOC") in own.marks()
    own.click('#ents li.selected [data-do="delete"]')
    assert ("met", "LOC") not in own.marks() and "was deleted" in own.text("#status")
    own.click("#undo")
    assert ("met", "LOC") in own.marks()


def test_boxes_are_moved_resized_and_drawn_and_the_mask_follows(own):
    own.drag((34, 100), (64, 110))  # by its edge, before it is selected
    own.settled()
    (x, y, width, height), *_ = own.boxes()
    assert (x, y, width, height) == (pytest.approx(62, abs=2), pytest.approx(50, abs=2), 128, 140)
    own.until(lambda: own.painted() == [area([0, 0, 128, 140])], "the mask of the new place")
    assert own.run("return document.querySelector('#layers canvas').getContext('2d').getImageData(36, 60, 1, 1).data[3]") == 0
    own.drag((x + width, y + height), (x + width - 40, y + height - 50))  # the handle of the lower right corner
    own.settled()
    (_, _, width, height), *_ = own.boxes()
    assert (width, height) == (pytest.approx(88, abs=2), pytest.approx(90, abs=2))
    own.until(lambda: own.painted()[0] == pytest.approx(area([0, 0, 88, 90]), rel=0.06), "the smaller mask")
    assert "box\n" in own.texts("#ents li")[0] + "\n" and "box 0" not in own.texts("#ents li")[0], (
        "its score was that of another box"
    )
    own.click('#ents li.selected [data-do="draw"]')
    own.drag((220, 20), (280, 90))
    own.until(lambda: len(own.boxes()) == 2, "a second box")
    own.settled()
    # Rio was judged not to be shown: with a box it is.
    own.all("#ents button.name")[1].click()
    own.click('#ents li.selected [data-do="draw"]')
    own.press(webdriver.Keys.ESCAPE)
    own.click('#ents li.selected [data-do="draw"]')
    own.press(webdriver.Keys.ENTER)
    own.settled()
    own.until(lambda: len(own.painted()) == 2, "a mask for Rio")
    assert own.run("return document.querySelectorAll('#ents [data-field=state]')[1].value") == "shown"
    assert own.all("#text mark")[1].get_attribute("class").split()[0] == "shown"
    # The focus is on the new box: keys move and resize it, and take it away.
    before = own.boxes()[-1]
    own.press(webdriver.Keys.ARROW_RIGHT, webdriver.Keys.ARROW_DOWN)
    own.press(webdriver.Keys.ARROW_LEFT, alt=True)
    own.settled()
    step = 3
    assert own.boxes()[-1] == [before[0] + step, before[1] + step, before[2] - step, before[3]]
    own.press(webdriver.Keys.DELETE)
    own.until(lambda: len(own.boxes()) == 2, "removed")
    own.press("z", ctrl=True)
    assert len(own.boxes()) == 3


def test_shown_or_not(own):
    own.choose('#ents [data-field="state"]', "not shown")
    assert not own.boxes() and not own.painted() and own.all("#text mark")[0].get_attribute("class") == "absent"
    own.choose('#ents [data-field="state"]', "shown")
    assert own.boxes() == [[32, 40, 128, 140]] and own.painted() == [area([0, 0, 128, 140])]
    own.choose('#ents li:nth-child(2) [data-field="state"]', "shown")
    assert "no box yet" in own.texts("#ents li")[1]
    own.choose('#ents li:nth-child(2) [data-field="state"]', "not judged")
    assert own.all("#text mark")[1].get_attribute("class") == "unjudged"
    # The pipeline is asked about one entity.
    own.choose('#ents li:nth-child(3) [data-field="type"]', "PER")
    own.all("#ents button.name")[2].click()
    own.click('#ents li.selected [data-do="look"]')
    own.until(lambda: len(own.boxes()) == 2, "found")


def test_downloads(own):
    own.choose('#ents li:nth-child(3) [data-field="type"]', "LOC")
    folder = own.driver.downloads
    kinds = own.run("return [...document.querySelectorAll('#form option')].map(each => each.value)")
    assert kinds == ["json", "png", "coco", "labelme", "label-studio", "prodigy", "web-annotation", "csv"]
    files = {}
    for kind in kinds:
        for old in folder.iterdir():
            old.unlink()
        own.choose("#form", kind)
        own.click("#downloads button")
        path = own.until(
            lambda: next(
                (file for file in folder.iterdir() if not file.name.endswith(".crdownload") and file.stat().st_size), None
            ),
            kind,
        )
        files[kind] = path.read_bytes()
    post = json.loads(files["json"])
    assert [(ent["text"], ent["label"]) for ent in post["ents"]] == [("Ann", "PER"), ("Rio", "LOC"), ("Zoo", "LOC")]
    assert (
        post["image"] == "my picture.png"
        and post["ents"][0]["boxes"] == [BOX]
        and rle_to_box(post["ents"][0]["mask_rle"]) == [34, 42, 158, 178]
    )
    assert set(post["ents"][0]) == set(post["ents"][2]) and "key" not in post["ents"][0]
    assert files["png"].startswith(b"\x89PNG")
    coco = json.loads(files["coco"])
    assert coco["images"][0] | {"id": 1} == {
        "id": 1,
        "file_name": "my picture.png",
        "width": WIDTH,
        "height": HEIGHT,
        "post_id": "1",
        "text": TEXT,
    }
    assert coco["annotations"][0]["area"] == rle_area(post["ents"][0]["mask_rle"])
    assert json.loads(files["labelme"])["shapes"][0]["label"] == "Ann"
    with zipfile.ZipFile(io.BytesIO(files["label-studio"])) as packed:
        assert set(packed.namelist()) == {"tasks.json", "config.xml"}
        assert json.loads(packed.read("tasks.json"))[0]["data"]["image"] == "my picture.png"
    items = json.loads(files["web-annotation"])["items"]
    assert [item["motivation"] for item in items].count("identifying") == 3
    assert [row["label"] for row in csv.DictReader(io.StringIO(files["csv"].decode("utf-8-sig")))] == ["PER", "LOC", "LOC"]


def test_what_goes_wrong_is_told_and_nothing_is_lost(page_of, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no picture")
    (tmp_path / "large.png").write_bytes(encoded(size=(300, 200)))
    (tmp_path / "broken.jpg").write_bytes(encoded("JPEG", size=(160, 120))[:-400])
    page = page_of(pixels=50_000)
    for name, told in (("no.png", "[E030]"), ("large.png", "[E807]")):
        page.give(TEXT, tmp_path / name)
        assert told in page.problem() and page.run("return document.activeElement !== null")
        assert page.one("#given-text").get_attribute("value") == TEXT
    page.click("#without-picture")
    page.give("")
    page.one("#none")
    assert not page.all("#problem:not([hidden])") and page.text("#text") == "no text"
    page.give("FAIL Ann")
    assert "the seer is blind" in page.text("#errors")
    page.running.stop()
    page.give("Ann in Rio")
    assert "The server does not answer" in page.problem() and page.all("#again")
    assert page.one("#given-text").get_attribute("value") == "Ann in Rio"


def test_hostile_posts_are_text(page_of, posts_file, tmp_path):
    evil = "<img src=x onerror=\"document.title='hacked'\"> Ann </span><script>document.title='hacked'</script>"
    row = {
        "id": evil,
        "text": evil,
        "caption": evil,
        "ents": [[0, 4, "<b>PER</b>"]],
        "errors": [{"component": evil, "message": evil}],
        "image": evil,
    }
    posts_file.write_text(json.dumps(row) + "\n", encoding="utf8")
    page = page_of(queue=CorrectionQueue(posts_file, tmp_path / "c.jsonl"))
    page.one("#problem")  # that there is no such picture
    assert evil.replace("  ", " ") in page.text("#text").replace("\n", "") or "onerror" in page.text("#text")
    assert page.driver.title == "rivega" and not page.all("#work script, #work img:not(#picture), #work b b")
    assert evil in page.texts("#errors li")[0] and evil in page.text("#post-name")
    page.click("#ents button.name")
    assert page.driver.title == "rivega"


def test_a_queue_is_corrected_saved_and_gone_on_with(page_of, posts_file, queue, tmp_path):
    page = page_of(queue=queue)
    page.settled()
    assert page.text("#post-name") == "Post 1: a" and page.text("#saved") == "0 of 4 saved" and page.text("#of") == "of 4"
    page.choose('#ents [data-field="type"]', "ORG")
    assert page.text("#state") == "not saved" and "1 changed and not saved" in page.text("#saved")
    page.drag((34, 100), (64, 110))
    page.click("#save")  # the mask that is still to come is waited for
    page.until(lambda: page.text("#post-name") == "Post 2: b", "the next post")
    page.until(lambda: "is saved" in page.text("#status"), "the message that it is saved")
    assert page.text("#saved") == "1 of 4 saved"
    (row,) = [json.loads(line) for line in queue.path.read_text(encoding="utf8").splitlines()]
    first = row["ents"][0]
    assert first["label"] == "ORG" and first["score"] is None and first["box_score"] is None and first["groundable"] is True
    assert first["boxes"][0][0] == pytest.approx(62, abs=2) and rle_to_box(first["mask_rle"])[0] == pytest.approx(64, abs=3)
    assert set(first) == set(row["ents"][1]), "nothing of the page's own is saved"
    # Changes stay while one looks at other posts.
    page.select_words(0, 6)
    page.click("#add")
    page.click("#next")
    page.until(lambda: page.text("#post-name") == "Post 3")
    assert page.text("#nophoto") == "no picture"
    page.click("#previous")
    page.until(lambda: page.marks() == [("Nobody", "LOC")], "the draft")
    page.press(webdriver.Keys.ENTER, ctrl=True)
    page.until(lambda: page.text("#saved") == "2 of 4 saved")
    # Loaded again: on with the first that is open; what was saved is as it was saved.
    page.driver.get("about:blank")
    page.open()
    page.until(lambda: page.text("#post-name") == "Post 3")
    page.click("#previous")
    page.until(lambda: page.text("#state") == "saved" and page.marks() == [("Nobody", "LOC")])
    page.click("#open")
    page.until(lambda: page.text("#post-name") == "Post 3")
    page.run("const n = document.querySelector('#number'); n.value = 4; n.dispatchEvent(new Event('change'))")
    page.until(lambda: page.text("#post-name") == "Post 4: d")
    page.click("#save")
    page.until(lambda: page.text("#post-name") == "Post 3")
    page.click("#save")
    page.until(lambda: "All 4 posts are saved in corrected.jsonl" in page.text("#status"))
    # Own posts beside the queue.
    page.click("#mode-own")
    page.give("Ann in Rio")
    page.until(lambda: page.marks() == [("Ann", "PER"), ("Rio", "LOC")])
    page.click("#mode-queue")
    page.until(lambda: page.text("#post-name").startswith("Post 3"))


def test_what_cannot_be_saved_stays_on_the_page(page_of, queue, serving):
    page = page_of(queue=queue)
    page.choose('#ents [data-field="type"]', "ORG")
    # Another page was quicker.
    queue.save(1, [], 0)
    page.click("#save")
    assert "[E818]" in page.problem() and page.marks()[0] == ("Ann", "ORG")
    page.click("#problem button:last-child")
    page.click("#next")
    page.until(lambda: page.text("#post-name") == "Post 2: b")
    page.select_words(0, 6)
    page.click("#add")
    # Another program wrote the file: nothing of either is lost.
    before = queue.path.read_text(encoding="utf8")
    queue.path.write_text("mine\n", encoding="utf8")
    page.click("#save")
    assert "[E816]" in page.problem() and queue.path.read_text(encoding="utf8") == "mine\n"
    queue.path.write_text(before, encoding="utf8")
    queue._stamp = (queue.path.stat().st_ino, queue.path.stat().st_size, queue.path.stat().st_mtime_ns)
    page.click("#again")
    page.until(lambda: json.loads(queue.path.read_text(encoding="utf8").splitlines()[-1])["queue_number"] == 2, "saved after all")
    # The server goes away; the page keeps what was changed until it is back.
    page.until(lambda: page.text("#post-name") == "Post 3")
    page.choose('#ents [data-field="type"]', "LOC")
    port = page.running.sock.getsockname()
    page.running.stop()
    page.click("#save")
    assert "The server does not answer" in page.problem() and page.marks()[0] == ("Ann", "LOC")
    with served_again(page, queue, port):
        page.click("#again")
        page.until(lambda: len(queue.path.read_text(encoding="utf8").splitlines()) == 3, "saved by the new server")


@contextmanager
def served_again(page, queue, address):
    """A server at the same address."""
    import socket

    from . import conftest

    create = socket.create_server
    try:
        socket.create_server = lambda _: create(address)
        running = conftest.Running(create_app(make_pipeline(), queue=CorrectionQueue(queue.posts, queue.path)))
    finally:
        socket.create_server = create
    yield
    running.stop()


def test_without_a_segmenter_boxes_move_alone(page_of, posts_file, queue):
    page = page_of(pipeline=make_pipeline(segmenter=False), queue=queue)
    page.until(lambda: page.boxes())
    page.drag((34, 100), (64, 110))
    page.until(lambda: page.boxes()[0][0] == pytest.approx(62, abs=2))
    assert not page.all("#ents .waiting") and not page.painted()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_readable_at_every_width_and_by_every_eye(page_of, queue, driver, width, dark):
    page = page_of(queue=queue)
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    )
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    )
    page.settled()
    page.run("document.querySelector('#ents button.name').click()")
    assert page.run("return document.documentElement.scrollWidth") <= width
    cut = page.run(
        "return [...document.querySelectorAll('main *')].filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert not cut
    contrasts = page.run(CONTRAST)
    assert contrasts and min(contrasts.values()) >= 4.5, contrasts
    tree = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "textbox", "spinbutton", "link", "image", "progressbar"}
    nameless = [
        node
        for node in tree
        if not node["ignored"] and node.get("role", {}).get("value") in roles and not node.get("name", {}).get("value", "").strip()
    ]
    assert not nameless
    assert page.run("return document.documentElement.lang") == "en" and len(page.all("h1")) == 1


# Contrast of text with what is behind it (WCAG 2.1), of what is on the page.
CONTRAST = """
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
const parse = text => { const c = document.createElement('canvas').getContext('2d'); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255]; };
const found = {};
for (const s of ['h1', '#pipeline', '#of', '#saved', '.hint', '.facts span', 'button.main', 'button.danger', '#post-name', 'h3', '#caption', '#add'])
  for (const e of document.querySelectorAll(s)) if (e.offsetParent) {
    const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
    found[s] = Math.min(found[s] ?? 99, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
return found;
"""


def test_the_page_of_the_api(page_of, driver):
    page = page_of()
    driver.get(page.url + "/docs")
    page.until(lambda: "/annotate" in page.text("#routes"))
    page.all("summary")[0].click()
    assert "tokens" in page.text("#routes table") and page.run("return document.documentElement.scrollWidth <= innerWidth")
