"""How far the tagger carries: one pipeline on every text at hand, with and without knowledge.

    python benchmarks/tagger_carry.py MODEL POSTS --part dev                       choose here
    python benchmarks/tagger_carry.py MODEL POSTS --part test                      measure once
    python benchmarks/tagger_carry.py MODEL POSTS --part dev --calibration         F1 and ECE by temperature and `min_score`

POSTS is the folder of compact JSON lines (rivega data more-texts says which lines of them train). Entities match by offset and type.
Of the Broad Twitter Corpus, which annotates no OTHER and makes an entity of every "@", neither is counted, found or gold. Prints Markdown.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch
from tagger_confidence import f1, log_loss

from rivega_spacy.corpus.more_texts import BTC, held_back, measured
from rivega_spacy.corpus.posts_jsonl import make_docs, read_json_lines
from rivega_spacy.corpus.reader import bare_copy
from rivega_spacy.scoring.calibration import calibration_error, reliability

BATCH = 128
TEMPERATURES = (1.0, 1.25, 1.5, 1.75, 2.0)
MIN_SCORES = (0.0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55)


LABELS = ("PER", "LOC", "ORG", "OTHER")


class TextSet(NamedTuple):
    """Texts to measure on.

    files (Sequence[str]): Names without ending.
    knowledge (bool): Whether their knowledge is shown to the tagger.
    chosen (Callable): From file name, line and count of lines to whether a line belongs to the set.
    handles (bool): Whether an entity that begins with "@" counts.
    labels (Sequence[str]): Types that count.
    """

    files: Sequence[str]
    knowledge: bool = False
    chosen: Callable[[str, int, int], bool] = lambda name, line, lines: True
    handles: bool = True
    labels: Sequence[str] = LABELS


def only_measured(name: str, line: int, lines: int) -> bool:
    """Of section H of the Broad Twitter Corpus the second half."""
    return measured(name, line)


SETS: dict[str, dict[str, TextSet]] = {
    "dev": {
        "Twitter-GMNER dev, with knowledge": TextSet(["twitter_gmner_dev"], knowledge=True),
        "Twitter-GMNER dev, without": TextSet(["twitter_gmner_dev"]),
        "WNUT-17 dev": TextSet(["wnut17_dev"]),
        "BTC, held back": TextSet(BTC, chosen=held_back, handles=False, labels=LABELS[:3]),
        "CoNLL-2003 train, held back": TextSet(["conll03_train"], chosen=held_back),
    },
    "test": {
        "Twitter-GMNER test, with knowledge": TextSet(["twitter_gmner_test"], knowledge=True),
        "Twitter-GMNER test, without": TextSet(["twitter_gmner_test"]),
        "WNUT-17 test": TextSet(["wnut17_test"]),
        "BTC H, second half": TextSet(["btc_h"], chosen=only_measured, handles=False, labels=LABELS[:3]),
        "CoNLL-2003 validation": TextSet(["conll03_val"]),
    },
}


def gold_posts(folder: Path, texts: TextSet, vocab: Any) -> list[Doc]:
    """The posts of a set with their gold entities."""
    posts: list[Doc] = []
    for name in texts.files:
        rows = [row for _, row in read_json_lines(folder / f"{name}.jsonl.gz")]
        chosen = [(line, row) for line, row in enumerate(rows) if texts.chosen(name, line, len(rows))]
        posts += make_docs(chosen, vocab, source=name)
    return [post for post in posts if len(post)]


def counted(post: Doc, start: int, end: int, label: str, texts: TextSet) -> bool:
    """Whether an entity, found or gold, is of a kind that the set counts."""
    return label in texts.labels and (texts.handles or not post[start].text.startswith("@"))


class Scored(NamedTuple):
    """A batch: the model's scores, and its posts."""

    scores: Any
    posts: list[Doc]


def read(nlp: Language, folder: Path, texts: TextSet) -> list[Scored]:
    """Every batch of a set through encoder and head."""
    encoder, tagger = nlp.get_pipe("transformer"), nlp.get_pipe("rivega_ner")
    batches = []
    for posts in minibatch(gold_posts(folder, texts, nlp.vocab), BATCH):
        bare = [bare_copy(post) for post in posts]
        for post in bare:
            post._.knowledge = post._.knowledge if texts.knowledge else None
        encoder.set_annotations(bare, encoder.predict(bare))
        batches.append(Scored(tagger.model.predict(bare), posts))
    return batches


