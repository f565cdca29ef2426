"""The expander that needs no language model."""

import pytest
import spacy
from blank import blank_nlp

from rivega_spacy.expansion.component import ExpansionRequest
from rivega_spacy.expansion.offline import expand


def phrase(text: str, name: str, label: str) -> str:
    start = text.index(name)
    return expand(ExpansionRequest(text, "", start, start + len(name), label))


@pytest.mark.parametrize(
    "text, name, label, expected",
    [
        ("Nkosi Mbeki scores", "Nkosi Mbeki", "PER", "a person"),
        ("In Paris again", "Paris", "LOC", "a place"),
        ("Joined UNICEF", "UNICEF", "ORG", "an organisation"),
        ("Bitcoin falls", "Bitcoin", "OTHER", "a thing"),
        ("My cat Chelsea naps", "Chelsea", "ORG", "a cat"),
        ("Chelsea the cat naps", "Chelsea", "PER", "a cat"),
        ("Chelsea, a very lazy cat, naps", "Chelsea", "OTHER", "a cat"),
        ("Rex is a good dog", "Rex", "PER", "a dog"),
        ("Astronaut Eileen Collins", "Eileen Collins", "PER", "an astronaut, a person"),
        ("My car, a Citroen DS, is done", "Citroen DS", "OTHER", "a car"),
        ("Our sofa, the Klippan", "Klippan", "OTHER", "a sofa"),
        ("A dog called Rex", "Rex", "PER", "a dog"),
        ("Saw a man, a Texas fan", "Texas", "LOC", "a place"),
        ("At the Golden Gate Bridge", "Golden Gate Bridge", "LOC", "a bridge"),
        ("On a Boeing 747 now", "Boeing 747", "OTHER", "an airliner, an aeroplane"),
        ("The cat that Chelsea has", "Chelsea", "PER", "a person"),
        ("Rex, mayor of a town with a dog", "Rex", "PER", "a person"),
        ("I love my dog. Rex wins", "Rex", "PER", "a person"),
    ],
)
def test_rules(text, name, label, expected):
    assert phrase(text, name, label) == expected


def test_expansions_that_came_with_the_post_stay_unless_told_otherwise():
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    pipe = nlp.add_pipe("rivega_expander")
    doc = nlp.make_doc("Ada")
    doc[0:1]._.expansion = "a countess"
    assert nlp(doc).ents[0]._.expansion == "a countess"
    pipe.cfg["overwrite"] = True
    assert nlp(doc).ents[0]._.expansion == "a person"


def test_a_failing_model_is_noted_and_the_batch_goes_on():
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])

    def broken(requests):
        raise RuntimeError("no answer")

    nlp.add_pipe("rivega_expander").model = broken
    docs = list(nlp.pipe(["Ada", "nobody", "Ada"]))
    assert [len(doc.ents) for doc in docs] == [1, 0, 1]
    assert "no answer" in docs[0]._.rivega_errors[0]["message"]


@pytest.mark.slow
def test_config_round_trip(tmp_path):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_expander", config={"overwrite": True})
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.get_pipe("rivega_expander").cfg == {"overwrite": True, "labels": {}}
    blank_nlp().from_bytes(nlp.to_bytes(), exclude=["rivega_expander"])


def test_long_posts_take_time_that_grows_with_their_length():
    import time

    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "OTHER", "pattern": "Chelsea"}])
    nlp.add_pipe("rivega_expander")
    doc = nlp.make_doc("my cat Chelsea sat " * 6000)
    started = time.process_time()
    doc = nlp(doc)
    # A post of 32,000 characters took nine seconds, one of 64,000 four times that.
    assert time.process_time() - started < 15
    assert {ent._.expansion for ent in doc.ents} == {"a cat"} and len(doc.ents) == 6000


@pytest.mark.parametrize(
    "text, name, label, expected",
    [
        ("Falcon 9 flies again", "Falcon 9", "OTHER", "a rocket"),
        ("The Eiffel Tower at night", "Eiffel Tower", "LOC", "a tower"),
        ("In the Blue Mosque", "Blue Mosque", "LOC", "a mosque"),
        ("I play a Gibson Les Paul", "Gibson Les Paul", "OTHER", "a guitar"),
        ("Simba the lion", "Simba", "PER", "a lion"),
        ("Violinist Ada Lea", "Ada Lea", "PER", "a violinist, a person"),
        ("The Pepsi logo again", "Pepsi", "ORG", "a logo"),
        ("A can of Pepsi", "Pepsi", "ORG", "a bottle"),
        ("USS Nimitz, an aircraft carrier", "USS Nimitz", "OTHER", "an aircraft carrier"),
        ("Paddington the teddy bear", "Paddington", "OTHER", "a teddy bear"),
        ("A Texas tower", "Texas", "LOC", "a place"),
        ("That chair is a Panton", "Panton", "OTHER", "a chair"),
        ("The boat was called Saoirse", "Saoirse", "OTHER", "a boat"),
        ("My boss is a Zorblax", "Zorblax", "OTHER", "a thing"),
        ("Harbour Lights Choir tonight", "Harbour Lights Choir", "ORG", "musicians"),
        ("Orchestra of the 18th Century", "Orchestra of the 18th Century", "ORG", "musicians"),
        ("Our band, the Otters", "Otters", "ORG", "musicians"),
        ("Orchestra Street", "Orchestra Street", "LOC", "a street"),
        ("Orchestra Bay", "Orchestra Bay", "LOC", "a place"),
    ],
)
def test_products_landmarks_instruments_animals_and_logos(text, name, label, expected):
    assert phrase(text, name, label) == expected


@pytest.mark.parametrize(
    "text, name, label, expected",
    [
        ("Big Ben at night", "Big Ben", "LOC", "a tower"),
        ("big ben at night", "big ben", "FAC", "a tower"),
        ("Sunset over the Golden Gate", "the Golden Gate", "LOC", "a bridge"),
        ("At the Golden Gate Theatre", "Golden Gate Theatre", "LOC", "a building"),
        ("Saw the Mona Lisa", "Mona Lisa", "WORK_OF_ART", "a painting"),
        ("USS Nimitz leaves port", "USS Nimitz", "OTHER", "a ship"),
        ("My dog Petra", "Petra", "LOC", "a dog"),
        ("Petra sings", "Petra", "PER", "a person"),
    ],
)
def test_famous_names_say_what_they_are(text, name, label, expected):
    assert phrase(text, name, label) == expected


@pytest.mark.parametrize(
    "label, expected", [("PERSON", "a person"), ("GPE", "a place"), ("geo-loc", "a place"), ("corporation", "an organisation")]
)
def test_types_of_other_schemes(label, expected):
    assert phrase("Zorblax today", "Zorblax", label) == expected
