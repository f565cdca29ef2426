"""Grounder architectures of our own: where is it?"""

from collections.abc import Sequence
from typing import Any

from thinc.api import Model
from thinc.types import Floats2d

from ...pipes.queries import ImageQueries
from ...post.errors import Errors, RivegaError
from .lite import LAST_STAGES
from .model import Running, read_boxes, small_model
from .pictures import SEEN_SIZE, SIZE
from .weights import LITE


def build_small_grounder(
    size: int = SIZE,
    width: int = 128,
    box_width: int = 96,
    word_width: int = 64,
    image_widths: Sequence[int] = (32, 64, 128, 256),
    image_depths: Sequence[int] = (2, 2, 4, 3),
    image_width: int = 96,
    bf16: bool = False,
    second_look: float = 0.0,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.SmallGrounder.v1`: the compact network's boxes.

    size (int): Side of the square input, pixels, a multiple of 32.
    width (int), box_width (int), word_width (int), image_width (int): Widths; see SmallVision.
    image_widths (Sequence[int]), image_depths (Sequence[int]): Channels and blocks of the four stages.
    bf16 (bool): Run the image encoder in bfloat16, in training and at run time: twice as fast on processors with instructions for it.
        Where `rivega_entailment` says otherwise, pictures are encoded once for each of the two.
    second_look (float): As in `rivega.SmallGrounder.v2`.
    RETURNS (Model): n x 5 for each picture: XYXY pixels and a score 0..1.
    RAISES (RivegaError): E920 for a share that is none.
    """
    _check_share(second_look)
    config: dict[str, Any] = {
        "size": size,
        "width": width,
        "box_width": box_width,
        "word_width": word_width,
        "image_widths": list(image_widths),
        "image_depths": list(image_depths),
        "image_width": image_width,
    }
    return small_model("small_grounder", read_boxes, config, running=Running(bf16, second_look))


def build_seen_grounder(
    size: int = SEEN_SIZE,
    width: int = 128,
    box_width: int = 96,
    word_width: int = 96,
    middle: int = 160,
    image_width: int = 96,
    depth: int = 2,
    backbone: str = LITE,
    bf16: bool = False,
    second_look: float = 0.0,
    trained_stages: int = 0,
) -> Model[list[ImageQueries], list[Floats2d]]:
    """`rivega.SmallGrounder.v2`: the boxes of the compact network on a backbone that has seen ImageNet.

    size (int): Side of the square input, pixels, a multiple of 32.
    width (int), box_width (int), word_width (int), middle (int), image_width (int), depth (int): Sizes; see SeenVision.
    backbone (str): "efficientnet_lite0", the only one so far.
    bf16 (bool): Run the image encoder in bfloat16, in training and at run time.
        Where the other of the two components says otherwise, pictures are encoded once for each.
    second_look (float): Where a box covers a smaller share of the picture than this, the part around it is looked at again, enlarged:
        small things are found better, for 60 % of the time of a picture each. 0 for never.
    trained_stages (int): How many of the backbone's last stages, 0 to 4, training changes too, at 0.15 of the learning rate. The stages up
        to stride 8 and the classifier of the thousand classes stay as published. Has no effect on answers.
    RETURNS (Model): n x 5 for each picture: XYXY pixels and a score 0..1.
    RAISES (RivegaError): E353 for another backbone, E920 for a share that is none, E921 for another number of stages.
    """
    _check_share(second_look)
    if trained_stages not in range(LAST_STAGES + 1):
        raise RivegaError(Errors.E921.format(stages=trained_stages, most=LAST_STAGES))
    if backbone != LITE:
        raise RivegaError(Errors.E353.format(backbone=backbone, known=LITE))
    config: dict[str, Any] = {
        "size": size,
        "width": width,
        "box_width": box_width,
        "word_width": word_width,
        "middle": middle,
        "image_width": image_width,
        "depth": depth,
        "backbone": backbone,
    }
    return small_model("seen_grounder", read_boxes, config, running=Running(bf16, second_look, trained_stages))


def _check_share(second_look: float) -> None:
    if not 0 <= second_look <= 1:
        raise RivegaError(Errors.E920.format(share=second_look))
