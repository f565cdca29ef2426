"""A second look at where the whole picture shows something small: the part around it, enlarged, through the same network.

A person who fills a hundredth of a photograph is some 30 pixels high in the network's input; enlarged, as high as those it learnt from.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...post.boxes import box_iou
from .network import Questions, SmallVision
from .pictures import Fit, to_input
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
    RETURNS (Optional[Tuple[int, int, int, int]]): XYXY pixels; None if it would be nearly the whole picture, or next to nothing.
    """
    wide, high = box[2] - box[0], box[3] - box[1]
    longer = LEAST_OF_BOX * max(wide, high)
    across = max(CONTEXT * max(wide, longer), LEAST_OF_PICTURE * width) / 2
    down = max(CONTEXT * max(high, longer), LEAST_OF_PICTURE * height) / 2
    x1, y1 = int(max(0, box[0] - across)), int(max(0, box[1] - down))
    x2, y2 = int(np.ceil(min(width, box[2] + across))), int(np.ceil(min(height, box[3] + down)))
    tiny = min(x2 - x1, y2 - y1) < LEAST_PIXELS
    return None if tiny or (x2 - x1) * (y2 - y1) > MOST * width * height else (x1, y1, x2, y2)


class Look(NamedTuple):
    """What the first look at a picture found.

    image (np.ndarray): H x W x 3 uint8.
    asked (Questions): P phrases.
    boxes (np.ndarray): P x 4 XYXY pixels within the picture.
    heat (Tensor): P heat logits of the boxes.
    """

    image: np.ndarray
    asked: Questions
    boxes: np.ndarray
    heat: Tensor


def look_again(network: SmallVision, looks: Sequence[Look], *, below: float, bf16: bool = False) -> list[tuple[np.ndarray, Tensor]]:
    """Boxes corrected by a second look, where the first one is small; the parts of all pictures go through the network together.

    network (SmallVision): The network, in evaluation mode.
    looks (Sequence[Look]): What the first look found, a picture each.
    below (float): Boxes that cover a smaller share of their picture than this are looked at again; 0 for none.
    bf16 (bool): Run the image encoder in bfloat16.
    RETURNS (List[Tuple[np.ndarray, Tensor]]): Of each picture P x 4 boxes and P heat logits.
    """
    waiting = [view for number, look in enumerate(looks) for view in _views(number, look, below)]
    if not waiting:
        return [(look.boxes, look.heat) for look in looks]
    found, heats = [], []
    together = network.pictures_a_pass(bf16=bf16)
    for start in range(0, len(waiting), together):
        group = waiting[start : start + together]
        pixels = torch.from_numpy(np.stack([view.pixels for view in group])).permute(0, 3, 1, 2)
        encoded = network.encode_images(pixels.to(group[0].asked.bias.device), bf16=bf16)
        for place, view in enumerate(group):
            one = type(encoded)(*(values[place : place + 1] for values in encoded))
            _, corrected, again = answers(network, one, view.asked)
            found.append(corrected.double())
            heats.append(again.double())
    # Numbers leave the device once, not once a part: each time a GPU would be waited for.
    ends = np.cumsum([len(view.rows) for view in waiting])[:-1]
    second = zip(np.split(torch.cat(found).cpu().numpy(), ends), np.split(torch.cat(heats).cpu().numpy(), ends))
    first = np.split(
        torch.cat([look.heat.double() for look in looks]).cpu().numpy(), np.cumsum([len(look.heat) for look in looks])[:-1]
    )
    boxes = [look.boxes.copy() for look in looks]
    for view, (closer, logits) in zip(waiting, second):
        placed = view.fit.to_picture(closer) + np.array([view.part[0], view.part[1]] * 2)
        own, before = boxes[view.picture], first[view.picture]
        for row, box, logit in zip(view.rows, placed, logits):
            own[row] = _agreed(own[row], box, before[row], logit + CLOSER)
            before[row] = logit
    return [(own, look.heat.new_tensor(after)) for own, look, after in zip(boxes, looks, first)]


class _View(NamedTuple):
    picture: int
    part: tuple[int, int, int, int]
    rows: list[int]
    asked: Questions
    pixels: np.ndarray
    fit: Fit


def _views(number: int, look: Look, below: float) -> Iterator[_View]:
    height, width = look.image.shape[:2]
    share = (look.boxes[:, 2] - look.boxes[:, 0]) * (look.boxes[:, 3] - look.boxes[:, 1]) / (width * height)
    parts: dict[tuple[int, int, int, int], list[int]] = {}
    for row in np.flatnonzero(share < below).tolist():
        part = part_around(look.boxes[row], width, height)
        if part:
            parts.setdefault(part, []).append(row)
    for part, rows in parts.items():
        pixels, placed = to_input(np.ascontiguousarray(look.image[part[1] : part[3], part[0] : part[2]]), SIDE)
        yield _View(number, part, rows, Questions(*(values[rows] for values in look.asked)), pixels, placed)


def _agreed(first: np.ndarray, second: np.ndarray, before: float, after: float) -> np.ndarray:
    """Of two boxes that mean the same thing a mean, weighted as in `predict.answers`; else the one with the higher logit."""
    if box_iou(second, first)[0, 0] > SAME:
        shares = (1 / (1 + np.exp(-np.array([before, after])))) ** 2 + 1e-9
        return np.asarray(np.average([first, second], axis=0, weights=shares))
    return second if after > before else first
