"""`rivega.Florence2.v1`: where is the entity, asked of Florence-2.

Xiao et al., "Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks", CVPR 2024. It writes its answer: phrases of what it
was given, each followed by boxes of four location tokens. Taken is the network of the transformers library; no code of the hub is run.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ...post.expressions import Expression
from ...post.versions import features
from ..backend import BackendShim, answers, backend_model
from ..common import Common
from ..hub import Kinds, Tokens, hub_shim

NAME = "Florence-2"
KINDS: Kinds = {"florence2": ("transformers", "Florence2Config", "Florence2ForConditionalGeneration")}
SINCE = "4.56"
# What is asked, in the words of its training: of a caption's phrases, or of one thing.
TASKS = {"phrases": "Locate the phrases in the caption: {}", "detection": "Locate {} in the image."}
# Location tokens <loc_0> to <loc_999>: shares of the picture's width and height.
BINS = 1000


class FlorenceSettings(NamedTuple):
    """How pictures and answers are sized."""

    side: int
    beams: int
    longest: int
    task: str
    batch_size: int


def florence2_grounder(
    *,
    path: str | None = None,
    task: str = "phrases",
    side: int = 768,
    beams: int = 3,
    longest_answer: int = 128,
    max_tokens: int = 128,
    batch_size: int = 8,
    bf16: bool = False,
    half_on_disk: bool = True,
    save_weights: bool = True,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.Florence2.v1`. It needs transformers 4.56 or newer, and weights in that library's own format.

    path (Optional[str]): Folder or name on the model hub, for example "florence-community/Florence-2-base" or
        "florence-community/Florence-2-large-ft". A saved pipeline needs none.
    task (str): "phrases": the expression is a caption, and its first phrase that is found counts; "detection": it is one thing.
    side (int): Pictures are scaled to a square of so many pixels; 768 is that of the published networks.
    beams (int): Beams of the search, 3 in its authors' examples.
    longest_answer (int): Tokens of an answer at most.
    max_tokens (int): Tokens of a question that are read.
    batch_size (int): Expressions in one pass, across pictures. A picture is encoded once.
    bf16 (bool): Compute in bfloat16.
    half_on_disk (bool): Save in half precision.
    save_weights (bool): Save the weights with the component; without, they are read from `path` again, and components of one path share them.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): n x 5, XYXY in pixels and a score: the geometric mean of the probabilities of the
        box's four tokens. Where the answer has no box, a row of NaN with score 0. It cannot be trained here.
    RAISES (RivegaError): E738 for another task. SetupError E900 when the network is first needed and transformers is too old.
    """
    if task not in TASKS:
        raise RivegaError(Errors.E738.format(option="task", allowed=" or ".join(map(repr, TASKS)), value=task))
    common = Common(path=path, bf16=bf16, half_on_disk=half_on_disk, save_weights=save_weights)
    shim = hub_shim(common, KINDS, name=NAME, max_tokens=max_tokens, prepare=_prepare, since=SINCE)
    settings = FlorenceSettings(side, beams, longest_answer, task, batch_size)
    return backend_model("florence2", shim, partial(_predict, settings=settings))


def question(expression: Expression, task: str) -> str:
    """The expression in the words of a task (see TASKS), without signs that stand for tokens of the network's own."""
    return TASKS[task].format(expression.text().replace("<", " ").replace(">", " "))


def first_box(answer: Sequence[int], first: int, special: frozenset[int], silent: frozenset[int] = frozenset()) -> list[int]:
    """Where an answer's first box stands: four location tokens behind a word.

    answer (Sequence[int]): Indices of tokens. first (int): That of <loc_0>. special (FrozenSet[int]): Those that are no words.
    silent (FrozenSet[int]): Those that are read past: beginning, end and padding.
    RETURNS (List[int]): Positions of the box's tokens; none if there is no box.
    """
    places = [place for place, token in enumerate(answer) if token not in silent]
    located = [first <= answer[place] < first + BINS for place in places]
    for n in range(1, len(places) - 3):
        if all(located[n : n + 4]) and not located[n - 1] and answer[places[n - 1]] not in special:
            return places[n : n + 4]
    return []


