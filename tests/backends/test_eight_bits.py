"""Linear layers in eight bits."""

import copy

import pytest
import torch

from rivega_spacy.backends import eight_bits
from rivega_spacy.backends.eight_bits import EightBitLinear, in_eight_bits
from rivega_spacy.backends.shim import TorchShim
from rivega_spacy.post.errors import RivegaError


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8, bias=False))


@pytest.mark.parametrize("vnni", [True, False])
def test_nearly_the_same_answers(network, vnni, monkeypatch):
    monkeypatch.setattr(eight_bits, "_has_vnni", lambda: vnni)
    vectors = torch.randn(5, 7, 64)
    before = copy.deepcopy(network.state_dict())
    with torch.inference_mode():
        expected, found = network(vectors), in_eight_bits(network)(vectors)
    apart = float((found - expected).norm() / expected.norm())
    assert 0 < apart < 0.03
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_each_output_has_its_own_scale():
    linear = torch.nn.Linear(16, 3, bias=False)
    with torch.no_grad():
        linear.weight[0] *= 1000
        linear.weight[2] = 0
    vectors = torch.randn(50, 16)
    with torch.inference_mode():
        expected, found = linear(vectors), EightBitLinear(linear)(vectors)
    apart = (found - expected).norm(dim=0) / expected.norm(dim=0).clamp(min=1e-9)
    assert float(apart.max()) < 0.03
    assert not found[:, 2].any()


def test_other_weights_are_rounded_anew(network):
    shim = TorchShim(network)
    vectors = torch.randn(4, 64)
    with shim.inference(eight_bits=True) as module:
        before = module(vectors)
    with shim.inference(eight_bits=True) as module:
        assert torch.equal(module(vectors), before)
    other = TorchShim(copy.deepcopy(network))
    with torch.no_grad():
        other.module[2].weight.mul_(2)
    shim.from_bytes(other.to_bytes())
    with shim.inference(eight_bits=True) as module:
        torch.testing.assert_close(module(vectors), 2 * before, rtol=0.02, atol=0.01)


def test_a_network_elsewhere_than_on_a_cpu_is_refused():
    with pytest.raises(RivegaError, match="E960"):
        in_eight_bits(torch.nn.Linear(4, 4, device="meta"))


def test_a_processor_without_them_is_told(network, monkeypatch):
    class Engines:
        supported_engines = ["none"]

    monkeypatch.setattr(torch.backends, "quantized", Engines)
    with pytest.raises(RivegaError, match="E961"):
        in_eight_bits(network)
