"""Questions in few words: a string is plain words, a tuple the name, type and expansion of an entity."""

from typing import Any

from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from rivega_spacy.post.expressions import Expression


def expressions(*wanted: "str | tuple[str, ...] | Expression") -> list[Expression]:
    return [as_expression(item) for item in wanted]


def as_expression(item: "str | tuple[str, ...] | Expression") -> Expression:
    if isinstance(item, str):
        return Expression(expansion=item)
    return Expression(*item) if isinstance(item, tuple) else item


# Names and expansions with brackets and dashes, labels of any tagger: name, label, expansion; the paper's wording, and that of the data
# that the published networks were fine-tuned on.
ODD_ENTITIES = [
    (
        "R2 (D2)",
        "OTHER",
        "a robot (of a film) — small",
        "R2 (D2) (OTHER) — a robot (of a film) — small",
        "R2 (D2)(OTHER)-a robot (of a film) — small",
    ),
    ("Ada", "per", "", "Ada (PER)", "Ada(PER)"),
    ("Hamlet", "WORK_OF_ART", "a play (1603)", "Hamlet (OTHER) — a play (1603)", "Hamlet(OTHER)-a play (1603)"),
    ("A (LOC) — B", "B-org", "Rex (PER) — a dog", "A (LOC) — B (ORG) — Rex (PER) — a dog", "A (LOC) — B(ORG)-Rex (PER) — a dog"),
]


def odd_post(vocab: Vocab, picture: Any) -> Doc:
    """A post of ODD_ENTITIES alone, each of which is one token."""
    doc = Doc(vocab, words=[row[0] for row in ODD_ENTITIES])
    doc.ents = [Span(doc, place, place + 1, label=row[1]) for place, row in enumerate(ODD_ENTITIES)]
    for ent, row in zip(doc.ents, ODD_ENTITIES):
        ent._.expansion = row[2]
    doc._.image = picture
    return doc
