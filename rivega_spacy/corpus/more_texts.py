"""Annotated texts beside Twitter-GMNER, for a tagger that carries over: WNUT-17, the Broad Twitter Corpus and CoNLL-2003.

Writes {wnut17,btc,conll03}.jsonl with the lines that train: what is for measuring, and what benchmarks/tagger_carry.py chooses on
(`held_back`), is left out. The Broad Twitter Corpus has no OTHER, which its lines say (`missing_labels`). It cuts "@" off a handle and
calls both an entity; here, as in Twitter-GMNER, "@" is outside and the name may be one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..corpus.posts_jsonl import read_json_lines

Row = dict[str, Any]
BTC = ("btc_a", "btc_b", "btc_e", "btc_g", "btc_h")
FILES = {"wnut17": ("wnut17_train",), "btc": BTC, "conll03": ("conll03_train",)}
# Sections of the Broad Twitter Corpus have no dev set: of these lines nothing is learnt.
STORIES = 1000
FIRST_HALF, CHOOSE_FROM = 1000, 800


def held_back(name: str, line: int, lines: int) -> bool:
    """Whether a line of a corpus without a dev set of its own is kept from training to choose on.

    name (str): The file, without its ending.
    line (int), lines (int): Number of the line from 0, and how many there are.
    """
    if name == "conll03_train":
        return line >= lines - STORIES  # whole news stories: neighbouring sentences share their names
    if name == "btc_h":
        return CHOOSE_FROM <= line < FIRST_HALF
    return name.startswith("btc_") and line % 10 == 9


def measured(name: str, line: int) -> bool:
    """Whether a line is for measuring alone: the second half of section H."""
    return name == "btc_h" and line >= FIRST_HALF


def without_at(tokens: Sequence[str], tags: Sequence[str]) -> list[str]:
    """BIO tags with every "@" outside."""
    result = list(tags)
    for place, token in enumerate(tokens):
        if token == "@" and result[place] != "O":
            if place + 1 < len(tokens) and result[place + 1][:2] == "I-":
                result[place + 1] = "B" + result[place + 1][1:]
            result[place] = "O"
    return result


def training_rows(folder: Path, corpus: str) -> Iterator[Row]:
    """YIELDS (Dict): Rows for `rivega convert`."""
    for name in FILES[corpus]:
        rows = [row for _, row in read_json_lines(folder / f"{name}.jsonl.gz")]
        for line, row in enumerate(rows):
            if held_back(name, line, len(rows)) or measured(name, line):
                continue
            if corpus == "btc":
                row = {**row, "tags": without_at(row["tokens"], row["tags"]), "missing_labels": ["OTHER"]}
            yield row
