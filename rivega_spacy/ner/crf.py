"""The linear-chain CRF: likelihood with its gradient, Viterbi, and the probability of single spans.

Parametrised like pytorch-crf (start, end and transition scores added to emissions; Lafferty et al. 2001; the paper's section
IV-B d). Likelihood and gradient come from one scaled forward and one scaled backward pass in which a step is a matrix
product; no automatic differentiation walks along the chain, and nothing here loops over the posts of a batch.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..post.errors import Errors, RivegaError

REDUCTIONS = ("sum", "mean", "token_mean")
NEVER = float("-inf")
# Scaled probabilities below this are rounding, not information; it keeps logarithms and quotients finite.
_TINY = 1e-290
# Where scores lie further apart than this, products underflow even in double precision, and logarithms are summed instead.
_FAR_APART = 200.0
_NEARLY_NEVER = -1e30


class ChainScores(NamedTuple):
    """The scores of a batch of chains. B posts, L tokens at most, K tags.

    emissions (Tensor): B x L x K; what lies behind a post's length is not read.
    lengths (Tensor): B, int64, each at least 1.
    start (Tensor): K, score of the first tag.
    end (Tensor): K, score of the last tag.
    transitions (Tensor): K x K, [i, j] is the score of j after i.
    """

    emissions: Tensor
    lengths: Tensor
    start: Tensor
    end: Tensor
    transitions: Tensor


class ChainGradient(NamedTuple):
    """Gradient of a loss with respect to ChainScores, in the same shapes."""

    emissions: Tensor
    start: Tensor
    end: Tensor
    transitions: Tensor


class _Passes(NamedTuple):
    """Scaled forward and backward passes, time first: alpha[t] sums to one, `scale` is what it was divided by."""

    local: Tensor
    alpha: Tensor
    beta: Tensor
    scale: Tensor
    trans: Tensor
    mass: Tensor
    log_scale: Tensor
    log_z: Tensor
    active: Tensor


def pad_chains(flat: Tensor, lengths: Tensor) -> Tensor:
    """Rows of all posts, one after the other, as a padded batch.

    flat (Tensor): N x K.
    lengths (Tensor): B; they sum to N.
    RETURNS (Tensor): B x L x K, zero behind each length.
    """
    mask = length_mask(lengths)
    padded = flat.new_zeros((*mask.shape, flat.shape[1]))
    padded[mask] = flat
    return padded


def length_mask(lengths: Tensor) -> Tensor:
    """B x L bool: True if a post has a token."""
    width = int(lengths.max()) if len(lengths) else 0
    return torch.arange(width, device=lengths.device)[None, :] < lengths[:, None]


def constrain(scores: ChainScores, start: Tensor, end: Tensor, transitions: Tensor) -> ChainScores:
    """Make what a tag scheme forbids impossible.

    start (Tensor), end (Tensor): K bool, allowed first and last tags.
    transitions (Tensor): K x K bool, [i, j] is True if j may follow i.
    RETURNS (ChainScores): The same chains with minus infinity on everything forbidden.
    """
    return scores._replace(
        start=scores.start.masked_fill(~start, NEVER),
        end=scores.end.masked_fill(~end, NEVER),
        transitions=scores.transitions.masked_fill(~transitions, NEVER),
    )


def tempered(scores: ChainScores, temperature: float) -> ChainScores:
    """The same chains with all scores divided by a temperature: above 1, probabilities lie closer together."""
    emissions, lengths, start, end, transitions = scores
    return ChainScores(emissions / temperature, lengths, start / temperature, end / temperature, transitions / temperature)


def log_partition(scores: ChainScores) -> Tensor:
    """B: logarithm of the sum over all tag sequences of exp(score)."""
    return _log_partition_in_logs(_double(scores)) if _far_apart(scores) else _passes(scores).log_z


def path_scores(scores: ChainScores, tags: Tensor) -> Tensor:
    """The score of one tag sequence a post.

    tags (Tensor): B x L, int64; what lies behind a length is not read.
    RETURNS (Tensor): B.
    """
    steps = _path_steps(scores, tags)
    last = tags.gather(1, scores.lengths[:, None] - 1)[:, 0]
    return steps.sum(1) + scores.end[last]


def nll(scores: ChainScores, tags: Tensor, *, reduction: str = "token_mean") -> tuple[float, ChainGradient]:
    """Negative log likelihood of the gold tags with its gradient.

    tags (Tensor): B x L, int64, gold.
    reduction (str): "sum" over posts, "mean" over posts, or "token_mean": the sum divided by the number of tokens.
    RETURNS (Tuple[float, ChainGradient]): The loss and its derivative by every score.
    RAISES (RivegaError): E101 for another reduction.
    """
    weight = _weight(scores, reduction)
    n_tags = scores.emissions.shape[2]
    if _far_apart(scores):
        return _nll_in_logs(scores, tags, weight)
    passes = _passes(scores)
    loss = float((passes.log_z - path_scores(_double(scores), tags)).sum()) * weight

    # Expected counts under the model, minus the counts of the gold path.
    unary, first, final, pairs = _expected_counts(passes, scores.lengths)
    gold_last = tags.gather(1, scores.lengths[:, None] - 1)[:, 0]
    mask = passes.active.T
    unary.scatter_add_(2, tags.clamp(min=0)[:, :, None], -mask[:, :, None].to(unary.dtype))
    steps = mask[:, 1:]
    seen = tags[:, :-1][steps] * n_tags + tags[:, 1:][steps]
    pairs = pairs - torch.bincount(seen, minlength=n_tags * n_tags).view(n_tags, n_tags)
    first = first - torch.bincount(tags[:, 0], minlength=n_tags)
    final = final - torch.bincount(gold_last, minlength=n_tags)
    kind = scores.emissions.dtype
    return loss, ChainGradient(*((part * weight).to(kind) for part in (unary, first, final, pairs)))


def partial_nll(scores: ChainScores, agreeing: ChainScores, *, reduction: str = "token_mean") -> tuple[float, ChainGradient]:
    """Negative log likelihood of all tag sequences that agree with a partial annotation, with its gradient.

    What is annotated leaves more than one sequence where a corpus has no word for a type, or says nothing of a token. Their
    probabilities are summed by the forward algorithm (Tsuboi et al. 2008), so nothing is learnt of what the annotation leaves open. Where it
    leaves a single sequence this is `nll`.

    scores (ChainScores): Of the model.
    agreeing (ChainScores): The same with minus infinity on what does not agree, see `agreeing_chains`; at least one sequence of each
        post must be left.
    reduction (str): As in `nll`.
    RETURNS (Tuple[float, ChainGradient]): The loss and its derivative by every score.
    RAISES (RivegaError): E101 for another reduction.
    """
    weight = _weight(scores, reduction)
    if _far_apart(scores):
        return _partial_nll_in_logs(scores, agreeing, weight)
    every, left = _passes(scores), _passes(agreeing)
    loss = float((every.log_z - left.log_z).sum()) * weight
    # Expected counts under the model, minus those under the model where only what agrees is possible.
    counts = zip(_expected_counts(every, scores.lengths), _expected_counts(left, scores.lengths))
    kind = scores.emissions.dtype
    return loss, ChainGradient(*(((mine - other) * weight).to(kind) for mine, other in counts))


def agreeing_chains(scores: ChainScores, allowed: Tensor, start: Tensor, end: Tensor, transitions: Tensor) -> ChainScores:
    """The chains with nothing possible but what agrees with an annotation and with the tag scheme.

    allowed (Tensor): B x L x K bool: tags that agree with what is said of each token; what lies behind a length is not read.
    start (Tensor), end (Tensor), transitions (Tensor): What the scheme allows, as in `constrain`.
    RETURNS (ChainScores): Minus infinity on everything else.
    """
    open_ = allowed | ~length_mask(scores.lengths)[:, :, None]
    return constrain(scores._replace(emissions=scores.emissions.masked_fill(~open_, NEVER)), start, end, transitions)


def token_probabilities(scores: ChainScores) -> tuple[Tensor, Tensor]:
    """How likely every tag is at every token.

    RETURNS (Tuple[Tensor, Tensor]): B x L x K in double precision, zero behind a post's length; B, as `log_partition`.
    """
    if _far_apart(scores):
        exact = _double(scores)
        exact = exact._replace(emissions=exact.emissions.detach().requires_grad_())
        with torch.enable_grad():
            log_z = _log_partition_in_logs(exact)
            # The derivative of the logarithm of the sum by a score is the probability of what has that score.
            (found,) = torch.autograd.grad(log_z.sum(), [exact.emissions])
        return found, log_z.detach()
    passes = _passes(scores)
    return _unary(passes).transpose(0, 1), passes.log_z


def disagreement(scores: ChainScores, partner: Tensor, *, reduction: str = "token_mean") -> tuple[float, Tensor]:
    """How far several views of the same posts are apart: KL(partner || own) between distributions over whole tag sequences.

    The views share start, end and transition scores, so that these fall out of both the divergence and its gradient, and what
    is left needs the probabilities of single tags alone. A partner is held fixed as if it were a teacher ("R-Drop", Liang et
    al. 2021, with mutual learning's gradient, Zhang et al. 2018; between views of CRFs: Wang et al. 2022).

    partner (Tensor): B, int64: the row of another view of the same post, of the same length.
    reduction (str): As in `nll`.
    RETURNS (Tuple[float, Tensor]): The divergence and its derivative by the emissions, B x L x K.
    RAISES (RivegaError): E101 for another reduction.
    """
    weight = _weight(scores, reduction)
    likely, log_z = token_probabilities(scores)
    emissions = scores.emissions.double()
    apart = (likely[partner] * (emissions[partner] - emissions)).sum((1, 2)) + log_z - log_z[partner]
    return float(apart.sum()) * weight, ((likely - likely[partner]) * weight).to(scores.emissions.dtype)


def viterbi(scores: ChainScores) -> Tensor:
    """The best tag sequence of every post (Viterbi 1967).

    RETURNS (Tensor): B x L, int64; behind a post's length its last tag is repeated.
    """
    if scores.emissions.device.type == "cpu":
        return torch.from_numpy(_viterbi_on_cpu(*(part.detach().numpy() for part in scores)))
    return _viterbi_on_device(scores)


def _viterbi_on_cpu(
    emissions: np.ndarray, lengths: np.ndarray, start: np.ndarray, end: np.ndarray, transitions: np.ndarray
) -> np.ndarray:
    # The arrays of a step are so small that calling torch takes longer than computing; NumPy's calls are several times cheaper.
    # Posts come last, so that every reduction runs along contiguous memory. Only scores are kept on the way forward: where the
    # best path came from is worked out on the way back, for one tag a post instead of for all.
    size, width, n_tags = emissions.shape
    local = np.ascontiguousarray(emissions.transpose(1, 2, 0))
    history = np.empty_like(local)
    history[0] = local[0] + start[:, None]
    ways = np.empty((n_tags, n_tags, size), dtype=local.dtype)
    links = np.ascontiguousarray(np.broadcast_to(transitions[:, :, None], ways.shape))
    for step in range(1, width):
        np.add(history[step - 1][:, None], links, out=ways)
        here = history[step]
        np.maximum.reduce(ways, axis=0, out=here)
        here += local[step]
    tags = np.empty((width, size), dtype=np.int64)
    final = (history[lengths - 1, :, np.arange(size)] + end).argmax(1)
    ends_at = lengths - 1
    tag = final
    tags[width - 1] = tag
    for step in range(width - 2, -1, -1):
        tag = (history[step] + transitions.take(tag, axis=1)).argmax(0)
        # Behind its end a post waits with its last tag.
        tag = np.where(step < ends_at, tag, final)
        tags[step] = tag
    return np.ascontiguousarray(tags.T)


def _viterbi_on_device(scores: ChainScores) -> Tensor:
    emissions, lengths, start, end, transitions = scores
    size, width, n_tags = emissions.shape
    mask = length_mask(lengths)
    into = transitions.T.contiguous()
    stay = torch.arange(n_tags, device=emissions.device).expand(size, n_tags)
    score = start + emissions[:, 0]
    back = [stay]
    for step in range(1, width):
        best, origin = (score[:, None, :] + into).max(2)
        active = mask[:, step, None]
        # A post that has ended keeps its scores and points each tag to itself: one trace then serves all lengths.
        score = torch.where(active, best + emissions[:, step], score)
        back.append(torch.where(active, origin, stay))
    tag = (score + end).argmax(1, keepdim=True)
    path = [tag]
    for origin in reversed(back[1:]):
        tag = origin.gather(1, tag)
        path.append(tag)
    return torch.cat(path[::-1], dim=1)


def span_probabilities(scores: ChainScores, tags: Tensor, posts: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """How sure the model is of spans of a tag sequence: the probability that all tokens of the span carry these tags.

    tags (Tensor): B x L, int64, the sequence the spans are part of.
    posts (Tensor), first (Tensor), last (Tensor): S each: row of the post, first and last token (inclusive) of each span.
    RETURNS (Tensor): S, each in 0..1.
    """
    passes = _passes(scores)
    picked_alpha = passes.alpha.transpose(0, 1).gather(2, tags[:, :, None])[:, :, 0]
    picked_beta = passes.beta.transpose(0, 1).gather(2, tags[:, :, None])[:, :, 0]
    # Sums along the path: a span's own score is a difference of two of them, and so is what scaling took out of it.
    path = _path_steps(_double(scores), tags).cumsum(1) - passes.log_scale.cumsum(0).T
    ends = picked_alpha[posts, first] * picked_beta[posts, last] / passes.mass[posts]
    return (ends.clamp(min=_TINY).log() + path[posts, last] - path[posts, first]).exp().clamp(max=1.0)


def check_reduction(reduction: str) -> None:
    """RAISES (RivegaError): E101 for a reduction that there is not."""
    if reduction not in REDUCTIONS:
        raise RivegaError(Errors.E101.format(reduction=reduction, known=", ".join(REDUCTIONS)))


def _weight(scores: ChainScores, reduction: str) -> float:
    """What a sum over posts is multiplied by."""
    check_reduction(reduction)
    return 1.0 / {"sum": 1, "mean": len(scores.lengths), "token_mean": int(scores.lengths.sum())}[reduction]


def _double(scores: ChainScores) -> ChainScores:
    """The same in double precision, which the scaled passes need where scores are far apart."""
    emissions, lengths, start, end, transitions = scores
    return ChainScores(emissions.double(), lengths, start.double(), end.double(), transitions.double())


def _path_steps(scores: ChainScores, tags: Tensor) -> Tensor:
    """B x L: what each token adds to the score of the path (the end score is not in it); zero behind a length."""
    mask = length_mask(scores.lengths)
    tags = tags.masked_fill(~mask, 0)
    steps = scores.emissions.gather(2, tags[:, :, None])[:, :, 0]
    into = torch.cat([scores.start[tags[:, :1]], scores.transitions[tags[:, :-1], tags[:, 1:]]], dim=1)
    return (steps + into).masked_fill(~mask, 0.0)


def _far_apart(scores: ChainScores) -> bool:
    spreads = [part.max() - part.min() for part in (scores.start, scores.end, scores.transitions)]
    # Minus infinity is no number to be precise about: it stays zero either way.
    spreads = [spread for spread in spreads if bool(torch.isfinite(spread))]
    mask = length_mask(scores.lengths)[:, :, None]
    emissions = scores.emissions.masked_fill(~mask, 0.0)
    spreads.append((emissions.max(2).values - emissions.min(2).values).max())
    return bool(torch.stack(spreads).max() > _FAR_APART)


def _log_partition_in_logs(scores: ChainScores) -> Tensor:
    emissions, lengths, start, end, transitions = scores
    mask = length_mask(lengths)
    score = start + emissions[:, 0]
    for step in range(1, emissions.shape[1]):
        following = (score[:, :, None] + transitions).logsumexp(1) + emissions[:, step]
        score = torch.where(mask[:, step, None], following, score)
    return (score + end).logsumexp(1)


def _nll_in_logs(scores: ChainScores, tags: Tensor, weight: float) -> tuple[float, ChainGradient]:
    parts = [part.detach().double().requires_grad_() for part in (scores.emissions, scores.start, scores.end, scores.transitions)]
    exact = ChainScores(parts[0], scores.lengths, *parts[1:])
    with torch.enable_grad():
        loss = (_log_partition_in_logs(exact) - path_scores(exact, tags.clamp(min=0))).sum() * weight
        # A single token has no transition.
        found = torch.autograd.grad(loss, parts, allow_unused=True)
    kind = scores.emissions.dtype
    grads = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(parts, found)]
    return float(loss.detach()), ChainGradient(*(grad.to(kind) for grad in grads))


def _partial_nll_in_logs(scores: ChainScores, agreeing: ChainScores, weight: float) -> tuple[float, ChainGradient]:
    parts = [part.detach().double().requires_grad_() for part in (scores.emissions, scores.start, scores.end, scores.transitions)]
    with torch.enable_grad():
        # A large negative number for minus infinity, of which the derivative of a sum in logarithms would be no number.
        limits = (agreeing.emissions, agreeing.start, agreeing.end, agreeing.transitions)
        left = [part.masked_fill(limit == NEVER, _NEARLY_NEVER) for part, limit in zip(parts, limits)]
        every = ChainScores(parts[0], scores.lengths, *parts[1:])
        loss = (
            _log_partition_in_logs(every) - _log_partition_in_logs(ChainScores(left[0], scores.lengths, *left[1:]))
        ).sum() * weight
        found = torch.autograd.grad(loss, parts, allow_unused=True)
    kind = scores.emissions.dtype
    grads = [torch.zeros_like(part) if grad is None else grad for part, grad in zip(parts, found)]
    return float(loss.detach()), ChainGradient(*(grad.to(kind) for grad in grads))


def _expected_counts(passes: _Passes, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How often the model expects every tag at every token (B x L x K), first (K), last (K), and every pair of tags (K x K)."""
    n_tags = passes.alpha.shape[2]
    unary = _unary(passes)
    right = passes.local[1:] * passes.beta[1:] / (passes.scale[1:] * passes.mass)[:, :, None]
    right = right * passes.active[1:, :, None]
    pairs = (passes.alpha[:-1].reshape(-1, n_tags).T @ right.reshape(-1, n_tags)) * passes.trans
    rows = torch.arange(len(lengths), device=lengths.device)
    return unary.transpose(0, 1).clone(), unary[0].sum(0), unary[lengths - 1, rows].sum(0), pairs


def _unary(passes: _Passes) -> Tensor:
    """L x B x K: probability of every tag, zero behind a post's length."""
    return passes.alpha * passes.beta / passes.mass[None, :, None] * passes.active[:, :, None]


def _passes(scores: ChainScores) -> _Passes:
    emissions, lengths, start, end, transitions = _double(scores)
    width = emissions.shape[1]
    active = length_mask(lengths).T.contiguous()
    peak = emissions.max(2, keepdim=True).values
    local = (emissions - peak).exp().transpose(0, 1).contiguous()
    start_peak, end_peak, trans_peak = start.max(), end.max(), transitions.max()
    trans, last = (transitions - trans_peak).exp(), (end - end_peak).exp()

    here = (start - start_peak).exp() * local[0]
    scale = here.sum(1).clamp(min=_TINY)
    alphas, scales = [here / scale[:, None]], [scale]
    for step in range(1, width):
        here = (alphas[-1] @ trans) * local[step]
        scale = here.sum(1).clamp(min=_TINY)
        alphas.append(torch.where(active[step, :, None], here / scale[:, None], alphas[-1]))
        scales.append(scale)
    alpha, scale = torch.stack(alphas), torch.stack(scales).masked_fill(~active, 1.0)

    here = last.expand(len(lengths), -1)
    betas = [here]
    weighted = local / scale[:, :, None]
    back = trans.T.contiguous()
    for step in range(width - 1, 0, -1):
        here = torch.where(active[step, :, None], (weighted[step] * betas[-1]) @ back, betas[-1])
        betas.append(here)
    beta = torch.stack(betas[::-1])

    shift = peak[:, :, 0].T + trans_peak
    shift[0] += start_peak - trans_peak
    log_scale = (scale.log() + shift).masked_fill(~active, 0.0)
    mass = (alpha[-1] * last).sum(1).clamp(min=_TINY)
    log_z = log_scale.sum(0) + mass.log() + end_peak
    return _Passes(local, alpha, beta, scale, trans, mass, log_scale, log_z, active)
