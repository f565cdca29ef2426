"""Entailment and grounding on held-out photographs, beside baselines that look at nothing.

    python benchmarks/vision.py PIPELINE --photos PHOTOS [--output benchmarks/results/vision.md]

PIPELINE holds trained `rivega_entailment` and `rivega_grounder`; PHOTOS the folders voc2007_test_a and voc2007_test_b. Read are the
VOC ids divisible by 5, which no training reads. Names and expansions come from the phrase bank that training drew from; the row "words
not in the bank" asks with nouns that training never met. A box is right when its IoU with any not-difficult instance is at least 0.5.
OpenCV's detectors of people and faces are asked in the same run where OpenCV 4 is installed (opencv_people.py).
Intervals are 95 % percentile bootstrap, resampling photographs. Time is processor time of one thread.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import spacy
import torch
from opencv_people import detectors
from PIL import Image, ImageDraw, ImageFont
from reporting import interval, write_report
from tqdm import tqdm

from rivega_spacy.backends.small.answers import clear_store
from rivega_spacy.backends.small.phrases.bank import Phrase, load_bank
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.images import image_size, read_image
from rivega_spacy.scoring.calibration import calibration_error, reliability
from rivega_spacy.training.photos import VOC_KINDS, Photo, read_photos

UNSEEN = json.loads(Path(__file__).with_name("vision_unseen_words.json").read_text(encoding="utf8"))


class Row(NamedTuple):
    """One question about one photo.

    asked is "bank", "unseen", "plain" (a bare "a cat"), "never" (nothing that photographs show) or "person" (asked about every photo).
    """

    photo: int
    kind: str
    asked: str
    present: bool
    probability: float
    overlap: float
    score: float
    whole: float
    centred: float
    others: tuple[float, ...] = ()


def mean_shapes(photos: Sequence[Photo]) -> dict[str, tuple[float, float]]:
    """Mean width and height of the largest instance, as shares of the picture: for every kind, and "" for all."""
    found: dict[str, list[tuple[float, float]]] = {"": []}
    for photo in photos:
        if photo.source != "voc":
            continue
        width, height = image_size(photo.path)
        for kind in set(photo.kinds):
            mine = instances(photo, kind)
            if len(mine):
                x0, y0, x1, y1 = max(mine, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
                for key in (kind, ""):
                    found.setdefault(key, []).append(((x1 - x0) / width, (y1 - y0) / height))
    return {kind: tuple(np.mean(shapes, axis=0)) for kind, shapes in found.items()}


def instances(photo: Photo, kind: str) -> np.ndarray:
    """Boxes of the instances of a kind that are not difficult."""
    return photo.boxes[[own == kind and not hard for own, hard in zip(photo.kinds, photo.hard)]]


def ask_all(nlp: Any, photos: Sequence[Photo], shapes: dict[str, tuple[float, float]], seed: int) -> list[Row]:
    """Ask about everything present and as much that is absent."""
    bank, rng, baselines = load_bank(), np.random.default_rng(seed), detectors()
    rows: list[Row] = []
    for number, photo in enumerate(tqdm(photos, desc="photos")):
        image = read_image(photo.path)
        present = [kind for kind in VOC_KINDS if len(instances(photo, kind))]
        absent = [kind for kind in VOC_KINDS if kind not in photo.kinds]
        asked: list[tuple[str, str, bool, Phrase]] = []
        for kind, shown in [(k, True) for k in present] + [(str(k), False) for k in rng.choice(absent, len(present))]:
            drawn = bank.sample(kind, rng)
            noun = UNSEEN[kind][rng.integers(len(UNSEEN[kind]))]
            simple = {"diningtable": "a table", "pottedplant": "a potted plant", "tvmonitor": "a television screen"}.get(kind)
            simple = simple or ("an aeroplane" if kind == "aeroplane" else f"a {kind}")
            asked.append((kind, "bank", shown, drawn))
            asked.append((kind, "unseen", shown, Phrase(drawn.name, drawn.label, noun)))
            asked.append((kind, "plain", shown, Phrase(drawn.name, drawn.label, simple)))
        asked.extend(("", "never", False, bank.absent(rng)) for _ in present)
        if "person" in present or "person" in absent:
            asked.append(("person", "person", "person" in present, bank.sample("person", rng)))
        queries = [ImageQueries(image, [phrase.expression for *_, phrase in asked], "", f"heldout-{photo.id}")]
        probability = nlp.get_pipe("rivega_entailment").model.predict(queries)[0]
        boxes = nlp.get_pipe("rivega_grounder").model.predict(queries)[0]
        height, width = image.shape[:2]
        people = [detect(image) for detect in baselines.values()] if "person" in present else []
        for (kind, style, shown, _), p, box in zip(asked, probability, boxes):
            gold = instances(photo, kind) if shown else np.zeros((0, 4))
            w, h = shapes[kind] if kind else (0.5, 0.5)
            centred = [width * (1 - w) / 2, height * (1 - h) / 2, width * (1 + w) / 2, height * (1 + h) / 2]
            best = [
                float(box_iou(np.array([b]), gold).max()) if len(gold) else 0.0 for b in (box[:4], [0, 0, width, height], centred)
            ]
            others = [_best(b, gold) for b in people] if kind == "person" and style == "bank" and shown else []
            rows.append(Row(number, kind, style, shown, float(p), best[0], float(box[4]), best[1], best[2], tuple(others)))
    return rows


def _best(box: np.ndarray | None, gold: np.ndarray) -> float:
    """IoU with the instance that fits best; a detector that finds nothing is wrong."""
    return float(box_iou(box[None], gold).max()) if box is not None else 0.0


def memes(count: int, seed: int) -> dict[str, list[np.ndarray]]:
    """Pictures that show nothing: noise, plain colours, text on a plain or shaded ground."""
    rng = np.random.default_rng(seed)
    lines = ["WHEN YOU REALIZE", "it is only monday", "BREAKING NEWS", "keep calm and carry on", "thank you all!", "SALE 50% OFF"]
    result: dict[str, list[np.ndarray]] = {"noise": [], "plain colours": [], "text memes": []}
    for _ in range(count):
        height, width = (int(v) for v in rng.integers(200, 500, 2))
        coarse = rng.integers(0, 256, (int(height / rng.integers(1, 9)), int(width / rng.integers(1, 9)), 3), dtype=np.uint8)
        result["noise"].append(np.asarray(Image.fromarray(coarse).resize((width, height))))
        colour = rng.integers(0, 256, 3).astype(np.uint8)
        result["plain colours"].append(np.broadcast_to(colour, (height, width, 3)).copy())
        ground = Image.fromarray(np.linspace(colour, rng.integers(0, 256, 3), height).astype(np.uint8)[:, None].repeat(width, 1))
        draw = ImageDraw.Draw(ground)
        ink = (255, 255, 255) if colour.mean() < 128 else (0, 0, 0)
        for line in range(int(rng.integers(1, 5))):
            font = ImageFont.load_default(size=int(rng.integers(14, 40)))
            draw.text((10, 10 + line * height // 5), lines[rng.integers(len(lines))], fill=ink, font=font)
        result["text memes"].append(np.asarray(ground))
    return result


def grounded_on_nothing(nlp: Any, count: int, seed: int) -> dict[str, dict[str, float]]:
    """Share of expressions judged shown on pictures that show nothing: of persons, and of the other kinds."""
    bank, rng = load_bank(), np.random.default_rng(seed)
    threshold = nlp.get_pipe("rivega_entailment").cfg["threshold"]
    shares: dict[str, dict[str, float]] = {}
    for name, pictures in memes(count, seed).items():
        kinds = ["person", "person", *(str(k) for k in rng.choice([k for k in VOC_KINDS if k != "person"], 4))]
        queries = [ImageQueries(p, [bank.sample(k, rng).expression for k in kinds]) for p in pictures]
        shown = np.array(nlp.get_pipe("rivega_entailment").model.predict(queries)) >= threshold
        shares[name] = {"persons": 100 * float(shown[:, :2].mean()), "other": 100 * float(shown[:, 2:].mean())}
    return shares


def latency(nlp: Any, photos: Sequence[Photo], expressions: int = 2) -> float:
    """Milliseconds of processor time for one photo through both components, decoding left out."""
    images = [read_image(photo.path) for photo in photos]
    names = [
        Expression("Eileen Collins", "PER", "an astronaut"),
        Expression("Texas", "LOC", "a place"),
        Expression("Chelsea", "OTHER", "a cat"),
    ][:expressions]
    times = []
    for number, image in enumerate(images):
        clear_store()
        queries = [ImageQueries(image, names, "", f"latency-{number}")]
        start = time.process_time()
        nlp.get_pipe("rivega_entailment").model.predict(queries)
        nlp.get_pipe("rivega_grounder").model.predict(queries)
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


def report(rows: list[Row], nothing: dict[str, dict[str, float]], milliseconds: float, threshold: float) -> tuple[str, dict]:
    """A markdown table, and the same numbers by name."""
    numbers: dict[str, Any] = {}
    lines = ["| measure | n | value | 95 % |", "|---|---|---|---|"]

    def add(name: str, values: Sequence[float], photos: Sequence[int]) -> None:
        if len(values):
            mean, low, high = interval(values, photos)
            numbers[name] = {"n": len(values), "value": mean, "low": low, "high": high}
            lines.append(f"| {name} | {len(values)} | {mean:.1f} | {low:.1f} – {high:.1f} |")

    def boxes(name: str, chosen: list[Row], field: str = "overlap") -> None:
        add(name, [float(getattr(r, field) >= 0.5) for r in chosen], [r.photo for r in chosen])

    for label, only in (("persons", lambda r: r.kind == "person"), ("all 20 kinds", lambda r: True)):
        chosen = [r for r in rows if r.present and r.asked == "bank" and only(r)]
        boxes(f"VG Prec@0.5, {label}", chosen)
        boxes(f"– whole picture as box, {label}", chosen, "whole")
        boxes(f"– centred box of the kind's mean size, {label}", chosen, "centred")
        if label == "persons":
            for place, name in enumerate(detectors()):
                hits = [(float(r.others[place] >= 0.5), r.photo) for r in chosen if r.others]
                add(f"– {name}", [hit for hit, _ in hits], [photo for _, photo in hits])
        boxes(f"– words not in the bank, {label}", [r for r in rows if r.present and r.asked == "unseen" and only(r)])
    for kind in VOC_KINDS:
        boxes(f"VG Prec@0.5, {kind}", [r for r in rows if r.present and r.asked == "bank" and r.kind == kind])
    for style, label in (("bank", "phrases of the bank"), ("plain", "bare nouns"), ("unseen", "words not in the bank")):
        chosen = [r for r in rows if r.asked == style]
        right = [float((r.probability >= threshold) == r.present) for r in chosen]
        add(f"VE accuracy, balanced, {label}", right, [r.photo for r in chosen])
    for label, wanted in (("shown", True), ("not shown", False)):
        chosen = [r for r in rows if r.asked == "bank" and r.present is wanted]
        add(f"VE accuracy, {label}", [float((r.probability >= threshold) == wanted) for r in chosen], [r.photo for r in chosen])
    never = [r for r in rows if r.asked == "never"]
    add("VE accuracy, what no photo shows", [float(r.probability < threshold) for r in never], [r.photo for r in never])
    for label, wanted in (("with", True), ("without", False)):
        person = [r for r in rows if r.asked == "person" and r.present is wanted]
        right = [float((r.probability >= threshold) == wanted) for r in person]
        add(f"VE accuracy, persons, photos {label} persons", right, [r.photo for r in person])
    bank = [r for r in rows if r.asked == "bank"]
    shown = calibration_error(reliability(np.array([r.probability for r in bank]), np.array([r.present for r in bank], bool)))
    there = [r for r in bank if r.present]
    box = calibration_error(reliability(np.array([r.score for r in there]), np.array([r.overlap >= 0.5 for r in there], bool)))
    numbers.update({"ece_shown": shown, "ece_box": box, "ms_per_photo": milliseconds, "nothing": nothing})
    lines.append(f"| ECE of groundable_score | {len(bank)} | {shown:.3f} | |")
    lines.append(f"| ECE of box_score | {len(there)} | {box:.3f} | |")
    for name, shares in nothing.items():
        lines.append(f"| judged shown on {name}, persons / other, % | | {shares['persons']:.1f} / {shares['other']:.1f} | |")
    lines.append(f"| ms a photo, both components, one core | | {milliseconds:.1f} | |")
    return "\n".join(lines), numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pipeline")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=None, help=".md or .json")
    parser.add_argument("--split", default="heldout", choices=["heldout", "dev"])
    parser.add_argument("--limit", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.load(args.pipeline)
    bank = load_bank()
    photos = [p for p in read_photos(args.photos, args.split, bank=bank) if p.source == "voc"]
    photos = photos[: args.limit or None]
    shapes = mean_shapes(read_photos(args.photos, "train", bank=bank))
    rows = ask_all(nlp, photos, shapes, seed=5)
    threshold = nlp.get_pipe("rivega_entailment").cfg["threshold"]
    table, numbers = report(rows, grounded_on_nothing(nlp, 60, 3), latency(nlp, photos[:40]), threshold)
    write_report(args.output, "Vision on held-out photographs", table, numbers)


if __name__ == "__main__":
    main()
