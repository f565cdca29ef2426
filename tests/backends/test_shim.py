"""PyTorch inside Thinc: the files it writes, the steps it takes."""

import pytest
import torch
from thinc.api import Adam

from rivega_spacy.backends.shim import TorchShim, torch_model
from rivega_spacy.post.errors import RivegaError


def make(seed: int = 0, **options) -> TorchShim:
    torch.manual_seed(seed)
    return TorchShim(torch.nn.Linear(3, 2), name="tiny", config={"width": 3}, **options)


def test_bytes_round_trip_in_half_precision():
    first, second = make(0), make(1)
    data = first.to_bytes()
    second.from_bytes(data)
    assert torch.equal(second.module.weight, first.module.weight.half().float())
    assert second.to_bytes() == data and second.digest == make(0).digest != make(2).digest


def test_full_precision_and_values_outside_half():
    exact = make(0, half_on_disk=False)
    assert torch.equal(make(1).from_bytes(exact.to_bytes()).module.weight, exact.module.weight)
    large = make(0)
    large.module.weight.data[0, 0] = 1e6
    assert make(1).from_bytes(large.to_bytes()).module.weight[0, 0] == 1e6
    small = make(0)
    small.module.weight.data.mul_(1e-9)
    assert torch.equal(make(1).from_bytes(small.to_bytes()).module.weight, small.module.weight)


def table(values: torch.Tensor, **options) -> TorchShim:
    module = torch.nn.Embedding(*values.shape)
    module.weight.data.copy_(values)
    return TorchShim(module, name="words", **options)


def test_word_tables_in_eight_bits():
    torch.manual_seed(0)
    words = torch.randn(500, 64) * torch.logspace(-2, 1, 500)[:, None]
    words[3] = 0
    half, byte = table(words), table(words, byte_tables=["weight"])
    data = byte.to_bytes()
    assert len(data) < 0.6 * len(half.to_bytes())
    # Whoever reads the file need not know how it was written, and what was read is written the same.
    back = table(torch.zeros(500, 64)).from_bytes(data)
    again = table(torch.zeros(500, 64), byte_tables=["weight"]).from_bytes(data)
    assert again.to_bytes() == data and torch.equal(back.module.weight, again.module.weight)
    largest = words.abs().amax(dim=1, keepdim=True)
    assert ((back.module.weight - words).abs() <= 0.6 * largest / 127).all()
    assert (back.module.weight[3] == 0).all()


def test_a_table_beyond_eight_bits_is_written_in_more():
    words = torch.tensor([[1e-7, 2e-7], [3.0, 4.0]])
    shim = table(words, byte_tables=["weight"])
    assert torch.equal(table(torch.zeros(2, 2)).from_bytes(shim.to_bytes()).module.weight, words.half().float())
    words = torch.tensor([[1e9, 2e9], [3.0, 4.0]])
    assert torch.equal(table(torch.zeros(2, 2)).from_bytes(table(words, byte_tables=["weight"]).to_bytes()).module.weight, words)


def test_network_built_from_its_own_file():
    shim = TorchShim(None, name="tiny", build=lambda config: torch.nn.Linear(config["width"], 2))
    with pytest.raises(RivegaError, match="no weights yet"):
        shim.module  # noqa: B018
    assert shim.from_bytes(make(0).to_bytes()).module.in_features == 3


def test_unfit_weights_are_named():
    with pytest.raises(RivegaError, match=r"weight \(2, 3\) instead of \(2, 4\)"):
        TorchShim(torch.nn.Linear(4, 2), name="tiny").from_bytes(make().to_bytes())
    with pytest.raises(RivegaError, match="surplus bias"):
        TorchShim(torch.nn.Linear(3, 2, bias=False), name="tiny").from_bytes(make().to_bytes())
    with pytest.raises(RivegaError, match="damaged"):
        make().from_bytes(b"garbage")
    with pytest.raises(RivegaError, match="damaged"):
        make().from_bytes(make().to_bytes()[:-20])


def test_the_file_holds_no_pickle():
    assert b"PK\x03\x04" not in make().to_bytes() and b"torch" not in make().to_bytes()


def train(shim: TorchShim, optimizer: Adam, steps: int) -> float:
    inputs = torch.eye(3)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    loss = torch.tensor(0.0)
    for _ in range(steps):
        loss = ((shim.module(inputs) - target) ** 2).mean()
        loss.backward()
        shim.finish_update(optimizer)
        optimizer.step_schedules()
    return float(loss.detach())


def test_steps_follow_the_thinc_optimizer():
    assert train(make(), Adam(0.05), 200) < 1e-3
    still = make()
    before = still.module.weight.clone()
    train(still, Adam(0.0), 5)
    assert torch.equal(still.module.weight, before)


def test_learning_rate_multipliers():
    shim = make(lr_scale=lambda name: 0.0 if name == "bias" else 1.0)
    bias, weight = shim.module.bias.clone(), shim.module.weight.clone()
    train(shim, Adam(0.1), 3)
    assert torch.equal(shim.module.bias, bias) and not torch.equal(shim.module.weight, weight)


def test_moving_average_is_swapped_in_and_out():
    optimizer = Adam(0.1, use_averages=True)
    shim = make(ema_decay=0.9)
    model = torch_model("tiny", shim, lambda model, X, is_train: (X, lambda d: d))
    train(shim, optimizer, 20)
    raw = shim.module.weight.clone()
    with model.use_params(optimizer.averages):
        averaged = shim.module.weight.clone()
    assert not torch.equal(raw, averaged) and torch.equal(shim.module.weight, raw)
