"""Masks for photographs that have boxes only, drawn by a trained segmenter (self-training).

A few hundred photographs have masks, thousands have boxes. A first segmenter draws masks in those boxes; the ones it is sure
of, and that fill their box to its sides as an annotated box demands, teach the next one (compare Lee, "Pseudo-Label", 2013; the
test by the box's sides is that of Khoreva et al., "Simple Does It", 2017).

    rivega vision draw-masks training/segmenter/model-last ../shared/data/photos corpus/drawn_masks
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..corpus.posts_jsonl import read_json_lines
from ..post.boxes import box_area, box_iou
from ..post.images import read_image
from ..post.rle import encode_mask, rle_to_box

BOX_SOURCES = ("voc2007_test_a", "voc2007_test_b")


def draw_masks(
    segment: Callable[[list[Any]], list[Any]],
    photos: Path,
    sources: Sequence[str],
    *,
    min_score: float = 0.8,
    min_mask_box_iou: float = 0.8,
    min_side: float = 24.0,
    every: int = 5,
    max_boxes: int = 6,
) -> Iterator[dict[str, Any]]:
    """Draw masks into the boxes of photographs that have no mask yet.

    segment (Callable): A segmenter: list of (picture, boxes) to lists of (mask, score).
    photos (Path): Folder of the sources.
    sources (Sequence[str]): Folders in it, each with `annotations.jsonl`.
    min_score (float): How sure the segmenter must be, 0..1.
    min_mask_box_iou (float): How well the mask's own box must agree with the given one.
    min_side (float): Boxes narrower or lower than this many pixels are left out.
    every (int): Ids divisible by it are held out and not read.
    max_boxes (int): Boxes of a photograph at most, the largest first.
    YIELDS (Dict[str, Any]): A row like those of `annotations.jsonl`, with an absolute `file`, for each photograph with a mask
        that passes.
    """
    for source in sources:
        rows = [row for _, row in read_json_lines(photos / source / "annotations.jsonl")]
        for row in tqdm(rows, desc=source, mininterval=5.0):
            if int(row["id"]) % every == 0:
                continue
            items = [item for item in row["objects"] if _wanted(item, min_side)]
            items = sorted(items, key=lambda item: box_area(item["bbox"]), reverse=True)[:max_boxes]
            if not items:
                continue
            path = (photos / source / row["file"]).resolve()
            boxes = np.array([item["bbox"] for item in items])
            found = segment([(read_image(str(path)), boxes)])[0]
            objects = []
            for item, (mask, score) in zip(items, found):
                rle = encode_mask(mask)
                agreement = float(box_iou(np.array([rle_to_box(rle)]), np.array([item["bbox"]]))[0, 0])
                if score >= min_score and agreement >= min_mask_box_iou:
                    entry = {"class": item["class"], "bbox": item["bbox"], "segmentation": rle}
                    objects.append({**entry, "score": round(score, 4), "mask_box_iou": round(agreement, 4)})
            if objects:
                yield {"id": row["id"], "file": str(path), "w": row["w"], "h": row["h"], "objects": objects}


def _wanted(item: dict[str, Any], min_side: float) -> bool:
    x1, y1, x2, y2 = item["bbox"]
    return not item.get("segmentation") and not item.get("difficult") and min(x2 - x1, y2 - y1) >= min_side
