"""The CRF against pytorch-crf, and on tiny cases against every path there is."""

import itertools

import pytest
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from torchcrf import CRF

from rivega_spacy.ner import pytorch_crf
from rivega_spacy.ner.crf import (
    ChainScores,
    _viterbi_on_device,
    agreeing_chains,
    constrain,
    disagreement,
    length_mask,
    log_partition,
    nll,
    pad_chains,
    partial_nll,
    path_scores,
    span_probabilities,
    tempered,
    token_probabilities,
    viterbi,
)
from rivega_spacy.ner.schemes import TagScheme
from rivega_spacy.post.errors import RivegaError

NEVER = float("-inf")


def make_scores(seed, size, width, n_tags, spread=2.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * spread

    lengths = torch.randint(1, width + 1, (size,), generator=generator)
    lengths[0] = width
    tags = torch.randint(0, n_tags, (size, width), generator=generator)
    return ChainScores(normal(size, width, n_tags), lengths, normal(n_tags), normal(n_tags), normal(n_tags, n_tags)), tags


def reference_crf(scores):
    crf = CRF(scores.emissions.shape[2], batch_first=True).double()
    with torch.no_grad():
        crf.start_transitions.copy_(scores.start)
        crf.end_transitions.copy_(scores.end)
        crf.transitions.copy_(scores.transitions)
    return crf


def all_paths(scores, row):
    """Every tag sequence of one post with its score, one by one."""
    length, n_tags = int(scores.lengths[row]), scores.emissions.shape[2]
    for path in itertools.product(range(n_tags), repeat=length):
        score = float(scores.start[path[0]] + scores.end[path[-1]])
        score += sum(float(scores.emissions[row, step, tag]) for step, tag in enumerate(path))
        score += sum(float(scores.transitions[a, b]) for a, b in zip(path, path[1:]))
        yield path, score


sizes = st.tuples(
    st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.integers(2, 9), st.sampled_from([0.1, 2.0, 20.0])
)


@examples(60)
@given(sizes, st.sampled_from(["sum", "mean", "token_mean"]))
def test_loss_and_gradient_are_those_of_pytorch_crf(size, reduction):
    scores, tags = make_scores(*size)
    crf = reference_crf(scores)
    emissions = scores.emissions.clone().requires_grad_()
    expected = -crf(emissions, tags, mask=length_mask(scores.lengths), reduction=reduction)
    expected.backward()
    loss, gradient = nll(scores, tags, reduction=reduction)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6, abs=1e-6)
    assert torch.allclose(gradient.emissions, emissions.grad, atol=1e-8)
    assert torch.allclose(gradient.transitions, _grad(crf.transitions), atol=1e-8)
    assert torch.allclose(gradient.start, _grad(crf.start_transitions), atol=1e-8)
    assert torch.allclose(gradient.end, _grad(crf.end_transitions), atol=1e-8)


def _grad(parameter):
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


@examples(60)
@given(sizes)
def test_paths_are_those_of_pytorch_crf(size):
    scores, _ = make_scores(*size)
    expected = reference_crf(scores).decode(scores.emissions, mask=length_mask(scores.lengths))
    # What a CPU runs, and what a GPU runs.
    for found in (viterbi(scores), _viterbi_on_device(scores)):
        assert [found[row, :length].tolist() for row, length in enumerate(scores.lengths.tolist())] == expected


@examples(20)
@given(st.integers(0, 10_000))
def test_against_every_path(seed):
    scores, tags = make_scores(seed, 3, 4, 3)
    found = viterbi(scores)
    for row in range(3):
        paths = list(all_paths(scores, row))
        total = torch.logsumexp(torch.tensor([score for _, score in paths], dtype=torch.float64), 0)
        assert float(log_partition(scores)[row]) == pytest.approx(float(total))
        length = int(scores.lengths[row])
        best = max(paths, key=lambda item: item[1])[0]
        assert tuple(found[row, :length].tolist()) == best
        gold = tuple(tags[row, :length].tolist())
        assert float(path_scores(scores, tags)[row]) == pytest.approx(dict(paths)[gold])


@examples(30)
@given(st.integers(0, 10_000), st.booleans())
def test_span_probability_is_the_share_of_paths_that_carry_these_tags(seed, constrained):
    scores, _ = make_scores(seed, 2, 4, 3, spread=1.0)
    if constrained:
        scores = constrain(scores, *(torch.from_numpy(part.copy()) for part in TagScheme(["X"]).constraints()))
    tags = viterbi(scores)
    for row in range(2):
        length = int(scores.lengths[row])
        weights = {path: torch.tensor(score, dtype=torch.float64).exp() for path, score in all_paths(scores, row)}
        for first in range(length):
            for last in range(first, length):
                wanted = tuple(tags[row, first : last + 1].tolist())
                share = sum(w for path, w in weights.items() if path[first : last + 1] == wanted) / sum(weights.values())
                found = span_probabilities(scores, tags, *(torch.tensor([value]) for value in (row, first, last)))
                assert float(found[0]) == pytest.approx(float(share), rel=1e-6)


