"""rivega.HFSam.v1: Segment Anything and SAM-HQ through transformers.

Kirillov et al., "Segment Anything", ICCV 2023; Ke et al., "Segment Anything in High Quality", NeurIPS 2023.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ...pipes.queries import ScoredMasks
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ...post.hub import local_only
from .prompted import PromptedSegmenter

# Mean and standard deviation of the colours SAM was trained on (0..1).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def make_hf_sam(
    name: str,
    device: str | None = None,
    multimask: bool = False,
    box_batch: int = 16,
    local_files_only: bool = False,
) -> "HFSamSegmenter":
    """SAM or SAM-HQ in transformers' format.

    name (str): A folder, or a name on the model hub: "facebook/sam-vit-huge", "syscv-community/sam-hq-vit-huge" and so on.
    device (Optional[str]): "cuda", "cpu" and so on; by default the GPU where PyTorch has one.
    multimask (bool): Let SAM propose three masks a box and take the one it rates best.
    box_batch (int): Boxes decoded at once; their masks are held at the picture's full size.
    local_files_only (bool): Never ask the hub, not even with RIVEGA_HUB=1 (`post/hub.py`).
    RETURNS (HFSamSegmenter): Called with pictures and boxes. The weights are read at the first call.
    """
    load = partial(load_hf_sam, name, local_files_only=local_files_only)
    return HFSamSegmenter(load, device=device, multimask=multimask, box_batch=box_batch)


def load_hf_sam(name: str, *, local_files_only: bool = False) -> torch.nn.Module:
    """Read the network, by the kind that its config states.

    name (str): A folder or a name on the hub.
    local_files_only (bool): Never ask the hub, not even with RIVEGA_HUB=1 (`post/hub.py`).
    RETURNS (Module): SamModel or SamHQModel in evaluation mode.
    RAISES (RivegaError): E326 if it cannot be read, E327 if it is another kind of model, E022 if weights are missing.
    """
    from transformers import SamModel

    return load_prompted(name, lambda kind: {"sam": SamModel, **_high_quality()}, local_files_only=local_files_only)


def load_prompted(name: str, kinds: Callable[[str], dict[str, Any]], *, local_files_only: bool = False) -> torch.nn.Module:
    """Read a network of transformers that is prompted with boxes; see `load_hf_sam`.

    kinds (Callable): (the `model_type` of its config) -> classes by `model_type`, those among which it must be.
    """
    from transformers import PretrainedConfig

    local = local_only() or local_files_only
    try:
        found, _ = PretrainedConfig.get_config_dict(name, local_files_only=local)
        kind = found.get("model_type", "")
        if not kind:
            # What transformers 5 says of a folder without config.json, too.
            raise ValueError("there is no config.json that names a model_type")
        known = kinds(kind)
        if kind not in known:
            raise RivegaError(Errors.E327.format(name=name, kind=kind, known=", ".join(known)))
        # Not by AutoConfig, which prints a config beside the default one; making EdgeTAM's default asks the hub.
        config = known[kind].config_class(**found)
        model, report = known[kind].from_pretrained(name, config=config, local_files_only=local, output_loading_info=True)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, RivegaError):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RivegaError(Errors.E326.format(name=name, reason=reason)) from error
    if report["missing_keys"] or report["mismatched_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:5]) or "none"
        surplus = ", ".join(sorted(report["unexpected_keys"])[:5]) or "none"
        # A set in transformers 5.
        shapes = list(report["mismatched_keys"])[:5] or "none"
        raise RivegaError(Errors.E022.format(name=name, missing=missing, surplus=surplus, shapes=shapes))
    return model.eval()


def _high_quality() -> dict[str, Any]:
    try:
        from transformers import SamHQModel
    except ImportError:  # transformers before 4.52
        return {}
    return {"sam_hq": SamHQModel}


class HFSamSegmenter(PromptedSegmenter):
    """transformers' SAM or SAM-HQ as a segmenter (see PromptedSegmenter)."""

    def __init__(
        self, load: Callable[[], torch.nn.Module], *, device: str | None = None, multimask: bool = False, box_batch: int = 16
    ) -> None:
        super().__init__(load, device=device, multimask=multimask, box_batch=box_batch)
        self._network: torch.nn.Module | None = None

    @property
    def network(self) -> torch.nn.Module:
        """transformers' model, on its device."""
        if self._network is None:
            self._network = self._load_on_device()
        return self._network

    @torch.inference_mode()
    def _segment(self, image: np.ndarray, boxes: np.ndarray) -> ScoredMasks:
        network: Any = self.network
        side = network.config.vision_config.image_size
        height, width = image.shape[:2]
        pixels, (high, wide) = preprocess(image, side)
        pixels = pixels.to(next(network.parameters()).device)
        encoded = network.get_image_embeddings(pixels)
        # SAM-HQ also hands over the maps of its encoder's blocks.
        given = {"image_embeddings": encoded}
        if isinstance(encoded, tuple):
            given = {"image_embeddings": encoded[0], "intermediate_embeddings": encoded[1]}
        corners = clip_boxes(boxes, height, width) * np.array([wide / width, high / height] * 2)

        def to_picture(logits: torch.Tensor) -> torch.Tensor:
            square = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
            return F.interpolate(square[:, :, :high, :wide], (height, width), mode="bilinear", align_corners=False)

        return self._masks(torch.as_tensor(corners, dtype=torch.float32, device=pixels.device), given, to_picture)

    def _masks(
        self, corners: torch.Tensor, given: dict[str, Any], to_picture: Callable[[torch.Tensor], torch.Tensor]
    ) -> ScoredMasks:
        """The likeliest mask of each box.

        corners (Tensor): n x 4, XYXY in pixels of the network's input.
        given (Dict[str, Any]): What the network is told of the picture, encoded.
        to_picture (Callable): (m x 1 x h x w logits) -> m x 1 x height x width of the picture.
        """
        results: ScoredMasks = []
        for part in corners.split(self.box_batch):
            output: Any = self.network(input_boxes=part[None], multimask_output=self.multimask, **given)
            logits, scores = output.pred_masks[0], output.iou_scores[0]
            best = scores.argmax(dim=1)
            rows = torch.arange(len(best), device=best.device)
            chosen = to_picture(logits[rows, best][:, None])
            results.extend(zip((chosen[:, 0] > 0).cpu().numpy(), scores[rows, best].clamp(0, 1).tolist()))
        return results


def preprocess(image: np.ndarray, side: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """A picture as SAM expects it: longer side to `side`, colours normalised, zeros to the right and below.

    image (ndarray): HxWx3 uint8.
    side (int): Side of the square input.
    RETURNS (Tuple[Tensor, Tuple[int, int]]): 1x3xSxS float32, and height and width of the part that is picture.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    high, wide = max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)
    small = np.array(Image.fromarray(image).resize((wide, high), Image.Resampling.BILINEAR), dtype="float32") / 255.0
    small = (small - np.array(MEAN, dtype="float32")) / np.array(STD, dtype="float32")
    pixels = torch.zeros(1, 3, side, side)
    pixels[0, :, :high, :wide] = torch.from_numpy(small).permute(2, 0, 1)
    return pixels, (high, wide)
