"""`rivega_expander`: writes `span._.expansion` for every entity."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import Config

from ..pipes.in_flight import InFlightPipe
from ..pipes.settings import ConfiguredAlone
from ..post.errors import Errors
from ..post.extensions import ID_KEY, post_name, record_error
from ..post.labels import check_labels, entity_type, keep_labels, labels_of

default_expander_config = """
[model]
@misc = "rivega.NounPhraseExpander.v1"
"""
DEFAULT_EXPANDER_MODEL = Config().from_str(default_expander_config)["model"]


class ExpansionRequest(NamedTuple):
    """One entity to be expanded.

    text (str): The whole post.
    description (str): What is known of the picture in words; "" if nothing is.
    start (int), end (int): The entity in `text`, in characters, `end` exclusive.
    label (str): The entity's type: PER, LOC, ORG or OTHER.
    post (str): The post's id; "" if it has none.
    """

    text: str
    description: str
    start: int
    end: int
    label: str
    post: str = ""


class ExpansionFailure(NamedTuple):
    """In place of an expansion: why there is none.

    model (str): Who was asked.
    reason (str): Why there is no answer.
    unusable (bool): There was one, but it could not be used.
    """

    model: str
    reason: str
    unusable: bool = False


Expansion = str | ExpansionFailure | None
# One expansion (None if there is none to give) for each request. An expander may also have `start(requests)`, which begins to
# work and returns a callable that waits for the expansions: the next batch is then begun before this one is done.
Expander = Callable[[Sequence[ExpansionRequest]], list[Expansion]]


@Language.factory(
    "rivega_expander",
    assigns=["span._.expansion", "span._.referring_expression"],
    requires=["doc.ents"],
    default_config={"model": DEFAULT_EXPANDER_MODEL, "overwrite": False, "labels": {}},
)
def make_expander(nlp: Language, name: str, model: Expander, overwrite: bool, labels: dict[str, str] | None) -> "EntityExpander":
    """Construct the component.

    model (Expander): Writes the expansions; `rivega.NounPhraseExpander.v1` needs no language model.
    overwrite (bool): Replace expansions that came with the post.
    labels (Optional[Dict[str, str]]): Types (PER, LOC, ORG, OTHER) of labels that are not known by themselves (labels.py), for example
        {"ATHLETE": "PER"}.
    """
    return EntityExpander(nlp.vocab, model, name, overwrite=overwrite, labels=labels)


class EntityExpander(ConfiguredAlone, InFlightPipe):
    """Entity expansion: from a name nobody can see to a phrase about something visible (paper, section IV-B 2)."""

    settings = ("overwrite", "labels")

    def __init__(
        self,
        vocab: Any,
        model: Expander,
        name: str = "rivega_expander",
        *,
        overwrite: bool = False,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg: dict[str, Any] = {"overwrite": overwrite, "labels": check_labels(labels)}
        self.remember_settings()

    def start(self, docs: Sequence[Doc]) -> Callable[[], list[list[Expansion]]]:
        """Begin to expand; calling what it returns waits. Entities that came with an expansion are not asked about."""
        wanted = [[self.cfg["overwrite"] or not ent._.expansion for ent in doc.ents] for doc in docs]
        texts = [doc.text for doc in docs]  # put together of its tokens each time that it is asked for
        requests = [
            ExpansionRequest(
                text,
                doc._.description or doc._.caption or "",
                ent.start_char,
                ent.end_char,
                entity_type(ent.label_, labels_of(doc, self.cfg["labels"])),
                str(doc.user_data.get(ID_KEY) or ""),
            )
            for doc, text, flags in zip(docs, texts, wanted)
            for ent, flag in zip(doc.ents, flags)
            if flag
        ]
        begin = getattr(self.model, "start", None)
        answers = begin(requests) if begin is not None and requests else None

        def wait() -> list[list[Expansion]]:
            found = iter(answers() if answers is not None else self.model(requests) if requests else [])
            return [[next(found) if flag else None for flag in flags] for flags in wanted]

        return wait

    def set_annotations(self, docs: Sequence[Doc], expansions: list[list[Expansion]]) -> None:
        """Write the expansions, keeping those that came with the post unless `overwrite` is set; note what failed."""
        for doc, answers in zip(docs, expansions):
            keep_labels(doc, self.cfg["labels"])
            for ent, answer in zip(doc.ents, answers):
                if isinstance(answer, ExpansionFailure):
                    message = Errors.E401 if answer.unusable else Errors.E400
                    values = {"model": answer.model, "what": f"expansion of {ent.text!r}", "reason": answer.reason}
                    record_error(doc, self.name, message.format(post=post_name(doc), **values))
                elif answer is not None and (self.cfg["overwrite"] or not ent._.expansion):
                    ent._.expansion = answer
