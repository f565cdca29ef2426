"""Boxes as tensors: what losses and networks need of them with gradients. Of answers and gold data see `post/boxes.py`."""

import torch


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """cx, cy, w, h to x1, y1, x2, y2. boxes (Tensor): ... x 4."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """Area; 0 for an empty or inverted box. boxes (Tensor): ... x 4 XYXY. RETURNS (Tensor): ..."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def box_iou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersection over union of boxes in pairs.

    a, b (Tensor): ... x 4 XYXY, broadcast.
    RETURNS (Tuple[Tensor, Tensor]): The IoU (0 if both boxes are empty) and the area of the union, ... each.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inner = (high - low).clamp(min=0).prod(-1)
    union = box_area(a) + box_area(b) - inner
    return inner / union.clamp(min=1e-9), union


def generalised_iou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalised IoU of boxes in pairs (Rezatofighi et al. 2019, Algorithm 1).

    a, b (Tensor): ... x 4 XYXY, broadcast.
    RETURNS (Tuple[Tensor, Tensor]): ... IoU, ... GIoU.
    """
    iou, union = box_iou(a, b)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return iou, iou - (hull - union) / hull.clamp(min=1e-9)
