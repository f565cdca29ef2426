"""`rivega.HFSam2.v1`: SAM 2 and EdgeTAM, prompted with boxes, through transformers.

Ravi et al., "SAM 2: Segment Anything in Images and Videos", ICLR 2025; Zhou et al., "EdgeTAM: On-Device Track Anything Model", CVPR 2025.
Both track through videos; here each picture stands alone, and their memory takes no part.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ...pipes.queries import ScoredMasks
from ...post.boxes import clip_boxes
from ...post.versions import hub_class
from ..sam.hf_segmenter import MEAN, STD, HFSamSegmenter, load_prompted

# `model_type` -> (class of transformers, the version that brought it). Published files are of the networks for videos; those for pictures
# are a part of them.
KINDS = {
    "sam2": ("Sam2Model", "4.56"),
    "sam2_video": ("Sam2Model", "4.56"),
    "edgetam": ("EdgeTamModel", "4.57"),
    "edgetam_video": ("EdgeTamModel", "4.57"),
}


def make_hf_sam2(
    name: str,
    device: str | None = None,
    multimask: bool = False,
    box_batch: int = 16,
    local_files_only: bool = False,
) -> "HFSam2Segmenter":
    """SAM 2 or EdgeTAM in transformers' format. SAM 2 needs transformers 4.56, EdgeTAM 4.57 and the package timm.

    name (str): A folder, or a name on the model hub: "facebook/sam2.1-hiera-tiny", "yonigozlan/EdgeTAM-hf" and so on.
    device (Optional[str]): "cuda", "cpu" and so on; by default the GPU where PyTorch has one.
    multimask (bool): Let the network propose three masks a box and take the one it rates best.
    box_batch (int): Boxes decoded at once; their masks are held at the picture's full size.
    local_files_only (bool): Never ask the hub, not even with RIVEGA_HUB=1 (`post/hub.py`).
    RETURNS (HFSam2Segmenter): Called with pictures and boxes. The weights are read at the first call.
    """
    load = partial(load_hf_sam2, name, local_files_only=local_files_only)
    return HFSam2Segmenter(load, device=device, multimask=multimask, box_batch=box_batch)


def load_hf_sam2(name: str, *, local_files_only: bool = False) -> torch.nn.Module:
    """Read the network, by the kind that its config states.

    name (str), local_files_only (bool): See `make_hf_sam2`.
    RETURNS (Module): Sam2Model or EdgeTamModel in evaluation mode.
    RAISES (RivegaError): E900 if transformers is too old for it, otherwise as `load_hf_sam`.
    """
    # Asked first: a transformers that does not know the kind cannot read its config either.
    hub_class(*KINDS["sam2"])
    return load_prompted(name, _classes, local_files_only=local_files_only)


def _classes(found: str) -> dict[str, Any]:
    return {kind: hub_class(*KINDS[kind]) if kind == found else None for kind in KINDS}


class HFSam2Segmenter(HFSamSegmenter):
    """transformers' SAM 2 or EdgeTAM as a segmenter (see PromptedSegmenter)."""

    @torch.inference_mode()
    def _segment(self, image: np.ndarray, boxes: np.ndarray) -> ScoredMasks:
        network: Any = self.network
        side = int(network.prompt_encoder.input_image_size)
        height, width = image.shape[:2]
        pixels = preprocess(image, side).to(next(network.parameters()).device)
        encoded = network.get_image_embeddings(pixels)
        corners = clip_boxes(boxes, height, width) * np.array([side / width, side / height] * 2)

        def to_picture(logits: torch.Tensor) -> torch.Tensor:
            return F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=False)

        boxes_seen = torch.as_tensor(corners, dtype=torch.float32, device=pixels.device)
        return self._masks(boxes_seen, {"image_embeddings": encoded}, to_picture)


def preprocess(image: np.ndarray, side: int) -> torch.Tensor:
    """A picture as SAM 2 expects it: stretched to a square, colours normalised.

    image (ndarray): HxWx3 uint8. side (int): Side of the square.
    RETURNS (Tensor): 1x3xSxS float32.
    """
    small = np.array(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR), dtype="float32") / 255.0
    small = (small - np.array(MEAN, dtype="float32")) / np.array(STD, dtype="float32")
    return torch.from_numpy(small).permute(2, 0, 1)[None]


__all__ = ["HFSam2Segmenter", "load_hf_sam2", "make_hf_sam2", "preprocess"]
