"""A pipeline over gold posts, with gold fed in stage by stage."""

import pytest
import spacy
from blank import blank_nlp
from spacy.language import Language
from spacy.training import Example

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.posts import GIVEN_ENTS_KEY, post_to_doc
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.mentions import doc_annotations
from rivega_spacy.scoring.propagation import VARIANTS, propagate, run_pipeline
from rivega_spacy.scoring.scorers import make_grounding_scorer, make_post_scorer
from rivega_spacy.scoring.tasks import score

from .masks import square


@Language.component("scoring_test_tagger", assigns=["doc.ents"])
def tagger(doc):
    """Takes every capitalized word for a person; needs the knowledge to see anything."""
    if not doc.user_data.get(GIVEN_ENTS_KEY) and doc._.knowledge:
        doc.ents = [doc.char_span(t.idx, t.idx + len(t), label="PER") for t in doc if t.text[0].isupper()]
    return doc


@Language.component("scoring_test_entailment", assigns=["span._.groundable"])
def entailment(doc):
    """Takes everything as shown."""
    for ent in doc.ents:
        ent._.groundable = True
    return doc


@Language.component("scoring_test_grounder", assigns=["span._.boxes"])
def grounder(doc):
    """Always the same box."""
    for ent in doc.ents:
        if ent._.groundable:
            ent._.boxes = [[0, 0, 10, 10]]
    return doc


@Language.component("scoring_test_segmenter", assigns=["span._.mask_rle"])
def segmenter(doc):
    """The box itself."""
    for ent in doc.ents:
        if ent._.boxes:
            ent._.mask_rle = encode_mask(square(ent._.box))
    return doc


@pytest.fixture
def nlp():
    nlp = blank_nlp()
    for stage in ("tagger", "entailment", "grounder", "segmenter"):
        nlp.add_pipe(f"scoring_test_{stage}")
    return nlp


@pytest.fixture
def references(nlp):
    """Ann is shown where the grounder looks, Bob elsewhere, Oslo (a LOC) not at all."""
    doc = post_to_doc(
        nlp,
        {"id": "p", "text": "Ann meets Bob in Oslo", "knowledge": "z", "ents": [[0, 3, "PER"], [10, 13, "PER"], [17, 21, "LOC"]]},
    )
    ann, bob, oslo = doc.ents
    for ent, box in ((ann, [0, 0, 10, 10]), (bob, [20, 20, 30, 40])):
        ent._.groundable, ent._.boxes, ent._.mask_rle = True, [box], encode_mask(square(box))
    oslo._.groundable = False
    del doc.user_data[GIVEN_ENTS_KEY]
    return [doc]


def rights(predicted, references):
    scores = score(predicted, doc_annotations(references), MatchOptions())
    return {name: task.total.right for name, task in scores.tasks.items()}


def test_each_step_of_gold_takes_its_errors_away(nlp, references):
    found = {name: rights(predicted, references) for name, predicted in propagate(nlp, references).items()}
    assert found == {
        "pipeline": {"mner": 2, "eeg": 1, "gmner": 1, "ees": 1, "smner": 1},
        "gold entities": {"mner": 3, "eeg": 1, "gmner": 1, "ees": 1, "smner": 1},
        "gold entities + groundability": {"mner": 3, "eeg": 2, "gmner": 2, "ees": 2, "smner": 2},
        "gold entities + groundability + boxes": {"mner": 3, "eeg": 3, "gmner": 3, "ees": 3, "smner": 3},
        "gold groundability alone": {"mner": 2, "eeg": 2, "gmner": 1, "ees": 2, "smner": 1},
        "gold groundability + boxes, own entities": {"mner": 2, "eeg": 3, "gmner": 2, "ees": 3, "smner": 2},
    }


def test_references_are_not_changed(nlp, references):
    before = references[0].to_bytes()
    list(run_pipeline(nlp, references, gold=VARIANTS["gold entities + groundability + boxes"]))
    assert references[0].to_bytes() == before


def test_knowledge_reaches_the_pipeline_or_is_taken_away(nlp, references):
    assert len(next(run_pipeline(nlp, references)).ents) == 3
    assert len(next(run_pipeline(nlp, references, knowledge="absent")).ents) == 0
    assert references[0]._.knowledge == "z"


def test_own_tokens(nlp, references):
    from spacy.tokens import Doc

    odd = Doc(nlp.vocab, words=["Ann", "meets"], spaces=[False, False])
    odd._.knowledge = "z"
    assert [t.text for t in next(run_pipeline(nlp, [odd]))] == ["Ann", "meets"]
    assert [t.text for t in next(run_pipeline(nlp, [odd], own_tokens=True))] == ["Annmeets"]


def test_a_pipeline_without_the_stage_is_told(references):
    nlp = blank_nlp()
    nlp.add_pipe("scoring_test_tagger")
    with pytest.raises(RivegaError, match="span._.boxes"):
        list(run_pipeline(nlp, references, gold=frozenset({"groundability"})))


def test_scorers(nlp, references):
    examples = [Example(doc, reference) for doc, reference in zip(run_pipeline(nlp, references), references)]
    found = make_post_scorer()(examples)
    assert (
        found["mner_f"] == pytest.approx(2 / 3)
        and found["gmner_p"] == pytest.approx(1 / 3)
        and found["smner_r"] == pytest.approx(1 / 3)
    )
    assert found["ve_accuracy"] == pytest.approx(2 / 3) and found["vg_prec"] == pytest.approx(1 / 2)
    assert found["mner_per_type"]["LOC"] == {"p": 0.0, "r": 0.0, "f": 0.0}
    assert make_grounding_scorer()(examples)["eeg_f"] == pytest.approx(1 / 3)


def test_scorers_are_registered():
    assert spacy.registry.get("scorers", "rivega.post_scorer.v1") is make_post_scorer
    assert spacy.registry.get("scorers", "rivega.grounding_scorer.v1") is make_grounding_scorer


def test_scorers_on_posts_without_gold_pictures(nlp):
    doc = post_to_doc(nlp, {"text": "Ann", "ents": [[0, 3, "PER"]]})
    found = make_post_scorer()([Example(doc, doc)])
    assert found["mner_f"] == 1.0 and found["gmner_f"] is None and found["ve_accuracy"] is None
