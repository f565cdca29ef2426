"""The vocabulary on Doc and Span, and that it survives every way a doc travels."""

import base64
import io

import numpy as np
import pytest
import srsly
from blank import NLP, blank_nlp
from doc_state import state
from PIL import Image
from spacy.tokens import Doc, DocBin

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.extensions import record_error
from rivega_spacy.post.rle import encode_mask


@pytest.fixture
def doc(picture):
    nlp = blank_nlp()
    doc = nlp.make_doc("Ada meets Grace in Rome")
    doc.ents = [doc.char_span(0, 3, "PER"), doc.char_span(10, 15, "PER"), doc.char_span(19, 23, "LOC")]
    doc._.image = picture
    doc._.caption, doc._.knowledge = "two women", "Ada is a person."
    first = doc.ents[0]
    first._.expansion, first._.groundable, first._.groundable_score = "a mathematician", True, 0.875
    first._.boxes = [(1, 2, 5, 6), np.array([10, 10, 30, 40])]
    first._.box_score = 0.5
    mask = np.zeros(picture.shape[:2], dtype=bool)
    mask[10:40, 10:30] = True
    first._.mask_rle, first._.mask_score = encode_mask(mask), 0.75
    doc.ents[2]._.groundable = False
    record_error(doc, "test", "something")
    return doc


def test_computed_attributes(doc):
    first, second, third = doc.ents
    assert first._.referring_expression == "Ada (PER) — a mathematician"
    assert second._.referring_expression == "Grace (PER)"
    assert first._.boxes == [[1.0, 2.0, 5.0, 6.0], [10.0, 10.0, 30.0, 40.0]]
    assert first._.box == [10.0, 10.0, 30.0, 40.0]
    assert first._.mask.shape == (48, 64) and first._.mask.sum() == 600 and first._.mask[10:40, 10:30].all()
    assert second._.groundable is None and second._.box is None and second._.mask is None and second._.boxes == []
    rows = doc._.groundings
    assert [(row.entity.text, row.type, row.box is None, row.mask is None) for row in rows] == [
        ("Ada", "PER", False, False),
        ("Grace", "PER", True, True),
        ("Rome", "LOC", True, True),
    ]


def test_bytes_disk_and_docbin_give_back_the_same(doc, tmp_path):
    expected = state(doc)
    vocab = NLP.vocab
    assert state(Doc(vocab).from_bytes(doc.to_bytes())) == expected
    doc.to_disk(tmp_path / "doc")
    assert state(Doc(vocab).from_disk(tmp_path / "doc")) == expected
    bin_bytes = DocBin(docs=[doc], store_user_data=True).to_bytes()
    assert state(next(DocBin().from_bytes(bin_bytes).get_docs(vocab))) == expected


@pytest.mark.filterwarnings("ignore:.*W101")
def test_docs_joined_keep_each_entitys_results(doc):
    joined = Doc.from_docs([doc, doc.copy()])
    assert [e._.box for e in joined.ents] == [e._.box for e in doc.ents] * 2


def test_an_error_is_noted_once(doc):
    record_error(doc, "test", "something")
    assert len(doc._.rivega_errors) == 1


def test_bad_values_are_refused(doc):
    with pytest.raises(RivegaError, match="four finite numbers"):
        doc.ents[0]._.boxes = [[1, 2, 3]]
    with pytest.raises(RivegaError, match="caption"):
        doc._.caption = 3
    with pytest.raises(RivegaError, match="RLE"):
        doc.ents[0]._.mask_rle = [1, 2]


