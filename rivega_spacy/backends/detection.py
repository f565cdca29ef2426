"""What detectors with a set of query boxes share: pictures by size, the loss against one gold box."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..pipes.queries import ImageQueries, QueryTarget
from ..post.boxes import box_area
from ..post.expressions import Expression
from .boxes import corners, generalised_iou


def fitted_size(height: int, width: int, *, shortest: int, longest: int, least: int = 32) -> tuple[int, int]:
    """Scale the shorter side to `shortest`, or the longer one to `longest` where that is smaller, keeping the ratio (DETR's rule).

    least (int): No side becomes shorter than this, which a network with strides needs of a picture like a thread.
    RETURNS (Tuple[int, int]): Height and width.
    """
    low, high = min(height, width), max(height, width)
    if high / low * shortest > longest:
        share = longest * low / high
        other = int(share) if int(round(share)) == 0 else int(share * high / low)
        low, high = int(round(share)), other or longest
    else:
        low, high = shortest, int(shortest * high / low)
    size = (high, low) if height > width else (low, high)
    return max(least, size[0]), max(least, size[1])


def largest_boxes(
    batch: Sequence[ImageQueries], targets: Sequence[Sequence[QueryTarget]]
) -> list[tuple[ImageQueries, list[Expression], np.ndarray]]:
    """What there is to learn: pictures, their expressions that have a box, and the largest box of each.

    RETURNS (List[Tuple[ImageQueries, List[Expression], ndarray]]): Boxes are n x 4 cx, cy, w, h as shares of the picture's sides.
    """
    found = []
    for queries, row in zip(batch, targets):
        asked = [(expression, target.boxes) for expression, target in zip(queries.expressions, row) if len(target.boxes)]
        if asked:
            height, width = queries.image.shape[:2]
            boxes = np.stack([np.asarray(max(np.asarray(boxes), key=box_area), dtype="float32") for _, boxes in asked])
            boxes = boxes / np.array([width, height, width, height], dtype="float32")
            centred = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
            found.append((queries, [expression for expression, _ in asked], centred))
    return found


def one_box_loss(
    logits: torch.Tensor, phrase: torch.Tensor, boxes: torch.Tensor, gold: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """DETR's set loss where every expression has one gold box, so that matching is a minimum and needs no assignment.

    logits (Tensor): n x queries x tokens. phrase (Tensor): n x tokens bool, the tokens that name the thing.
    boxes (Tensor): n x queries x 4. gold (Tensor): n x 4. Both cx, cy, w, h as shares of the picture.
    RETURNS (Tuple[Tensor, Dict[str, float]]): The loss and its parts. Weights: focal 2, L1 5, GIoU 2; costs of matching 1,
        5, 2 (Grounding DINO, section 4.1).
    """
    logits, boxes, gold = logits.float(), boxes.float(), gold.float()
    named = phrase[:, None, :].expand_as(logits)
    # Padding tokens have logits of minus infinity, of which no gradient may come.
    logits = logits.masked_fill(~named, -20.0)
    with torch.no_grad():
        shares = logits.sigmoid()
        wanted = 0.25 * (1 - shares) ** 2 * -F.logsigmoid(logits) - 0.75 * shares**2 * -F.logsigmoid(-logits)
        cost = (wanted * named).sum(-1) / named.sum(-1).clamp(min=1)
        cost = cost + 5 * (boxes - gold[:, None]).abs().sum(-1)
        cost = cost - 2 * generalised_iou(corners(boxes), corners(gold)[:, None])[1]
        best = cost.argmin(dim=1)
    rows = torch.arange(len(gold), device=gold.device)
    positive = torch.zeros_like(logits)
    positive[rows, best] = phrase.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    share = logits.sigmoid()
    right = share * positive + (1 - share) * (1 - positive)
    focal = (0.25 * positive + 0.75 * (1 - positive)) * (1 - right) ** 2 * entropy
    classes = (focal * named).sum() / len(gold)
    chosen = boxes[rows, best]
    distance = (chosen - gold).abs().sum(-1).mean()
    overlap = (1 - generalised_iou(corners(chosen), corners(gold))[1]).mean()
    loss = 2 * classes + 5 * distance + 2 * overlap
    parts = {"class": float(classes.detach()), "l1": float(distance.detach()), "giou": float(overlap.detach())}
    return loss, parts
