"""Candidate boxes of an object detector of the transformers library, for Table I and for what detectors miss (Figure 4)."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from spacy.tokens import Doc
from spacy.util import minibatch

from ..post.errors import Errors, SetupError
from ..post.extensions import ID_KEY
from ..post.hub import local_only
from ..post.images import doc_image


class Detector:
    """A detector and what prepares its pictures.

    path (str): Folder, or name on the model hub: D-FINE, RT-DETR, DETR, YOLOS and what else transformers knows as an object detector.
    device (str): For example "cpu" or "cuda:0".
    top (int): Boxes kept of a picture, the likeliest first.
    RAISES (SetupError): E864 if there is no such detector.
    """

    def __init__(self, path: str, *, device: str = "cpu", top: int = 100) -> None:
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        try:
            local = local_only()
            self.processor = AutoImageProcessor.from_pretrained(path, use_fast=False, local_files_only=local)
            self.network = AutoModelForObjectDetection.from_pretrained(path, local_files_only=local).to(device).eval()
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise SetupError(Errors.E864.format(path=path, reason=str(error).strip().split("\n")[0][:200])) from error
        self.device = device
        self.top = top

    @torch.inference_mode()
    def __call__(self, pictures: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """pictures (List[ndarray]): HxWx3 uint8. RETURNS (List[Tuple[ndarray, ndarray]]): n x 4 XYXY pixels and n scores, best first."""
        inputs = self.processor(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt").to(self.device)
        sizes = [picture.shape[:2] for picture in pictures]
        found = self.processor.post_process_object_detection(self.network(**inputs), threshold=0.0, target_sizes=sizes)
        results = []
        for answer, (height, width) in zip(found, sizes):
            scores = answer["scores"].float().cpu().numpy()
            boxes = np.clip(answer["boxes"].float().cpu().numpy(), 0, [width, height, width, height])
            order = [
                place
                for place in np.argsort(-scores, kind="stable")
                if np.isfinite(scores[place]) and np.isfinite(boxes[place]).all()
            ]
            results.append((boxes[order[: self.top]], scores[order[: self.top]]))
        return results


def find_candidates(docs: Iterable[Doc], detector: Detector, *, batch_size: int = 8) -> Iterator[dict[str, Any]]:
    """One row a post, in order.

    docs (Iterable[Doc]): Posts. detector (Detector): What looks at them. batch_size (int): Pictures at once.
    YIELDS (Dict[str, Any]): `id`, `boxes` and `scores`; posts whose picture cannot be read are left out.
    """
    for batch in minibatch(_seen(docs), size=batch_size):
        for (name, _), (boxes, scores) in zip(batch, detector([picture for _, picture in batch])):
            yield {
                "id": name,
                "boxes": [[round(float(x), 2) for x in box] for box in boxes],
                "scores": [round(float(s), 5) for s in scores],
            }


def _seen(docs: Iterable[Doc]) -> Iterator[tuple[str, np.ndarray]]:
    for number, doc in enumerate(docs):
        picture = doc_image(doc, "candidates") if doc._.image is not None else None
        if picture is not None:
            yield str(doc.user_data.get(ID_KEY, number)), picture


__all__ = ["Detector", "find_candidates"]
