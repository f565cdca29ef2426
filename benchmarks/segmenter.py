"""Masks from given boxes on held-out photographs, and from the boxes that a grounder finds, beside what needs no training.

    python benchmarks/segmenter.py PIPELINE PHOTOS [--output benchmarks/results/segmenter.md] [--grabcut 60]

PIPELINE holds a trained `rivega_segmenter`; PHOTOS the folders ccp_pixel, voc2007_test_a and voc2007_test_b. Read are the ids
divisible by 5, which no training reads, and of VOC the masks whose own box agrees with the annotated one (mask_box_iou >= 0.8).
Where PIPELINE has a `rivega_grounder` too, it is asked, in a phrase of the bank, about every kind of thing of which the photograph has
such a mask; the mask drawn into its box is compared with the one it fits best of that kind ("several objects: any counts"). A box
elsewhere counts with the little that it shares. Entailment is not asked.
A segmenter that reads phrases is asked as a pipeline asks it: each box with a phrase of the bank for its kind, and with the boxes of the
photograph's other things, as if the post named them all ("the box alone": with neither).
Intervals are 95 % percentile bootstrap, resampling photographs. Time is processor time of one thread.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import spacy
import torch
from reporting import interval, processor
from tqdm import tqdm

from rivega_spacy.backends.crops import jitter_box
from rivega_spacy.backends.grabcut.segmenter import make_grabcut
from rivega_spacy.backends.small.phrases.bank import load_bank
from rivega_spacy.pipes.queries import BoxPrompt, ImageQueries
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.images import read_image
from rivega_spacy.post.rle import decode_mask
from rivega_spacy.segmentation.component import others_of, reads_phrases
from rivega_spacy.training.mask_corpus import Namer, make_mask_corpus

SETS = {"VOC": ["voc2007_test_a", "voc2007_test_b"], "CCP persons": ["ccp_pixel"]}


# A picture with one box to a mask.
Segment = Callable[[BoxPrompt], np.ndarray]


class Item(NamedTuple):
    photo: str
    label: str
    image: np.ndarray
    box: np.ndarray
    mask: np.ndarray
    others: np.ndarray
    expression: Expression

    @property
    def prompt(self) -> BoxPrompt:
        """The question that a pipeline would ask."""
        return BoxPrompt(self.image, self.box[None], [self.expression], [self.others])


def held_out(photos: Path, sources: Sequence[str], *, remainders: Sequence[int] = (0,), seed: int = 4) -> list[Item]:
    """Every object with a good mask in the photographs kept for measuring, each with a phrase of the bank."""
    corpus = make_mask_corpus(
        str(photos), dict.fromkeys(sources, 1.0), remainders=list(remainders), classes={"ccp_pixel": ["person"]}, min_side=0.0
    )
    namer = Namer(seed)
    items = []
    for source, rows in corpus.photos().items():
        for photo in rows:
            image = read_image(photo.path)
            for thing in photo.objects:
                box = np.array(thing.box, dtype="float64")
                others = others_of(thing.box, photo.others)
                named = namer(thing.label).expression
                # Things of no stated kind are called as training calls them.
                expression = named if named.name else Expression("object", "OTHER")
                items.append(Item(f"{source}/{photo.id}", thing.label, image, box, decode_mask(thing.rle), others, expression))
    return items


def iou(first: np.ndarray, second: np.ndarray) -> float:
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 0.0


def box_mask(prompt: BoxPrompt) -> np.ndarray:
    box, (height, width) = prompt.boxes[0], prompt.image.shape[:2]
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (columns >= box[0]) & (columns < box[2]) & (rows >= box[1]) & (rows < box[3])


def ellipse_mask(prompt: BoxPrompt) -> np.ndarray:
    box, (height, width) = prompt.boxes[0], prompt.image.shape[:2]
    rows, columns = np.mgrid[:height, :width] + 0.5
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return ((columns - x) / max(box[2] - x, 0.5)) ** 2 + ((rows - y) / max(box[3] - y, 0.5)) ** 2 <= 1


def measure(items: Sequence[Item], segment: Segment, name: str) -> tuple[np.ndarray, float]:
    """IoU of every item, and milliseconds of processor time a box."""
    segment(items[0].prompt)
    ious, spent = [], 0.0
    for item in tqdm(items, desc=name, mininterval=5.0):
        start = time.process_time()
        mask = segment(item.prompt)
        spent += time.process_time() - start
        ious.append(iou(mask, item.mask))
    return np.array(ious), 1000 * spent / len(items)


def single(model: Callable[[list[Any]], list[Any]], *, phrases: bool = False) -> Segment:
    """One box at a time, with phrases or as picture and box alone."""

    def segment(prompt: BoxPrompt) -> np.ndarray:
        return model([prompt if phrases else prompt[:2]])[0][0][0]

    return segment


def moved(segment: Segment) -> Segment:
    rng = np.random.default_rng(0)

    def segment_moved(prompt: BoxPrompt) -> np.ndarray:
        return segment(prompt._replace(boxes=np.array([jitter_box(prompt.boxes[0], rng, amount=0.1)])))

    return segment_moved


def from_predicted_boxes(items: Sequence[Item], grounder: Any, segment: Segment, *, seed: int = 5) -> list[str]:
    """Rows of the table for masks drawn into the boxes that the grounder finds."""
    bank, rng = load_bank(), np.random.default_rng(seed)
    asked: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        asked.setdefault((item.photo, item.label), []).append(item)
    first, overlaps, masks, boxes = [], [], [], []
    for (photo, kind), gold in tqdm(asked.items(), desc="predicted boxes", mininterval=5.0):
        expression = bank.sample(kind, rng).expression
        query = ImageQueries(gold[0].image, [expression], "", photo)
        box = np.array(grounder.model.predict([query])[0][0][:4], dtype="float64")
        first.append(gold[0])
        overlaps.append(float(box_iou(box[None], np.array([item.box for item in gold])).max()))
        prompt = BoxPrompt(gold[0].image, box[None], [expression])
        drawn, filled = segment(prompt), box_mask(prompt)
        masks.append(max(iou(drawn, item.mask) for item in gold))
        boxes.append(max(iou(filled, item.mask) for item in gold))
    right = np.array(overlaps) >= 0.5
    hit = [item for item, good in zip(first, right) if good]
    return [
        row("masks from predicted boxes", first, np.array(masks), None),
        row("– the predicted box as mask", first, np.array(boxes), None),
        row("– where the box is right (IoU >= 0.5)", hit, np.array(masks)[right], None),
    ]


def row(name: str, items: Sequence[Item], values: np.ndarray, milliseconds: float | None) -> str:
    spent = "" if milliseconds is None else f"{milliseconds:.1f}"
    if not len(values):
        return f"| {name} | 0 | – | – | – | {spent} |"
    mean, low, high = interval(values, [item.photo for item in items], rounds=2000)
    half = 100 * float((values >= 0.5).mean())
    return f"| {name} | {len(items)} | {mean:.1f} | {low:.1f} to {high:.1f} | {half:.1f} | {spent} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure masks from given boxes on held-out photographs.")
    parser.add_argument("pipeline")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--grabcut", type=int, default=60, help="how many boxes of each set GrabCut is tried on; 0: none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.load(arguments.pipeline)
    model = nlp.get_pipe("rivega_segmenter").model
    trained = single(model.predict, phrases=reads_phrases(model))
    lines: list[str] = []
    for title, sources in SETS.items():
        items = held_out(arguments.photos, sources)
        photos = len({item.photo for item in items})
        lines += [f"### {title}: {len(items)} masks on {photos} photographs", ""]
        lines += ["| | masks | mIoU | 95 % interval | IoU >= 0.5, % | ms per box |", "|---|---|---|---|---|---|"]
        values, spent = measure(items, trained, f"{title}: trained")
        lines.append(row(model.name, items, values, spent))
        other, _ = measure(items, moved(trained), f"{title}: moved boxes")
        lines.append(row("the same, sides of the boxes moved by 10 % (standard deviation)", items, other, None))
        if reads_phrases(model):
            other, _ = measure(items, single(model.predict), f"{title}: boxes alone")
            lines.append(row("the same, told by the box alone", items, other, None))
        for name, function in (("the box as mask", box_mask), ("an ellipse in the box", ellipse_mask)):
            base, _ = measure(items, function, name)
            lines.append(row(name, items, base, None))
        if "rivega_grounder" in nlp.pipe_names:
            lines += from_predicted_boxes(items, nlp.get_pipe("rivega_grounder"), trained)
        if arguments.grabcut:
            step = max(1, len(items) // arguments.grabcut)
            few = items[::step][: arguments.grabcut]
            cut, spent = measure(few, single(make_grabcut()), f"{title}: GrabCut")
            lines.append(row("rivega.GrabCut.v1 (subset)", few, cut, spent))
            lines.append(row(f"{model.name} (same subset)", few, values[::step][: arguments.grabcut], None))
        lines.append("")
        if len({item.label for item in items}) > 1:
            lines += by_class(items, values)
    lines.append(f"{processor()}, one thread, PyTorch {torch.__version__}.")
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf8")
    print(text)


def by_class(items: Sequence[Item], values: np.ndarray) -> list[str]:
    groups: dict[str, list[float]] = {}
    for item, value in zip(items, values):
        groups.setdefault(item.label, []).append(value)
    ordered = sorted(groups.items(), key=lambda pair: -len(pair[1]))
    cells = ", ".join(f"{label} {100 * np.mean(ious):.0f} ({len(ious)})" for label, ious in ordered)
    return [f"By class, mIoU (masks): {cells}.", ""]


if __name__ == "__main__":
    main()
