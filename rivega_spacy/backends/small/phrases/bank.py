"""The phrase bank: endless referring expressions for kinds of things, and for what no photograph shows."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....post.expressions import Expression
from .open import ADJECTIVES, TAILS, OpenKind, read_open_kinds

FOLDER = Path(__file__).parent
GROUPS: dict[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "horse", "cow", "sheep", "bird", "elephant", "bear", "zebra", "giraffe"),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train", "truck"),
}
_SLOT = re.compile(r"\{(\w+?)(2?)\}")
_VOWEL = re.compile(
    r"^(?!(uni|use|eu|one|ub|uk|us\b))[aeiou]|^(mp3|nba|nfl|mlb|nhl|led|lcd|hd|suv|x-|18|8|11|fm|hour|honest|heir|heiress)\b",
    re.IGNORECASE,
)


class Phrase(NamedTuple):
    """A named entity and how a post's reader would describe it."""

    name: str
    label: str
    expansion: str

    @property
    def expression(self) -> Expression:
        """Expression: As a network is asked."""
        return Expression(self.name, self.label, self.expansion)


def with_article(noun: str) -> str:
    """A noun phrase with "a" or "an", unless it has an article."""
    if re.match(r"(?i)(an?|the|my|his|her|our) ", noun):
        return noun
    return f"{'an' if _VOWEL.search(noun) else 'a'} {noun}"


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class PhraseBank:
    """Phrases by kind, drawn at random.

    folder (Path): Where kinds.json, open_kinds.json, absent.json and names.json lie.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        kinds = json.loads((folder / "kinds.json").read_text(encoding="utf8"))
        absent = json.loads((folder / "absent.json").read_text(encoding="utf8"))
        names = json.loads((folder / "names.json").read_text(encoding="utf8"))
        self.names: dict[str, list[str]] = {key: _split(text) for key, text in names.items()}
        self.kinds: list[str] = list(kinds)
        self.open: dict[str, OpenKind] = read_open_kinds(folder / "open_kinds.json")
        self.all_kinds: list[str] = self.kinds + list(self.open)
        # A kind's label and names are one text each, its nouns, adjectives and tails lists.
        self._kinds: dict[str, dict[str, Any]] = {
            kind: {field: text if field in ("label", "names") else _split(text) for field, text in entry.items()}
            for kind, entry in kinds.items()
        }
        self._tails: list[str] = absent.pop("tails")
        self._absent = {
            label: {
                "nouns": _split(entry["nouns"]),
                "names": entry["names"] if entry["names"].startswith("@") else _split(entry["names"]),
            }
            for label, entry in absent.items()
        }

    def sample(self, kind: str, rng: np.random.Generator) -> Phrase:
        """A phrase for a thing of one kind.

        kind (str): One of `all_kinds`.
        rng (np.random.Generator): Source of chance.
        RETURNS (Phrase): Name, entity type, expansion ("" for some persons).
        """
        if kind in self.open:
            return self._open(self.open[kind], rng)
        entry = self._kinds[kind]
        name, label = self._name(entry["names"], rng), entry["label"]
        if kind == "person":
            roll = rng.random()
            if roll < 0.13:
                return Phrase(name, label, "")
            if roll < 0.25:
                return Phrase(name, label, "a person")
            if roll < 0.30:
                return Phrase(name, label, with_article(self._pick(entry["nouns"], rng)) + ", a person")
        elif rng.random() < 0.08:
            # The name itself can be the noun, and taggers mistake the type of what they do not know.
            name = self._pick(entry["nouns"], rng)
        if kind in GROUPS["animal"] or kind == "animal":
            # Pets have the names of people, and taggers take them for people.
            label = "PER" if rng.random() < 0.3 else label
        elif rng.random() < 0.12:
            label = ("LOC", "ORG", "OTHER")[rng.integers(3)] if kind != "person" else "OTHER"
        # The first nouns of a kind are its commonest words.
        nouns = entry["nouns"][:4] if kind != "person" and rng.random() < 0.3 else entry["nouns"]
        noun = self._pick(nouns, rng)
        for _ in range(2):
            if rng.random() < 0.35:
                adjective = self._pick(entry["adjectives"], rng)
                noun = f"{adjective} {noun}" if adjective.lower() not in noun.lower() else noun
        text = f"the {noun}" if rng.random() < 0.12 else with_article(noun)
        if rng.random() < 0.4:
            text = f"{text} {self._fill(self._pick(entry['tails'], rng), kind, rng)}"
        if rng.random() < 0.1:
            text = f"{name} is {text}"
        return Phrase(name, label, text)

    def nouns(self, kind: str) -> list[str]:
        """The words for a kind of `kinds`."""
        return list(self._kinds[kind]["nouns"])

    def _open(self, kind: OpenKind, rng: np.random.Generator) -> Phrase:
        name = self._name(kind.names, rng) if kind.names.startswith("@") else kind.names
        label = kind.label
        roll = rng.random()
        if label == "OTHER" and "animal" in kind.parents:
            label = "PER" if roll < 0.2 else label
        elif roll < 0.1:
            label = ("LOC", "ORG", "OTHER")[rng.integers(3)]
        noun = kind.name
        roll = rng.random()
        if roll < 0.25 and kind.words:
            noun = self._pick(list(kind.words), rng)
        elif roll < 0.4 and kind.broader:
            noun = kind.broader[0]
        if kind.label != "PER":
            roll = rng.random()
            if roll < 0.12:
                # The name says what it is, as in "Blue Mosque"; the reader of the post knew no more.
                return Phrase(
                    f"{name.split()[0]} {kind.name.title()}", label, ("", "a place", "a thing", with_article(noun))[rng.integers(4)]
                )
            if roll < 0.2:
                name = noun
            elif roll < 0.25 and not kind.names.startswith("@"):
                return Phrase(name, label, ("", "an organisation", "a brand", "a company")[rng.integers(4)])
        elif rng.random() < 0.2:
            noun = f"{noun}, a person"
        if rng.random() < 0.25:
            noun = f"{self._pick(ADJECTIVES, rng)} {noun}"
        plural = noun.split()[-1] in ("people", "children", "women", "hands", "feet", "buildings", "packets") or noun == "crowd"
        text = f"the {noun}" if plural or rng.random() < 0.12 else with_article(noun)
        if rng.random() < 0.2:
            text = f"{text} {self._pick(TAILS, rng)}"
        return Phrase(name, label, text)

    def absent(self, rng: np.random.Generator) -> Phrase:
        """A phrase for what no photograph shows, or what these photographs do not annotate.

        rng (np.random.Generator): Source of chance.
        RETURNS (Phrase): Name, entity type, expansion ("" for some).
        """
        label = ("ORG", "LOC", "OTHER", "PER")[rng.choice(4, p=[0.36, 0.27, 0.35, 0.02])]
        entry = self._absent[label]
        names = entry["names"]
        name = self._name(names, rng) if isinstance(names, str) else self._pick(names, rng)
        if label != "PER" and rng.random() < 0.15:
            # Things take the names of persons, pets and products: the expansion decides.
            name = self._name(("@person", "@pet", "@car", "@ship", "@brand")[rng.integers(5)], rng)
        if label != "PER":
            roll = rng.random()
            if roll < 0.13:
                return Phrase(name, label, "")
            if roll < 0.25:
                return Phrase(name, label, with_article(entry["nouns"][0]))
        noun = self._pick(entry["nouns"], rng)
        if rng.random() < 0.3 and not re.match(r"(?i)(an? |the |us |k-pop|residence)", noun):
            noun = f"{self._pick(self._kinds['person']['adjectives'][:55], rng)} {noun}"
        text = f"the {noun}" if rng.random() < 0.1 else with_article(noun)
        return Phrase(name, label, text + self._fill(self._pick(self._tails, rng), "", rng))

    def _pick(self, items: list[str], rng: np.random.Generator) -> str:
        return items[rng.integers(len(items))]

    def _name(self, source: str, rng: np.random.Generator) -> str:
        if source == "@person":
            if rng.random() < 0.15:
                return self._pick(self.names["single"], rng)
            first, last = self._pick(self.names["first"], rng), self._pick(self.names["last"], rng)
            roll = rng.random()
            return first if roll < 0.1 else last if roll < 0.2 else f"{first} {last}"
        return self._pick(self.names[source[1:]], rng)

    def _fill(self, template: str, kind: str, rng: np.random.Generator) -> str:
        def slot(match: "re.Match[str]") -> str:
            name = match.group(1)
            if name == "noun":
                return self._pick(self._kinds[kind]["nouns"], rng)
            if name == "name":
                return self._pick(self.names["pet"], rng)
            return self._pick(self.names[name], rng)

        return _SLOT.sub(slot, template).replace("a American", "an American").replace("a artist", "an artist")


@lru_cache(maxsize=1)
def load_bank() -> PhraseBank:
    """PhraseBank: the one that comes with the package."""
    return PhraseBank()
