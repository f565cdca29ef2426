"""`rivega.MixCorpus.v1`: the older name of `rivega.Corpus.v1` with `sources = "all"`, which configs may hold."""

from collections.abc import Callable, Iterator
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from .reader import make_corpus


def make_mix_corpus(
    path: str | Path,
    sources: list[str] | None = None,
    knowledge: str = "present",
    limit: int = 0,
    shuffle: bool = False,
    max_length: int = 0,
) -> Callable[[Language], Iterator[Example]]:
    """See `reader.make_corpus`; None for `sources` takes all that a post has."""
    return make_corpus(path, knowledge, limit, shuffle, max_length, "all" if sources is None else sources)
