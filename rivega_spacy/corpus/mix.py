"""`rivega.MixCorpus.v1`: what several language models wrote about one post, as one training example for each of them ("Mix").

The paper trains on the knowledge of all its models together and takes the knowledge of one of them, the same for every post, for
dev and test (tables V and VIII). `rivega enrich` writes the answers side by side; `rivega convert` keeps them on the posts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from .reader import PostCorpus
from .sources import EXPANSIONS_FIELD, KNOWLEDGE_FIELD, SOURCES_KEY, keep_sources, per_source, source_names, take_source


def make_mix_corpus(
    path: str | Path,
    sources: list[str] | None = None,
    knowledge: str = "present",
    limit: int = 0,
    shuffle: bool = False,
    max_length: int = 0,
) -> Callable[[Language], Iterator[Example]]:
    """Reader for `[corpora.train]` (several sources) and `[corpora.dev]` (one).

    path (Union[str, Path]): A .spacy file or a folder of them.
    sources (Optional[List[str]]): Names of the models, as in `rivega enrich`; None takes all that a post has. A post that has
        nothing of any of them is read once, with the knowledge that it came with.
    knowledge (str), limit (int), shuffle (bool), max_length (int): As in `rivega.Corpus.v1`; they count posts, not examples.
    RETURNS (Callable): From the pipeline to examples.
    RAISES (RivegaError): E113, E416.
    """
    return MixCorpus(path, sources=sources, knowledge=knowledge, limit=limit, shuffle=shuffle, max_length=max_length)


class MixCorpus(PostCorpus):
    """One example for each post and source; see `make_mix_corpus`."""

    def versions(self, doc: Doc) -> Iterator[Doc]:
        """The post once for each source; once as it is where knowledge is taken away."""
        if self.knowledge == "absent":
            yield doc
        else:
            yield from per_source(doc, self.sources)


__all__ = [
    "EXPANSIONS_FIELD", "KNOWLEDGE_FIELD", "SOURCES_KEY", "MixCorpus", "keep_sources", "make_mix_corpus", "per_source", "source_names",
    "take_source",
]  # fmt: skip
