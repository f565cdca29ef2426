"""`rivega.OWLv2.v1`: where is the entity, asked of OWLv2."""

from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from thinc.api import Model
from thinc.types import Floats2d
from torch import nn

from ...pipes.queries import ImageQueries, QueryTarget
from ...post.boxes import clip_boxes
from ...post.expressions import Expression
from ..backend import BackendShim, answers, backend_model, flat_texts, set_dropout
from ..boxes import corners
from ..common import Common
from ..compiling import Compiled, compile_parts
from ..detection import largest_boxes, one_box_loss
from ..hub import Kinds, Tools, hub_shim
from ..shim import shim_of

NAME = "OWLv2"
KINDS: Kinds = {"owlv2": ("transformers", "Owlv2Config", "Owlv2ForObjectDetection")}
# What pictures are padded with to a square, as a share of white: black, as in the authors' code. Grey (0.5) was OWL-ViT's, which
# transformers long took for OWLv2 too; it costs 0.6 points of mAP on LVIS (transformers, pull request 41938).
PADDING = 0.0


def owlv2_grounder(
    *,
    path: str | None = None,
    max_tokens: int = 16,
    batch_size: int = 32,
    bf16: bool = False,
    compiled: Compiled = False,
    gradient_checkpointing: bool = False,
    freeze: list[str] | None = None,
    half_on_disk: bool = True,
    save_weights: bool = True,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.OWLv2.v1`.

    path (Optional[str]): Folder or name on the model hub, for example "google/owlv2-base-patch16-ensemble". A saved pipeline
        needs none.
    max_tokens (int): Tokens of an expression that are read; the network was trained with 16 and has no more positions.
    batch_size (int): Expressions in one pass. A picture is encoded once, each further expression costs one small text.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile: true, false, or the name of one of its backends.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[List[str]]): Beginnings of the names of parameters that are not trained, for example "owlv2.".
    half_on_disk (bool): Save in half precision.
    save_weights (bool): Save the weights with the component; without, they are read from `path` again, and components of one path share them.
    RETURNS (Model[List[ImageQueries], List[Floats2d]]): The likeliest box of every expression: n x 5, XYXY in pixels and its
        score, which `rivega.GroundingScore.v1` can use as entailment.
    """
    common = Common(
        path=path,
        bf16=bf16,
        compiled=compiled,
        gradient_checkpointing=gradient_checkpointing,
        freeze=freeze,
        half_on_disk=half_on_disk,
        save_weights=save_weights,
    )
    shim = hub_shim(common, KINDS, name=NAME, max_tokens=max_tokens, prepare=_prepare)
    predict = partial(_predict, batch_size=batch_size)
    return backend_model("owlv2", shim, predict, train_step=_train_step)


def preprocess(tools: Tools, image: np.ndarray, size: int) -> np.ndarray:
    """The picture in the upper left corner of a black square.

    The published preparation pads first and filters with a Gaussian; scaling the picture itself differs by a few grey levels.

    image (ndarray): HxWx3 uint8 RGB. size (int): Side of the square in pixels.
    RETURNS (ndarray): 3 x size x size float32, normalised.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    square = np.empty((3, size, size), dtype="float32")
    square[:] = ((PADDING - tools.pictures.mean) / tools.pictures.std)[:, None, None]
    square[:, : inner[0], : inner[1]] = tools.pictures.resized(image, *inner, resample=Image.Resampling.BILINEAR)
    return square


def _prepare(network: Any, common: Common) -> None:
    # Image-level similarity and the guess of objectness take no part.
    for part in (network.owlv2.visual_projection, network.objectness_head):
        part.requires_grad_(False)
    network.owlv2.logit_scale.requires_grad_(False)
    if common.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    owlv2 = network.owlv2
    compile_parts([*owlv2.vision_model.encoder.layers, *owlv2.text_model.encoder.layers], common.compiled)


def look(network: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every place of every picture, whatever will be asked about it.

    pixels (Tensor): pictures x 3 x S x S.
    RETURNS (Tuple[Tensor, Tensor]): features pictures x places x width; boxes pictures x places x 4, cx, cy, w, h as shares of
        the square.
    """
    features, _ = network.image_embedder(pixels)
    flat = features.flatten(1, 2)
    return flat, network.box_predictor(flat, features)


def match(network: Any, features: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """How well each place fits the expression asked about its picture.

    features (Tensor): n x places x width, one row for each expression. ids (Tensor), mask (Tensor): n x t.
    RETURNS (Tensor): Logits, n x places x 1.
    """
    state = network.owlv2.text_model(input_ids=ids, attention_mask=mask)[1]
    named = nn.functional.normalize(network.owlv2.text_projection(state), dim=-1)
    return network.class_predictor(features, named[:, None])[0]


def _predict(shim: BackendShim, batch: list[ImageQueries], *, batch_size: int) -> list[np.ndarray]:
    found = answers(
        shim,
        batch,
        nothing=np.zeros((0, 5), dtype="float32"),
        wording=Expression.text,
        tokens=shim.tools.tokens,
        look=partial(_look, shim=shim),
        read=_read,
        batch_size=batch_size,
        bf16=shim.common.bf16,
    )
    for n, queries in enumerate(batch):
        height, width = queries.image.shape[:2]
        boxes = clip_boxes(found[n][:, :4] * max(height, width), height, width)
        found[n] = np.concatenate([boxes, found[n][:, 4:]], axis=1)
    return found


def _look(network: Any, images: list[np.ndarray], *, shim: BackendShim) -> tuple[torch.Tensor, torch.Tensor]:
    size = network.config.vision_config.image_size
    pixels = np.stack([preprocess(shim.tools, image, size) for image in images])
    return look(network, torch.from_numpy(pixels).to(shim.device))


def _read(
    network: Any, seen: tuple[torch.Tensor, torch.Tensor], owner: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The likeliest place of each expression: n x 5, corners as shares of the square and the score."""
    features, boxes = seen
    scores, best = match(network, features[owner], ids, mask)[..., 0].float().sigmoid().max(dim=1)
    return torch.cat([corners(boxes[owner, best].float()), scores[:, None]], dim=1)


def _train_step(model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]], *, dropout: float) -> dict[str, float]:
    """Set loss against the largest gold box; see `rivega_spacy.pipes.contract`."""
    shim = shim_of(model, BackendShim)
    network: Any = shim.ready()
    found = largest_boxes(batch, targets)
    if not found:
        return {"loss": 0.0}
    texts, owner = flat_texts([asked for _, asked, _ in found], Expression.text)
    ids, mask = shim.tools.tokens(texts)
    gold = []
    for queries, _, shown in found:
        height, width = queries.image.shape[:2]
        # From shares of the picture to shares of the square.
        gold.append(shown * np.array([width, height, width, height], dtype="float32") / max(height, width))
    network.train()
    set_dropout(network, dropout)
    owner = owner.to(shim.device)
    with shim.autocast(shim.common.bf16):
        features, boxes = _look(network, [queries.image for queries, _, _ in found], shim=shim)
        logits = match(network, features[owner], ids.to(shim.device), mask.to(shim.device))
    phrase = torch.ones(len(owner), 1, dtype=torch.bool, device=shim.device)
    wanted = torch.from_numpy(np.concatenate(gold)).to(shim.device)
    loss, parts = one_box_loss(logits, phrase, boxes[owner], wanted)
    loss.backward()
    return {"loss": float(loss.detach()), **parts}
