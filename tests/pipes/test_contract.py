"""The contract between components and architectures: every architecture keeps what it promises, by name and by arguments."""

import inspect

import pytest
from vision_tiny import SIZES

from rivega_spacy.backends.grounding_dino.grounder import grounding_dino
from rivega_spacy.backends.itm.entailment import itm_entailment
from rivega_spacy.backends.owlv2.grounder import owlv2_grounder
from rivega_spacy.backends.small.entailment import build_small_entailment
from rivega_spacy.backends.small.grounder import build_small_grounder
from rivega_spacy.entailment.grounding_score import grounding_score
from rivega_spacy.pipes import contract

PROMISES = {
    "train_step": contract.TrainStep, "train_views": contract.TrainViews, "load": contract.LoadWeights, "start": contract.Start,
}  # fmt: skip
MODELS = {
    "small entailment": (lambda: build_small_entailment(size=64, **SIZES), set(PROMISES)),
    "small grounder": (lambda: build_small_grounder(size=64, **SIZES), set(PROMISES)),
    "image-text matching": (itm_entailment, {"train_step", "load"}),
    "Grounding DINO": (grounding_dino, {"train_step", "load"}),
    "OWLv2": (owlv2_grounder, {"train_step", "load"}),
    "grounding score": (lambda: grounding_score(owlv2_grounder()), {"load"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_promises_can_be_called_as_the_contract_says(name):
    build, expected = MODELS[name]
    model = build()
    kept = {promised: contract.promise(model, promised) for promised in PROMISES}
    assert {promised for promised, function in kept.items() if function is not None} == expected
    for promised in expected:
        (_, *wanted) = inspect.signature(PROMISES[promised].__call__).parameters.values()
        named = {p.name: None for p in wanted if p.kind is p.KEYWORD_ONLY}
        placed = [None for p in wanted if p.kind is not p.KEYWORD_ONLY]
        inspect.signature(kept[promised]).bind(*placed, **named)
