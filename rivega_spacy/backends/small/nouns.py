"""Nouns and the thousand ImageNet classes: which classes count for a word, and in which way.

The table is made once, for training, from WordNet's hypernyms and the likeness of word vectors (`make_table`), and travels with the
weights. Three relations are kept apart, since the network learns how far to trust each:

IS    the class is what the noun names, or a kind of it: "dog" and each of the 118 breeds
KIN   the class is near the noun in WordNet, not below it: "bell tower" and church, "Eiffel Tower" and what else is a tower
LIKE  the words mean something alike: "violinist" and violin
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .lite import CLASSES
from .phrases.bank import load_bank
from .wordnet import PHYSICAL, WordNet, read_wordnet

IS, KIN, LIKE = range(3)
RELATIONS = 3
# A noun with more classes below it ("artifact") says nothing about any of them.
TOO_GENERAL = 420
# How far up KIN goes, how much it loses at each step, and below how many classes it finds there.
KIN_STEPS, KIN_DECAY, KIN_MOST = 3, 0.6, 45
LIKE_MOST, LIKE_LEAST = 8, 0.42
LONGEST = 4
_CLASSES = Path(__file__).with_name("imagenet_classes.txt")
_WORD = re.compile(r"[a-z0-9]+(?:['&-][a-z0-9]+)*")
# The thing itself stands before these: "a tower in Paris", "a dog that swims".
_END = re.compile(
    r"\s(?:of|with|in|on|at|by|from|for|near|who|that|which|is|was|and|or|to|wearing|holding|riding|called|named)\s|[,;:.(]",
    re.IGNORECASE,
)
# What the phrase of an unknown thing is: its name may say more.
_ARTICLES = frozenset(["a", "an", "the", "my", "our", "his", "her", "their", "your", "this", "that"])
_EMPTY = frozenset(
    [
        "person",
        "people",
        "place",
        "thing",
        "organisation",
        "organization",
        "company",
        "brand",
        "entity",
        "object",
        "product",
        "location",
        "group",
        "team",
    ]
)


def class_synsets() -> list[int]:
    """WordNet 3.0 offsets of the thousand classes, in the order of the classifier's outputs."""
    return [int(line[1:]) for line in _CLASSES.read_text(encoding="utf8").split()]


