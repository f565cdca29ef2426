"""`rivega_spacy.render`, in the manner of displaCy: returned, or shown where a notebook runs."""

import base64
import io

import numpy as np
import pytest
from blank import NLP, blank_nlp
from IPython.core.interactiveshell import InteractiveShell
from PIL import Image

import rivega_spacy
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.rendering import notebook


@pytest.fixture
def doc():
    nlp = blank_nlp()
    doc = nlp.make_doc("Ann in <b>Rome</b>")
    doc._.image = np.full((40, 60, 3), 120, dtype="uint8")
    doc.ents = [doc.char_span(0, 3, label="PER")]
    doc.ents[0]._.groundable = True
    doc.ents[0]._.boxes = [[5.0, 5.0, 30.0, 35.0]]
    return doc


def test_one_doc_a_span_and_several(doc):
    page = rivega_spacy.render(doc)
    assert page.lower().startswith("<!doctype html") and "<b>Rome" not in page
    assert "Ann" in page
    assert rivega_spacy.render(doc.ents[0]) == page
    assert rivega_spacy.render([doc, doc]).count("<article") == 2 * page.count("<article")
    overlay = rivega_spacy.render(doc, style="overlay")
    assert isinstance(overlay, Image.Image)
    assert not (np.asarray(overlay.convert("RGB")) == 120).all()
    assert rivega_spacy.render(doc, style="json")["ents"][0]["box"] == [5.0, 5.0, 30.0, 35.0]
    assert len(rivega_spacy.render([doc], style="json")) == 1


def test_wrong_styles_and_options(doc):
    with pytest.raises(RivegaError, match=r"E738.*post, overlay, json"):
        rivega_spacy.render(doc, style="dep")
    with pytest.raises(RivegaError, match="E738"):
        rivega_spacy.render(doc, style="json", scale=2)
    with pytest.raises(RivegaError, match="E600"):
        rivega_spacy.render(NLP("no picture"), style="overlay")


def test_a_notebook_shows_it(doc, monkeypatch):
    shown = []
    monkeypatch.setattr(notebook, "_display", shown.append)
    assert rivega_spacy.render(doc, jupyter=True) is None
    assert "sandbox" in shown[0]["text/html"] and "&lt;!doctype" in shown[0]["text/html"].lower()
    assert rivega_spacy.render(doc, style="overlay", jupyter=True) is None
    assert Image.open(io.BytesIO(base64.b64decode(shown[1]["image/png"]))).size
    assert rivega_spacy.render(doc, style="json", jupyter=True) is None
    assert shown[2]["application/json"]["text"] == doc.text


def test_a_doc_at_the_end_of_a_cell(doc):
    shell = InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "rivega_spacy")
        data, _ = shell.display_formatter.format(doc)
        assert "iframe" in data["text/html"]
        bare, _ = shell.display_formatter.format(NLP("no picture"))
        assert "text/html" not in bare
    finally:
        InteractiveShell.clear_instance()