def test_box_and_mask_can_be_set(doc):
    ent = doc.ents[1]
    ent._.box = np.array([1, 2, 3, 4])
    assert ent._.boxes == [[1.0, 2.0, 3.0, 4.0]] and ent._.box == [1.0, 2.0, 3.0, 4.0]
    mask = np.zeros((48, 64), dtype=bool)
    mask[3:9, 5:7] = True
    ent._.mask = mask
    assert ent._.mask_rle == encode_mask(mask) and np.array_equal(ent._.mask, mask)
    ent._.box = ent._.mask = None
    assert ent._.boxes == [] and ent._.mask_rle is None and ent._.mask is None


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4), "uint8"),
        np.zeros((4, 4, 1), bool),
        np.zeros(4, bool),
        [[True]],
        encode_mask(np.ones((2, 2), bool)),
    ],
)
def test_what_is_no_mask_is_refused(doc, value):
    with pytest.raises(RivegaError, match="HxW"):
        doc.ents[1]._.mask = value
    assert doc.ents[1]._.mask is None


@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2, 3, 4]], "box", [1, 2, 3, float("nan")]])
def test_what_is_no_box_is_refused(doc, value):
    with pytest.raises(RivegaError, match="four finite numbers"):
        doc.ents[1]._.box = value


def test_what_is_computed_cannot_be_set(doc):
    for obj, name in ((doc, "groundings"), (doc, "rivega_errors"), (doc.ents[0], "referring_expression")):
        with pytest.raises(RivegaError, match=f"`{name}` is computed"):
            obj._.set(name, [])


def test_to_json_takes_every_extension(doc, picture, tmp_path):
    names = ["image", "caption", "description", "knowledge", "groundings", "rivega_errors"]
    names += ["expansion", "groundable", "groundable_score", "boxes", "box_score", "mask_rle", "mask_score"]
    again = next(DocBin().from_bytes(DocBin(docs=[doc], store_user_data=True).to_bytes()).get_docs(doc.vocab))
    for one in (doc, again):
        data = srsly.json_loads(srsly.json_dumps(one.to_json(underscore=names)))
        assert data["_"]["image"].startswith("data:image/png;base64,") and data["_"]["description"] is None
        read = Image.open(io.BytesIO(base64.b64decode(data["_"]["image"].split(",")[1])))
        assert np.array_equal(np.asarray(read.convert("RGB")), picture)
        assert [row["text"] for row in data["_"]["groundings"]] == ["Ada", "Grace", "Rome"]
        assert data["_"]["groundings"][0]["mask_rle"] == doc.ents[0]._.mask_rle
        assert data["underscore_span"]["boxes"][0]["value"] == doc.ents[0]._.boxes
    assert isinstance(doc._.image, bytes) and doc._.image == again._.image
    doc._.image = str(tmp_path / "a.jpg")
    assert doc.to_json(underscore=["image"])["_"]["image"] == str(tmp_path / "a.jpg")


def test_groundings_unpack_like_tuples(doc):
    entity, label, box, mask = doc._.groundings[0]
    assert (entity.text, label, box) == ("Ada", "PER", doc.ents[0]._.box) and mask.any() and doc._.groundings[0][1] == "PER"


def test_results_of_a_former_picture_are_gone_with_it(doc, picture):
    first = doc.ents[0]
    doc._.image = picture.copy()
    assert first._.groundable is True and first._.mask is not None, "the same picture again"
    for other in (255 - picture, None):
        fresh = doc.copy()
        ent = fresh.ents[0]
        fresh._.image = other
        assert (ent._.groundable, ent._.groundable_score, ent._.boxes, ent._.box_score, ent._.mask_rle, ent._.mask_score) == (
            None,
            None,
            [],
            None,
            None,
            None,
        )
        assert ent._.expansion == "a mathematician" and fresh._.knowledge and fresh.ents[2]._.groundable is None
        assert fresh._.caption == "two women", "given, not written by a captioner"
        assert fresh._.rivega_errors == []
    assert first._.groundable is True


def test_boxes_may_be_set_before_the_picture(picture):
    doc = NLP("Ada")
    doc.ents = [doc.char_span(0, 3, "PER")]
    doc.ents[0]._.box = [1, 2, 3, 4]
    doc._.image = picture
    assert doc.ents[0]._.box == [1.0, 2.0, 3.0, 4.0]
