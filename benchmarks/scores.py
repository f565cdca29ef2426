"""Two checks of the scorer: the published predictions, and how long ten thousand posts take.

python benchmarks/scores.py --posts ../shared/data/posts --output benchmarks/results/scores.md
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.matching import TYPES, MatchOptions
from rivega_spacy.scoring.read import read_annotations
from rivega_spacy.scoring.significance import bootstrap
from rivega_spacy.scoring.tasks import score

TYPE_NAMES = ("PER", "LOC", "ORG", "OTHER")


def published(posts: Path) -> list[str]:
    """The authors' released test predictions under every rule, as Markdown."""
    predicted = read_annotations(posts / "riveg_test_predictions.jsonl.gz")
    gold = read_annotations(posts / "riveg_test_gold.jsonl.gz")
    spans = read_annotations(posts / "twitter_gmner_test.jsonl.gz")
    lines = ["| rule | types | right | predicted | gold | P | R | F1 | F1, 95 % |", "|---|---|---|---|---|---|---|---|---|"]
    for rule, target in (("text", gold), ("offset", spans)):
        for types in TYPES:
            task = score(predicted, target, MatchOptions(rule=rule, types=types)).tasks["mner"]
            total, (low, high) = task.total, bootstrap(task)["f"]
            numbers = " | ".join(f"{100 * value:.2f}" for value in (total.p, total.r, total.f))
            lines.append(
                f"| {rule} | {types} | {total.right} | {total.predicted} | {total.gold} | {numbers} | {100 * low:.2f}–{100 * high:.2f} |"
            )
    found = score(predicted, gold, MatchOptions(rule="text")).entailment
    lines += [
        "",
        f"VE agrees with gold on {found['right']} of {found['judged']} text-matched entities ({100 * found['accuracy']:.2f}).",
    ]
    return lines


def write_posts(path: Path, count: int, seed: int, *, noise: float) -> None:
    """Posts as `rivega annotate` writes them: 1.7 entities a post, 40 % with a box and a 640 x 480 mask of wavy outline."""
    rng = random.Random(seed)
    jitter = random.Random(seed + 1)
    masks = [encode_mask(_blob(number)) for number in range(50)]
    with path.open("w", encoding="utf8") as out:
        for number in range(count):
            ents: list[dict[str, Any]] = []
            for place in range(rng.choice((1, 1, 2, 2, 3, 1))):
                label, shown, blob = rng.choice(TYPE_NAMES), rng.random() < 0.4, rng.randrange(50)
                box = [rng.uniform(0, 300), rng.uniform(0, 200), rng.uniform(310, 640), rng.uniform(210, 480)]
                if jitter.random() < noise:
                    blob, box = jitter.randrange(50), [value * jitter.uniform(0.8, 1.2) for value in box]
                ents.append(
                    {
                        "start": 20 * place,
                        "end": 20 * place + 8,
                        "label": label,
                        "text": f"name {place}",
                        "groundable": shown,
                        "groundable_score": jitter.random(),
                        "boxes": [box] if shown else [],
                        "mask_rle": masks[blob] if shown else None,
                    }
                )
            out.write(json.dumps({"id": str(number), "text": "x" * 80, "ents": ents}) + "\n")


def _blob(number: int) -> np.ndarray:
    y, x = np.mgrid[:480, :640]
    angle = np.arctan2(y - 240, x - 320)
    radius = 120 + number + 25 * np.sin((3 + number % 7) * angle) + 6 * np.sin(40 * angle)
    return np.hypot(y - 240, x - 320) < radius


def timed(count: int) -> list[str]:
    """Seconds for reading and scoring `count` posts in all five tasks, as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        gold, predicted = Path(folder) / "gold.jsonl", Path(folder) / "predicted.jsonl"
        write_posts(gold, count, 0, noise=0.0)
        write_posts(predicted, count, 0, noise=0.3)
        clock, started = time.perf_counter(), time.process_time()
        first, second = read_annotations(predicted), read_annotations(gold)
        read = time.process_time()
        scores = score(first, second)
        done, wall = time.process_time(), time.perf_counter() - clock
    tasks = ", ".join(f"{name.upper()} {100 * task.total.f:.1f}" for name, task in scores.tasks.items())
    entities = scores.tasks["mner"].total.gold
    masks = sum(bool(mention.masks) for mention in second.mentions)
    return [
        f"{count} generated posts, {entities} entities, {masks} masks a side: read in {read - started:.2f} s, all five tasks with VE, VG and "
        f"mask IoU scored in {done - read:.2f} s, {done - started:.2f} s together ({tasks}).",
        f"Seconds of one processor; {wall:.1f} s passed, on a machine with a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
    ]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--posts", type=Path, required=True, help="folder with riveg_test_*.jsonl.gz and twitter_gmner_test.jsonl.gz"
    )
    parser.add_argument("--count", type=int, default=10000, help="posts of the timing (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scores.md"))
    args = parser.parse_args()
    lines = [
        "# The scorer, checked",
        "",
        "The paper authors' released test predictions (MNER and VE; they hold no boxes), against their gold file (rule `text`) and",
        "against the spans of the data set (rule `offset`):",
        "",
        *published(args.posts),
        "",
        *timed(args.count),
        "",
        "Made by `python benchmarks/scores.py --posts FOLDER`; the same numbers are asserted in `tests/scoring/test_tasks.py`.",
    ]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text("\n".join(lines) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
