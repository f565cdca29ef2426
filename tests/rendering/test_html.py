import base64
import io
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from rivega_spacy.post.extensions import record_error
from rivega_spacy.rendering import render_posts
from rivega_spacy.rendering.shapes import PALETTE

VOID = {"img", "meta", "input", "br", "rect"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and all(value in (a.get(key) or "").split() for key, value in wanted.items())]


def with_class(page, tag, name):
    return page.all(tag, **{"class": name})


def test_text_and_picture_share_the_colour(make_post, grey, block):
    doc = make_post(
        "Ada met Bob in Rome",
        grey(60, 80),
        [
            {"text": "Ada", "groundable": False, "groundable_score": 0.07},
            {
                "text": "Bob",
                "groundable": True,
                "groundable_score": 0.91,
                "boxes": [[8, 6, 40, 30]],
                "mask": block(60, 80, [10, 10, 30, 25]),
            },
            {"text": "Rome", "label": "LOC", "boxes": [[40, 30, 80, 60]]},
        ],
        id="p1",
    )
    html = render_posts([doc])
    page = Page(html)
    assert [m["class"] for m in page.all("mark") if "style" not in m][2:] == ["absent", "shown n1", "shown n2"]
    assert [r["class"] for r in with_class(page, "rect", "over")] == ["over shown n1", "over shown n2"]
    assert len(with_class(page, "img", "mask")) == 1 and "n1" in with_class(page, "img", "mask")[0]["class"].split()
    assert f".n1{{--c:{PALETTE[0]}}}" in html and f".n2{{--c:{PALETTE[1]}}}" in html
    text = " ".join(page.text)
    assert "0.07" in text and "0.91" in text and "not in the picture" in text
    assert "2 of 3 entities in the picture" in text
    assert page.all("img")[0]["alt"] == "Picture of the post. It shows Bob (PER), Rome (LOC). It does not show Ada (PER)."
    box = with_class(page, "rect", "over")[0]
    assert (float(box["x"]), float(box["y"]), float(box["width"]), float(box["height"])) == (8, 6, 32, 24)


NASTY = "<script>alert(1)</script> & \"quotes\" 'single' </style> <img src=x onerror=alert(1)>"


def test_nothing_a_post_says_becomes_markup(make_post, grey):
    doc = make_post(
        f"Ada {NASTY}",
        grey(20, 20),
        [{"text": "Ada", "expansion": NASTY, "boxes": [[0, 0, 9, 9]]}],
        id=NASTY,
        knowledge=NASTY,
        caption=NASTY,
    )
    record_error(doc, NASTY, NASTY)
    entity = make_post(NASTY, grey(20, 20), [{"text": NASTY, "label": "OTHER", "boxes": [[0, 0, 9, 9]]}])
    page = Page(render_posts([doc, entity], title=NASTY))
    assert not page.all("script") and len(page.all("style")) == 1
    assert all("onerror" not in a for _, a in page.tags)
    assert NASTY in "".join(page.text)
    assert all((a.get("src") or "data:").startswith("data:") for _, a in page.tags)


def test_the_page_needs_nothing_from_elsewhere(make_post, grey, block):
    doc = make_post("Ada", grey(50, 50), [{"text": "Ada", "boxes": [[1, 1, 40, 40]], "mask": block(50, 50, [5, 5, 20, 20])}])
    html = render_posts([doc])
    Page(html)
    assert not re.search(r"(?:href|src)=[\"']?(?!data:|#|[\"'])|url\(|@import|https?:", html)


def test_pictures_are_embedded_at_most_at_max_side(make_post, grey):
    doc = make_post("Ada", grey(900, 3000), [{"text": "Ada", "boxes": [[1500, 300, 3000, 900]]}])
    page = Page(render_posts([doc], max_side=640))
    source = page.all("img")[0]["src"]
    picture = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
    assert picture.size == (640, 192)
    # Boxes stay in pixels of the original: the drawing scales itself.
    assert page.all("svg")[0]["viewbox"] == "0 0 3000 900"
    assert float(with_class(page, "rect", "over")[0]["x"]) == 1500


