"""`rivega.GroundingDINO.v1`: where is the entity, asked of Grounding DINO."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.boxes import clip_boxes
from ...post.expressions import Expression
from ..backend import BackendShim, backend_model, set_dropout
from ..boxes import corners
from ..common import Common
from ..detection import fitted_size, largest_boxes, one_box_loss
from ..hub import Kinds, Tools, hub_shim
from ..shim import shim_of
from ..weights import finite_or_raise

NAME = "Grounding DINO"
KINDS: Kinds = {"grounding-dino": ("transformers", "GroundingDinoConfig", "GroundingDinoForObjectDetection")}


class DinoSettings(NamedTuple):
    """How pictures and passes are sized."""

    shortest: int
    longest: int
    batch_size: int


def grounding_dino(
    *,
    path: str | None = None,
    shortest: int = 800,
    longest: int = 1333,
    max_tokens: int = 128,
    batch_size: int = 8,
    bf16: bool = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    backbone_rate: float = 0.1,
    half_on_disk: bool = True,
    save_weights: bool = True,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.GroundingDINO.v1`.

    path (Optional[str]): Folder or name on the model hub, for example "IDEA-Research/grounding-dino-tiny". A saved pipeline
        needs none.
    shortest (int), longest (int): Pictures are scaled to this shorter side, or to this longer one where that is smaller.
    max_tokens (int): Tokens of an expression that are read, at most the network's 256.
    batch_size (int): Expressions in one pass. The picture's encoder runs once a picture, what fuses text and picture
        once an expression.
    bf16 (bool): Compute in bfloat16.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[List[str]]): Beginnings of the names of parameters that are not trained, for example "model.backbone.".
    backbone_rate (float): Share of the learning rate that the two encoders, of pictures and of text, are trained with.
    half_on_disk (bool): Save in half precision.
    save_weights (bool): Save the weights with the component; without, they are read from `path` again, and components of one path share them.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): The likeliest box of every expression: n x 5, XYXY in pixels and its
        score, which `rivega.GroundingScore.v1` can use as entailment.
    """
    common = Common(
        path=path,
        bf16=bf16,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        half_on_disk=half_on_disk,
        save_weights=save_weights,
    )
    settings = DinoSettings(shortest, longest, batch_size)
    return dino_model(common, KINDS, settings, name=NAME, max_tokens=max_tokens, backbone_rate=backbone_rate)


def dino_model(
    common: Common, kinds: Kinds, settings: DinoSettings, *, name: str, max_tokens: int, backbone_rate: float, since: str = ""
) -> Model[list[ImageQueries], list[Floats2d]]:
    """A network built like Grounding DINO.

    common (Common), kinds (Kinds), name (str), max_tokens (int), since (str): See `hub_shim`.
    settings (DinoSettings), backbone_rate (float): See `grounding_dino`.
    """
    rate = partial(_rate, backbone=backbone_rate)
    shim = hub_shim(common, kinds, name=name, max_tokens=max_tokens, prepare=_prepare, lr_scale=rate, since=since)
    predict = partial(_predict, settings=settings)
    label = name.lower().replace(" ", "_")
    return backend_model(label, shim, predict, train_step=partial(_train_step, settings=settings))


def _rate(parameter: str, *, backbone: float) -> float:
    return backbone if parameter.startswith(("model.backbone.", "model.text_backbone.")) else 1.0


def prompt(text: str) -> str:
    """One phrase as the network wants it: lower case, closed by a full stop and without any inside, which would cut it in two."""
    text = " ".join(text.lower().replace(".", " ").replace("?", " ").split())
    return f"{text} ."


