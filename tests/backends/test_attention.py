"""Attention in single precision while the rest of a pass is in bfloat16."""

import pytest
import torch
import torch.nn.functional as F

from rivega_spacy.backends.attention import training_attention

CPU = torch.device("cpu")


def attend(bf16, wanted=None):
    """Result and gradients, of bfloat16 inputs where asked for."""
    torch.manual_seed(1)
    inputs = [torch.randn(2, 3, 7, 4) for _ in range(3)]
    inputs = [(part.bfloat16() if bf16 else part.bfloat16().float()).requires_grad_() for part in inputs]
    mask = torch.zeros(2, 1, 1, 7).masked_fill(torch.arange(7) > 4, torch.finfo(torch.bfloat16).min).to(inputs[0].dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16), training_attention(CPU, bf16=bf16):
        result = F.scaled_dot_product_attention(inputs[0], inputs[1], value=inputs[2], attn_mask=mask)
    result.float().square().sum().backward()
    return result, [part.grad for part in inputs]


def test_only_the_result_is_rounded():
    exact, exact_gradients = attend(False)
    found, gradients = attend(True)
    assert found.dtype == torch.bfloat16
    # Were attention itself in bfloat16, it would be other numbers that are rounded.
    assert torch.equal(found, exact.bfloat16())
    for one, other in zip(gradients, exact_gradients):
        torch.testing.assert_close(one.float(), other, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(("device", "bf16"), [("cpu", False), ("cuda", True)])
def test_elsewhere_nothing_changes(device, bf16):
    with training_attention(torch.device(device), bf16=bf16) as mode:
        assert mode is None
