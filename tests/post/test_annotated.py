import json

import numpy as np
import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from rivega_spacy.post.annotated import annotated_to_doc, read_annotated
from rivega_spacy.post.errors import PostError, RivegaError
from rivega_spacy.post.posts import doc_to_post, write_posts


def test_docs_come_back_as_they_were_written(make_post, grey, block, tmp_path):
    from PIL import Image

    Image.fromarray(grey(40, 60)).save(tmp_path / "a.png")
    docs = [
        make_post(
            "Two  spaces, Ada-Maria's 🚀 trip\nto Rome",
            str(tmp_path / "a.png"),
            [
                {"text": "Ada-Maria", "ner_score": 0.9, "expansion": "a person", "groundable": True, "groundable_score": 0.8,
                 "boxes": [[1, 2, 30.5, 39]], "box_score": 0.7, "mask": block(40, 60, [3, 3, 20, 20]), "mask_score": 0.6},
                {"text": "Rome", "label": "LOC", "groundable": False, "groundable_score": 0.1},
            ],
            id="7", caption="a trip", knowledge="Rome is a city",
        ),
        make_post("", None),
        make_post("no entities here", None, id="8"),
    ]  # fmt: skip
    list(write_posts(docs, tmp_path / "out.jsonl"))
    back = list(read_annotated(tmp_path / "out.jsonl"))
    assert [doc_to_post(doc) for doc in back] == [doc_to_post(doc) for doc in docs]
    assert np.array_equal(back[0].ents[0]._.mask, docs[0].ents[0]._.mask)


def test_entities_within_words_keep_their_offsets():
    post = {
        "text": "antidisestablishmentarianism",
        "ents": [{"start": 4, "end": 7, "label": "PER"}, {"start": 7, "end": 9, "label": "LOC"}],
    }
    doc = annotated_to_doc(post, Vocab())
    assert doc.text == post["text"]
    assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == [(4, 7, "PER"), (7, 9, "LOC")]


@pytest.mark.parametrize(
    "ent, says",
    [
        ({"start": 0, "end": 99, "label": "PER"}, "within a text of 8 characters"),
        ({"start": 3, "end": 3, "label": "PER"}, "within a text"),
        ({"start": True, "end": 3, "label": "PER"}, "within a text"),
        ({"start": 0, "end": 3}, "within a text"),
        ("Ada", "within a text"),
        (None, "within a text"),
        ({"start": 0, "end": 3, "label": "PER", "score": "high"}, "`score`"),
        ({"start": 0, "end": 3, "label": "PER", "groundable": 1}, "`groundable`"),
        ({"start": 0, "end": 3, "label": "PER", "expansion": 5}, "`expansion`"),
        ({"start": 0, "end": 3, "label": "PER", "boxes": [[1, 2, 3]]}, "box"),
        ({"start": 0, "end": 3, "label": "PER", "boxes": 7}, ""),
        ({"start": 0, "end": 3, "label": "PER", "mask_rle": "0101"}, "`mask_rle`"),
    ],
)
def test_bad_entities_are_noted_and_the_others_kept(ent, says):
    doc = annotated_to_doc({"id": 3, "text": "Ada here", "ents": [ent, {"start": 4, "end": 8, "label": "LOC"}]}, Vocab())
    assert doc.ents[-1].label_ == "LOC"
    assert len(doc._.rivega_errors) == 1
    assert says in doc._.rivega_errors[0]["message"]


def test_overlapping_entities_and_bad_posts():
    doc = annotated_to_doc(
        {"text": "Ada Rome", "ents": [{"start": 0, "end": 8, "label": "PER"}, {"start": 4, "end": 8, "label": "LOC"}]}, Vocab()
    )
    assert [e.label_ for e in doc.ents] == ["PER"] and "overlaps" in doc._.rivega_errors[0]["message"]
    assert "broken" in annotated_to_doc(PostError("broken"), Vocab())._.rivega_errors[0]["message"]
    doc = annotated_to_doc({"text": 5, "ents": 7, "errors": "x", "caption": 3}, Vocab())
    assert doc.text == "" and len(doc._.rivega_errors) == 2


def test_errors_of_the_run_are_kept_and_images_found(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": "a", "image": "a.png", "errors": [{"component": "c", "message": "m"}]}) + "\nnot json\n")
    first, second = read_annotated(path)
    assert first._.rivega_errors == [{"component": "c", "message": "m"}]
    assert first._.image == str(tmp_path / "a.png")
    assert "line 2" in second._.rivega_errors[0]["message"]
    assert next(read_annotated(path, images=tmp_path / "other"))._.image == str(tmp_path / "other" / "a.png")
    with pytest.raises(RivegaError, match="does not exist"):
        next(read_annotated(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    "field, value",
    [
        ("score", 10**400),
        ("groundable_score", float("inf")),
        ("box_score", "high"),
        ("boxes", 5),
        ("boxes", {"a": 1}),
        ("boxes", [[0, 0, 10**400, 1]]),
        ("boxes", [[0, 0, 1, 1], "x"]),
        ("mask_rle", {"size": 5, "counts": "x"}),
        ("mask_rle", {"size": ["a", None], "counts": "x"}),
        ("mask_rle", {"size": [10**400, 1], "counts": "11"}),
        ("mask_rle", {"size": [float("inf"), 1], "counts": []}),
        ("mask_rle", {"size": [4, 4], "counts": {"a": 1}}),
        ("mask_rle", [1]),
        ("groundable", 7),
        ("expansion", ["x"]),
        ("label", "LO\ud83d"),
        ("start", 10**400),
    ],
)
def test_whatever_one_entity_holds_the_page_has_every_post(tmp_path, field, value):
    from PIL import Image

    from rivega_spacy.rendering.html import render_posts

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    ent = {"start": 0, "end": 3, "label": "PER", field: value}
    posts = [{"text": "Ada"}, {"text": "Ada", "image": "a.png", "ents": [ent]}, {"text": "Ada"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    docs = list(read_annotated(tmp_path / "a.jsonl"))
    page = render_posts(docs)
    assert page.count("<article") == 3 and docs[1]._.rivega_errors and not docs[2]._.rivega_errors
    assert len(docs[1].ents) == (field != "start")
    if field == "boxes" and isinstance(value, list) and len(value) == 2:
        assert docs[1].ents[0]._.boxes == [[0, 0, 1, 1]]


def test_a_post_that_cannot_be_drawn_keeps_its_place(tmp_path, monkeypatch):
    from rivega_spacy.rendering import html

    shapes = html.doc_shapes
    monkeypatch.setattr(html, "doc_shapes", lambda doc: shapes(doc) if doc[0].text != "odd" else 1 / 0)
    docs = [Doc(Vocab(), words=[word]) for word in ("one", "odd", "two")]
    page = html.render_posts(docs)
    assert page.count("<article") == 3 and "odd" in page and "cannot be shown" in docs[1]._.rivega_errors[0]["message"]


@pytest.mark.parametrize("ents", [5, "Ann", {"start": 0, "end": 3, "label": "PER"}, True])
def test_entities_that_are_no_list_are_told(ents):
    doc = annotated_to_doc({"text": "Ann", "ents": ents}, Vocab())
    assert "[E012]" in doc._.rivega_errors[0]["message"] and not doc.ents