def encode_prompts(tools: Tools, expressions: Sequence[Expression]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Indices, mask, and which tokens name the thing (neither special nor the full stop), each n x t."""
    ids, mask = tools.tokens([prompt(expression.text()) for expression in expressions])
    stop = tools.tokens.index(".")
    last = mask.sum(1) - 1
    rows = torch.arange(len(ids))
    if stop is not None and ids.shape[1] > 2:
        # A phrase that was cut has lost its full stop, without which its words do not see each other.
        ids[rows, (last - 1).clamp(min=1)] = torch.where(last > 1, stop, ids[rows, (last - 1).clamp(min=1)])
    phrase = mask.bool().clone()
    phrase[:, 0] = False
    phrase[rows, last] = False
    if stop is not None:
        phrase &= ids != stop
    # An expression without any word is judged by all its tokens.
    return ids, mask, torch.where(phrase.any(1, keepdim=True), phrase, mask.bool())


class EncodedLevels(NamedTuple):
    """Pictures after the picture encoder: one (map, mask) and one map of positions for each level."""

    maps: list[tuple[torch.Tensor, torch.Tensor]]
    positions: list[torch.Tensor]
    pixels: torch.Tensor


def encode_pictures(network: Any, pixels: torch.Tensor) -> EncodedLevels:
    """pixels (Tensor): pictures x 3 x H x W. RETURNS (EncodedLevels): What any number of expressions can be asked about."""
    mask = torch.ones(pixels.shape[0], *pixels.shape[2:], dtype=torch.long, device=pixels.device)
    maps, positions = network.model.backbone(pixels, mask)
    return EncodedLevels(maps, positions, pixels)


@contextlib.contextmanager
def encoded_once(network: Any, encoded: EncodedLevels, owner: torch.Tensor) -> Iterator[torch.Tensor]:
    """Within it, the network's picture encoder answers with what is encoded already.

    owner (Tensor): The picture of each expression.
    YIELDS (Tensor): expressions x 3 x H x W to be given to the network, without memory of its own.
    """

    def answer(_: torch.Tensor, __: torch.Tensor) -> tuple[list[Any], list[torch.Tensor]]:
        maps = [(feature[owner], seen[owner]) for feature, seen in encoded.maps]
        return maps, [place[owner] for place in encoded.positions]

    backbone = network.model.backbone
    backbone.forward = answer
    try:
        yield encoded.pixels[:1].expand(len(owner), -1, -1, -1)
    finally:
        del backbone.forward


def _prepare(network: Any, common: Common) -> None:
    if common.gradient_checkpointing:
        for part in (network.model.backbone.conv_encoder.model, network.model.text_backbone):
            if getattr(part, "supports_gradient_checkpointing", False):
                part.gradient_checkpointing_enable({"use_reentrant": False})


def _pixels(tools: Tools, image: np.ndarray, settings: DinoSettings) -> torch.Tensor:
    size = fitted_size(*image.shape[:2], shortest=settings.shortest, longest=settings.longest)
    return torch.from_numpy(tools.pictures.resized(image, *size, resample=Image.Resampling.BILINEAR)[None])


def _predict(shim: BackendShim, batch: list[ImageQueries], *, settings: DinoSettings) -> list[np.ndarray]:
    found = [np.zeros((0, 5), dtype="float32") for _ in batch]
    tools = shim.tools
    for n, queries in enumerate(batch):
        # Results depend on the padding to a common size, so each picture has passes of its own.
        if not queries.expressions:
            continue
        rows = []
        with shim.inference(bf16=shim.common.bf16) as network:
            encoded = encode_pictures(network, _pixels(tools, queries.image, settings).to(shim.device))
            for start in range(0, len(queries.expressions), settings.batch_size):
                asked = queries.expressions[start : start + settings.batch_size]
                ids, mask, phrase = (x.to(shim.device) for x in encode_prompts(tools, asked))
                with encoded_once(network, encoded, torch.zeros(len(asked), dtype=torch.long, device=shim.device)) as pixels:
                    output = network(pixel_values=pixels, input_ids=ids, attention_mask=mask)
                rows.append(_best(output.logits, output.pred_boxes, phrase))
        values = finite_or_raise(np.concatenate(rows), name=shim.name)
        height, width = queries.image.shape[:2]
        boxes = clip_boxes(values[:, :4] * np.array([width, height, width, height]), height, width)
        found[n] = np.concatenate([boxes, values[:, 4:]], axis=1)
    return found


def _best(logits: torch.Tensor, boxes: torch.Tensor, phrase: torch.Tensor) -> np.ndarray:
    """The likeliest box of each expression: n x 5, corners as shares of the picture and the score."""
    logits = logits[..., : phrase.shape[1]].float().masked_fill(~phrase[:, None], float("-inf"))
    scores = logits.amax(dim=-1).sigmoid()
    row = torch.arange(len(scores), device=scores.device)
    best = scores.argmax(dim=1)
    return torch.cat([corners(boxes[row, best].float()), scores[row, best, None]], dim=1).cpu().numpy()


def _layers(network: Any, output: Any, mask: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Logits and boxes of the encoder's proposals and of the decoder's layers but the last, which learn as well."""
    if output.enc_outputs_class is not None:
        yield output.enc_outputs_class, output.enc_outputs_coord_logits.sigmoid()
    states, references = output.intermediate_hidden_states, output.intermediate_reference_points
    for n in range(states.shape[1] - 1):
        reference = output.init_reference_points if n == 0 else references[:, n - 1]
        logits = network.class_embed[n](
            vision_hidden_state=states[:, n],
            text_hidden_state=output.encoder_last_hidden_state_text,
            text_token_mask=mask.bool(),
        )
        yield logits, (network.bbox_embed[n](states[:, n]) + torch.special.logit(reference, eps=1e-5)).sigmoid()


def _train_step(
    model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float, settings: DinoSettings
) -> dict[str, float]:
    """Set loss of proposals and every decoder layer against the largest gold box; see `rivega_spacy.pipes.contract`.

    Pictures go through one by one, so that the gradient is the one of prediction (no padding).
    """
    shim = shim_of(model, BackendShim)
    network: Any = shim.ready()
    network.train()
    set_dropout(network, dropout)
    found = largest_boxes(batch, targets)
    count = sum(len(asked) for _, asked, _ in found)
    losses: dict[str, float] = {"loss": 0.0}
    for queries, asked, gold in found:
        ids, mask, phrase = (x.to(shim.device) for x in encode_prompts(shim.tools, asked))
        wanted = torch.from_numpy(gold).to(shim.device)
        with shim.autocast(shim.common.bf16):
            encoded = encode_pictures(network, _pixels(shim.tools, queries.image, settings).to(shim.device))
            with encoded_once(network, encoded, torch.zeros(len(asked), dtype=torch.long, device=shim.device)) as pixels:
                output = network(pixel_values=pixels, input_ids=ids, attention_mask=mask)
            answers = [*_layers(network, output, mask), (output.logits, output.pred_boxes)]
        total = torch.zeros((), device=shim.device)
        for logits, boxes in answers:
            loss, parts = one_box_loss(logits[..., : phrase.shape[1]], phrase, boxes, wanted)
            total = total + loss
        share = len(asked) / count
        (total * share).backward()
        losses["loss"] += float(total.detach()) * share
        for name, value in parts.items():
            losses[name] = losses.get(name, 0.0) + value * share
    return losses
