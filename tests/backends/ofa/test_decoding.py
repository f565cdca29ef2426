"""Beam search and label scores against looking at everything."""

import itertools
import math

import pytest
import torch
from ofa_tiny import sizes, tiny_network

from rivega_spacy.backends.ofa.decoding import BeamOptions, Trie, beam_search, score_labels


@pytest.fixture(scope="module")
def asked():
    """A network with four location tokens, and three encoded questions of unequal length."""
    network = tiny_network(vocab_size=sizes()["bin_0"] + 4, bins=4)
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(4, network.config.bin_0, (3, 10), generator=generator)
    tokens[1, 7:] = tokens[2, 4:] = network.config.pad
    with torch.no_grad():
        picture = network.encoder.pictures(torch.empty(3, 3, 64, 64).normal_(generator=generator))
        return network, network.encode(tokens, picture), tokens


def exhaustive(network, encoded, options: BeamOptions):
    """Every sequence of four locations and its score, best first."""
    first, last = options.allowed
    results = []
    rows = list(itertools.product(range(first, last), repeat=4))
    for i in range(encoded.states.shape[0]):
        one = encoded.states[i : i + 1].expand(len(rows), -1, -1)
        lengths = [encoded.lengths[i]] * len(rows) if encoded.lengths else None
        copy = type(encoded)(one, encoded.positions, lengths)
        with torch.no_grad():
            previous = torch.tensor([(network.config.bos, *row) for row in rows])
            logits = network.logits(network.decode(previous, copy)[0])
        logits[:, :, 4:first] = -math.inf
        log_p = logits.log_softmax(-1)
        target = torch.tensor([(*row, network.config.eos) for row in rows])
        scores = log_p.gather(2, target[:, :, None])[:, :, 0].sum(1) / 5
        kept = [k for k, row in enumerate(rows) if not repeats((network.config.bos, *row), options.no_repeat_ngram)]
        results.append(sorted(((float(scores[k]), list(rows[k]) + [network.config.eos]) for k in kept), reverse=True))
    return results


def repeats(row, size: int) -> bool:
    grams = [row[i : i + size] for i in range(len(row) - size + 1)] if size else []
    return len(grams) != len(set(grams))


@pytest.mark.parametrize("ngram", [0, 2, 3])
def test_a_beam_that_holds_everything_finds_the_best(asked, ngram):
    network, encoded, _ = asked
    config = network.config
    options = BeamOptions(beam=256, no_repeat_ngram=ngram, allowed=(config.bin_0, config.vocab_size), bins_only=True)
    found = beam_search(network, encoded, options)
    for answers, want in zip(found, exhaustive(network, encoded, options)):
        assert len(answers) == len(want)
        assert [answer.tokens for answer in answers[:5]] == [tokens for _, tokens in want[:5]]
        for answer, (score, _) in zip(answers, want):
            assert answer.score == pytest.approx(score, abs=1e-5)
            assert sum(answer.steps) / 5 == pytest.approx(answer.score, abs=1e-5)


def test_a_small_beam_gives_distinct_answers_in_order(asked):
    network, encoded, _ = asked
    config = network.config
    options = BeamOptions(beam=5, allowed=(config.bin_0, config.vocab_size), bins_only=True)
    every = exhaustive(network, encoded, options)
    for answers, want in zip(beam_search(network, encoded, options), every):
        scores = [answer.score for answer in answers]
        assert len(answers) == 5 and scores == sorted(scores, reverse=True)
        assert len({tuple(answer.tokens) for answer in answers}) == 5
        known = {tuple(tokens): score for score, tokens in want}
        for answer in answers:
            assert known[tuple(answer.tokens)] == pytest.approx(answer.score, abs=1e-5)


def test_greedy_takes_the_likeliest_token_each_time(asked):
    network, encoded, _ = asked
    config = network.config
    found = beam_search(network, encoded, BeamOptions(beam=1))
    for i, answers in enumerate(found):
        row = [config.bos]
        one = type(encoded)(encoded.states[i : i + 1, : encoded.lengths[i]], encoded.positions[:, : encoded.lengths[i]], None)
        for _ in range(4):
            with torch.no_grad():
                logits = network.logits(network.decode(torch.tensor([row]), one)[0])[0, -1]
            logits[[config.pad, config.eos]] = -math.inf
            row.append(int(logits.argmax()))
        assert answers[0].tokens == row[1:] + [config.eos]


def test_without_bounds_the_end_mark_may_come_early(asked):
    network, encoded, _ = asked
    found = beam_search(network, encoded, BeamOptions(beam=3, min_len=1, max_len=6))
    for answers in found:
        assert 1 <= len(answers) <= 3
        for answer in answers:
            assert answer.tokens[-1] == network.config.eos and network.config.eos not in answer.tokens[:-1]
            assert 2 <= len(answer.tokens) <= 7 and len(answer.steps) == len(answer.tokens)


def test_a_batch_is_decoded_like_its_members(asked):
    network, encoded, tokens = asked
    options = BeamOptions(beam=4, no_repeat_ngram=3)
    together = beam_search(network, encoded, options)
    for i in range(3):
        size = encoded.lengths[i]
        one = type(encoded)(encoded.states[i : i + 1, :size], encoded.positions[:, :size], None)
        (alone,) = beam_search(network, one, options)
        assert [answer.tokens for answer in alone] == [answer.tokens for answer in together[i]]


@pytest.mark.parametrize(
    "labels",
    [
        ((10,), (11,), (12,)),
        ((10,), (11,), (12, 13), (12, 14, 15)),
        ((10, 11), (10, 11, 12), (10,), (13, 14)),
    ],
)
def test_label_scores_equal_scoring_each_label_by_itself(asked, labels):
    network, encoded, tokens = asked
    trie = Trie(labels, network.config.eos)
    prompts = [[token for token in row if token != network.config.pad] for row in tokens.tolist()]
    with torch.no_grad():
        got = score_labels(network, encoded, prompts, trie)
        for i, prompt in enumerate(prompts):
            size = encoded.lengths[i]
            one = type(encoded)(encoded.states[i : i + 1, :size], encoded.positions[:, :size], None)
            for j, label in enumerate(labels):
                logits = network.logits(network.decode(torch.tensor([prompt + list(label)]), one)[0])[0]
                total = 0.0
                for k, token in enumerate((*label, network.config.eos)):
                    hidden = torch.full_like(logits[0], -math.inf)
                    allowed = trie.children(label[:k])
                    hidden[allowed] = logits[len(prompt) - 1 + k][allowed]
                    total += float(hidden.log_softmax(-1)[token])
                assert float(got[i, j]) == pytest.approx(total, abs=1e-5)


def test_label_probabilities_add_up(asked):
    """The trie's leaves are all that can be answered."""
    network, encoded, tokens = asked
    labels = ((10,), (11,), (12, 13), (12, 14, 15), (12, 14, 16))
    prompts = [[network.config.bos]] * 3
    with torch.no_grad():
        scores = score_labels(network, encoded, prompts, Trie(labels, network.config.eos))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3), atol=1e-5, rtol=0)
