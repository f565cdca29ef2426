"""`rivega.OFAGrounder.v1`: where is the entity, asked of OFA as visual grounding with location tokens."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.boxes import box_area, clip_boxes
from ...post.expressions import Expression
from ..backend import backend_model
from ..common import Common
from ..compiling import Compiled
from ..weights import finite_or_raise
from .decoding import BeamOptions, Hypothesis, beam_search
from .network import OFA, EncoderOutput
from .pictures import bins_to_box, box_to_bins
from .serving import OFAShim, answer, ofa_shim, published_expression
from .tokens import OFATokenizer, fit_source, grounding_prompt
from .training import OFATrainer, TargetRow

NAME = "OFA (grounding)"


def ofa_grounder(
    *,
    path: str | None = None,
    vocab: str | None = None,
    network: dict[str, Any] | None = None,
    ema: bool = False,
    image_size: int = 512,
    beam: int = 5,
    no_repeat_ngram: int = 3,
    bins_only: bool = True,
    batch_size: int = 16,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: Sequence[str] = (),
    label_smoothing: float = 0.1,
    drop_path: float = 0.2,
    averaging: float = 0.0,
    half_on_disk: bool = True,
    seed: int = 0,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.OFAGrounder.v1`.

    path (Optional[str]): Published weights: fairseq's file (`ofa_large.pt`, `refcoco_large_best.pt`), a Hugging-Face-style or
        ModelScope folder, or what `rivega convert-checkpoint` wrote. A saved pipeline holds its own.
    vocab (Optional[str]): Folder with dict.txt, encoder.json and vocab.bpe, or vocab.json and merges.txt; None looks beside `path`.
    network (Optional[Dict[str, Any]]): Sizes (`OFAConfig`) of a network to train from scratch, if there is no `path`.
    ema (bool): Take the moving average of the weights that fairseq keeps beside them (`extra_state`), where it was told to.
    image_size (int): Side of the square pictures in pixels.
    beam (int): Hypotheses kept in decoding.
    no_repeat_ngram (int): No n tokens in a row twice, as in the published evaluation; 0 allows it.
    bins_only (bool): Only location tokens may be answered. False searches the whole vocabulary as the published code does; an
        answer that is then no box is taken for the whole picture with score 0.
    batch_size (int): Expressions in one pass, across posts.
    bf16 (bool), compiled (Compiled), gradient_checkpointing (bool), freeze (Sequence[str]), label_smoothing (float),
        drop_path (float), averaging (float), half_on_disk (bool), seed (int): See `rivega.OFAEntailment.v1`.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): One box for every expression: n x 5, XYXY in pixels of the picture, within
        it and ordered, and a score: the geometric mean of the probabilities of its tokens.
    """
    common = Common(
        path=path,
        bf16=bf16,
        compiled=compiled,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        averaging=averaging,
        half_on_disk=half_on_disk,
    )
    shim = ofa_shim(common, name=NAME, vocab=vocab, network=network, ema=ema, seed=seed)
    predict = partial(
        _predict,
        beam=beam,
        no_repeat_ngram=no_repeat_ngram,
        bins_only=bins_only,
        image_size=image_size,
        batch_size=batch_size,
    )
    trainer = OFATrainer(
        name="grounding",
        make_row=partial(_row, image_size=image_size),
        trie=None,
        smoothing=label_smoothing,
        drop_path=drop_path,
        image_size=image_size,
    )
    return backend_model("ofa_grounder", shim, predict, train_step=trainer)


def _source(tokenizer: OFATokenizer, expression: Expression, caption: str, limit: int) -> list[int]:
    return fit_source(tokenizer, grounding_prompt, [published_expression(expression)], limit)


def _predict(
    shim: OFAShim,
    batch: list[ImageQueries],
    *,
    beam: int,
    no_repeat_ngram: int,
    bins_only: bool,
    image_size: int,
    batch_size: int,
) -> list[np.ndarray]:
    found = [np.zeros((len(queries.expressions), 5), dtype="float32") for queries in batch]
    config = shim.ready().config
    options = BeamOptions(
        beam=beam,
        no_repeat_ngram=no_repeat_ngram,
        allowed=(config.bin_0, config.bin_0 + config.bins) if bins_only else None,
        bins_only=bins_only,
    )

    def run(network: OFA, encoded: EncoderOutput, sources: list[list[int]]) -> list[Hypothesis | None]:
        return [answers[0] if answers else None for answers in beam_search(network, encoded, options)]

    for owner, place, best in answer(shim, batch, _source, run, image_size=image_size, batch_size=batch_size):
        height, width = batch[owner].image.shape[:2]
        found[owner][place] = _box(best, config.bin_0, config.bins, (height, width), image_size)
    for rows in found:
        finite_or_raise(rows, name=NAME)
    return found


def _box(best: Hypothesis | None, bin_0: int, bins: int, size: "tuple[int, int]", image_size: int) -> np.ndarray:
    height, width = size
    if best is None or not math.isfinite(best.score):
        # No answer at all has a probability: the weights are damaged, which the caller says.
        return np.full(5, np.nan, dtype="float32")
    numbers = [token - bin_0 for token in best.tokens[:4]]
    if len(numbers) < 4 or min(numbers) < 0 or max(numbers) >= bins:
        return np.array([0, 0, width, height, 0], dtype="float32")
    box = bins_to_box(numbers, (height, width), size=image_size, scale=image_size, bins=bins)
    return np.append(clip_boxes(box, height, width)[0], math.exp(best.score)).astype("float32")


def _row(
    tokenizer: OFATokenizer, network: OFA, queries: ImageQueries, place: int, target: QueryTarget, limit: int, *, image_size: int
) -> TargetRow | None:
    """Only the largest gold box is learned (paper, section IV-C 2)."""
    if target.groundable is False or not len(target.boxes):
        return None
    largest = max(np.asarray(target.boxes, dtype="float64").tolist(), key=box_area)
    config = network.config
    numbers = box_to_bins(largest, queries.image.shape[:2], size=image_size, scale=image_size, bins=config.bins)
    source = _source(tokenizer, queries.expressions[place], "", limit)
    return TargetRow(source, [config.bos], [config.bin_0 + number for number in numbers] + [config.eos])
