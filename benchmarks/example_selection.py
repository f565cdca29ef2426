"""Do the examples that are chosen for a prompt speak of the same kinds of things as the post? Without a language model.

    python benchmarks/example_selection.py photos corpus/decides training/decides_picture/model-best
    python benchmarks/example_selection.py texts POSTS/annotated_examples.jsonl corpus/test.spacy --fusion training/decides_picture/model-best

`photos`: posts of benchmarks/picture_decides.py, whose text does not tell the type and whose photograph does; examples are 400 training
posts, queries the test posts. Figure: share of the N chosen examples with the query's type. `texts`: the published annotated examples of
Twitter-2015 and -2017 (without those that are the query itself), queries the first posts of a Twitter test set that have entities, which have
no pictures here. Figures: share of the query's entity types that the N examples show, and share of its entities of which an example has a word.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc, DocBin

from rivega_spacy.knowledge.encoders import ColourEncoder, HashedTextEncoder
from rivega_spacy.knowledge.example_bank import unit_rows
from rivega_spacy.knowledge.examples import fingerprint
from rivega_spacy.knowledge.fusion import FusionFeatures
from rivega_spacy.post.images import doc_image
from rivega_spacy.post.jsonl import read_lines

NUMBERS = (1, 5, 10)
Vectors = Callable[[Sequence[Doc]], np.ndarray]


def bare(docs: Sequence[Doc]) -> list[Doc]:
    """The posts without pictures."""
    return [Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc]) for doc in docs]


def encoder_of(nlp: Any) -> Vectors:
    """Mean of the vectors of a pipeline's text encoder."""

    def vectors(docs: Sequence[Doc]) -> np.ndarray:
        rows = []
        for doc in nlp.get_pipe("transformer").pipe(bare(docs), batch_size=64):
            hidden = doc._.trf_data.model_output.last_hidden_state
            rows.append(np.asarray(hidden, dtype="float32").reshape(-1, hidden.shape[-1]).mean(axis=0))
        return np.stack(rows)

    return vectors


def colours(docs: Sequence[Doc]) -> np.ndarray:
    images = [doc_image(doc, "benchmark") for doc in docs]
    return np.concatenate([ColourEncoder()([image]) for image in images if image is not None])


def cosines(queries: np.ndarray, examples: np.ndarray) -> np.ndarray:
    return unit_rows(queries) @ unit_rows(examples).T


def photos(folder: Path, model: str) -> None:
    """Print the share of chosen examples that have the query's type."""
    vocab = spacy.blank("rivega").vocab
    examples = list(DocBin().from_disk(folder / "train.spacy").get_docs(vocab))[:400]
    queries = list(DocBin().from_disk(folder / "test.spacy").get_docs(vocab))
    types = np.array([doc.ents[0].label_ for doc in examples])
    wanted = np.array([doc.ents[0].label_ for doc in queries])
    fusion, hashed = FusionFeatures(model), HashedTextEncoder()
    by_words = cosines(hashed(queries), hashed(examples))
    scores = {
        "fusion features": cosines(fusion(queries), fusion(examples)),
        "the same tagger's features without pictures": cosines(fusion(bare(queries)), fusion(bare(examples))),
        "hashed words and colours, half and half": 0.5 * by_words + 0.5 * cosines(colours(queries), colours(examples)),
        "hashed words": by_words,
        "random": np.random.default_rng(0).random((len(queries), len(examples))),
    }
    for name, matrix in scores.items():
        order = np.argsort(-matrix, axis=1, kind="stable")
        shares = [100 * (types[order[:, :n]] == wanted[:, None]).mean() for n in NUMBERS]
        print(f"{name}: " + ", ".join(f"N={n} {share:.1f}" for n, share in zip(NUMBERS, shares)), flush=True)


def texts(annotated: Path, test: Path, fusion: str, limit: int) -> None:
    """Print how much of the queries' entities the chosen examples show."""
    nlp = spacy.load("rivega_twitter", exclude=["rivega_expander", "rivega_entailment", "rivega_grounder", "rivega_segmenter"])
    examples, kinds, words = [], [], []
    for _, row in read_lines(annotated):
        if isinstance(row, dict):
            tokens, tags = row["tokens"], row["tags"]
            examples.append(Doc(nlp.vocab, words=tokens))
            kinds.append({tag[2:].replace("MISC", "OTHER") for tag in tags if tag != "O"})
            words.append({token.lower() for token, tag in zip(tokens, tags) if tag != "O"})
    queries = [doc for doc in DocBin().from_disk(test).get_docs(nlp.vocab) if doc.ents][:limit]
    hashed, encoder, fused = HashedTextEncoder(), encoder_of(nlp), FusionFeatures(fusion)
    print(f"{len(queries)} queries, {len(examples)} examples")
    rng = np.random.default_rng(0)
    order = list(range(len(examples)))
    random.Random(0).shuffle(order)
    fixed = np.tile(-np.argsort(order), (len(queries), 1)).astype(float)
    scores = {
        "hashed words": cosines(hashed(queries), hashed(examples)),
        "the shipped tagger's encoder": cosines(encoder(queries), encoder(examples)),
        "fusion features without pictures": cosines(fused(bare(queries)), fused(examples)),
        "random": rng.random((len(queries), len(examples))),
        "fixed": fixed,
    }
    same = np.array([[fingerprint(one.text) == fingerprint(other.text) for other in examples] for one in queries])
    for name, matrix in scores.items():
        order_of = np.argsort(-np.where(same, -np.inf, matrix), axis=1, kind="stable")
        told = []
        for n in NUMBERS:
            type_share, name_hits, names = 0.0, 0, 0
            for row, doc in enumerate(queries):
                chosen = order_of[row, :n]
                shown = set().union(*(kinds[index] for index in chosen))
                seen = set().union(*(words[index] for index in chosen))
                gold = {ent.label_ for ent in doc.ents}
                type_share += len(gold & shown) / len(gold)
                names += len(doc.ents)
                name_hits += sum(any(token.lower_ in seen for token in ent) for ent in doc.ents)
            told.append(f"N={n} {100 * type_share / len(queries):.1f} / {100 * name_hits / names:.1f}")
        print(f"{name}: " + ", ".join(told), flush=True)


def main() -> None:
    """`photos` or `texts`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("photos")
    first.add_argument("folder", type=Path, help="what picture_decides.py made")
    first.add_argument("model")
    second = commands.add_parser("texts")
    second.add_argument("annotated", type=Path)
    second.add_argument("test", type=Path)
    second.add_argument("--fusion", required=True)
    second.add_argument("--limit", type=int, default=500)
    arguments = parser.parse_args()
    if arguments.command == "photos":
        photos(arguments.folder, arguments.model)
    else:
        texts(arguments.annotated, arguments.test, arguments.fusion, arguments.limit)


if __name__ == "__main__":
    main()
