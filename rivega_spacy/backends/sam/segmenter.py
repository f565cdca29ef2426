"""rivega.SAM.v1: Segment Anything through Meta's package, from its published checkpoints.

Kirillov et al., "Segment Anything", ICCV 2023. RiVEG prompts the ViT-H model with the boxes that grounding found (section
IV-C 2).
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pipes.queries import ScoredMasks
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ..weights import load_state, read_checkpoint, tensors_only
from .prompted import PromptedSegmenter
from .torchvision_bridge import import_segment_anything

WHAT = "a SAM checkpoint"
# Blocks of the image encoder by which the published sizes are told apart.
_DEPTHS = {12: "vit_b", 24: "vit_l", 32: "vit_h"}


def make_sam(
    checkpoint: str,
    model_type: str = "vit_h",
    device: str | None = None,
    multimask: bool = False,
    box_batch: int = 16,
) -> "SamSegmenter":
    """Segment Anything from a checkpoint file of its authors.

    checkpoint (str): For example sam_vit_h_4b8939.pth. Read with `weights_only`, so that it cannot run code.
    model_type (str): vit_h, vit_l or vit_b.
    device (Optional[str]): "cuda", "cpu" and so on; by default the GPU where PyTorch has one.
    multimask (bool): Let SAM propose three masks a box and take the one it rates best.
    box_batch (int): Boxes decoded at once; their masks are held at the picture's full size.
    RETURNS (SamSegmenter): Called with pictures and boxes. The weights are read at the first call.
    RAISES (RivegaError): E322 if the file is missing.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise RivegaError(Errors.E322.format(path=path))
    load = partial(load_sam, path, model_type)
    return SamSegmenter(load, device=device, multimask=multimask, box_batch=box_batch)


def load_sam(path: Path, model_type: str) -> torch.nn.Module:
    """Build SAM and put the checkpoint's weights into it.

    path (Path): The checkpoint.
    model_type (str): A key of segment-anything's registry.
    RETURNS (Module): SAM, on the CPU, in evaluation mode.
    RAISES (RivegaError): E323 for an unknown type, E730 or E737 for a file of another kind, E325 for the weights of another size, E022
        for missing or surplus weights.
    """
    registry = import_segment_anything().sam_model_registry
    if model_type not in registry:
        raise RivegaError(Errors.E323.format(model_type=model_type, known=", ".join(sorted(registry))))
    state = tensors_only(read_checkpoint(path, what=WHAT), path=path, what=WHAT)
    found = checkpoint_type(state)
    if found and model_type in _DEPTHS.values() and found != model_type:
        raise RivegaError(Errors.E325.format(path=path, found=found, model_type=model_type))
    sam = registry[model_type](checkpoint=None)
    load_state(sam, state, name=f"SAM {model_type} ({path})")
    return sam.eval()


def checkpoint_type(state: dict[str, torch.Tensor]) -> str | None:
    """Which of the published sizes the weights are of, None if that cannot be told."""
    blocks = {int(m.group(1)) for m in (re.match(r"image_encoder\.blocks\.(\d+)\.", key) for key in state) if m}
    return _DEPTHS.get(max(blocks) + 1) if blocks else None


class SamSegmenter(PromptedSegmenter):
    """segment-anything's predictor as a segmenter (see PromptedSegmenter)."""

    def __init__(
        self, load: Callable[[], torch.nn.Module], *, device: str | None = None, multimask: bool = False, box_batch: int = 16
    ) -> None:
        super().__init__(load, device=device, multimask=multimask, box_batch=box_batch)
        self._predictor: Any = None

    @property
    def predictor(self) -> Any:
        """segment-anything's own predictor around the network."""
        if self._predictor is None:
            self._predictor = import_segment_anything().SamPredictor(self._load_on_device())
        return self._predictor

    @torch.inference_mode()
    def _segment(self, image: np.ndarray, boxes: np.ndarray) -> ScoredMasks:
        predictor = self.predictor
        height, width = image.shape[:2]
        predictor.set_image(image)
        corners = torch.as_tensor(clip_boxes(boxes, height, width), dtype=torch.float32, device=predictor.device)
        prompts = predictor.transform.apply_boxes_torch(corners, (height, width))
        results: ScoredMasks = []
        for part in prompts.split(self.box_batch):
            masks, scores, _ = predictor.predict_torch(
                point_coords=None, point_labels=None, boxes=part, multimask_output=self.multimask
            )
            best = scores.argmax(dim=1)
            rows = torch.arange(len(best), device=best.device)
            chosen, rated = masks[rows, best].cpu().numpy(), scores[rows, best].clamp(0, 1).tolist()
            results.extend(zip(chosen, rated))
        # The embedding of a picture is of no use for the next one, and holds memory.
        predictor.reset_image()
        return results
