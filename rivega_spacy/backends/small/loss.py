"""The joint loss: heat maps, boxes, and "does the picture show it", for every phrase on every picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...post.expressions import Expression
from ..boxes import generalised_iou
from .image import STRIDE
from .network import SmallVision
from .pictures import PreparedView

# The middle part of a box whose locations answer for it (FCOS's centre sampling, as a share of the box).
CENTRE = 0.45
SHOWN_WEIGHT = 5.0
MAX_PLACES = 6000
# How much it counts that a backbone forgets what it knew.
DRIFT_WEIGHT = 1.0
# Bounds of how much a place counts.
SHARES = (0.4, 3.0)


@dataclass(frozen=True)
class Batch:
    """B pictures, P phrases, and which phrase asks which key on which picture.

    pixels (Union[Tensor, Sequence[Tensor]]): B x 3 x S x S uint8; or what a frozen backbone made of them, each B x C x h x w.
    size (int): S.
    expressions (List[Expression]): P phrases.
    column (np.ndarray): B x P int, the key that a phrase stands for on a picture; -1: never shown there;
        -2: not asked there.
    prepared (Sequence[PreparedView]): The pictures' targets.
    shown_weight (Optional[np.ndarray]): P, how much more a picture that shows the thing counts than one that
        does not.
    """

    pixels: Tensor | Sequence[Tensor]
    size: int
    expressions: list[Expression]
    column: np.ndarray
    prepared: Sequence[PreparedView]
    shown_weight: np.ndarray | None = None


def make_batch(
    prepared: Sequence[PreparedView],
    expressions: Sequence[Expression],
    column: np.ndarray,
    shown_weight: np.ndarray | None = None,
) -> Batch:
    """Stack prepared pictures of one size.

    prepared (Sequence[PreparedView]): B pictures.
    expressions (Sequence[Expression]): P phrases.
    column (np.ndarray): B x P (see Batch).
    shown_weight (Optional[np.ndarray]): P (see Batch).
    RETURNS (Batch): The batch.
    """
    size = prepared[0].pixels.shape[0]
    pixels: Tensor | Sequence[Tensor]
    if prepared[0].maps:
        pixels = [torch.from_numpy(np.stack(maps)) for maps in zip(*(p.maps for p in prepared))]
    else:
        pixels = torch.from_numpy(np.stack([p.pixels for p in prepared])).permute(0, 3, 1, 2)
    return Batch(pixels, size, list(expressions), column, prepared, shown_weight)


@dataclass(frozen=True)
class DenseTargets:
    """status B x P (1, 0, -1); weight B x P x L; places: picture, phrase, location and box of every positive, and how much it counts."""

    status: Tensor
    weight: Tensor
    picture: Tensor
    phrase: Tensor
    place: Tensor
    box: Tensor
    share: Tensor


def make_targets(batch: Batch) -> DenseTargets:
    """What every phrase should answer at every location.

    batch (Batch): The batch.
    RETURNS (DenseTargets): Its targets.
    """
    side = batch.size // STRIDE
    count, phrases = batch.column.shape
    status = np.full((count, phrases), -1, np.int8)
    weight = np.ones((count, phrases, side * side), np.float32)
    rows: list[tuple[np.ndarray, ...]] = []
    centre = (np.arange(side) + 0.5) * STRIDE
    for i, item in enumerate(batch.prepared):
        column = batch.column[i]
        status[i] = np.where(column >= 0, item.status[column.clip(0)] if len(item.status) else -1, -1)
        status[i][column == -1] = 0
        for key in np.unique(item.owner):
            mine = item.owner == key
            places, boxes, share, blocked = _places(item.boxes[mine], item.hard[mine], centre)
            asking = np.flatnonzero(column == key)
            if len(asking) == 0:
                continue
            weight[i][np.ix_(asking, blocked)] = 0.0
            if len(places):
                for one in asking:
                    rows.append((np.full(len(places), i), np.full(len(places), one), places, boxes, share))
        # What is shown, no one knows where, teaches nothing about places.
        located = np.isin(column, item.owner[~item.hard])
        weight[i][(status[i] < 0) | ((status[i] == 1) & ~located)] = 0.0
    picture = phrase = place = np.zeros(0, np.int64)
    box, share = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    if rows:
        picture, phrase, place = (np.concatenate([r[j] for r in rows]) for j in range(3))
        box, share = (np.concatenate([r[j] for r in rows]) for j in (3, 4))
        share = (share / share.mean()).clip(*SHARES)
        weight[picture, phrase, place] = share
    pictures, phrases_, places_ = (torch.from_numpy(np.asarray(a, np.int64)) for a in (picture, phrase, place))
    answers = torch.from_numpy(status), torch.from_numpy(weight)
    return DenseTargets(*answers, pictures, phrases_, places_, torch.from_numpy(box).float(), torch.from_numpy(share).float())


def _places(boxes: np.ndarray, hard: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    side = len(centre)
    best = np.full((side, side), np.inf)
    which = np.full((side, side), -1)
    blocked = np.zeros((side, side), bool)
    for n, (x0, y0, x1, y1) in enumerate(boxes):
        if hard[n]:
            blocked |= ((centre > y0) & (centre < y1))[:, None] & ((centre > x0) & (centre < x1))[None]
            continue
        dx = np.abs(centre - (x0 + x1) / 2) / max(x1 - x0, 1e-3) * 2
        dy = np.abs(centre - (y0 + y1) / 2) / max(y1 - y0, 1e-3) * 2
        far = np.maximum(dy[:, None], dx[None])
        inside = far < CENTRE
        if not inside.any():
            inside = far == far.min()
        take = inside & (far < best)
        best[take], which[take] = far[take], n
    places = np.flatnonzero(which.ravel() >= 0)
    own = which.ravel()[places]
    # A large thing has a hundred places, a small one has one: with all alike, the large ones alone would be learnt.
    share = np.bincount(own, minlength=len(boxes))[own] ** -0.5
    return places, boxes[own], share, np.flatnonzero(blocked.ravel())


def joint_loss(
    network: SmallVision, batch: Batch, *, phrases: Tensor | None = None, box_weight: float = 2.0, bf16: bool = False
) -> tuple[Tensor, dict[str, float]]:
    """Heat maps by quality focal loss (Li et al. 2020, eq. 2), boxes by GIoU, showing by cross-entropy.

    network (SmallVision): The network.
    batch (Batch): Pictures and phrases.
    phrases (Optional[Tensor]): Vectors of the batch's expressions, where they are at hand.
    box_weight (float): Weight of the box loss.
    bf16 (bool): Run the image encoder in bfloat16; on a GPU it always is.
    RETURNS (Tuple[Tensor, Dict[str, float]]): The loss; its parts, for the log.
    """
    device = network.heat_prior.device
    # Maps in place of pixels are for the network that makes such maps itself.
    pixels: Any = batch.pixels.to(device) if isinstance(batch.pixels, Tensor) else [part.to(device) for part in batch.pixels]
    encoded = network.encode_images(pixels, bf16=bf16 or device.type == "cuda")
    asked = network.encode_phrases(batch.expressions, phrases)
    targets = DenseTargets(*(value.to(device) for value in vars(make_targets(batch)).values()))
    with torch.no_grad():
        evidence = network.evidence(encoded, asked)
    heat = network.heat(encoded, asked, evidence)
    shown = network.shown(encoded, asked, heat, evidence)

    goal = torch.zeros_like(heat)
    box_loss = heat.new_zeros(())
    picture, phrase, place, box = targets.picture, targets.phrase, targets.place, targets.box
    if len(picture):
        chosen = torch.randperm(len(picture), device=device)[:MAX_PLACES]
        found = network.boxes(encoded, asked, picture[chosen], phrase[chosen], place[chosen])
        iou, giou = generalised_iou(found, box[chosen])
        box_loss = ((1 - giou) * targets.share[chosen]).sum() / targets.share[chosen].sum()
        # A location's score is to say how good its box is; early on it still has to say that it is one.
        goal[picture, phrase, place] = 0.5
        goal[picture[chosen], phrase[chosen], place[chosen]] = 0.3 + 0.7 * iou.detach()
    distance = (heat.sigmoid() - goal).square()
    pixel = distance * F.binary_cross_entropy_with_logits(heat, goal, reduction="none")
    heat_loss = (pixel * targets.weight).sum() / max(1.0, float(len(picture)))

    asked_of = targets.status >= 0
    truth = (targets.status == 1).float()
    weight = heat.new_full((len(batch.expressions),), SHOWN_WEIGHT)
    if batch.shown_weight is not None:
        weight = torch.from_numpy(batch.shown_weight).to(weight)
    balance = torch.where(truth > 0, weight[None], 1.0) * asked_of
    entropy = F.binary_cross_entropy_with_logits(shown, truth, reduction="none")
    show_loss = (entropy * balance).sum() / balance.sum().clamp_min(1.0)

    loss = heat_loss + box_weight * box_loss + show_loss
    parts = {"heat": heat_loss.item(), "box": box_loss.item(), "show": show_loss.item()}
    if network.drift is not None:
        loss, parts["drift"] = loss + DRIFT_WEIGHT * network.drift, network.drift.item()
        network.drift = None
    parts["loss"] = loss.item()
    return loss, parts
