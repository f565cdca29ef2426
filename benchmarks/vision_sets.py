"""Further held-out photographs, set by set: boxes, shown or not, by kind known or unknown, by size, and with other things in the way.

    python benchmarks/vision_sets.py PIPELINE --photos PHOTOS [--split heldout] [--output benchmarks/results/vision_sets.md]

PIPELINE holds trained `rivega_entailment` and `rivega_grounder` of the small networks. Every kind that a photograph shows is asked about in
a phrase of the bank, and one that it does not show for each. A kind is unknown where no training photograph shows one. Balanced accuracy
is at the pipeline's probabilities of 0.5. Intervals are 95 % percentile bootstrap, resampling photographs.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import spacy
import torch
from reporting import interval, write_report

from rivega_spacy.backends.small.phrases.bank import load_bank
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.scoring.calibration import calibration_error, reliability
from rivega_spacy.training.measure import MeasuredQuestion, area_under_curve, ask_photos
from rivega_spacy.training.photos import Photo, keys_of, read_photos

OPEN = ("ecssd", "sod_bsd", "caltech101_photos", "grocery")
SIGNS = ("road_signs", "shop_signs")
# Pictures of ImageNet, which the backbone has seen.
SEEN = ("imagenet_1000", "places_by_eye")


def rows_of(pipeline: str, photos: Path, split: str, limit: int) -> list[MeasuredQuestion]:
    """Ask the network of a pipeline's grounder about the photographs of a split; logits are calibrated."""
    bank = load_bank()
    model = spacy.load(pipeline).get_pipe("rivega_grounder").model
    shim, second_look = model.shims[0], model.attrs["running"].second_look
    chosen = [photo for photo in read_photos(photos, split, bank=bank) if photo.source not in ("voc", "ccp")]
    known = {
        key for photo in read_photos(photos, "train", bank=bank) for kind in (*photo.kinds, *photo.labels) for key in keys_of(kind)
    }
    with shim.inference(fold=True) as network:
        rows = ask_photos(network, chosen[: limit or None], bank, size=shim.cfg["size"], known=known, second_look=second_look)
    line, box = network.shown_calibration.tolist(), network.box_calibration.tolist()
    return [row._replace(logit=row.logit * line[0] + line[1], score=row.score * box[0] + box[1]) for row in rows]


def crowded(photos: Sequence[Photo]) -> dict[tuple[str, str], bool]:
    """Photographs in which two boxes cover each other by more than 30 % of the smaller one."""
    found = {}
    for photo in photos:
        area = (photo.boxes[:, 2] - photo.boxes[:, 0]) * (photo.boxes[:, 3] - photo.boxes[:, 1])
        hit = False
        for place, box in enumerate(photo.boxes):
            others = np.delete(photo.boxes, place, axis=0)
            if len(others):
                iou = box_iou(box, others)
                union = (area[place] + np.delete(area, place)) / (1 + iou)
                hit |= bool((iou * union / np.minimum(area[place], np.delete(area, place)) > 0.3).any())
        found[photo.source, photo.id] = hit
    return found


def report(rows: list[MeasuredQuestion], covered: dict[tuple[str, str], bool]) -> tuple[str, dict[str, Any]]:
    """A markdown table, and the same numbers by name."""
    lines = [
        "| photographs | boxes right, % | 95 % | questions | shown or not, % | AUC | questions |",
        "|---|---|---|---|---|---|---|",
    ]
    numbers: dict[str, Any] = {}
    place = {key: number for number, key in enumerate(sorted({(row.source, row.photo) for row in rows}))}

    def add(name: str, chosen: Callable[[MeasuredQuestion], bool]) -> None:
        mine = [row for row in rows if chosen(row)]
        if not mine:
            return
        located = [row for row in mine if row.overlap == row.overlap]
        yes, no = (np.array([row.logit for row in mine if row.present is present]) for present in (True, False))
        box = (
            interval([float(row.overlap >= 0.5) for row in located], [place[r.source, r.photo] for r in located])
            if located
            else None
        )
        balanced = 50 * float((yes > 0).mean() + (no <= 0).mean()) if len(yes) and len(no) else float("nan")
        auc = area_under_curve(yes, no)
        numbers[name] = {
            "boxes": box and box[0],
            "low": box and box[1],
            "high": box and box[2],
            "n": len(located),
            "shown": balanced,
            "auc": auc,
        }
        first = f"{box[0]:.1f} | {box[1]:.1f} – {box[2]:.1f} | {len(located)}" if box else "– | – | –"
        lines.append(f"| {name} | {first} | {balanced:.1f} | {auc:.1f} | {len(mine)} |")

    for source in sorted({row.source for row in rows}):
        add(source + (" (seen by the backbone)" if source in SEEN else ""), lambda row, source=source: row.source == source)
    fair = [source for source in {row.source for row in rows} if source not in SEEN]
    add("**ECSSD and SOD**", lambda row: row.source in ("ecssd", "sod_bsd"))
    add("persons", lambda row: row.source in fair and row.kind == "person")
    add("persons below 4 % of the picture", lambda row: row.source in fair and row.kind == "person" and row.area < 0.04)
    add("**logos**", lambda row: row.source == "flickrlogos27")
    add("**signs**", lambda row: row.source in SIGNS)
    add("**kinds of ECSSD, SOD, Caltech-101, grocery**", lambda row: row.source in OPEN)
    add("**all but ImageNet's**", lambda row: row.source in fair)
    for name, known in (("known", True), ("unknown", False)):
        add(f"kinds {name}", lambda row, known=known: row.source in fair and row.known is known)
    for name, low, high in (("below 4 % of the picture", 0.0, 0.04), ("4 to 20 %", 0.04, 0.2), ("above 20 %", 0.2, 9.0)):
        add(f"things {name}", lambda row, low=low, high=high: row.source in fair and row.present and low <= row.area < high)
    add(
        "things that cover each other by more than 30 %",
        lambda row: row.source in fair and row.present and covered.get((row.source, row.photo), False),
    )
    fairly = [row for row in rows if row.source in fair]
    there = [row for row in fairly if row.overlap == row.overlap]
    numbers["ece_shown"] = _error([row.logit for row in fairly], [row.present for row in fairly])
    numbers["ece_box"] = _error([row.score for row in there], [row.overlap >= 0.5 for row in there])
    lines.append(
        f"\nExpected calibration error, all but ImageNet's: shown {numbers['ece_shown']:.3f}, box {numbers['ece_box']:.3f}."
    )
    return "\n".join(lines), numbers


def _error(logits: Sequence[float], truth: Sequence[bool]) -> float:
    return calibration_error(reliability(1 / (1 + np.exp(-np.array(logits))), np.array(truth, bool)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", default="heldout", choices=["heldout", "dev"])
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None, help=".md or .json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(args.pipeline, args.photos, args.split, args.limit)
    table, numbers = report(rows, crowded(read_photos(args.photos, args.split, bank=load_bank())))
    write_report(args.output, "Further held-out photographs", table, numbers)


if __name__ == "__main__":
    main()
