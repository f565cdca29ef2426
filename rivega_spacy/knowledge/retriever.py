"""`rivega_retriever`: writes `doc._.knowledge` without a language model."""

from collections.abc import Callable, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Config

from ..pipes.in_flight import InFlightPipe
from ..pipes.settings import ConfiguredAlone
from .retrieval import Source

default_source_config = """
[source]
@misc = "rivega.CaptionKnowledge.v1"
"""
DEFAULT_SOURCE = Config().from_str(default_source_config)["source"]


@Language.factory(
    "rivega_retriever",
    assigns=["doc._.knowledge"],
    default_config={"source": DEFAULT_SOURCE, "overwrite": False},
)
def make_retriever(nlp: Language, name: str, source: Source, overwrite: bool) -> "KnowledgeRetriever":
    """Construct the component.

    source (Source): `rivega.RetrievedKnowledge.v1` (passages of a collection) or `rivega.CaptionKnowledge.v1` (the caption).
    overwrite (bool): Replace knowledge that came with the post.
    """
    return KnowledgeRetriever(nlp.vocab, source, name, overwrite=overwrite)


class KnowledgeRetriever(ConfiguredAlone, InFlightPipe):
    """z from a source that can be looked into at once; a post for which there is nothing stays without."""

    settings = ("overwrite",)

    def __init__(self, vocab: Any, source: Source, name: str = "rivega_retriever", *, overwrite: bool = False) -> None:
        self.vocab = vocab
        self.source = source
        self.name = name
        self.cfg: dict[str, Any] = {"overwrite": overwrite}
        self.remember_settings()

    def start(self, docs: Sequence[Doc]) -> Callable[[], list[str]]:
        """Look the posts up; no post is changed."""
        wanted = [bool(doc.text.strip()) and (self.cfg["overwrite"] or not doc._.knowledge) for doc in docs]

        def wait() -> list[str]:
            found = iter(self.source([doc for doc, flag in zip(docs, wanted) if flag]) if any(wanted) else [])
            return [next(found) if flag else "" for flag in wanted]

        return wait

    def set_annotations(self, docs: Sequence[Doc], knowledge: list[str]) -> None:
        """Write what was found."""
        for doc, found in zip(docs, knowledge):
            if found:
                doc._.knowledge = found
