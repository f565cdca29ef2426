"""Weights on disk."""

import pytest
import torch
from expressions_of import expressions
from safetensors.torch import load_file, save_file
from vision_tiny import SIZES, tiny_network

from rivega_spacy.backends.small.predict import answers
from rivega_spacy.backends.small.weights import load_network, save_network
from rivega_spacy.post.errors import RivegaError


def ask(network):
    pixels = torch.arange(64 * 64 * 3).reshape(1, 3, 64, 64).remainder(255).float()
    with torch.no_grad():
        return answers(
            network.eval(), network.encode_images(pixels), network.encode_phrases(expressions(("ada", "PER"), ("lea", "ORG")))
        )


def test_half_precision_on_disk_gives_the_same_answers(tmp_path):
    network = tiny_network()
    save_network(network, tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    assert {str(v.dtype) for v in stored.values()} <= {"torch.float16", "torch.int8", "torch.uint8", "torch.int64"}
    for one, other in zip(ask(network), ask(load_network(tmp_path / "w.safetensors", SIZES))):
        assert torch.allclose(one, other, atol=0.5, rtol=0.02)


def test_weights_from_before_calibration_are_neutral(tmp_path):
    save_network(tiny_network(), tmp_path / "w.safetensors")
    stored = load_file(tmp_path / "w.safetensors")
    del stored["shown_calibration"], stored["box_calibration"]
    save_file(stored, tmp_path / "old.safetensors")
    assert load_network(tmp_path / "old.safetensors", SIZES).shown_calibration.tolist() == [1.0, 0.0]


def test_missing_file_and_wrong_sizes_are_said(tmp_path):
    with pytest.raises(RivegaError, match="nowhere"):
        load_network(tmp_path / "nowhere.safetensors", SIZES)
    save_network(tiny_network(), tmp_path / "w.safetensors")
    with pytest.raises(RivegaError, match="box_features"):
        load_network(tmp_path / "w.safetensors", {**SIZES, "box_width": 8})