@examples(20)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 3.0, 250.0]))
def test_token_probability_is_the_share_of_paths_with_this_tag(seed, spread):
    scores, _ = make_scores(seed, 2, 4, 3, spread=spread)
    likely, log_z = token_probabilities(scores)
    assert torch.allclose(log_z, log_partition(scores))
    for row in range(2):
        length = int(scores.lengths[row])
        shares = torch.zeros(length, 3, dtype=torch.float64)
        for path, score in all_paths(scores, row):
            for step, tag in enumerate(path):
                shares[step, tag] += (score - log_z[row]).exp()
        assert torch.allclose(likely[row, :length], shares, atol=1e-8)
        assert not likely[row, length:].any()


@examples(20)
@given(
    st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.5, 3.0, 250.0]), st.sampled_from(["sum", "mean", "token_mean"])
)
def test_disagreement_is_the_divergence_over_all_paths(seed, length, spread, reduction):
    scores, _ = make_scores(seed, 3, 4, 3, spread=spread)
    scores.lengths[:2] = length
    scores = scores._replace(emissions=scores.emissions[:, : int(scores.lengths.max())])
    # The third post has no other view.
    partner = torch.tensor([1, 0, 2])
    paths, log_z = [dict(all_paths(scores, row)) for row in range(2)], log_partition(scores)

    def divergence(own, other):
        logs = [((paths[other][path] - log_z[other]), (paths[own][path] - log_z[own])) for path in paths[own]]
        return sum(float(there.exp() * (there - here)) for there, here in logs)

    count = {"sum": 1, "mean": 3, "token_mean": int(scores.lengths.sum())}[reduction]
    apart, gradient = disagreement(scores, partner, reduction=reduction)
    assert apart == pytest.approx((divergence(0, 1) + divergence(1, 0)) / count, rel=1e-6, abs=1e-9)
    assert not gradient[2].any() and not gradient[:2, length:].any()

    # With the other view held fixed, its expected score does not depend on what is differentiated but for the emissions themselves.
    emissions = scores.emissions.clone().requires_grad_()
    likely, _ = token_probabilities(scores)
    own = log_partition_by_autograd(scores._replace(emissions=emissions))
    loss = sum(own[row] - (likely[1 - row] * emissions[row]).sum() for row in range(2)) / count
    loss.backward()
    assert torch.allclose(gradient, emissions.grad, atol=1e-8)


def log_partition_by_autograd(scores):
    return torch.stack(
        [torch.logsumexp(torch.stack([one_path(scores, row, path) for path in tag_sequences(scores, row)]), 0) for row in range(2)]
    )


def tag_sequences(scores, row):
    return itertools.product(range(scores.emissions.shape[2]), repeat=int(scores.lengths[row]))


def one_path(scores, row, path):
    steps = sum(scores.emissions[row, step, tag] for step, tag in enumerate(path))
    return steps + scores.start[path[0]] + scores.end[path[-1]] + sum(scores.transitions[a, b] for a, b in zip(path, path[1:]))


def test_a_temperature_brings_probabilities_together_and_leaves_the_best_path():
    scores, _ = make_scores(5, 3, 5, 4)
    warm = tempered(scores, 3.0)
    assert torch.equal(viterbi(warm), viterbi(scores))
    assert token_probabilities(warm)[0].max() < token_probabilities(scores)[0].max()
    assert all(torch.equal(a, b) for a, b in zip(tempered(scores, 1.0), scores))


@pytest.mark.parametrize("kind", ["bio", "bioes"])
@examples(25)
@given(seed=st.integers(0, 10_000))
def test_nothing_forbidden_is_decoded_and_the_rest_is_the_best_of_what_is_left(kind, seed):
    scheme = TagScheme(["X"], kind)
    scores, _ = make_scores(seed, 2, 4, len(scheme), spread=5.0)
    allowed = tuple(torch.from_numpy(part.copy()) for part in scheme.constraints())
    tags = viterbi(constrain(scores, *allowed))
    start, end, follows = allowed
    for row in range(2):
        path = tags[row, : int(scores.lengths[row])].tolist()
        assert start[path[0]] and end[path[-1]]
        assert all(follows[a, b] for a, b in zip(path, path[1:]))
        legal = [
            (score, other)
            for other, score in all_paths(scores, row)
            if start[other[0]] and end[other[-1]] and all(follows[a, b] for a, b in zip(other, other[1:]))
        ]
        assert max(legal)[1] == tuple(path)


