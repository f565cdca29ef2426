"""A second look at where the whole picture shows something small: the part around it, enlarged, through the same network.

A person who fills a hundredth of a photograph is some 30 pixels high in the network's input; enlarged, as high as those it learnt from.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...post.boxes import box_iou
from .network import Questions, SmallVision
from .pictures import to_input
from .predict import answers

# Side of the input for the part; its sides are those of the box and as much again, and at least so large a share of it and of the picture.
SIDE = 224
CONTEXT = 1.0
LEAST_OF_BOX, LEAST_OF_PICTURE = 0.5, 0.12
# A part that is nearly the whole picture shows nothing new.
MOST = 0.75
LEAST_PIXELS = 8
# Boxes that overlap by more than this mean the same thing.
SAME = 0.5
# What the second look's logit counts more: it saw more pixels.
CLOSER = 0.5


def part_around(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int] | None:
    """The part of a picture that shows a thing and what is around it.

    box (Sequence[float]): XYXY pixels.
    width (int), height (int): Of the picture.
    RETURNS (Optional[Tuple[int, int, int, int]]): XYXY pixels; None where it would be nearly the whole picture, or next to nothing.
    """
    wide, high = box[2] - box[0], box[3] - box[1]
    longer = LEAST_OF_BOX * max(wide, high)
    across = max(CONTEXT * max(wide, longer), LEAST_OF_PICTURE * width) / 2
    down = max(CONTEXT * max(high, longer), LEAST_OF_PICTURE * height) / 2
    x1, y1 = int(max(0, box[0] - across)), int(max(0, box[1] - down))
    x2, y2 = int(np.ceil(min(width, box[2] + across))), int(np.ceil(min(height, box[3] + down)))
    tiny = min(x2 - x1, y2 - y1) < LEAST_PIXELS
    return None if tiny or (x2 - x1) * (y2 - y1) > MOST * width * height else (x1, y1, x2, y2)


def look_again(
    network: SmallVision,
    image: np.ndarray,
    asked: Questions,
    boxes: np.ndarray,
    heat: Tensor,
    *,
    below: float,
    bf16: bool = False,
) -> tuple[np.ndarray, Tensor]:
    """Boxes corrected by a second look, where the first one is small.

    network (SmallVision): The network, in evaluation mode.
    image (np.ndarray): H x W x 3 uint8.
    asked (Questions): P phrases.
    boxes (np.ndarray): P x 4, what the first look found, XYXY pixels within the picture.
    heat (Tensor): P heat logits of the boxes.
    below (float): Boxes that cover a smaller share of the picture than this are looked at again; 0 for none.
    bf16 (bool): Run the image encoder in bfloat16.
    RETURNS (Tuple[np.ndarray, Tensor]): P x 4 boxes, P heat logits.
    """
    height, width = image.shape[:2]
    share = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (width * height)
    parts = {row: part_around(boxes[row], width, height) for row in np.flatnonzero(share < below).tolist()}
    views = {
        part: to_input(np.ascontiguousarray(image[part[1] : part[3], part[0] : part[2]]), SIDE) for part in parts.values() if part
    }
    if not views:
        return boxes, heat
    boxes, heat = boxes.copy(), heat.clone()
    waiting = list(views)
    for start in range(0, len(waiting), network.pictures_a_pass):
        group = waiting[start : start + network.pictures_a_pass]
        pixels = torch.from_numpy(np.stack([views[part][0] for part in group])).permute(0, 3, 1, 2)
        encoded = network.encode_images(pixels.to(heat.device), bf16=bf16)
        for place, part in enumerate(group):
            rows = [row for row, own in parts.items() if own == part]
            one = type(encoded)(*(values[place : place + 1] for values in encoded))
            _, found, again = answers(network, one, Questions(*(values[rows] for values in asked)))
            placed = views[part][1].to_picture(found.double().cpu().numpy()) + np.array([part[0], part[1]] * 2)
            for row, box, value in zip(rows, placed, again):
                boxes[row] = _agreed(boxes[row], box, heat[row], value + CLOSER)
                heat[row] = value
    return boxes, heat


def _agreed(first: np.ndarray, second: np.ndarray, before: Tensor, after: Tensor) -> np.ndarray:
    """Of two boxes that mean the same thing a mean, weighted as in `predict.answers`; else the one with the higher logit."""
    if box_iou(second, first)[0, 0] > SAME:
        shares = torch.stack([before, after]).sigmoid().square() + 1e-9
        return np.asarray(np.average([first, second], axis=0, weights=shares.cpu().numpy()))
    return second if bool(after > before) else first
