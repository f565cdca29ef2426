"""From what the places of a map propose to one box."""

import torch
from expressions_of import expressions
from vision_tiny import SIZES

from rivega_spacy.backends.small.predict import answers
from rivega_spacy.backends.small.weights import load_network


def test_what_places_propose_beyond_the_picture_is_cut_off_before_their_mean_is_taken(tiny_weights):
    network = load_network(tiny_weights, SIZES).eval()
    with torch.inference_mode():
        # Sides of hundreds of pixels: each place sees all of the picture, and more.
        network.box_out[2].bias += 3.0
        encoded = network.encode_images(torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8))
        _, boxes, _ = answers(network, encoded, network.encode_phrases(expressions(("Ada", "PER"), ("Rex", "OTHER", "a dog"))))
    assert torch.allclose(boxes, torch.tensor([0.0, 0, 64, 64]).expand(2, 4))
