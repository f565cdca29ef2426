"""`rivega.MixCorpus.v1`: what several language models wrote about one post, as one training example for each of them ("Mix").

The paper trains on the knowledge of all its models together and takes the knowledge of one of them, the same for every post, for
dev and test (tables V and VIII). `rivega enrich` writes the answers side by side; `rivega convert` keeps them on the posts.
"""
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Union

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import Errors, RivegaError
from .reader import PostCorpus, bare_copy

# Where a post keeps {source: text} and {source: [text or null for each entity]}.
SOURCES_KEY = "rivega_sources"
KNOWLEDGE_FIELD, EXPANSIONS_FIELD = "knowledge_by_model", "expansions_by_model"


def make_mix_corpus(
    path: Union[str, Path],
    sources: Optional[List[str]] = None,
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
    """
    return MixCorpus(path, sources=sources, knowledge=knowledge, limit=limit, shuffle=shuffle, max_length=max_length)


class MixCorpus(PostCorpus):
    """One example for each post and source; see `make_mix_corpus`."""

    def __init__(self, path: Union[str, Path], *, sources: Optional[List[str]] = None, **options: Any) -> None:
        super().__init__(path, **options)
        if sources is not None and (not sources or len(set(sources)) != len(sources)):
            raise RivegaError(Errors.E416.format(field="sources", value=sources, wanted="a list of different names, or null"))
        self.sources = sources

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """YIELDS (Example): One a post and source; one a post where knowledge is "absent"."""
        options = {"limit": self.limit, "shuffle": self.shuffle, "max_length": self.max_length}
        count = 0
        for example in PostCorpus(self.path, knowledge="present", **options)(nlp):
            references = [example.reference] if self.knowledge == "absent" else per_source(example.reference, self.sources)
            for reference in references:
                count += 1
                if self.knowledge == "absent" or (self.knowledge == "alternate" and count % 2 == 0):
                    reference._.knowledge = None
                yield Example(bare_copy(reference), reference)


def keep_sources(doc: Doc, row: Dict[str, Any]) -> None:
    """Take over the answers of several models from a post in JSON; what is not of the form is left out.

    doc (Doc): The post.
    row (Dict[str, Any]): May have `knowledge_by_model` {name: text} and `expansions_by_model` {name: [text or null, ...]}.
    """
    kept: Dict[str, Dict[str, Any]] = {}
    texts = row.get(KNOWLEDGE_FIELD)
    if isinstance(texts, dict):
        kept["knowledge"] = {str(name): text for name, text in texts.items() if isinstance(text, str)}
    lists = row.get(EXPANSIONS_FIELD)
    if isinstance(lists, dict):
        kept["expansions"] = {
            str(name): values
            for name, values in lists.items()
            if isinstance(values, list) and all(value is None or isinstance(value, str) for value in values)
        }
    if any(kept.values()):
        doc.user_data[SOURCES_KEY] = kept


def source_names(doc: Doc) -> List[str]:
    """The models that wrote something about a post, sorted."""
    kept = doc.user_data.get(SOURCES_KEY, {})
    return sorted({name for field in kept.values() for name in field})


def per_source(doc: Doc, sources: Optional[List[str]] = None) -> Iterator[Doc]:
    """A post once for each source, with that source's knowledge and expansions.

    doc (Doc): With annotation; it is not changed.
    sources (Optional[List[str]]): Their names; None takes all that the post has.
    YIELDS (Doc): Copies; the post itself where it has nothing of any source.
    """
    present = source_names(doc)
    names = present if sources is None else [name for name in sources if name in present]
    if not names:
        yield doc
    for name in names:
        yield take_source(doc, name)


def take_source(doc: Doc, name: str) -> Doc:
    """A copy of a post as one model saw it.

    doc (Doc): With answers side by side.
    name (str): The model.
    RETURNS (Doc): Its `knowledge` is that model's (None where it wrote none); entities without an expansion of its have none.
    """
    kept = doc.user_data.get(SOURCES_KEY, {})
    copy = doc.copy()
    copy._.knowledge = kept.get("knowledge", {}).get(name)
    expansions = kept.get("expansions", {}).get(name)
    if expansions is not None and len(expansions) == len(copy.ents):
        for ent, expansion in zip(copy.ents, expansions):
            ent._.expansion = expansion
    return copy