def test_masks_come_as_translucent_pictures(make_post, grey, block):
    doc = make_post("Ada", grey(100, 100), [{"text": "Ada", "mask": block(100, 100, [0, 0, 50, 100])}])
    page = Page(render_posts([doc]))
    source = with_class(page, "img", "mask")[0]["src"]
    layer = Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1])))
    alpha = layer.getchannel("A")
    assert alpha.getpixel((layer.width // 4, layer.height // 2)) == pytest.approx(0.42 * 255, abs=1)
    assert alpha.getpixel((layer.width * 3 // 4, layer.height // 2)) == 0


@pytest.mark.parametrize(
    "text, image, says",
    [
        ("Ada without picture", None, "no picture"),
        ("Ada with a lost one", "/nowhere/at/all.jpg", "the picture cannot be read"),
        ("", None, "no text"),
    ],
)
def test_posts_without_picture_or_text(make_post, text, image, says):
    doc = make_post(text, image, [{"text": "Ada"}] if text else [])
    page = Page(render_posts([doc]))
    assert says in page.text
    if text:
        assert with_class(page, "mark", "unjudged")[1:], "entities are marked all the same"
    if image:
        assert "does not exist" in " ".join(page.text), "the reason is on the page"


@pytest.mark.parametrize(
    "text, name",
    [
        ("مرحبا محمد اليوم", "محمد"),
        ("go 🚀🇫🇷 Ada 👩‍🚀!", "👩‍🚀"),
        ("two\nlines\twith Ada\x00\x1b[0m", "Ada"),
        ("x" * 5000 + " Ada", "Ada"),
    ],
)
def test_any_script_is_kept(make_post, grey, text, name):
    doc = make_post(text, grey(30, 30), [{"text": name, "boxes": [[0, 0, 10, 10]]}])
    html = render_posts([doc])
    page = Page(html)
    assert any(name in piece for piece in page.text)
    assert "\x00" not in html and "\x1b" not in html
    html.encode("utf8")
    assert page.all("p", **{"class": "text"})[0]["dir"] == "auto"


def test_tiny_picture_same_boxes_and_many_entities(make_post, grey, block):
    names = [f"N{index}" for index in range(40)]
    ents = [{"text": name, "boxes": [[0, 0, 1, 1]]} for name in names]
    ents[3]["mask"] = block(1, 1, [0, 0, 1, 1])
    page = Page(render_posts([make_post(" ".join(names), grey(1, 1), ents)]))
    rects = with_class(page, "rect", "over")
    assert len(rects) == 40 and all(float(rect["width"]) > 0 for rect in rects)
    assert with_class(page, "mark", "n40")[0]["style"] == f"--c:{PALETTE[9]}"
    first, second = rects[0], rects[1]
    assert float(second["x"]) > float(first["x"])


def test_problems_are_said_at_the_entity(make_post, grey, block):
    doc = make_post("Ada", grey(20, 20), [{"text": "Ada", "boxes": [[50, 50, 60, 60]], "mask": block(3, 3, [0, 0, 1, 1])}])
    text = " ".join(Page(render_posts([doc])).text)
    assert "cannot be drawn" in text


def test_no_posts_and_links():
    page = Page(render_posts([], title="Nothing", links={"next": "page-2.html"}))
    assert "0 posts, 0 entities, 0 of them in a picture" in page.text
    assert page.all("a")[0]["href"] == "page-2.html"


def test_context_can_be_left_out(make_post):
    doc = make_post("Ada", None, knowledge="She wrote programs.")
    assert "She wrote programs." in render_posts([doc])
    assert "She wrote programs." not in render_posts([doc], context=False)


def test_from_the_registry(make_post):
    from spacy.util import registry

    page = registry.misc.get("rivega.HTMLPage.v1")(title="Mine", max_side=100)
    assert "<h1>Mine</h1>" in page([make_post("Ada")])
