"""One step of fine-tuning OFA: questions with the tokens of their answers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from thinc.api import Model

from ...pipes.queries import ImageQueries, QueryTarget
from ..shim import shim_of
from ..weights import finite_or_raise
from .decoding import Trie
from .loss import smoothed_cross_entropy
from .network import OFA, Patches
from .pictures import to_pixels
from .serving import ANSWER_ROOM, OFAShim, pad_rows
from .tokens import OFATokenizer


class TargetRow(NamedTuple):
    """A question and what the decoder should answer.

    source (List[int]): Token ids of the question.
    prompt (List[int]): What the decoder reads before it answers.
    answer (List[int]): Token ids, the end mark included.
    """

    source: list[int]
    prompt: list[int]
    answer: list[int]


# (tokenizer, network, picture and expressions, number of the expression, its target, longest source) -> row, or None if the
# target says nothing.
MakeRow = Callable[[OFATokenizer, OFA, ImageQueries, int, QueryTarget, int], TargetRow | None]


class OFATrainer:
    """See `rivega_spacy.pipes.contract.TrainStep`.

    name (str): Of the loss.
    make_row (MakeRow): From a target to the answer.
    trie (Optional[Callable]): From the tokenizer to the set of answers, where it is closed.
    smoothing (float): Label smoothing: 0 for entailment, 0.1 for grounding, as published.
    drop_path (float): Share of layers left out in the deepest one; 0.2 as published.
    image_size (int): Side of the picture that the network sees.
    """

    def __init__(
        self,
        *,
        name: str,
        make_row: MakeRow,
        trie: Callable[[OFATokenizer], Trie] | None,
        smoothing: float,
        drop_path: float,
        image_size: int,
    ) -> None:
        self.name = name
        self.make_row = make_row
        self.trie = trie
        self.smoothing = smoothing
        self.drop_path = drop_path
        self.image_size = image_size

    def __call__(
        self, model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float
    ) -> dict[str, float]:
        """Forward and backward; a picture is encoded once for all its expressions."""
        shim = shim_of(model, OFAShim)
        tokenizer, config = shim.tools, shim.ready().config
        owners: list[int] = []
        rows: list[TargetRow] = []
        pixels: list[torch.Tensor] = []
        for queries, wanted in zip(batch, targets):
            made = [
                self.make_row(tokenizer, shim.ready(), queries, place, target, config.positions - ANSWER_ROOM)
                for place, target in enumerate(wanted)
            ]
            kept = [row for row in made if row is not None]
            if kept:
                owners += [len(pixels)] * len(kept)
                rows += kept
                pixels.append(to_pixels(queries.image, self.image_size))
        if not rows:
            return {self.name: 0.0}
        network = shim.training_network(dropout=dropout, drop_path=self.drop_path)
        device = shim.device
        with shim.autocast(shim.common.bf16):
            pictures = network.encoder.pictures(torch.stack(pixels).to(device))
            states = pictures.states[torch.tensor(owners, device=device)]
            picture = Patches(states, pictures.height, pictures.width)
            encoded = network.encode(pad_rows([row.source for row in rows], config.pad).to(device), picture)
            previous, target, allowed = answer_tensors(rows, config.pad, self._trie(tokenizer), config.vocab_size)
            decoded, _ = network.decode(previous.to(device), encoded)
            counts = target.ne(config.pad)
            # Only what counts is projected to the vocabulary.
            logits = network.logits(decoded[counts.to(device)])
        loss, nll = smoothed_cross_entropy(
            logits,
            target[counts].to(device),
            smoothing=self.smoothing,
            allowed=None if allowed is None else allowed[counts].to(device),
        )
        finite_or_raise(loss.detach().cpu().numpy(), name="OFA")
        loss.backward()
        count = int(counts.sum())
        shim.count_tokens(count)
        return {"loss": float(loss.detach()) / count, "nll": float(nll) / count}

    def _trie(self, tokenizer: OFATokenizer) -> Trie | None:
        return None if self.trie is None else self.trie(tokenizer)


def answer_tensors(
    rows: Sequence[TargetRow], pad: int, trie: Trie | None, vocab_size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Decoder inputs, targets and what is allowed.

    RETURNS (Tuple[Tensor, Tensor, Optional[Tensor]]): B x T int64 prompt and answer but for its last token; B x T int64 answers,
        padding where nothing counts; B x T x V bool what the trie allows, all of it where nothing counts.
    """
    previous = pad_rows([row.prompt + row.answer[:-1] for row in rows], pad)
    target = pad_rows([[pad] * (len(row.prompt) - 1) + row.answer for row in rows], pad)
    if trie is None:
        return previous, target, None
    allowed = torch.ones(*target.shape, vocab_size, dtype=torch.bool)
    for i, row in enumerate(rows):
        for j in range(len(row.answer)):
            children = torch.tensor(trie.children(row.answer[:j]))
            place = len(row.prompt) - 1 + j
            allowed[i, place] = False
            allowed[i, place, children] = True
    return previous, target, allowed
