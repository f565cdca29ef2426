"""Referring expressions: an entity's name, type and expansion on their way to a network, and every wording of them.

The parts travel apart. Joined to text they could not be told apart again: names and expansions hold brackets and dashes of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import Errors, RivegaError
from .labels import entity_type, labels_of

if TYPE_CHECKING:
    # spaCy's import registers the extensions, which need this module.
    from spacy.tokens import Span

# What of "Named Entity (Entity Type) — Expansion Expression" a network is given (paper, Table IX).
EXPRESSIONS = ("both", "name", "expansion")


@dataclass(frozen=True, slots=True)
class Expression:
    """What a network is asked about: the paper's named entity, entity type and expansion expression (section IV-B 2).

    name (str): The entity as the post has it; "" for plain words, which have no type either: `Expression(expansion="the red dog")`.
    type (str): One of `labels.ENTITY_TYPES`, or "" if none is known. Other labels become one of them here (`labels.entity_type`).
    expansion (str): The description; "" if there is none.
    """

    name: str = ""
    type: str = ""
    expansion: str = ""

    def __post_init__(self) -> None:
        if self.type:
            object.__setattr__(self, "type", entity_type(self.type))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The paper's wording: "Ada (PER) — a mathematician", "Ada (PER)" or, of plain words, "a mathematician"."""
        head = " ".join(part for part in (self.name, self._bracketed()) if part)
        return " — ".join(part for part in (head, self.expansion) if part)

    def published(self) -> str:
        """The wording of the data that the published networks were fine-tuned on: "Ada(PER)-a mathematician"."""
        return "-".join(part for part in (self.name + self._bracketed(), self.expansion) if part)

    def in_form(self, form: str) -> "Expression":
        """What is left of it in a form of Table IX.

        form (str): "both"; "name" leaves the expansion out, "expansion" the name and its type. Without expansion an entity is named in
            every form: it would be asked about with nothing else.
        """
        if form == "name":
            return Expression(self.name, self.type)
        return Expression(expansion=self.expansion) if form == "expansion" and self.expansion else self

    def _bracketed(self) -> str:
        return f"({self.type})" if self.type else ""


def expression_of(span: "Span", labels: Mapping[str, str] | None = None) -> Expression:
    """The referring expression of an entity.

    span (Span): An entity.
    labels (Optional[Mapping[str, str]]): Types of labels, if they are not known by themselves (`labels.entity_type`).
    RETURNS (Expression): All that the post says of it; a blank expansion counts as none.
    """
    expansion = "" if span._.expansion is None else str(span._.expansion)
    kind = entity_type(span.label_, labels_of(span.doc, labels))
    return Expression(span.text, kind, expansion if expansion.strip() else "")


def check_expression(form: str) -> str:
    """RETURNS (str): The form of a referring expression. RAISES (RivegaError): E738 for one that is not in EXPRESSIONS."""
    if form not in EXPRESSIONS:
        raise RivegaError(Errors.E738.format(option="expression", allowed=" or ".join(map(repr, EXPRESSIONS)), value=form))
    return form


__all__ = ["EXPRESSIONS", "Expression", "check_expression", "expression_of"]