class Judged(NamedTuple):
    """The entities found in a set.

    likely (ndarray), right (ndarray), right_span (ndarray): `ner_score`, whether right, whether right but for the type.
    labels (List[str]): Their types.
    gold (Dict[str, int]): Gold entities by type.
    """

    likely: np.ndarray
    right: np.ndarray
    right_span: np.ndarray
    labels: list[str]
    gold: dict[str, int]


def judge(tagger: Any, batches: Sequence[Scored], texts: TextSet) -> Judged:
    """Decode and compare with gold."""
    likely: list[float] = []
    right: list[bool] = []
    right_span: list[bool] = []
    labels: list[str] = []
    gold: dict[str, int] = dict.fromkeys(texts.labels, 0)
    for batch in batches:
        wanted: list[dict[tuple[int, int], str]] = []
        for post in batch.posts:
            ents = [(ent.start, ent.end, ent.label_) for ent in post.ents if counted(post, ent.start, ent.end, ent.label_, texts)]
            wanted.append({(start, end): label for start, end, label in ents})
            for _, _, label in ents:
                gold[label] += 1
        found = tagger.decode(batch.scores, [0.0] * len(batch.posts))
        for row, start, end, label, score in zip(found.posts, found.starts, found.ends, found.labels, found.scores):
            if counted(batch.posts[row], start, end, label, texts):
                likely.append(score)
                right_span.append((start, end) in wanted[row])
                right.append(wanted[row].get((start, end)) == label)
                labels.append(label)
    return Judged(np.array(likely), np.array(right, dtype=bool), np.array(right_span, dtype=bool), labels, gold)


def table(nlp: Language, folder: Path, part: str) -> Iterator[str]:
    """F1 of every set as the pipeline is set, by type, for spans alone, and how well `ner_score` says how likely an entity is right."""
    tagger = nlp.get_pipe("rivega_ner")
    yield "| texts | P | R | F1 | right / found / gold | " + " | ".join(LABELS) + " | spans alone | ECE |"
    yield "|---" * (7 + len(LABELS)) + "|"
    bare = tagger.min_score if tagger.min_score_bare is None else tagger.min_score_bare
    for name, texts in SETS[part].items():
        result = judge(tagger, read(nlp, folder, texts), texts)
        kept = result.likely >= (tagger.min_score if texts.knowledge else bare)
        right, total = result.right[kept], sum(result.gold.values())
        cells = [f"{100 * right.mean():.2f}", f"{100 * right.sum() / total:.2f}", f"{f1(right, total):.2f}"]
        cells.append(f"{right.sum()} / {kept.sum()} / {total}")
        for label in LABELS:
            mine = kept & np.array([given == label for given in result.labels])
            cells.append(f"{f1(result.right[mine], result.gold[label]):.1f}" if label in texts.labels else "")
        cells += [f"{f1(result.right_span[kept], total):.2f}", f"{calibration_error(reliability(result.likely, result.right)):.3f}"]
        yield f"| {name} | " + " | ".join(cells) + " |"


def calibration(nlp: Language, folder: Path, part: str) -> Iterator[str]:
    """F1 by temperature and `min_score`, set by set."""
    tagger = nlp.get_pipe("rivega_ner")
    for name, texts in SETS[part].items():
        batches = read(nlp, folder, texts)
        yield f"{name}. F1 by `min_score` (columns) and temperature (rows):"
        yield ""
        yield "| temperature | ECE | log loss | " + " | ".join(f"{score:.2f}" for score in MIN_SCORES) + " |"
        yield "|---" * (3 + len(MIN_SCORES)) + "|"
        for temperature in TEMPERATURES:
            tagger.temperature = temperature
            result = judge(tagger, batches, texts)
            total = sum(result.gold.values())
            cells = [f"{f1(result.right[result.likely >= score], total):.2f}" for score in MIN_SCORES]
            ece = calibration_error(reliability(result.likely, result.right))
            yield f"| {temperature} | {ece:.3f} | {log_loss(result.likely, result.right):.3f} | " + " | ".join(cells) + " |"
        yield ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("posts", type=Path, help="folder of compact JSON lines")
    parser.add_argument("--part", choices=tuple(SETS), default="dev")
    parser.add_argument("--calibration", action="store_true", help="tables over temperature and min_score")
    parser.add_argument("--bf16", action="store_true", help="the encoder in bfloat16")
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp = spacy.load(args.model)
    nlp.get_pipe("rivega_ner").span_scores = True
    nlp.get_pipe("transformer").model.attrs["settings"].bf16 |= args.bf16
    for line in (calibration if args.calibration else table)(nlp, args.posts, args.part):
        print(line, flush=True)


if __name__ == "__main__":
    main()
