"""Modules can be imported by the names they had before they moved, as the same module, and say where they are now."""

import importlib
import pickle
import sys

import pytest
from packaging.version import Version

import rivega_spacy
from rivega_spacy.post.moved import MOVED, REMOVED_IN, present_name


@pytest.mark.parametrize("former", sorted(MOVED))
def test_every_former_name_leads_somewhere(former):
    spec = importlib.util.find_spec(present_name(f"rivega_spacy.{former}"))
    assert spec is not None


def test_a_former_name_is_the_same_module(monkeypatch):
    from rivega_spacy.post import images

    monkeypatch.delitem(sys.modules, "rivega_spacy.images", raising=False)
    monkeypatch.delattr(rivega_spacy, "images", raising=False)
    own = images.__spec__
    with pytest.warns(DeprecationWarning, match=f"rivega_spacy.post.images; .* removed in version {REMOVED_IN}"):
        former = importlib.import_module("rivega_spacy.images")
    assert former is images and images.__name__ == "rivega_spacy.post.images" and images.__spec__ is own
    assert pickle.loads(pickle.dumps(former.read_image)) is images.read_image


def test_former_names_last_as_long_as_their_warning_says():
    assert Version(rivega_spacy.__version__) < Version(REMOVED_IN), (
        "the version that removes rivega_spacy/post/moved.py and this file"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_lies_below_a_package_moves_with_it():
    from rivega_spacy.backends.small import wordpiece

    assert importlib.import_module("rivega_spacy.networks.small.wordpiece") is wordpiece
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("rivega_spacy.networks.small.nothing")
    assert present_name("rivega_spacy.post.images") is None and present_name("numpy.boxes") is None
