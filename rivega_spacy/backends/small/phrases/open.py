"""Kinds of things beyond those that kinds.json describes by hand: some 1,450, with what WordNet 3.0 knows of their names.

open_kinds.json has for each the entity type ("label"), where names come from ("names": a list of names.json, or one name), other
words for it ("words"), wider ones ("broader"), the kinds of the bank that it is one of ("parents"), and whether photographs hold it
so often that no one annotates it ("common").
"""

import json
from pathlib import Path
from typing import NamedTuple

_STRUCTURES = ("LOC",)
ADJECTIVES = [
    "red",
    "blue",
    "green",
    "yellow",
    "black",
    "white",
    "brown",
    "grey",
    "golden",
    "colourful",
    "big",
    "small",
    "large",
    "little",
    "tiny",
    "huge",
    "old",
    "new",
    "modern",
    "beautiful",
    "famous",
    "lovely",
    "young",
    "wild",
    "wooden",
    "metal",
    "shiny",
    "bright",
    "dark",
    "tall",
    "vintage",
    "traditional",
    "favourite",
    "single",
]
TAILS = [
    "in the picture",
    "on the left",
    "in the middle",
    "outdoors",
    "in the sun",
    "at night",
    "seen from the front",
    "in a park",
    "on a table",
    "by the road",
    "in the background",
    "close up",
    "at a show",
    "on display",
    "in the city",
    "in the wild",
    "near the water",
    "from the collection",
]


class OpenKind(NamedTuple):
    """One kind of thing; fields as above."""

    name: str
    label: str
    names: str
    words: tuple[str, ...]
    broader: tuple[str, ...]
    parents: tuple[str, ...]
    common: bool

    @property
    def person(self) -> bool:
        """bool: Whether it is a person, or some."""
        return "person" in self.parents or (self.label == "ORG" and self.names == "@team")


def read_open_kinds(path: Path) -> dict[str, OpenKind]:
    """Read open_kinds.json.

    path (Path): The file.
    RETURNS (Dict[str, OpenKind]): By name.
    """
    rows = json.loads(path.read_text(encoding="utf8"))
    return {name: _kind(name, row) for name, row in rows.items()}


def _kind(name: str, row: dict) -> OpenKind:
    def words(key: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in row.get(key, "").split(",") if word.strip())

    return OpenKind(
        name, row["label"], row["names"], words("words"), words("broader"), tuple(row.get("parents", ())), bool(row.get("common"))
    )


def related(kinds: dict[str, OpenKind]) -> dict[str, list[str]]:
    """Kinds of which one may be another: they share a word, a wider word, or one is the wider word of the other.

    kinds (Dict[str, OpenKind]): All of them.
    RETURNS (Dict[str, List[str]]): For each kind those related to it, itself among them.
    """
    by_word: dict[str, list[str]] = {}
    words = {name: _all_words(kind) for name, kind in kinds.items()}
    for name, mine in words.items():
        for word in mine:
            by_word.setdefault(word, []).append(name)
    return {name: sorted({other for word in mine for other in by_word[word]}) for name, mine in words.items()}


def _all_words(kind: OpenKind) -> list[str]:
    names = [kind.name.lower(), *(word.lower() for word in kind.words), *(word.lower() for word in kind.broader)]
    # "road sign" and "bus stop sign" are both signs; "white wolf" may be the wolf.
    first = kind.name.lower().split(" with ")[0].split(" of ")[0].split(" in ")[0].split(" on ")[0].split()
    return list(dict.fromkeys([*names, first[-1]]))
