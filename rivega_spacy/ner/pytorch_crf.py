"""The CRF by pytorch-crf, for those who want its well-known code under the tagger: `implementation = "pytorch-crf"`.

Loss, gradient and best tags through `torchcrf.CRF`, in the places of those of `crf.py`, which has the same parametrisation (start, end and
transition scores under the same names), so that the weights of either serve the other. `benchmarks/tagger.py crf` measures both. The
probabilities of single spans and the disagreement of views, which pytorch-crf does not have, come from `crf.py` in either case.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .crf import NEVER, ChainGradient, ChainScores, check_reduction, length_mask

# A large negative number for minus infinity, of which the derivative of a sum in logarithms would be no number.
_NEARLY_NEVER = -1e30


class _Parts(NamedTuple):
    """Leaves of the graph, in the order of ChainGradient."""

    emissions: Tensor
    start: Tensor
    end: Tensor
    transitions: Tensor


def nll(scores: ChainScores, tags: Tensor, *, reduction: str = "token_mean") -> tuple[float, ChainGradient]:
    """As `crf.nll`."""
    check_reduction(reduction)
    with torch.enable_grad():
        parts = _leaves(scores)
        likelihood = _crf(parts)(parts.emissions, tags.clamp(min=0), mask=length_mask(scores.lengths), reduction=reduction)
    return _gradient(-likelihood, parts, scores)


def partial_nll(scores: ChainScores, agreeing: ChainScores, *, reduction: str = "token_mean") -> tuple[float, ChainGradient]:
    """As `crf.partial_nll`.

    With p the likelihood of one sequence that agrees, under the model and under what is left of it: log P(agreeing) = log p - log p_left.
    """
    check_reduction(reduction)
    tags, mask = viterbi(agreeing), length_mask(scores.lengths)
    with torch.enable_grad():
        parts = _leaves(scores)
        limits = (agreeing.emissions, agreeing.start, agreeing.end, agreeing.transitions)
        left = _Parts(*(part.masked_fill(limit == NEVER, _NEARLY_NEVER) for part, limit in zip(parts, limits)))
        every = _crf(parts)(parts.emissions, tags, mask=mask, reduction=reduction)
        loss = _crf(left)(left.emissions, tags, mask=mask, reduction=reduction) - every
    return _gradient(loss, parts, scores)


def viterbi(scores: ChainScores) -> Tensor:
    """As `crf.viterbi`."""
    emissions, lengths, start, end, transitions = scores
    paths = _crf(_Parts(emissions, start, end, transitions)).decode(emissions, mask=length_mask(lengths))
    width = emissions.shape[1]
    return torch.tensor([path + path[-1:] * (width - len(path)) for path in paths], device=emissions.device)


def _crf(parts: _Parts) -> Any:
    """A torchcrf.CRF that computes with these scores; they stay part of the graph."""
    from torchcrf import CRF

    module = CRF(len(parts.start), batch_first=True)
    for name, value in (("start_transitions", parts.start), ("end_transitions", parts.end), ("transitions", parts.transitions)):
        delattr(module, name)
        setattr(module, name, value)
    return module


def _leaves(scores: ChainScores) -> _Parts:
    return _Parts(
        *(part.detach().double().requires_grad_() for part in (scores.emissions, scores.start, scores.end, scores.transitions))
    )


def _gradient(loss: Tensor, parts: _Parts, scores: ChainScores) -> tuple[float, ChainGradient]:
    # A single token has no transition.
    found = torch.autograd.grad(loss, list(parts), allow_unused=True)
    kind = scores.emissions.dtype
    grads = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(parts, found)]
    return float(loss.detach()), ChainGradient(*(grad.to(kind) for grad in grads))


__all__ = ["nll", "partial_nll", "viterbi"]
