"""Training posts again with other names in them: an entity's words in the post and in its knowledge make way for those of another of its type.

A small encoder knows the names of its training posts by heart after a few passes; with other names in their place it has to go by the
context and by what the knowledge says ("mention replacement", Dai and Adel, 2020). An entity that the knowledge mentions by other words
than the post is left as it is: the two would no longer speak of the same thing.
"""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..corpus.posts_jsonl import read_json_lines
from ..ner.schemes import read_tags

# A post as compact JSON lines have it.
Row = dict[str, Any]


def named_otherwise(words: Sequence[str], knowledge: str) -> bool:
    """Whether the knowledge has some of the words, though not all in a row."""
    return any(len(word) > 2 and word.lower() in knowledge.lower() for word in words)


def in_knowledge(words: Sequence[str]) -> "re.Pattern[str]":
    """The words in a row, with or without blanks between them."""
    return re.compile(r"(?<!\w)" + r"\s*".join(re.escape(word) for word in words) + r"(?!\w)", re.IGNORECASE)


def swap(row: Row, pool: dict[str, list[list[str]]], share: float, rng: random.Random) -> Row | None:
    """The post with some of its entities renamed; None if none was."""
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
    renamed = {
        "id": f"{row['id']}-swapped",
        "tokens": tokens + row["tokens"][position:],
        "tags": tags + row["tags"][position:],
        "knowledge": knowledge,
    }
    # Other names do not tell what the corpus leaves unannotated.
    return {**renamed, "missing_labels": row["missing_labels"]} if "missing_labels" in row else renamed


def swapped(paths: Sequence[Path], *, share: float = 0.5, seed: int = 1) -> tuple[list[Row], int]:
    """Training posts with other names in them.

    paths (Sequence[Path]): Training posts: no others, so that names of dev and test stay unseen.
    share (float): Of the entities that are renamed.
    seed (int): Of the choice.
    RETURNS (Tuple[List[Row], int]): The posts that changed, and how many there were.
    """
    rows = [row for path in paths for _, row in read_json_lines(path)]
    names: dict[str, dict[tuple[str, ...], None]] = {}
    for row in rows:
        for start, end, label in read_tags(row["tags"]):
            names.setdefault(label, {})[tuple(row["tokens"][start:end])] = None
    pool = {label: [list(words) for words in found] for label, found in names.items()}
    rng = random.Random(seed)
    others = (swap(row, pool, share, rng) for row in rows)
    return [row for row in others if row is not None], len(rows)
