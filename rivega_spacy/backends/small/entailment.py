"""Entailment architectures of our own: does the picture show it?"""

from collections.abc import Sequence
from typing import Any

from thinc.api import Model
from thinc.types import Floats1d

from ...pipes.queries import ImageQueries
from ...post.errors import Errors, RivegaError
from .model import Running, read_shown, small_model
from .pictures import SEEN_SIZE, SIZE
from .weights import LITE


def build_small_entailment(
    size: int = SIZE,
    width: int = 128,
    box_width: int = 96,
    word_width: int = 64,
    image_widths: Sequence[int] = (32, 64, 128, 256),
    image_depths: Sequence[int] = (2, 2, 4, 3),
    image_width: int = 96,
    bf16: bool = False,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.SmallEntailment.v1`: the compact network's judgement.

    size (int): Side of the square input, pixels, a multiple of 32.
    width (int), box_width (int), word_width (int), image_width (int): Widths; see SmallVision.
    image_widths (Sequence[int]), image_depths (Sequence[int]): Channels and blocks of the four stages.
    bf16 (bool): Run the image encoder in bfloat16, in training and at run time: twice as fast on processors with instructions for it.
        Where `rivega_grounder` says otherwise, pictures are encoded once for each of the two.
    RETURNS (Model): One probability for each expression.
    """
    config: dict[str, Any] = {
        "size": size,
        "width": width,
        "box_width": box_width,
        "word_width": word_width,
        "image_widths": list(image_widths),
        "image_depths": list(image_depths),
        "image_width": image_width,
    }
    return small_model("small_entailment", read_shown, config, running=Running(bf16))


def build_seen_entailment(
    size: int = SEEN_SIZE,
    width: int = 128,
    box_width: int = 96,
    word_width: int = 96,
    middle: int = 160,
    image_width: int = 96,
    depth: int = 2,
    backbone: str = LITE,
    bf16: bool = False,
) -> Model[list[ImageQueries], list[Floats1d]]:
    """`rivega.SmallEntailment.v2`: the judgement of the compact network on a backbone that has seen ImageNet.

    size (int): Side of the square input, pixels, a multiple of 32.
    width (int), box_width (int), word_width (int), middle (int), image_width (int), depth (int): Sizes; see SeenVision.
    backbone (str): "efficientnet_lite0", the only one so far.
    bf16 (bool): Run the image encoder in bfloat16, in training and at run time.
        Where the other of the two components says otherwise, pictures are encoded once for each.
    RETURNS (Model): One probability for each expression.
    RAISES (RivegaError): E353 for another backbone.
    """
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
    return small_model("seen_entailment", read_shown, config, running=Running(bf16))
