"""From heat maps to one answer a phrase: probability of being shown, box, score of the box."""

import torch
from torch import Tensor

from .network import EncodedPictures, Questions, SmallVision

CANDIDATES = 24
AGREE = 0.6


def answers(network: SmallVision, encoded: EncodedPictures, asked: Questions) -> tuple[Tensor, Tensor, Tensor]:
    """Answer P phrases about one picture each.

    network (SmallVision): The network, in evaluation mode.
    encoded (EncodedPictures): One picture (B = 1).
    asked (Questions): P phrases.
    RETURNS (Tuple[Tensor, Tensor, Tensor]): P logits of being shown; P x 4 boxes, XYXY input pixels; P heat
        logits of the boxes.
    """
    evidence = network.evidence(encoded, asked)
    heat = network.heat(encoded, asked, evidence)
    shown = network.shown(encoded, asked, heat, evidence)[0]
    heat = heat[0]
    phrases, count = heat.shape[0], min(CANDIDATES, heat.shape[1])
    values, places = heat.topk(count, dim=1)
    rows = torch.arange(phrases, device=heat.device)[:, None].expand(-1, count).reshape(-1)
    boxes = network.boxes(encoded, asked, torch.zeros_like(rows), rows, places.reshape(-1)).view(phrases, count, 4)
    # The neighbours that mean the same object correct the best one's sides: a mean weighted by score.
    overlap = _overlap(boxes[:, :1], boxes)
    weight = values.sigmoid().square() * (overlap > AGREE)
    weight[:, 0] = weight[:, 0].clamp_min(1e-6)
    voted = (boxes * weight[..., None]).sum(dim=1) / weight.sum(dim=1, keepdim=True)
    return shown, voted, values[:, 0]


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - inner
    return inner / union.clamp_min(1e-6)
