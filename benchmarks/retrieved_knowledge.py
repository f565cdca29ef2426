"""Knowledge of another kind: a tagger that is trained further on retrieved passages, against none.

    python benchmarks/retrieved_knowledge.py passages POSTS/twitter_gmner_train.jsonl.gz corpus/annotated.jsonl --kind annotated
    rivega index corpus/annotated.jsonl corpus/annotated.sqlite
    rivega retrieve corpus/annotated.sqlite POSTS/twitter_gmner_train.jsonl.gz corpus/annotated/train.jsonl --overwrite     (dev, test alike)
    rivega convert corpus/annotated/train.jsonl corpus/annotated/train.spacy --format jsonl                                 (dev, test alike)
    spacy train configs/tune_tagger.cfg --paths.start rivega_twitter --paths.train corpus/annotated/train.spacy \
        --paths.dev corpus/annotated/dev.spacy --training.batcher.size 32 --training.max_steps 438 --training.eval_frequency 219 \
        --output training/retrieved_annotated
    python benchmarks/retrieved_knowledge.py score corpus/annotated/test.spacy rivega_twitter training/retrieved_annotated/model-best

Passages are made of training posts alone: `annotated` is a post behind the list of its gold entities, `answers` what a language model once
answered about it. A post never gets the passage about itself.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin

from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.post.jsonl import write_lines

KINDS = {"PER": "person", "LOC": "location", "ORG": "organization", "OTHER": "other"}


def spans(tokens: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """Text and type of the entities of BIO tags."""
    found: list[tuple[list[str], str]] = []
    for token, tag in zip(tokens, tags):
        if tag.startswith("B-"):
            found.append(([token], tag[2:]))
        elif tag.startswith("I-") and found:
            found[-1][0].append(token)
    return [(" ".join(words), label) for words, label in found]


def passages(posts: Path, output: Path, kind: str) -> None:
    """Write the passages of training posts, one JSON line each."""
    written = write_lines(output, rows_of(posts, kind))
    print(f"{written} passages -> {output}")


def rows_of(posts: Path, kind: str) -> Iterator[dict[str, str]]:
    """The passages, by the id of their post."""
    for _, row in read_json_lines(posts):
        named = spans(row["tokens"], row["tags"])
        if kind == "annotated":
            listed = "; ".join(f"{name} ({KINDS[label]})" for name, label in named)
            text = f"{listed} in: {' '.join(row['tokens'])}" if named else ""
        else:
            text = row.get("knowledge") or ""
        if text:
            yield {"id": row["id"], "text": text}


def score(test: Path, models: list[str], knowledge: bool, everything: bool) -> None:
    """Print P, R and F1 of entities by offset and type."""
    for model in models:
        nlp = spacy.load(model, exclude=["rivega_expander", "rivega_entailment", "rivega_grounder", "rivega_segmenter"])
        if everything:
            nlp.get_pipe("rivega_ner").min_score = nlp.get_pipe("rivega_ner").min_score_bare = 0.0
        gold = list(DocBin().from_disk(test).get_docs(nlp.vocab))
        docs = []
        for doc in gold:
            copy = Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
            copy._.knowledge = doc._.knowledge if knowledge else None
            docs.append(copy)
        right = found = wanted = 0
        for one, other in zip(gold, nlp.pipe(docs, batch_size=128)):
            mine = {(ent.start, ent.end, ent.label_) for ent in other.ents}
            theirs = {(ent.start, ent.end, ent.label_) for ent in one.ents}
            right, found, wanted = right + len(mine & theirs), found + len(mine), wanted + len(theirs)
        p, r = 100 * right / max(found, 1), 100 * right / wanted
        how = ("with" if knowledge else "without") + (", nothing left out" if everything else "")
        print(
            f"{model}, {how}: P {p:.2f}, R {r:.2f}, F1 {200 * right / (found + wanted):.2f} ({right} / {found} / {wanted})",
            flush=True,
        )


def main() -> None:
    """`passages` or `score`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("passages")
    making.add_argument("posts", type=Path)
    making.add_argument("output", type=Path)
    making.add_argument("--kind", choices=["annotated", "answers"], required=True)
    scoring = commands.add_parser("score")
    scoring.add_argument("test", type=Path)
    scoring.add_argument("models", nargs="+")
    scoring.add_argument("--without", action="store_true", help="take the knowledge away")
    scoring.add_argument("--everything", action="store_true", help="leave nothing out for being improbable")
    arguments = parser.parse_args()
    if arguments.command == "passages":
        passages(arguments.posts, arguments.output, arguments.kind)
    else:
        score(arguments.test, arguments.models, not arguments.without, arguments.everything)


if __name__ == "__main__":
    main()
