"""No text of a post becomes markup on any page: the tags of a page are those that it has with harmless letters in place of the text."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import rivega_spacy
from rivega_spacy.export.label_studio import label_studio_config
from rivega_spacy.post.cells import from_cell
from rivega_spacy.post.posts import write_posts
from rivega_spacy.post.text import replace_surrogates, replace_surrogates_in
from rivega_spacy.rendering.html import render_posts
from rivega_spacy.rendering.notebook import frame
from rivega_spacy.rendering.overlay import render_overlay
from rivega_spacy.rendering.report import render_report
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.read import read_annotations
from rivega_spacy.scoring.tasks import score
from rivega_spacy.serve.downloads import DOWNLOADS, download

from .any_text import filled, posts
from .test_any_text import OBEYED, make_doc, one_language  # noqa: F401

GREY = np.full((6, 8, 3), 120, dtype="uint8")


class Tags(HTMLParser):
    """Tags with the names of their attributes, and the text of paragraphs of class `text`."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple] = []
        self.text = ""
        self._inside = self._small = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self._inside |= tag == "p" and ("class", "text") in attrs
        self._small |= tag == "small"

    def handle_endtag(self, tag):
        self._inside &= tag != "p"
        self._small &= tag != "small"

    def handle_comment(self, data):
        self.tags.append(("comment",))

    def handle_data(self, data):
        self.text += data if self._inside and not self._small else ""


def harmless(value):
    """The same with the letter x for every character that is seen, so that blanks and lengths stay."""
    if isinstance(value, dict):
        return {key: item if key in ("start", "end") else harmless(item) for key, item in value.items()}
    if isinstance(value, list):
        return [harmless(item) for item in value]
    return "".join(sign if sign.isspace() else "x" for sign in value) if isinstance(value, str) else value


def shown(post, *, picture):
    # Halves of characters are repaired with a note, which other posts do not have.
    doc = make_doc(replace_surrogates_in(post)[0], None)
    if picture:
        doc._.image = GREY
        for ent in doc.ents:
            ent._.groundable, ent._.boxes = True, [[1.0, 1.0, 6.0, 5.0]]
    return doc


@pytest.mark.parametrize("picture", [False, True])
def test_the_page_of_posts(picture):
    @examples(25)
    @given(posts(), filled)
    def check(post, title):
        page = render_posts([shown(post, picture=picture)], title=title)
        plain = Tags(render_posts([shown(harmless(post), picture=picture)], title=harmless(title)))
        tags = Tags(page)
        assert tags.tags == plain.tags
        assert not {sign for sign in page if sign in OBEYED and ord(sign) < 0xA0} - {"\r"}
        page.encode("utf8")
        text = replace_surrogates(post["text"])
        if text.strip():
            # What HTML has no place for is seen to be missing.
            wanted = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text)
            assert tags.text == wanted
        within = frame(page, 1)
        assert [tag for tag, *_ in Tags(within).tags] == ["iframe"]

    check()


@examples(15)
@given(st.lists(posts(), min_size=1, max_size=2), filled)
def test_the_page_of_an_evaluation(tmp_path_factory, rows, title):
    def page(given_rows, heading):
        docs = [shown({**row, "id": str(number)}, picture=True) for number, row in enumerate(given_rows)]
        path = tmp_path_factory.mktemp("page") / "p.jsonl"
        list(write_posts(docs, path))
        annotations = read_annotations(path)
        by_id = {str(number): doc for number, doc in enumerate(docs)}
        return Tags(
            render_report(
                score(annotations, annotations, MatchOptions(types="none")), predicted=by_id, gold=by_id, title=heading, max_side=8
            )
        )

    assert page(rows, title).tags == page(harmless(rows), harmless(title)).tags


@examples(25)
@given(posts())
def test_pictures_with_names_are_drawn(post):
    picture = render_overlay(shown(post, picture=True), min_side=64, max_side=64)
    assert picture.size == (64, 48)


@examples(40)
@given(posts())
def test_a_notebook_in_a_terminal_shows_text(post):
    from rivega_spacy.rendering import notebook

    found = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(notebook, "_display", found.append)
        rivega_spacy.render(make_doc(post), jupyter=True)
    assert not OBEYED & set(found[0]["text/plain"])


@examples(40)
@given(st.lists(filled, min_size=1, max_size=4, unique=True))
def test_a_config_of_types_is_xml_that_names_them(names):
    root = ElementTree.fromstring(label_studio_config(names))
    found = [element.get("value") for element in root.find("Labels")]
    # XML has no place for some characters at all.
    assert found == [re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", name) for name in names]


@pytest.mark.parametrize("form", [form for form in DOWNLOADS if form != "png"])
def test_downloads_keep_the_name_of_the_picture(form):
    @examples(15)
    @given(posts(), filled)
    def check(post, name):
        name = replace_surrogates(name)
        doc = make_doc(post)
        doc._.image = GREY
        found = download(doc, form, picture_name=name)
        assert b"rivega-" not in found.data and re.fullmatch(r"[\w.-]+", found.name)
        if form == "coco":
            assert json.loads(found.data)["images"][0]["file_name"] == name
        elif form == "csv":
            rows = list(csv.DictReader(io.StringIO(found.data.decode(), newline="")))
            assert {from_cell(row["image"]) for row in rows} == {name}

    check()
