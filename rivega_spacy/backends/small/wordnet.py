"""The nouns of WordNet (Fellbaum 1998) from its database files, as Debian's package wordnet-base installs them (training only)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

DEBIAN = Path("/usr/share/wordnet")
PHYSICAL = 1930  # physical_entity.n.01


@dataclass
class WordNet:
    """Synsets of nouns, by their offset in data.noun (WordNet 3.0, as ImageNet numbers its classes).

    lemmas (Dict[int, List[str]]): Words of a synset, the commonest first.
    above (Dict[int, List[int]]): Hypernyms, of instances too.
    senses (Dict[str, List[int]]): Synsets of a word in lower case, the commonest first.
    """

    lemmas: dict[int, list[str]] = field(default_factory=dict)
    above: dict[int, list[int]] = field(default_factory=dict)
    senses: dict[str, list[int]] = field(default_factory=dict)

    def ancestors(self, synset: int) -> Iterator[tuple[int, int]]:
        """Every hypernym once, with its distance, the synset itself first."""
        seen: set[int] = {synset}
        rank, level = [synset], 0
        while rank:
            yield from ((place, level) for place in rank)
            rank = list(dict.fromkeys(up for place in rank for up in self.above[place] if up not in seen))
            seen.update(rank)
            level += 1

    def under(self, synset: int, other: int) -> bool:
        """Whether a synset is another one, or a kind of it."""
        return any(place == other for place, _ in self.ancestors(synset))


@lru_cache(maxsize=1)
def read_wordnet(folder: Path = DEBIAN) -> WordNet:
    """Read the nouns.

    folder (Path): Holds data.noun and index.noun.
    RETURNS (WordNet): All of them.
    RAISES (RivegaError): E351 if the files are missing.
    """
    from ...post.errors import Errors, RivegaError

    data, index = Path(folder) / "data.noun", Path(folder) / "index.noun"
    if not (data.is_file() and index.is_file()):
        raise RivegaError(Errors.E351.format(folder=folder))
    net = WordNet()
    # The layout of both files: wndb(5WN).
    for line in data.read_text(encoding="utf8").splitlines():
        if line.startswith("  "):
            continue
        parts = line.split(" | ")[0].split()
        offset, count = int(parts[0]), int(parts[3], 16)
        net.lemmas[offset] = [word.replace("_", " ") for word in parts[4 : 4 + 2 * count : 2]]
        rest = parts[4 + 2 * count :]
        pointers = [rest[1 + 4 * i : 5 + 4 * i] for i in range(int(rest[0]))]
        net.above[offset] = [int(where) for kind, where, *_ in pointers if kind in ("@", "@i")]
    for line in index.read_text(encoding="utf8").splitlines():
        if line.startswith("  "):
            continue
        parts = line.split()
        count = int(parts[2])
        net.senses[parts[0].replace("_", " ")] = [int(offset) for offset in parts[-count:]]
    return net
