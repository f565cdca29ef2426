"""A deeper network begins where the trained one stands."""

import pytest
import spacy
import torch
from safetensors.torch import load_file
from vision_tiny import SIZES, tiny_network

from rivega_spacy.backends.small.weights import load_network, save_network, sizes
from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.export import make_pipeline
from rivega_spacy.training.grow import deepen


def encodings(network, pictures):
    with torch.inference_mode():
        return network.eval().encode_images(pictures)


def test_new_blocks_change_no_answer_and_learn():
    network = tiny_network()
    deeper = deepen(network, [1, 2, 3, 2])
    assert sizes(deeper.state_dict())["image_depths"] == [1, 2, 3, 2]
    pictures = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    for before, after in zip(encodings(network, pictures), encodings(deeper, pictures)):
        assert torch.equal(before, after)
    deeper.train().encode_images(pictures).heat.square().mean().backward()
    # Scale zero passes gradients to itself first; the convolutions follow once it has moved.
    assert deeper.image.stages[2][2].second[1].weight.grad.abs().max() > 0


def test_a_network_is_not_made_shallower():
    with pytest.raises(RivegaError, match="E263"):
        deepen(tiny_network(), [1, 1, 0, 1])
    with pytest.raises(RivegaError, match="E263"):
        deepen(tiny_network(), [2, 2])


@pytest.mark.slow
def test_command_writes_weights_that_train_and_ship(tmp_path):
    save_network(tiny_network(), tmp_path / "trained.safetensors")
    words = ["vision", "grow", str(tmp_path / "trained.safetensors"), str(tmp_path / "deeper.safetensors")]
    assert main([*words, "--depths", "1", "1", "2", "1"]) == 0
    assert sizes(load_file(tmp_path / "deeper.safetensors"))["image_depths"] == [1, 1, 2, 1]
    nlp = make_pipeline(tmp_path / "deeper.safetensors", size=64)
    nlp.to_disk(tmp_path / "pipeline")
    for name in ("rivega_entailment", "rivega_grounder"):
        assert spacy.load(tmp_path / "pipeline").config["components"][name]["model"]["image_depths"] == [1, 1, 2, 1]
    with pytest.raises(RivegaError, match="surplus image.stages.2.1"):
        load_network(tmp_path / "deeper.safetensors", SIZES)
