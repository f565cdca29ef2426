"""A small pair of files in the form of the published predictions, written for these tests."""

from pathlib import Path

import pytest

from rivega_spacy.scoring.mentions import Annotations
from rivega_spacy.scoring.read import read_annotations

DATA = Path(__file__).parent / "data"


@pytest.fixture
def gold() -> Annotations:
    return read_annotations(DATA / "gold.jsonl")


@pytest.fixture
def predicted() -> Annotations:
    return read_annotations(DATA / "predictions.jsonl")
