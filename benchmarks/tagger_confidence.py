"""How well the tagger's `ner_score` says how likely an entity is right, and what leaving out the improbable ones brings.

    python benchmarks/tagger_confidence.py MODEL DEV.spacy                                        choose on dev: tables over both settings
    python benchmarks/tagger_confidence.py MODEL TEST.spacy --temperature 2.0 --min-score 0.4     measure one choice on test

Posts are read once with and once without knowledge; settings change what is done with their scores, so the encoder runs twice in all.
The expected calibration error has ten bins of equal width over the entities that are found. Entities match by offset and type. Prints Markdown.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from spacy.util import minibatch

from rivega_spacy.corpus.reader import PostCorpus
from rivega_spacy.scoring.calibration import calibration_error, reliability

TEMPERATURES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
MIN_SCORES = (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
BATCH = 128

Entity = tuple[int, int, str]


class Scored(NamedTuple):
    """A batch: the model's scores of it, and its gold entities by first token, end and type."""

    scores: Any
    gold: list[set[Entity]]


def read(nlp: Any, path: str, *, with_z: bool) -> list[Scored]:
    """Every batch of a file through encoder and head."""
    encoder, tagger = nlp.get_pipe("transformer"), nlp.get_pipe("rivega_ner")
    batches = []
    for examples in minibatch(PostCorpus(path, knowledge="present" if with_z else "absent")(nlp), BATCH):
        posts = [example.predicted for example in examples]
        encoder.set_annotations(posts, encoder.predict(posts))
        gold = [{(ent.start, ent.end, ent.label_) for ent in example.reference.ents} for example in examples]
        batches.append(Scored(tagger.model.predict(posts), gold))
    return batches


def judged(tagger: Any, batches: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores of the entities found, whether each is right, and how many there are in gold."""
    likely: list[float] = []
    right: list[bool] = []
    for batch in batches:
        found = tagger.decode(batch.scores)
        likely += found.scores
        right += [
            (s, e, label) in batch.gold[post] for post, s, e, label in zip(found.posts, found.starts, found.ends, found.labels)
        ]
    return np.array(likely), np.array(right), sum(len(ents) for batch in batches for ents in batch.gold)


def f1(right: np.ndarray, gold: int) -> float:
    """In percent."""
    return 200 * float(right.sum()) / max(1, len(right) + gold)


def log_loss(likely: np.ndarray, right: np.ndarray) -> float:
    """Mean negative logarithm of the probability given to what was the case."""
    return float(-np.log(np.clip(np.where(right, likely, 1 - likely), 1e-6, None)).mean())


def choices(nlp: Any, path: str) -> Iterator[str]:
    """Tables over temperature, and over both settings."""
    tagger = nlp.get_pipe("rivega_ner")
    for with_z in (True, False):
        batches = read(nlp, path, with_z=with_z)
        yield f"{'With' if with_z else 'Without'} knowledge. F1 by `min_score` (columns) and temperature (rows):"
        yield ""
        yield "| temperature | ECE | log loss | " + " | ".join(f"{score:.2f}" for score in MIN_SCORES) + " |"
        yield "|---" * (3 + len(MIN_SCORES)) + "|"
        for temperature in TEMPERATURES:
            tagger.temperature, tagger.min_score = temperature, 0.0
            likely, right, gold = judged(tagger, batches)
            cells = [f"{f1(right[likely >= score], gold):.2f}" for score in MIN_SCORES]
            yield (
                f"| {temperature} | {calibration_error(reliability(likely, right)):.3f} | {log_loss(likely, right):.3f} | "
                + " | ".join(cells)
                + " |"
            )
        yield ""


def one_choice(nlp: Any, path: str, temperature: float, min_score: float) -> Iterator[str]:
    """Before and after, on posts on which nothing was chosen."""
    tagger = nlp.get_pipe("rivega_ner")
    yield "| knowledge | temperature | min_score | P | R | F1 | ECE |"
    yield "|---|---|---|---|---|---|---|"
    for with_z in (True, False):
        batches = read(nlp, path, with_z=with_z)
        for settings in ((1.0, 0.0), (temperature, min_score)):
            tagger.temperature, tagger.min_score = settings
            likely, right, gold = judged(tagger, batches)
            precision, recall = 100 * right.mean(), 100 * right.sum() / gold
            figures = (
                f"{precision:.2f} | {recall:.2f} | {f1(right, gold):.2f} | {calibration_error(reliability(likely, right)):.3f}"
            )
            yield f"| {'with' if with_z else 'without'} | {settings[0]} | {settings[1]} | {figures} |"


def main() -> None:
    """The command line."""
    import spacy

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("posts", help=".spacy file (rivega convert)")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--min-score", type=float)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.load(args.model)
    nlp.get_pipe("rivega_ner").span_scores = True
    single = args.temperature is not None or args.min_score is not None
    lines = one_choice(nlp, args.posts, args.temperature or 1.0, args.min_score or 0.0) if single else choices(nlp, args.posts)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