def _prepare(network: Any, common: Common) -> None:
    # An answer's search follows what is asked for here alone, not what a folder's generation_config.json adds.
    network.generation_config = type(network.generation_config)(**_ids(network))


def _ids(network: Any) -> dict[str, Any]:
    config = network.config.text_config
    return {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")}


def _predict(shim: BackendShim, batch: list[ImageQueries], *, settings: FlorenceSettings) -> list[np.ndarray]:
    tools = shim.tools
    found = answers(
        shim,
        batch,
        nothing=np.zeros((0, 5), dtype="float32"),
        wording=partial(question, task=settings.task),
        tokens=tools.tokens,
        look=partial(_look, shim=shim, side=settings.side),
        read=partial(_read, tokens=tools.tokens, settings=settings),
        batch_size=settings.batch_size,
        bf16=shim.common.bf16,
    )
    for n, queries in enumerate(batch):
        height, width = queries.image.shape[:2]
        # Nothing makes it write the smaller coordinate first.
        ordered = np.sort(found[n][:, :4].reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        boxes = clip_boxes(ordered * np.array([width, height] * 2), height, width)
        found[n] = np.concatenate([boxes, found[n][:, 4:]], axis=1)
        found[n][found[n][:, 4] <= 0, :4] = np.nan
    return found


def _look(network: Any, images: list[np.ndarray], *, shim: BackendShim, side: int) -> torch.Tensor:
    """pictures x places x width, as the encoder of texts reads them."""
    pixels = np.stack([shim.tools.pictures.resized(image, side, side, Image.Resampling.BICUBIC) for image in images])
    seen: torch.Tensor = features(network.get_image_features(torch.from_numpy(pixels).to(shim.device)))
    return seen


def _read(
    network: Any,
    seen: torch.Tensor,
    owner: torch.Tensor,
    ids: torch.Tensor,
    mask: torch.Tensor,
    *,
    tokens: Tokens,
    settings: FlorenceSettings,
) -> torch.Tensor:
    """The box of each expression: n x 5, corners as shares of the picture and a score, all zero if there is none."""
    from transformers.modeling_outputs import BaseModelOutput

    words = network.get_input_embeddings()(ids)
    # The picture's places come first, so that padding is behind the words.
    inputs = torch.cat([seen[owner].to(words.dtype), words], dim=1)
    attended = torch.cat([mask.new_ones(len(ids), seen.shape[1]), mask], dim=1)
    states = network.model.language_model.encoder(inputs_embeds=inputs, attention_mask=attended).last_hidden_state
    written = network.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=attended,
        num_beams=settings.beams,
        do_sample=False,
        max_new_tokens=settings.longest,
        no_repeat_ngram_size=3,
        forced_bos_token_id=network.config.text_config.bos_token_id,
        early_stopping=settings.beams > 1,
    )
    # Once more, for the probabilities of what was written: a beam's scores are of sums.
    logits = network(
        encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=attended, decoder_input_ids=written[:, :-1]
    ).logits
    chances = logits.float().log_softmax(-1).gather(2, written[:, 1:, None])[..., 0]
    first = tokens.index("<loc_0>")
    silent = frozenset(_ids(network).values())
    rows = chances.new_zeros(len(ids), 5)
    for row, answer in enumerate(written.tolist()):
        places = [] if first is None else first_box(answer, first, tokens.special, silent)
        # What is no number has no box either: the caller says so.
        rows[row, 4] = 0.0 if torch.isfinite(chances[row]).all() else float("nan")
        if places and first is not None:
            bins = torch.tensor([answer[place] for place in places], device=rows.device) - first
            rows[row, :4] = (bins + 0.5) / BINS
            rows[row, 4] = chances[row, [place - 1 for place in places]].mean().exp()
    return rows


__all__ = ["florence2_grounder"]
