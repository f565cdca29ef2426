"""The vocabulary on Doc and Span, and that it survives every way a doc travels."""
import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin

from rivega_spacy.errors import RivegaError
from rivega_spacy.extensions import record_error
from rivega_spacy.rle import encode_mask


@pytest.fixture()
def doc(picture):
    nlp = spacy.blank("rivega")
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


def state(doc):
    ents = [
        (e.text, e.label_, e._.expansion, e._.groundable, e._.groundable_score, e._.boxes, e._.box, e._.box_score, e._.mask_rle, e._.mask_score)
        for e in doc.ents
    ]
    return ents, doc._.image, doc._.caption, doc._.knowledge, doc._.description, doc._.rivega_errors


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
        ("Ada", "PER", False, False), ("Grace", "PER", True, True), ("Rome", "LOC", True, True)
    ]


def test_bytes_disk_and_docbin_give_back_the_same(doc, tmp_path):
    expected = state(doc)
    vocab = spacy.blank("rivega").vocab
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
