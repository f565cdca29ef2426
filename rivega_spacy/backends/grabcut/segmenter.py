"""rivega.GrabCut.v1: masks from colours alone, through OpenCV, without any weights.

Rother, Kolmogorov, Blake, "GrabCut: Interactive Foreground Extraction using Iterated Graph Cuts", SIGGRAPH 2004.
"""

from typing import Any

import numpy as np
from PIL import Image

from ...pipes.queries import BoxedPicture, ScoredMasks
from ...post.boxes import clip_boxes
from ...post.errors import Errors, SetupError
from ..crops import CropWindow, box_window


def make_grabcut(iterations: int = 3, max_side: int = 160, margin: float = 0.25) -> "GrabCutSegmenter":
    """GrabCut within each box; needs `pip install 'rivega_spacy[cv]'`.

    iterations (int): Rounds of fitting the colour models and cutting.
    max_side (int): The crop is scaled down to this many pixels on its longer side; 0 keeps it, which is slow.
    margin (float): Context around the box, as a share of its sides, from which the background's colours are learnt.
    RETURNS (GrabCutSegmenter): Called with pictures and boxes.
    """
    return GrabCutSegmenter(iterations=iterations, max_side=max_side, margin=margin)


class GrabCutSegmenter:
    """Boxes to masks by iterated graph cuts; what lies outside the box is background by definition."""

    def __init__(self, *, iterations: int = 3, max_side: int = 160, margin: float = 0.25) -> None:
        self.iterations = iterations
        self.max_side = max_side
        self.margin = margin

    def __call__(self, prompts: list[BoxedPicture]) -> list[ScoredMasks]:
        """Masks of all boxes of all pictures.

        prompts (List[BoxedPicture]): Pictures HxWx3 uint8 with boxes n x 4, XYXY pixels.
        RETURNS (List[ScoredMasks]): For each box its mask, HxW bool, and a score: 1 where GrabCut found something, 0 if it
            found nothing to tell apart and the box itself is given.
        """
        cv2 = import_cv2()
        return [[self._segment(cv2, image, box) for box in clip_boxes(boxes, *image.shape[:2])] for image, boxes in prompts]

    def _segment(self, cv2: Any, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, float]:
        height, width = image.shape[:2]
        window = _within(box_window(box, margin=self.margin), height, width)
        left, top, right, bottom = (int(x) for x in window)
        crop = image[top:bottom, left:right]
        scale = min(1.0, self.max_side / max(crop.shape[:2])) if self.max_side else 1.0
        size = (max(round(crop.shape[1] * scale), 1), max(round(crop.shape[0] * scale), 1))
        small = np.ascontiguousarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA) if scale < 1 else crop)
        ratio = np.array([size[0] / crop.shape[1], size[1] / crop.shape[0]] * 2)
        x1, y1, x2, y2 = np.round((box - [left, top, left, top]) * ratio).astype(int)
        labels = np.full(small.shape[:2], cv2.GC_BGD, dtype=np.uint8)
        labels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = cv2.GC_PR_FGD
        found = self._cut(cv2, small, labels)
        mask = np.zeros((height, width), dtype=bool)
        if found is None:
            x1, y1, x2, y2 = np.round(box).astype(int)
            mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
            return mask, 0.0
        fine = Image.fromarray(found.astype(np.uint8) * 255).resize((crop.shape[1], crop.shape[0]), Image.Resampling.BILINEAR)
        mask[top:bottom, left:right] = np.asarray(fine) > 127
        return mask, 1.0

    def _cut(self, cv2: Any, small: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        # The colour models are fitted to both sides: without any background, or on a few pixels, there is nothing to fit.
        if not (labels == cv2.GC_BGD).any() or labels.size < 25:
            return None
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        try:
            cv2.grabCut(small, labels, None, *models, self.iterations, cv2.GC_INIT_WITH_MASK)
        except cv2.error:
            return None
        found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        return found if found.any() else None


def _within(window: CropWindow, height: int, width: int) -> CropWindow:
    """A window in whole pixels of the picture."""
    return CropWindow(
        max(np.floor(window.x1), 0),
        max(np.floor(window.y1), 0),
        min(np.ceil(window.x2), width),
        min(np.ceil(window.y2), height),
    )


def import_cv2() -> Any:
    """OpenCV. RAISES (SetupError): E328 if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise SetupError(Errors.E328) from error
    return cv2