def singulars(word: str) -> Iterator[str]:
    """A word, then what it may be the plural of."""
    yield word
    for ending, instead in (("ies", "y"), ("men", "man"), ("ves", "f"), ("children", "child"), ("es", ""), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            yield word[: -len(ending)] + instead


class NounTable(nn.Module):
    """Nouns with their classes, as buffers.

    text (Tensor): uint8, the nouns joined by line feeds.
    start (Tensor): N + 1, where the entries of each noun start.
    column (Tensor): M int16, relation * CLASSES + class.
    weight (Tensor): M uint8, in 255ths.
    Sizes at the start (replaced by what is loaded): length of the text, N, M.
    """

    def __init__(self, length: int = 0, nouns: int = 0, entries: int = 0) -> None:
        super().__init__()
        self.register_buffer("text", torch.zeros(length, dtype=torch.uint8))
        self.register_buffer("start", torch.zeros(nouns + 1, dtype=torch.int32))
        self.register_buffer("column", torch.zeros(entries, dtype=torch.int16))
        self.register_buffer("weight", torch.zeros(entries, dtype=torch.uint8))
        self._places: dict[str, int] | None = None

    def set_table(self, rows: dict[str, dict[int, float]]) -> None:
        """Store nouns.

        rows (Dict[str, Dict[int, float]]): For each noun the weights, 0..1, by relation * CLASSES + class.
        """
        self.text = torch.from_numpy(np.frombuffer("\n".join(rows).encode("utf8"), np.uint8).copy())
        counts = np.cumsum([0, *(len(row) for row in rows.values())])
        self.start = torch.from_numpy(counts.astype(np.int32))
        self.column = torch.tensor([column for row in rows.values() for column in row], dtype=torch.int16)
        weights = [value for row in rows.values() for value in row.values()]
        self.weight = torch.tensor(np.round(np.clip(weights, 0, 1) * 255), dtype=torch.uint8)
        self._places = None

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        # The table takes the size of what is loaded.
        for name in ("text", "start", "column", "weight"):
            stored = state_dict.get(prefix + name)
            if stored is not None and stored.shape != getattr(self, name).shape:
                setattr(self, name, torch.zeros(stored.shape, dtype=getattr(self, name).dtype))
        self._places = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def places(self) -> dict[str, int]:
        """Dict[str, int]: Row of each noun."""
        if self._places is None:
            nouns = self.text.cpu().numpy().tobytes().decode("utf8").split("\n")
            self._places = {noun: row for row, noun in enumerate(nouns) if noun}
        return self._places

    def find(self, name: str, expansion: str) -> int | None:
        """The row of the noun that says what a thing is.

        name (str): Its name, which is asked where the expansion says nothing.
        expansion (str): For example "a bell tower in Pisa".
        RETURNS (Optional[int]): The row, None if no noun is known.
        """
        head = [word for word in _WORD.findall(_END.split(" " + expansion)[0].lower()) if word not in _ARTICLES]
        words = head if any(word not in _EMPTY for word in head) else _WORD.findall(name.lower())
        # The longest noun that ends the phrase; "a football league" is no football.
        for begin in range(max(0, len(words) - LONGEST), len(words)):
            row = self._row(words[begin:])
            if row is not None:
                return row
        return None

    def _row(self, words: Sequence[str]) -> int | None:
        for last in singulars(words[-1]):
            row = self.places.get(" ".join([*words[:-1], last]))
            if row is not None:
                return row
        return None

    def forward(self, phrases: Sequence[tuple[str, str]]) -> Tensor:
        """Which classes count for phrases.

        phrases (Sequence[Tuple[str, str]]): N names and expansions.
        RETURNS (Tensor): N x RELATIONS x CLASSES uint8, in 255ths.
        """
        found = torch.zeros(len(phrases), RELATIONS * CLASSES, dtype=torch.uint8, device=self.weight.device)
        for number, (name, expansion) in enumerate(phrases):
            row = self.find(name, expansion)
            if row is not None:
                start, end = int(self.start[row]), int(self.start[row + 1])
                found[number, self.column[start:end].long()] = self.weight[start:end]
        return found.view(len(phrases), RELATIONS, CLASSES)


def make_table(wordnet: Path, encoder: Path, *, most: int = 24000) -> dict[str, dict[int, float]]:
    """Nouns for things one can see, with their classes.

    wordnet (Path): Folder of WordNet's database files.
    encoder (Path): A sentence encoder in Hugging Face layout, for LIKE.
    most (int): How many nouns to keep, those with the commonest senses first.
    RETURNS (Dict[str, Dict[int, float]]): See `NounTable.set_table`.
    """
    from .distil import encode_texts

    net = read_wordnet(Path(wordnet))
    classes = class_synsets()
    below: dict[int, list[int]] = {}
    for number, synset in enumerate(classes):
        for place, _ in net.ancestors(synset):
            below.setdefault(place, []).append(number)
    nouns = [noun for noun in net.senses if _visible(noun) and any(net.under(s, PHYSICAL) for s in net.senses[noun][:3])]
    bank = load_bank()
    asked = {noun.lower() for kind in bank.kinds for noun in bank.nouns(kind)} | {kind.lower() for kind in bank.open}
    nouns = list(dict.fromkeys([*nouns, *sorted(noun for noun in asked if _visible(noun))]))
    vocab = set((Path(encoder) / "vocab.txt").read_text(encoding="utf8").split("\n"))
    # Common words come first: those that are pieces of the encoder's vocabulary, and those that name a class themselves.
    own = {lemma.lower() for synset in classes for lemma in net.lemmas[synset]}
    rank = {
        noun: (noun not in own and noun not in asked, sum(word not in vocab for word in noun.split()), len(noun.split()))
        for noun in nouns
    }
    nouns = sorted(nouns, key=lambda noun: rank[noun])[:most]
    vectors = encode_texts(encoder, [f"a {noun}" for noun in nouns])
    names = encode_texts(encoder, [f"a {net.lemmas[synset][0]}" for synset in classes])
    alike = vectors @ names.T
    rows: dict[str, dict[int, float]] = {}
    for noun, likeness in zip(nouns, alike):
        row: dict[int, float] = {}
        senses = [synset for synset in net.senses.get(noun, [])[:3] if net.under(synset, PHYSICAL)]
        for number, synset in enumerate(senses):
            _add_sense(row, net, below, synset, 0.6**number, kin=number == 0)
        for place in np.argsort(-likeness)[:LIKE_MOST]:
            if likeness[place] > LIKE_LEAST:
                row[LIKE * CLASSES + int(place)] = float((likeness[place] - LIKE_LEAST) / (1 - LIKE_LEAST))
        if row:
            rows[noun] = row
    return rows


def _visible(noun: str) -> bool:
    return len(noun.split()) <= 3 and bool(re.fullmatch(r"[a-z][a-z' -]+[a-z]", noun))


def _add_sense(row: dict[int, float], net: WordNet, below: dict[int, list[int]], synset: int, share: float, *, kin: bool) -> None:
    mine = below.get(synset, [])
    if 0 < len(mine) <= TOO_GENERAL:
        for number in mine:
            row[IS * CLASSES + number] = max(row.get(IS * CLASSES + number, 0.0), share)
        return
    if not kin:
        return
    for place, level in net.ancestors(synset):
        near = below.get(place, [])
        if level > KIN_STEPS or (near and len(near) > KIN_MOST):
            return
        if near:
            for number in near:
                column = KIN * CLASSES + number
                row[column] = max(row.get(column, 0.0), share * KIN_DECAY ** (level - 1))
            return
