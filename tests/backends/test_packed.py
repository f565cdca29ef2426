"""Convolutions with their weights laid out in advance: the same answers, and plain ones wherever they can't run."""

import platform

import pytest
import torch

from rivega_spacy.backends import packed
from rivega_spacy.backends.packed import LAYOUTS, Convolution, PackedConvolution, pack, works

here = pytest.mark.skipif(not works(torch.float32), reason="oneDNN's fused convolutions do not run on this machine")


def convolutions():
    torch.manual_seed(0)
    return [
        Convolution(3, 8, 4, 2, 1, after="relu6"),
        Convolution(8, 8, 5, 1, 2, groups=8, after="relu"),
        torch.nn.Conv2d(8, 4, 1, bias=False),
        torch.nn.Conv2d(8, 6, 3, padding=2, dilation=2),
    ]


@here
@pytest.mark.parametrize("bf16", [False, True])
def test_the_same_answers(bf16):
    if bf16 and not works(torch.bfloat16):
        pytest.skip("this processor computes no bfloat16")
    for plain in convolutions():
        x = torch.randn(2, plain.in_channels, 17, 12)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            expected, found = plain(x), PackedConvolution(plain)(x)
        assert found.dtype == expected.dtype == (torch.bfloat16 if bf16 else torch.float32)
        assert torch.allclose(found.float(), expected.float(), rtol=2e-2 if bf16 else 1e-5, atol=3e-2 if bf16 else 1e-5)


@here
@torch.inference_mode()
def test_what_came_first_changes_nothing():
    plain = Convolution(16, 32, 3, padding=1, after="relu6")
    one, many = PackedConvolution(plain), PackedConvolution(plain)
    x = torch.randn(5, 16, 20, 20)
    many(x)
    assert torch.equal(one(x[:1]), many(x[:1]))


@here
@torch.inference_mode()
def test_layouts_are_bounded():
    plain = Convolution(4, 4, 3, padding=1)
    convolution = PackedConvolution(plain)
    for side in range(8, 8 + 2 * LAYOUTS):
        x = torch.randn(1, 4, side, side)
        assert torch.allclose(convolution(x), plain(x), atol=1e-5)
    assert len(convolution._layouts) == LAYOUTS


@here
def test_only_convolutions_are_replaced():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Conv2d(4, 2, 1)))
    circular = torch.nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
    network.append(circular)
    before = network(torch.ones(1, 3, 9, 9))
    weight = network[0].weight
    pack(network)
    assert [type(part) for part in (network[0], network[2][0])] == [PackedConvolution] * 2 and network[3] is circular
    assert network[0].weight is weight
    with torch.inference_mode():
        assert torch.allclose(network(torch.ones(1, 3, 9, 9)), before, atol=1e-5)


@pytest.mark.parametrize("fault", ["another processor", "another PyTorch", "wrong numbers"])
def test_where_it_does_not_work_networks_stay_as_they_are(fault, monkeypatch):
    if fault == "another processor":
        monkeypatch.setattr(platform, "machine", lambda: "arm64")
    elif fault == "another PyTorch":

        def gone(*args):
            raise AttributeError("no such operator")

        monkeypatch.setattr(PackedConvolution, "computed", gone)
    else:
        monkeypatch.setattr(PackedConvolution, "computed", lambda self, x, weight, bias: self.plain(x.float()) + 1)
    monkeypatch.setattr(packed, "works", works.__wrapped__)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    pack(network)
    assert type(network[0]) is torch.nn.Conv2d


def test_the_trial_draws_no_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    works.__wrapped__(torch.float32)
    assert torch.equal(torch.rand(1), expected)
