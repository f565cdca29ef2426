"""Training posts again with other names in them: an entity's words in the post and in its knowledge make way for those of another of its type.

    python scripts/swap_mentions.py OUTPUT.jsonl POSTS.jsonl[.gz] [POSTS.jsonl ...] [--share 0.5] [--seed 1]

A small encoder knows the names of its training posts by heart after a few passes; with other names in their place it has to go by the
context and by what the knowledge says ("mention replacement", Dai and Adel, 2020). An entity that the knowledge mentions by other words
than the post is left as it is: the two would no longer speak of the same thing.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.ner.schemes import read_tags

# A post as compact JSON lines have it.
Row = dict[str, Any]


def named_otherwise(words: Sequence[str], knowledge: str) -> bool:
    """Whether the knowledge has some of the words, though not all in a row."""
    return any(len(word) > 2 and word.lower() in knowledge.lower() for word in words)


def in_knowledge(words: Sequence[str]) -> "re.Pattern[str]":
    """The words in a row, with or without blanks between them."""
    return re.compile(r"(?<!\w)" + r"\s*".join(re.escape(word) for word in words) + r"(?!\w)", re.IGNORECASE)


def swap(row: Row, pool: dict[str, list[list[str]]], share: float, rng: random.Random) -> Row | None:
    """The post with some of its entities renamed; None where none was."""
    tokens: list[str] = []
    tags: list[str] = []
    knowledge, position, changed = row.get("knowledge") or "", 0, False
    for start, end, label in read_tags(row["tags"]):
        tokens += row["tokens"][position:start]
        tags += row["tags"][position:start]
        old = row["tokens"][start:end]
        new = rng.choice(pool[label]) if rng.random() < share else old
        pattern = in_knowledge(old)
        if pattern.search(knowledge):
            knowledge = pattern.sub(lambda _, name=" ".join(new): name, knowledge)
        elif named_otherwise(old, knowledge):
            new = old
        tokens += new
        tags += [f"B-{label}"] + [f"I-{label}"] * (len(new) - 1)
        position, changed = end, changed or new != old
    if not changed:
        return None
    return {
        "id": f"{row['id']}-swapped",
        "tokens": tokens + row["tokens"][position:],
        "tags": tags + row["tags"][position:],
        "knowledge": knowledge,
    }


def main() -> None:
    """Write the posts and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("posts", type=Path, nargs="+", help="training posts: no others, names of dev and test stay unseen")
    parser.add_argument("--share", type=float, default=0.5, help="of the entities that are renamed")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rows = [row for path in args.posts for _, row in read_json_lines(path)]
    names: dict[str, dict[tuple[str, ...], None]] = {}
    for row in rows:
        for start, end, label in read_tags(row["tags"]):
            names.setdefault(label, {})[tuple(row["tokens"][start:end])] = None
    pool = {label: [list(words) for words in found] for label, found in names.items()}
    rng = random.Random(args.seed)
    written = 0
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", encoding="utf8") as file:
        for row in rows:
            other = swap(row, pool, args.share, rng)
            if other is not None:
                file.write(json.dumps(other, ensure_ascii=False) + "\n")
                written += 1
    print(f"{written} of {len(rows)} posts with other names -> {args.output}")


if __name__ == "__main__":
    main()
