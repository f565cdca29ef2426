"""`rivega.JoinedCorpus.v1`: several corpora as one, each with reader settings of its own, and of each as much as is wanted."""

import random
from collections.abc import Callable, Iterator
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..post.errors import Errors, RivegaError

Reader = Callable[[Language], Iterator[Example]]


def make_joined_corpus(corpora: dict[str, Any], shares: dict[str, float] | None = None, shuffle: bool = True) -> Reader:
    """Reader for `[corpora.train]`.

    corpora (Dict[str, Callable]): Readers by name, for example `rivega.Corpus.v1`.
    shares (Optional[Dict[str, float]]): How much of a corpus is read each time, 1 if not named: 0.4 draws four tenths of its examples,
        others each time; 2 reads it twice. `spacy train` reads once for all passes unless `[training] max_epochs = -1`.
    shuffle (bool): Mix the examples of all corpora, others every time; all of them are held in memory. Else one corpus comes after the other.
    RETURNS (Callable): From the pipeline to examples.
    RAISES (RivegaError): E393 if a share is negative or belongs to no corpus, or there are no corpora.
    """
    shares = dict(shares or {})
    wrong = {name: share for name, share in shares.items() if name not in corpora or share < 0}
    if wrong or not corpora:
        raise RivegaError(Errors.E393.format(shares=wrong, known=", ".join(corpora) or "none"))

    def read(nlp: Language) -> Iterator[Example]:
        joined: list[Example] = []
        for name, corpus in corpora.items():
            part = list(drawn(corpus(nlp), shares.get(name, 1.0)))
            if not shuffle:
                yield from part
            joined += part if shuffle else []
        random.shuffle(joined)
        yield from joined

    return read


def drawn(examples: Iterator[Example], share: float) -> Iterator[Example]:
    """A share of the examples, in their order.

    share (float): 0.4 keeps each with this probability; 2.5 gives each twice, and every second one, drawn by chance, once more.
    YIELDS (Example): Those kept. A repeated example is a copy, as components may write on its predicted side.
    """
    for example in examples:
        times = int(share) + (random.random() < share % 1)
        for number in range(times):
            yield example if number == 0 else Example(example.predicted.copy(), example.reference)


__all__ = ["drawn", "make_joined_corpus"]