partial = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(["bio", "bioes"]),
    st.lists(st.sampled_from(["O", "U-X", None, "-"]), min_size=1, max_size=3),
    st.sampled_from([[], ["Y"]]),
    st.sampled_from([1.0, 300.0]),
)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", [partial_nll, pytorch_crf.partial_nll])
@examples(25)
@given(partial)
def test_the_loss_of_a_partial_annotation_sums_over_the_paths_that_agree(implementation, case):
    seed, kind, biluo, missing, spread = case
    scheme = TagScheme(["X", "Y"], kind)
    allowed = scheme.agreeing(biluo, missing)
    if allowed is None:
        assert not {"O", "U-X"} & set(biluo)
        return
    torch.manual_seed(seed)
    scores, _ = make_scores(seed, 1, len(biluo), len(scheme), spread=spread)
    scores.lengths[:] = len(biluo)
    leaves = [part.clone().requires_grad_() for part in (scores.emissions, scores.start, scores.end, scores.transitions)]
    asked = ChainScores(leaves[0], scores.lengths, *leaves[1:])
    rules = [torch.from_numpy(part.copy()) for part in scheme.constraints()]
    every, agree = [], []
    for path in itertools.product(range(len(scheme)), repeat=len(biluo)):
        score = path_scores(asked, torch.tensor([path]))[0]
        every.append(score)
        legal = rules[0][path[0]] and rules[1][path[-1]] and all(rules[2][a, b] for a, b in zip(path, path[1:]))
        if legal and all(allowed[place, tag] for place, tag in enumerate(path)):
            agree.append(score)
    expected = torch.stack(every).logsumexp(0) - torch.stack(agree).logsumexp(0)
    wanted = torch.autograd.grad(expected, leaves, allow_unused=True)
    left = agreeing_chains(scores, torch.from_numpy(allowed)[None], *rules)
    loss, gradient = implementation(scores, left, reduction="sum")
    assert loss == pytest.approx(float(expected.detach()), rel=1e-9, abs=1e-9)
    for found, grad in zip(gradient, wanted):
        assert torch.allclose(found, torch.zeros_like(found) if grad is None else grad, atol=1e-8)


@examples(30)
@given(sizes, st.sampled_from(["sum", "mean", "token_mean"]))
def test_both_implementations_are_equal(size, reduction):
    scores, tags = make_scores(*size)
    assert torch.equal(viterbi(scores), pytorch_crf.viterbi(scores))
    free = torch.zeros(scores.emissions.shape, dtype=torch.bool).scatter(2, tags[:, :, None], True)
    free[:, ::2] = True
    any_tag = torch.ones(scores.emissions.shape[2], dtype=torch.bool)
    left = agreeing_chains(scores, free, any_tag, any_tag, any_tag[:, None] & any_tag)
    for ours, theirs in (
        (nll(scores, tags, reduction=reduction), pytorch_crf.nll(scores, tags, reduction=reduction)),
        (partial_nll(scores, left, reduction=reduction), pytorch_crf.partial_nll(scores, left, reduction=reduction)),
    ):
        assert ours[0] == pytest.approx(theirs[0], rel=1e-9, abs=1e-9)
        assert all(torch.allclose(a, b, atol=1e-8) for a, b in zip(ours[1], theirs[1]))


def test_a_complete_annotation_leaves_one_path():
    scores, tags = make_scores(5, 4, 6, 5)
    allowed = torch.zeros(scores.emissions.shape, dtype=torch.bool).scatter(2, tags[:, :, None], True)
    any_tag = torch.ones(5, dtype=torch.bool)
    left = agreeing_chains(scores, allowed, any_tag, any_tag, any_tag[:, None] & any_tag)
    (loss, gradient), (wanted, expected) = partial_nll(scores, left), nll(scores, tags)
    assert loss == pytest.approx(wanted)
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(gradient, expected))


def test_scores_far_apart_stay_finite():
    scores, tags = make_scores(3, 2, 50, 5, spread=300.0)
    loss, gradient = nll(scores, tags)
    crf = reference_crf(scores)
    expected = -crf(scores.emissions, tags, mask=length_mask(scores.lengths), reduction="token_mean")
    assert loss == pytest.approx(float(expected.detach()), rel=1e-9)
    assert all(torch.isfinite(part).all() for part in gradient)


def test_padding_is_not_read():
    scores, tags = make_scores(1, 4, 6, 3)
    scores.lengths[:] = torch.tensor([6, 1, 3, 2])
    junk = scores._replace(emissions=scores.emissions.masked_fill(~length_mask(scores.lengths)[:, :, None], 77.0))
    tags_junk = tags.masked_fill(~length_mask(scores.lengths), -100)
    first, second = nll(scores, tags), nll(junk, tags_junk)
    assert first[0] == second[0]
    assert all(torch.equal(a, b) for a, b in zip(first[1], second[1]))


def test_flat_rows_become_padded_chains():
    flat = torch.arange(12.0).view(6, 2)
    padded = pad_chains(flat, torch.tensor([1, 3, 2]))
    assert padded.shape == (3, 3, 2)
    assert padded[0].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert padded[1].tolist() == [[2, 3], [4, 5], [6, 7]]


def test_unknown_reduction_is_refused():
    scores, tags = make_scores(0, 1, 2, 3)
    with pytest.raises(RivegaError, match=r"\[E101\].*'average'"):
        nll(scores, tags, reduction="average")
    with pytest.raises(RivegaError, match=r"\[E101\].*'average'"):
        disagreement(scores, torch.tensor([0]), reduction="average")
    for refused in (partial_nll, pytorch_crf.partial_nll):
        with pytest.raises(RivegaError, match="reduction 'average'"):
            refused(scores, scores, reduction="average")
    with pytest.raises(RivegaError, match="reduction 'average'"):
        pytorch_crf.nll(scores, tags, reduction="average")
