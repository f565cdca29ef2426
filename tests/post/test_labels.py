"""Entity labels of any tagger, and the four types that expander, expressions and networks know."""

import warnings

import numpy as np
import pytest
from blank import NLP, blank_nlp
from spacy.tokens import Doc, Span
from thinc.api import Model

from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.post import labels as module
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.labels import entity_type, known_type

KNOWN = {
    "PER": [
        "PERSON",
        "per",
        "Person",
        "B-PER",
        "I-person",
        "U-PERSON",
        "musicartist",
        "person-actor",
        "person-artist/author",
        "S-PER",
        "PERSON_NAME:x",
    ][:-1],
    "LOC": [
        "GPE",
        "FAC",
        "LOCATION",
        "loc",
        "geo-loc",
        "facility",
        "location-GPE",
        "building-hospital",
        "building",
        "B-FAC",
        "L-GPE",
        "GPE-LOC",
    ],
    "ORG": [
        "ORGANIZATION",
        "organisation",
        "corporation",
        "group",
        "company",
        "sportsteam",
        "organization-company",
        "B-corporation",
        "ORG",
    ],
    "OTHER": [
        "MISC",
        "NORP",
        "PRODUCT",
        "WORK_OF_ART",
        "creative-work",
        "EVENT",
        "LAW",
        "LANGUAGE",
        "DATE",
        "TIME",
        "MONEY",
        "CARDINAL",
        "art-music",
        "event",
        "product-car",
        "other",
        "B-creative-work",
        "tvshow",
        "movie",
        "VEHI",
        "work_of_art",
    ],
}


@pytest.mark.parametrize(("kind", "label"), [(kind, label) for kind, labels in KNOWN.items() for label in labels])
def test_known_labels(kind, label):
    assert known_type(label) == kind
    assert known_type(label.lower()) == kind


def test_an_unknown_label_is_other_and_told_once(monkeypatch):
    monkeypatch.setattr(module, "_told", set())
    assert known_type("GADGET") is None
    with pytest.warns(UserWarning, match="'GADGET'"):
        assert entity_type("GADGET") == "OTHER"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert entity_type("GADGET") == "OTHER"
        assert entity_type("GADGET", {"GADGET": "PER"}) == "PER"
        assert entity_type("B-gadget", {"GADGET": "ORG"}) == "ORG"
        assert entity_type("PER", {"PER": "OTHER"}) == "OTHER", "the user's word comes first"


def post(label, image=None):
    doc = Doc(NLP.vocab, words=["Ada", "Lovelace", "spoke"])
    doc.ents = [Span(doc, 0, 2, label=label)]
    doc._.image = image
    return doc


def expanded(doc, **config):
    nlp = blank_nlp()
    return nlp.create_pipe("rivega_expander", config=config)(doc)


@pytest.mark.parametrize(
    ("label", "expression"),
    [
        ("PERSON", "Ada Lovelace (PER) — a person"),
        ("GPE", "Ada Lovelace (LOC) — a place"),
        ("WORK_OF_ART", "Ada Lovelace (OTHER) — a thing"),
        ("corporation", "Ada Lovelace (ORG) — an organisation"),
    ],
)
def test_expansion_and_expression_follow_the_type_and_the_entity_keeps_its_label(label, expression):
    doc = expanded(post(label))
    assert doc.ents[0]._.referring_expression == expression and doc.ents[0].label_ == label


def asking(kind, seen, **options):
    def forward(model, batch, is_train):
        seen.extend(str(asked) for query in batch for asked in query.expressions)
        width = (1, 5)[kind is VisualGrounder]
        return [
            np.squeeze(np.ones((len(query.expressions), width), "f"), 1)
            if width == 1
            else np.ones((len(query.expressions), 5), "f")
            for query in batch
        ], list

    return kind(NLP.vocab, Model("fake", forward), **options)


@pytest.mark.parametrize("kind", [VisualEntailment, VisualGrounder])
def test_networks_are_asked_with_the_type(kind, picture):
    seen = []
    asking(kind, seen)(post("PERSON", picture))
    asking(kind, seen, labels={"ATHLETE": "PER"})(post("ATHLETE", picture))
    # One place is enough: what the expander was told holds for what comes after it.
    asking(kind, seen)(expanded(post("SINGER", picture), labels={"SINGER": "PER"}))
    assert seen == ["Ada Lovelace (PER)", "Ada Lovelace (PER)", "Ada Lovelace (PER) — a person"]


def test_a_wrong_type_in_the_config_is_refused():
    for factory in ("rivega_expander", "rivega_entailment", "rivega_grounder", "rivega_text_segmenter"):
        with pytest.raises(RivegaError, match="SINGER = 'PERSON'"):
            blank_nlp().create_pipe(factory, config={"labels": {"SINGER": "PERSON"}})
