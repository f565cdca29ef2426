"""What both forms of Segment Anything share: a network made at the first call, and pictures segmented one by one."""

from collections.abc import Callable

import numpy as np
import torch

from ...pipes.queries import BoxedPicture, ScoredMasks
from ...post.failures import setting_up


class PromptedSegmenter:
    """Boxes to masks: each picture is encoded once, its boxes are decoded together.

    load (Callable[[], Module]): Makes the network, at the first call.
    device (Optional[str]): Where it runs; None takes the GPU if there is one.
    multimask (bool): Choose among three masks a box.
    box_batch (int): Boxes decoded at once.
    """

    def __init__(
        self, load: Callable[[], torch.nn.Module], *, device: str | None = None, multimask: bool = False, box_batch: int = 16
    ) -> None:
        self.load = load
        self.device = device
        self.multimask = multimask
        self.box_batch = max(1, box_batch)

    def __call__(self, prompts: list[BoxedPicture]) -> list[ScoredMasks]:
        """Masks of all boxes of all pictures.

        prompts (List[BoxedPicture]): Pictures HxWx3 uint8 with boxes n x 4, XYXY pixels.
        RETURNS (List[ScoredMasks]): For each box its mask, HxW bool, and the IoU that SAM expects of it, cut to 0..1.
        """
        return [self._segment(image, boxes) if len(boxes) else [] for image, boxes in prompts]

    def _load_on_device(self) -> torch.nn.Module:
        with setting_up(type(self).__name__):
            return self.load().to(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _segment(self, image: np.ndarray, boxes: np.ndarray) -> ScoredMasks:
        raise NotImplementedError
