"""Boxes of the grounder with and without its second look, and drawn closer to their masks by the segmenter, on held-out photographs.

    python benchmarks/tight_boxes.py PIPELINE --photos PHOTOS [--split heldout] [--every 1]

PIPELINE holds `rivega_grounder` (`rivega.SmallGrounder.v2`) and `rivega_segmenter`. Every kind that a photograph has boxes of is asked about in a
phrase of the bank; a box counts by the instance that it fits best. The four columns of a row are measured on the same photographs in one run.
Intervals are 95 % percentile bootstrap, resampling photographs; those of differences resample the differences.
"""

import argparse
import os
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import spacy
import torch
from reporting import interval

from rivega_spacy.backends.small.model import Running
from rivega_spacy.backends.small.phrases.bank import load_bank
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.training.photos import VOC_KINDS, Photo, read_photos

WAYS = ("once", "twice", "once, tightened", "twice, tightened")


class Row(NamedTuple):
    """One question: IoU with the best instance in each of the WAYS; the largest instance's share of the picture."""

    photo: str
    source: str
    kind: str
    area: float
    overlaps: tuple[float, ...]


def ask(nlp: Any, photo: Photo, rng: np.random.Generator, shares: tuple[float, float]) -> list[Row]:
    """Rows of a photograph; shares are the pipeline's second_look and tighten_boxes."""
    bank, grounder, segmenter = load_bank(), nlp.get_pipe("rivega_grounder"), nlp.get_pipe("rivega_segmenter")
    kinds = sorted({kind for kind, hard in zip(photo.kinds, photo.hard) if not hard})
    kinds = [kind for kind in kinds if kind in VOC_KINDS or photo.source not in ("voc", "voc2012")]
    phrases = [bank.sample(kind, rng) for kind in kinds]
    found: dict[str, list[list[float]]] = {}
    for way, look in zip(WAYS, (0.0, shares[0])):
        grounder.model.attrs["running"] = Running(second_look=look)
        doc = _post(nlp, photo, phrases)
        grounder(doc)
        found[way] = [list(ent._.boxes[0]) for ent in doc.ents]
        segmenter.cfg["tighten_boxes"] = shares[1]
        segmenter(doc)
        found[f"{way}, tightened"] = [list(ent._.boxes[0]) for ent in doc.ents]
    rows = []
    height, width = doc.ents[0]._.mask_rle["size"] if kinds else (1, 1)
    for place, kind in enumerate(kinds):
        gold = photo.boxes[[own == kind and not hard for own, hard in zip(photo.kinds, photo.hard)]]
        area = float(((gold[:, 2] - gold[:, 0]) * (gold[:, 3] - gold[:, 1])).max()) / (width * height)
        overlaps = tuple(float(box_iou(found[way][place], gold).max()) for way in WAYS)
        rows.append(Row(f"{photo.source}-{photo.id}", photo.source, kind, area, overlaps))
    return rows


def _post(nlp: Any, photo: Photo, phrases: list[Any]) -> Any:
    words = [word for phrase in phrases for word in (*phrase.name.split(), ",")]
    doc, start, spans = spacy.tokens.Doc(nlp.vocab, words=words), 0, []
    for phrase in phrases:
        spans.append(spacy.tokens.Span(doc, start, start + len(phrase.name.split()), label=phrase.label))
        start += len(phrase.name.split()) + 1
    doc.ents = spans
    doc._.image = photo.path
    for ent, phrase in zip(doc.ents, phrases):
        ent._.expansion, ent._.groundable = phrase.expansion or None, True
    return doc


def report(rows: list[Row]) -> str:
    """A markdown table."""
    groups = {
        "VOC 2007": lambda r: r.source == "voc",
        "– persons": lambda r: r.source == "voc" and r.kind == "person",
        "further sets": lambda r: r.source not in ("voc", "ccp"),
        "CCP persons": lambda r: r.source == "ccp",
        "all but CCP": lambda r: r.source != "ccp",
        "– below 4 % of the picture": lambda r: r.source != "ccp" and r.area < 0.04,
        "– persons below 4 %": lambda r: r.source != "ccp" and r.kind == "person" and r.area < 0.04,
        "– 4 to 20 %": lambda r: r.source != "ccp" and 0.04 <= r.area < 0.2,
        "– above 20 %": lambda r: r.source != "ccp" and r.area >= 0.2,
    }
    lines = [
        "| photographs | questions | IoU | " + " | ".join(WAYS) + " | last - first, 95 % |",
        "|---|---|---|" + "---|" * (len(WAYS) + 1),
    ]
    for name, chosen in groups.items():
        mine = [row for row in rows if chosen(row)]
        if not mine:
            continue
        found = np.array([row.overlaps for row in mine])
        for least in (0.5, 0.7):
            right = (found >= least).astype(float)
            _, low, high = interval(right[:, -1] - right[:, 0], [row.photo for row in mine])
            cells = " | ".join(f"{100 * value:.1f}" for value in right.mean(axis=0))
            lines.append(f"| {name} | {len(mine)} | >= {least} | {cells} | {low:+.1f} to {high:+.1f} |")
        lines.append(
            f"| {name} | {len(mine)} | mean | " + " | ".join(f"{100 * value:.1f}" for value in found.mean(axis=0)) + " | |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--split", default="heldout", choices=["heldout", "dev"])
    parser.add_argument("--every", type=int, default=1, help="Take every n-th photograph.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.load(args.pipeline)
    shares = (
        nlp.get_pipe("rivega_grounder").model.attrs["running"].second_look,
        nlp.get_pipe("rivega_segmenter").cfg["tighten_boxes"],
    )
    rng, rows = np.random.default_rng(7), []
    for photo in read_photos(args.photos, args.split, bank=load_bank())[:: args.every]:
        if not photo.hard.all():
            rows += ask(nlp, photo, rng, shares)
    print(f"second_look {shares[0]}, tighten_boxes {shares[1]}, {args.split}\n\n{report(rows)}")


if __name__ == "__main__":
    main()
