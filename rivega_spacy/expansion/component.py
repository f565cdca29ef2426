"""`rivega_expander`: writes `span._.expansion` for every entity."""
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Config

from ..extensions import record_failure

default_expander_config = """
[model]
@misc = "rivega.NounPhraseExpander.v1"
"""
DEFAULT_EXPANDER_MODEL = Config().from_str(default_expander_config)["model"]


class ExpansionRequest(NamedTuple):
    """One entity to be expanded.

    text (str): The whole post.
    description (str): What is known of the picture in words; "" where nothing is.
    start (int), end (int): The entity in `text`, in characters, `end` exclusive.
    label (str): The entity's type.
    """

    text: str
    description: str
    start: int
    end: int
    label: str


# One expansion (or None where there is none to give) for each request.
Expander = Callable[[Sequence[ExpansionRequest]], List[Optional[str]]]


@Language.factory(
    "rivega_expander",
    assigns=["span._.expansion", "span._.referring_expression"],
    requires=["doc.ents"],
    default_config={"model": DEFAULT_EXPANDER_MODEL, "overwrite": False},
)
def make_expander(nlp: Language, name: str, model: Expander, overwrite: bool) -> "EntityExpander":
    """Construct the component.

    model (Expander): What writes the expansions; `rivega.NounPhraseExpander.v1` needs no language model.
    overwrite (bool): Replace expansions that came with the post.
    """
    return EntityExpander(nlp.vocab, model, name, overwrite=overwrite)


class EntityExpander(Pipe):
    """Entity expansion: from a name nobody can see to a phrase about something visible (paper, section IV-B 2)."""

    def __init__(self, vocab: Any, model: Expander, name: str = "rivega_expander", *, overwrite: bool = False) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg: Dict[str, Any] = {"overwrite": overwrite}

    def __call__(self, doc: Doc) -> Doc:
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Expand a stream; all entities of a batch go to the model together.

        stream (Iterable[Doc]): The posts.
        batch_size (int): Posts a batch.
        YIELDS (Doc): The same posts in the same order.
        """
        for docs in minibatch(stream, size=batch_size):
            self._annotate(docs)
            yield from docs

    def predict(self, docs: Sequence[Doc]) -> List[List[Optional[str]]]:
        """Expansions for every entity of every post; the posts stay as they are.

        docs (Sequence[Doc]): The posts.
        RETURNS (List[List[Optional[str]]]): One list a post, in the order of `doc.ents`.
        """
        requests = [
            ExpansionRequest(doc.text, doc._.description or "", ent.start_char, ent.end_char, ent.label_)
            for doc in docs
            for ent in doc.ents
        ]
        answers = iter(self.model(requests) if requests else [])
        return [[next(answers) for _ in doc.ents] for doc in docs]

    def set_annotations(self, docs: Sequence[Doc], expansions: List[List[Optional[str]]]) -> None:
        """Write the expansions, keeping those that came with the post unless `overwrite` is set."""
        for doc, answers in zip(docs, expansions):
            for ent, answer in zip(doc.ents, answers):
                if answer is not None and (self.cfg["overwrite"] or not ent._.expansion):
                    ent._.expansion = answer

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        return b""

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "EntityExpander":
        return self

    def to_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> None:
        """Nothing to save: all of it is in the config."""

    def from_disk(self, path: Any, *, exclude: Iterable[str] = ()) -> "EntityExpander":
        return self

    def _annotate(self, docs: Sequence[Doc]) -> None:
        try:
            self.set_annotations(docs, self.predict(docs))
        except Exception as error:  # whatever a model raises is noted on the posts, and the batch goes on
            record_failure(self.name, list(docs), error)
