"""`rivega.batch_twice.v1`: batches in which every post comes as two views, for `rivega_ner`'s `agreement`."""

import itertools
from collections.abc import Callable, Iterable, Iterator

from spacy.training import Example

from ..corpus.reader import bare_copy


def make_batch_twice(size: int | Iterable[int]) -> Callable[[Iterable[Example]], Iterator[list[Example]]]:
    """Batcher for `[training.batcher]`.

    size (Union[int, Iterable[int]]): Views a batch, or a schedule of them; half as many posts.
    RETURNS (Callable): From examples to batches. The two views of a post have one gold post and each a predicted post of its own.
    """

    def batch_twice(examples: Iterable[Example]) -> Iterator[list[Example]]:
        sizes = itertools.repeat(size) if isinstance(size, int) else iter(size)
        wanted = next(sizes)
        batch: list[Example] = []
        for example in examples:
            batch += [example, Example(bare_copy(example.predicted), example.reference)]
            if len(batch) >= wanted:
                yield batch
                batch, wanted = [], next(sizes)
        if batch:
            yield batch

    return batch_twice


__all__ = ["make_batch_twice"]
