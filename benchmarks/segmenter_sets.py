"""Masks from gold boxes on the held-out photographs of the further sets, and of things that others cover.

    python benchmarks/segmenter_sets.py PIPELINE --photos PHOTOS [--output benchmarks/results/segmenter_sets.md]

PIPELINE holds a trained `rivega_segmenter`. A thing counts as covered where boxes of other things of its photograph take up more than 30 % of its own.
Intervals are 95 % percentile bootstrap, resampling photographs.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import spacy
import torch
from reporting import interval
from segmenter import Item, held_out

from rivega_spacy.pipes.queries import BoxPrompt
from rivega_spacy.segmentation.component import reads_phrases

SETS = {
    "VOC 2007": ["voc2007_test_a", "voc2007_test_b"],
    "VOC 2012": ["voc2012_tiny"],
    "ECSSD": ["ecssd"],
    "SOD": ["sod_bsd"],
    "COCO": ["coco_lightly127"],
    "DAVIS, Gulshan et al.": ["davis16", "gulshan151"],
    "persons": ["human290"],
}
COVERED = 0.3


def covered(item: Item, others: list[Item]) -> bool:
    """Whether boxes of other things take up much of a thing's box."""
    height, width = item.mask.shape
    taken = np.zeros((height, width), bool)
    for other in others:
        if other is not item:
            x0, y0, x1, y1 = (int(round(float(v))) for v in other.box)
            taken[y0:y1, x0:x1] = True
    x0, y0, x1, y1 = (int(round(float(v))) for v in item.box)
    own = taken[y0:y1, x0:x1]
    return bool(own.size) and float(own.mean()) > COVERED


def measure(nlp: Any, photos: Path) -> str:
    """A markdown table."""
    model = nlp.get_pipe("rivega_segmenter").model
    lines = ["| masks | n | mIoU | 95 % | score of the segmenter, mean |", "|---|---|---|---|---|"]
    rows: list[tuple[str, str, bool, float, float]] = []
    for name, sources in SETS.items():
        items = held_out(photos, sources)
        by_photo: dict[str, list[Item]] = {}
        for item in items:
            by_photo.setdefault(item.photo, []).append(item)
        for photo, group in by_photo.items():
            boxes = np.array([item.box for item in group])
            prompt = BoxPrompt(group[0].image, boxes, [item.expression for item in group], [item.others for item in group])
            found = model.predict([prompt if reads_phrases(model) else prompt[:2]])[0]
            for item, (mask, score) in zip(group, found, strict=True):
                union = float((mask | item.mask).sum())
                rows.append((name, photo, covered(item, group), float((mask & item.mask).sum()) / max(union, 1.0), float(score)))
    place = {key: number for number, key in enumerate(sorted({row[:2] for row in rows}))}
    groups = [(name, [row for row in rows if row[0] == name]) for name in SETS]
    groups += [("all of them", rows), ("covered by other things", [row for row in rows if row[2]])]
    for name, mine in groups:
        if mine:
            mean, low, high = interval([row[3] for row in mine], [place[row[:2]] for row in mine])
            lines.append(
                f"| {name} | {len(mine)} | {mean:.1f} | {low:.1f} – {high:.1f} | {np.mean([row[4] for row in mine]):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = measure(spacy.load(args.pipeline), args.photos)
    print(table)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(f"# Masks from gold boxes, further sets\n\n{table}\n", encoding="utf8")


if __name__ == "__main__":
    main()
