"""Batch normalisations folded into convolutions: the same answers, and the trained network stays as it is."""

import torch

from rivega_spacy.backends.folding import folded
from rivega_spacy.backends.shim import TorchShim
from rivega_spacy.backends.small.network import SmallVision
from rivega_spacy.backends.small.seeing_segmenter import SeeingMaskNetwork
from rivega_spacy.backends.small.segmenter_network import FEATURES


def used(network):
    """The network with statistics and scales that are not those of a new one."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for value in (module.running_mean, module.bias.data):
                value.normal_(0, 0.3)
            for value in (module.running_var, module.weight.data):
                value.uniform_(0.5, 1.5)
    return network.eval()


def norms(network):
    return sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def same(first, second):
    # A network without known nouns has an empty map for them.
    return first.shape == second.shape and torch.allclose(
        first, second, rtol=1e-4, atol=1e-4 * max(first.abs().flatten().tolist(), default=0)
    )


@torch.no_grad()
def test_vision_network():
    network = used(SmallVision(image_widths=(8, 8, 16, 16), image_depths=(1, 1, 1, 1), vocab_size=20))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = folded(network)
    pixels = torch.rand(2, 3, 64, 64) * 255
    assert norms(network) > 0 == norms(fast)
    assert all(same(a, b) for a, b in zip(network.encode_images(pixels), fast.encode_images(pixels)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    # The word table is there once.
    assert fast.ask.weight is network.ask.weight


@torch.no_grad()
def test_segmenter():
    network = used(SeeingMaskNetwork([8, 8, 16, 16], [1, 1, 1, 1], fine=[8, 8]))
    torch.nn.init.normal_(network.out.weight)
    fast = folded(network)
    features = torch.rand(2, FEATURES, 64, 64)
    # Those that follow a sum, not a convolution, stay.
    assert norms(fast) < 0.4 * norms(network)
    assert same(network(features), fast(features))


def test_a_training_step_makes_the_folded_copy_anew():
    torch.manual_seed(0)
    shim = TorchShim(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)), name="tiny")
    with shim.inference(fold=True) as first, shim.inference(fold=True) as again:
        assert first is again and norms(first) == 0
    from thinc.api import Adam

    shim.module.train()
    shim.module(torch.rand(2, 1, 5, 5)).sum().backward()
    shim.finish_update(Adam(0.1))
    with shim.inference(fold=True) as later, torch.no_grad():
        pixels = torch.rand(1, 1, 5, 5)
        assert later is not first and same(shim.module(pixels), later(pixels))
