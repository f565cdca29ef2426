"""`rivega.OFAEntailment.v1`: does the picture show the entity, asked of OFA as visual entailment."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from thinc.api import Model
from thinc.types import Floats1d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.errors import Errors, RivegaError
from ...post.expressions import Expression
from ..backend import backend_model
from ..common import Common
from ..compiling import Compiled
from ..weights import finite_or_raise
from .decoding import Trie, score_labels
from .network import OFA, EncoderOutput
from .serving import OFAShim, answer, ofa_shim, published_expression
from .tokens import OFATokenizer, clean_text, entailment_prompt, fit_source
from .training import OFATrainer, TargetRow

NAME = "OFA (entailment)"
# In the order of the published data (`ans2label_dict`).
LABELS = ("no", "yes", "maybe")
SHOWN, NOT_SHOWN = "yes", "no"


def ofa_entailment(
    *,
    path: str | None = None,
    vocab: str | None = None,
    network: dict[str, Any] | None = None,
    ema: bool = False,
    image_size: int = 480,
    use_caption: bool = True,
    labels: Sequence[str] = LABELS,
    shown: Sequence[str] = ("yes", "maybe"),
    batch_size: int = 16,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: Sequence[str] = (),
    label_smoothing: float = 0.0,
    drop_path: float = 0.2,
    averaging: float = 0.0,
    half_on_disk: bool = True,
    seed: int = 0,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.OFAEntailment.v1`.

    path (Optional[str]): Published weights: fairseq's file (`ofa_large.pt`, `snli_ve_large_best.pt`), a Hugging-Face-style or
        ModelScope folder, or what `rivega convert-checkpoint` wrote. A saved pipeline holds its own.
    vocab (Optional[str]): Folder with dict.txt, encoder.json and vocab.bpe, or vocab.json and merges.txt; None looks beside `path`.
    network (Optional[Dict[str, Any]]): Sizes (`OFAConfig`) of a network to train from scratch, if there is no `path`.
    ema (bool): Take the moving average of the weights that fairseq keeps beside them (`extra_state`), where it was told to.
    image_size (int): Side of the square pictures in pixels; with the grounder's (512) both share a picture's encoding.
    use_caption (bool): Ask whether picture and expression imply the caption, if there is one (the paper's prompt).
    labels (Sequence[str]): The answers among which OFA chooses.
    shown (Sequence[str]): Which of them mean that the picture shows the entity. The paper takes only "no" as a denial.
    batch_size (int): Expressions in one pass, across posts.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile: true, false, or the name of one of its backends.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Sequence[str]): Beginnings of the names of parameters that are not trained, for example "encoder.embed_images".
    label_smoothing (float), drop_path (float): In training; the defaults are the published ones.
    averaging (float): Decay of a moving average of the weights, used where `[training.optimizer] use_averages = true`.
    half_on_disk (bool): Save in half precision, as the published files are.
    seed (int): Of random weights (`network`).
    RETURNS (Model[List[ImageQueries], List[Floats1d]]): For every expression the probability of the likeliest answer in `shown`
        against the likeliest of the others: at least 0.5 exactly where OFA's choice among all labels is in `shown`.
    """
    labels, shown = tuple(labels), tuple(shown)
    wrong = set(shown) - set(labels)
    if wrong or set(shown) == set(labels) or not shown or SHOWN not in labels or NOT_SHOWN not in labels:
        raise RivegaError(Errors.E725.format(labels=", ".join(labels), shown=", ".join(shown)))
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
    to_trie = partial(_trie, labels=labels)
    predict = partial(_predict, labels=labels, shown=shown, use_caption=use_caption, image_size=image_size, batch_size=batch_size)
    trainer = OFATrainer(
        name="entailment",
        make_row=partial(_row, use_caption=use_caption),
        trie=to_trie,
        smoothing=label_smoothing,
        drop_path=drop_path,
        image_size=image_size,
    )
    return backend_model("ofa_entailment", shim, predict, train_step=trainer)


def label_tokens(tokenizer: OFATokenizer, label: str) -> list[int]:
    """Labels are words within a text: with the space before them."""
    return tokenizer.encode(f" {label}")


def _trie(tokenizer: OFATokenizer, *, labels: Sequence[str]) -> Trie:
    return Trie(tuple(tuple(label_tokens(tokenizer, label)) for label in labels), tokenizer.eos)


def _source(tokenizer: OFATokenizer, expression: Expression, caption: str, limit: int, *, use_caption: bool) -> list[int]:
    texts = [published_expression(expression)]
    caption = clean_text(caption) if use_caption else ""
    return fit_source(tokenizer, entailment_prompt, texts + [caption] if caption else texts, limit)


def _predict(
    shim: OFAShim,
    batch: list[ImageQueries],
    *,
    labels: Sequence[str],
    shown: Sequence[str],
    use_caption: bool,
    image_size: int,
    batch_size: int,
) -> list[np.ndarray]:
    found = [np.zeros(len(queries.expressions), dtype="float32") for queries in batch]

    def run(network: OFA, encoded: EncoderOutput, sources: list[list[int]]) -> list[float]:
        # The decoder has read the question, its end mark left out, when it answers (`prev_output`).
        prompts = [source[:-1] for source in sources]
        scores = score_labels(network, encoded, prompts, _trie(shim.tools, labels=labels))
        return shown_probability(scores, labels, shown).tolist()

    to_source = partial(_source, use_caption=use_caption)
    for owner, place, score in answer(shim, batch, to_source, run, image_size=image_size, batch_size=batch_size):
        found[owner][place] = score
    for scores in found:
        finite_or_raise(scores, name=NAME)
    return found


def shown_probability(scores: torch.Tensor, labels: Sequence[str], shown: Sequence[str]) -> torch.Tensor:
    """B x labels log-probabilities -> B probabilities of the best label in `shown` against the best of the others."""
    yes = [i for i, label in enumerate(labels) if label in shown]
    no = [i for i, label in enumerate(labels) if label not in shown]
    scores = scores.float()
    return torch.sigmoid(scores[:, yes].amax(1) - scores[:, no].amax(1))


def _row(
    tokenizer: OFATokenizer, network: OFA, queries: ImageQueries, place: int, target: QueryTarget, limit: int, *, use_caption: bool
) -> TargetRow | None:
    if target.groundable is None:
        return None
    source = _source(tokenizer, queries.expressions[place], queries.caption, limit, use_caption=use_caption)
    answer_ = label_tokens(tokenizer, SHOWN if target.groundable else NOT_SHOWN)
    return TargetRow(source, source[:-1], answer_ + [tokenizer.eos])
