"""Answers of OFA: beam search for location tokens, and scores of a closed set of labels along their trie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .network import OFA, EncoderOutput

INF = math.inf


@dataclass(frozen=True)
class BeamOptions:
    """How to search.

    beam (int): Hypotheses kept.
    min_len (int), max_len (int): Tokens before the end mark, at least and at most.
    no_repeat_ngram (int): No n tokens in a row occur twice; 0 allows it.
    allowed (Optional[Tuple[int, int]]): First and last-plus-one token; others but the four special ones are hidden *before* the
        probabilities are normalised (the published code's `constraint_range`).
    bins_only (bool): Also refuse the special tokens, so that every step before the end gives a location.
    """

    beam: int = 5
    min_len: int = 4
    max_len: int = 4
    no_repeat_ngram: int = 0
    allowed: tuple[int, int] | None = None
    bins_only: bool = False


@dataclass(frozen=True)
class Hypothesis:
    """One answer.

    tokens (List[int]): End mark included.
    score (float): Mean log-probability of a token.
    steps (List[float]): Log-probability of each token.
    """

    tokens: list[int]
    score: float
    steps: list[float]


@torch.no_grad()
def beam_search(network: OFA, encoded: EncoderOutput, options: BeamOptions) -> list[list[Hypothesis]]:
    """The best answers to each source.

    network (OFA): In evaluation mode.
    encoded (EncoderOutput): B encoded sources.
    RETURNS (List[List[Hypothesis]]): For each of the B at most `beam` answers, best first. Ranking and stopping are fairseq's: a
        hypothesis ends only if its end mark is among the best `beam` candidates, twice as many being looked at; a source is done
        when as many answers as beams have ended; at `max_len` the end mark is forced at its own probability.
    """
    config = network.config
    samples, beam = encoded.states.shape[0], options.beam
    cache = network.decoder.start(encoded)
    words_of = _words(options, config.vocab_size, encoded.states.device)
    table = network.embed_tokens.weight if options.allowed is None else network.embed_tokens.weight[words_of]
    done: list[list[Hypothesis]] = [[] for _ in range(samples)]
    # One row for each source at first; beams begin to differ after the first token. Tokens are rows of `words_of`.
    tokens = torch.full((samples, 1, 1), config.bos, dtype=torch.long, device=encoded.states.device)
    totals = torch.zeros(samples, 1, 1, device=tokens.device)
    ignored = torch.zeros(samples, beam, dtype=torch.bool, device=tokens.device)
    for step in range(options.max_len + 1):
        width = tokens.shape[1]
        last = network.embed_tokens(words_of[tokens[:, :, -1].reshape(-1)])
        logits = torch.nn.functional.linear(network.decoder.step(last[:, None], cache), table).float()
        log_p = _log_probabilities(logits, options, network, step=step).view(samples, width, -1)
        if options.no_repeat_ngram:
            _block_repeats(tokens, log_p, options.no_repeat_ngram)
        candidates = log_p if step == 0 else log_p + totals[:, :, -1:]
        vocabulary = candidates.shape[-1]
        flat = candidates.reshape(samples, -1)
        scores, index = flat.topk(min(2 * beam, flat.shape[1] - 1), dim=1)
        beams, words = index // vocabulary, index % vocabulary
        ended = words.eq(config.eos) & scores.ne(-INF)
        ended[:, :beam] &= ~ignored[:, : ended.shape[1]]
        _collect(done, ended, scores, beams, words_of[tokens], totals, options, step, config.eos)
        open_ = [len(answers) < beam for answers in done]
        if step == options.max_len or not any(open_):
            break
        # Ended and ignored candidates go last; of the rest the best `beam` go on, in order.
        ended[:, :beam] |= ignored[:, : ended.shape[1]]
        order = ended.long() * scores.shape[1] + torch.arange(scores.shape[1], device=index.device)
        rank, chosen = order.topk(min(beam, scores.shape[1]), dim=1, largest=False)
        # With few tokens to choose from there are fewer beams at first than later.
        ignored = torch.nn.functional.pad(rank.ge(scores.shape[1]), (0, beam - rank.shape[1]))
        beams, words, totals_new = beams.gather(1, chosen), words.gather(1, chosen), scores.gather(1, chosen)
        rows = (beams + torch.arange(samples, device=beams.device)[:, None] * width).reshape(-1)
        cache.select(rows)
        wide = beams[:, :, None]
        tokens = torch.cat([tokens.gather(1, wide.expand(-1, -1, tokens.shape[2])), words[:, :, None]], dim=2)
        history = totals.gather(1, wide.expand(-1, -1, totals.shape[2]))
        totals = totals_new[:, :, None] if step == 0 else torch.cat([history, totals_new[:, :, None]], dim=2)
    return [sorted(answers, key=_by_score) for answers in done]


def _words(options: BeamOptions, vocab_size: int, device: torch.device) -> torch.Tensor:
    """The tokens that may be answered, in order, the four special ones first: only they are projected to."""
    if options.allowed is None:
        return torch.arange(vocab_size, device=device)
    return torch.cat([torch.arange(4, device=device), torch.arange(*options.allowed, device=device)])


def _by_score(answer: Hypothesis) -> float:
    return -answer.score if answer.score == answer.score else INF


def _log_probabilities(logits: torch.Tensor, options: BeamOptions, network: OFA, *, step: int) -> torch.Tensor:
    config = network.config
    log_p = torch.log_softmax(logits, dim=-1)
    log_p = log_p.masked_fill(log_p.isnan(), -INF)
    log_p[:, config.pad] = -INF
    if options.bins_only and step < options.max_len:
        log_p[:, [config.bos, config.unk]] = -INF
    if step >= options.max_len:
        log_p[:, : config.eos] = -INF
        log_p[:, config.eos + 1 :] = -INF
    elif step < options.min_len:
        log_p[:, config.eos] = -INF
    return log_p


def _block_repeats(tokens: torch.Tensor, log_p: torch.Tensor, size: int) -> None:
    """Hide tokens that would repeat `size` tokens in a row; the start token counts."""
    if tokens.shape[2] < size:
        return
    for i, beams in enumerate(tokens.tolist()):
        for j, row in enumerate(beams):
            last = row[len(row) - size + 1 :]
            for k in range(len(row) - size + 1):
                if row[k : k + size - 1] == last:
                    log_p[i, j, row[k + size - 1]] = -INF


def _collect(
    done: list[list[Hypothesis]],
    ended: torch.Tensor,
    scores: torch.Tensor,
    beams: torch.Tensor,
    tokens: torch.Tensor,
    totals: torch.Tensor,
    options: BeamOptions,
    step: int,
    eos: int,
) -> None:
    """Move the candidates that ended, and are among the best `beam`, to the answers."""
    for i, j in ended[:, : options.beam].nonzero().tolist():
        if len(done[i]) >= options.beam:
            continue
        beam = int(beams[i, j])
        total = float(scores[i, j])
        sums = ([] if step == 0 else totals[i, beam].tolist()) + [total]
        steps = [sums[0]] + [after - before for before, after in zip(sums, sums[1:])]
        answer = tokens[i, beam, 1:].tolist() + [eos]
        done[i].append(Hypothesis(answer, total / (step + 1), steps))


@dataclass(frozen=True)
class Trie:
    """A closed set of labels as the tree of their tokens.

    labels (Tuple[Tuple[int, ...], ...]): Tokens of each label, end mark left out.
    eos (int): The end mark, which every label ends with.
    """

    labels: tuple[tuple[int, ...], ...]
    eos: int

    def children(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that may follow these."""
        prefix = tuple(prefix)
        size = len(prefix)
        full = [label + (self.eos,) for label in self.labels]
        return sorted({label[size] for label in full if label[:size] == prefix and len(label) > size})

    def inner(self) -> list[tuple[int, ...]]:
        """Nodes below the root at which there is a choice, parents first; elsewhere the next token is certain and scores 0."""
        nodes = {label[:size] for label in self.labels for size in range(1, len(label) + 1)}
        wanted = {node for node in nodes if len(self.children(node)) > 1}
        needed = {node[:size] for node in wanted for size in range(1, len(node) + 1)}
        return sorted(needed, key=len)

    def choices(self) -> list[int]:
        """All tokens that are chosen from somewhere."""
        return sorted({token for node in [(), *self.inner()] for token in self.children(node)})

    def log_probabilities(self, at: dict[tuple[int, ...], torch.Tensor]) -> torch.Tensor:
        """Scores of the labels.

        at (Dict[Tuple[int, ...], Tensor]): B x choices logits of `choices()` after each node with a choice; () is the root.
        RETURNS (Tensor): B x labels log-probabilities; logits of other tokens than may follow take no part.
        """
        root = next(iter(at.values()))
        column = {token: i for i, token in enumerate(self.choices())}
        rows = []
        for label in self.labels:
            total = torch.zeros(root.shape[0], device=root.device)
            full = label + (self.eos,)
            for size in range(len(full)):
                allowed = self.children(full[:size])
                if len(allowed) > 1:
                    log_p = torch.log_softmax(at[full[:size]][:, [column[token] for token in allowed]].float(), dim=-1)
                    total = total + log_p[:, allowed.index(full[size])]
            rows.append(total)
        return torch.stack(rows, dim=1)


@torch.no_grad()
def score_labels(network: OFA, encoded: EncoderOutput, prompts: list[list[int]], trie: Trie) -> torch.Tensor:
    """Log-probability of every label as the answer.

    network (OFA): In evaluation mode.
    encoded (EncoderOutput): B encoded sources.
    prompts (List[List[int]]): What the decoder has read before the label, for each of the B; the source without its end mark.
    trie (Trie): The labels.
    RETURNS (Tensor): B x labels. The prompt is decoded once for all labels, and the branches of the trie with it, each seeing
        only the prompt and its own ancestors.
    """
    states, places = decode_trie(network, encoded, prompts, trie)
    # Only the states at choices are projected, and only to what is chosen from.
    rows = torch.arange(len(prompts), device=states.device)
    table = network.embed_tokens.weight[trie.choices()]
    at = {node: torch.nn.functional.linear(states[rows, place], table) for node, place in places.items()}
    return trie.log_probabilities(at)


def decode_trie(
    network: OFA, encoded: EncoderOutput, prompts: list[list[int]], trie: Trie
) -> tuple[torch.Tensor, dict[tuple[int, ...], torch.Tensor]]:
    """Decoder states of prompts and of the inner nodes of a trie after them.

    RETURNS (Tuple[Tensor, Dict[Tuple[int, ...], Tensor]]): B x T x D, and for the root and each inner node its B columns.
    """
    device = encoded.states.device
    nodes = trie.inner()
    sizes = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.full((len(prompts), longest + len(nodes)), network.config.pad, dtype=torch.long, device=device)
    for i, prompt in enumerate(prompts):
        tokens[i, : len(prompt)] = torch.tensor(prompt, device=device)
    places: dict[tuple[int, ...], torch.Tensor] = {(): sizes - 1}
    if not nodes:
        states, _ = network.decode(tokens, encoded)
        return states, places
    column = {node: longest + i for i, node in enumerate(nodes)}
    count = tokens.shape[1]
    positions = torch.arange(count, device=device).expand(len(prompts), -1).clone()
    visible = torch.arange(count, device=device)[:, None] >= torch.arange(count, device=device)[None]
    visible = visible.expand(len(prompts), -1, -1).clone()
    in_prompt = torch.arange(count, device=device)[None] < sizes[:, None]
    for node, i in column.items():
        tokens[:, i] = node[-1]
        positions[:, i] = sizes + len(node) - 1
        visible[:, i] = in_prompt
        for size in range(1, len(node) + 1):
            visible[:, i, column[node[:size]]] = True
        places[node] = torch.full_like(sizes, i)
    states, _ = network.decode(tokens, encoded, positions=positions, visible=visible)
    return states, places
