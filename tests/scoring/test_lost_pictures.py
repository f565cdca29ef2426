"""spaCy's own evaluation rebuilds posts from their text: that their pictures are gone is said, once."""

import warnings

import numpy as np
import pytest
from blank import blank_nlp
from spacy.training import Example

from rivega_spacy.scoring import scorers


def test_pictures_lost_on_the_way_are_told_once(monkeypatch):
    monkeypatch.setattr(scorers, "_TOLD", [])
    nlp = blank_nlp()
    reference = nlp.make_doc("Ada")
    reference.ents = [reference.char_span(0, 3, "PER")]
    reference._.image = np.zeros((4, 4, 3), dtype="uint8")
    kept = nlp.make_doc("Ada")
    kept._.image = reference._.image
    score = scorers.make_post_scorer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score([Example(kept, reference)])
    with pytest.warns(UserWarning, match="1 of 2 predicted posts have lost the picture.*rivega evaluate"):
        score([Example(nlp.make_doc("Ada"), reference), Example(kept, reference)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score([Example(nlp.make_doc("Ada"), reference)])
