"""Entity types: from the label of any tagger to the four that expanders, expressions and networks know.

PER, LOC, ORG and OTHER are the types of the multimodal Twitter data sets. Taggers trained on other data use other names: OntoNotes
(PERSON, GPE, FAC, NORP, WORK_OF_ART, ...), CoNLL-2003 and WikiNER (MISC), WNUT-16 and -17 (corporation, creative-work, geo-loc, ...),
Few-NERD (person-actor, building-hospital, ...), ACE, MultiNERD, FMNERG. `doc.ents` keep the tagger's labels; only what is said about an
entity uses the type.
"""

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import Errors, RivegaError

if TYPE_CHECKING:
    # spaCy's import registers the extensions, which need this module.
    from spacy.tokens import Doc

ENTITY_TYPES = ("PER", "LOC", "ORG", "OTHER")
# Where a post keeps the mapping of the component that wrote its expressions, for those after it.
LABELS_KEY = "rivega_labels"

_NAMES = {
    "PER": "PER PERS PERSON PERSONS PEOPLE HUMAN MUSICARTIST",
    "LOC": "LOC LOCATION LOCATIONS PLACE GPE GEO GEOLOC FAC FACILITY BUILDING CITY TOWN STATE PROVINCE COUNTRY STREET ADDRESS",
    "ORG": "ORG ORGANIZATION ORGANISATION ORGANIZATIONS ORGANISATIONS CORPORATION COMPANY GROUP SPORTSTEAM TEAM INSTITUTION",
    "OTHER": "OTHER OTHERS MISC MISCELLANEOUS NORP PRODUCT PROD WORKOFART CREATIVEWORK ART EVENT EVE LAW LANGUAGE DATE TIME PERCENT MONEY "
    "QUANTITY ORDINAL CARDINAL MOVIE TVSHOW FILM SONG ALBUM BOOK GAME MEDIA SOFTWARE WEA WEAPON VEH VEHI VEHICLE ANIM ANIMAL BIO CEL DIS "
    "DISEASE FOOD INST INSTRUMENT MYTH PLANT",
}
_TYPES: dict[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
# Tags of BIO, BIOES, BILOU and BMES.
_TAG = re.compile(r"^[BIOESLUM][-_](?=.)", re.IGNORECASE)
_NO_LETTER = re.compile(r"[\W_\d]+")
_told: set = set()


def known_type(label: str, labels: Mapping[str, str] | None = None) -> str | None:
    """The type of a label: exactly as `labels` has it, else by its name in any case, with or without the prefix of a tag or a finer type.

    label (str): For example "PERSON", "B-GPE", "work_of_art" or "person-actor".
    labels (Optional[Mapping[str, str]]): Labels of the user's own, with their types; they come first.
    RETURNS (Optional[str]): One of ENTITY_TYPES; None for a label that is not known.
    """
    for form in (label, _TAG.sub("", label)):
        if labels and form in labels:
            return labels[form]
        own = {_plain(name): kind for name, kind in (labels or {}).items()}
        # "person-actor", "art-music", "organization/company": what stands first is the coarser type.
        for name in (_plain(form), _plain(re.split(r"[-/.:]", form)[0])):
            if name in own or name in _TYPES:
                return own.get(name) or _TYPES[name]
    return None


def entity_type(label: str, labels: Mapping[str, str] | None = None) -> str:
    """As `known_type`; a label that is not known counts as OTHER, which is told once.

    label (str): Of an entity.
    labels (Optional[Mapping[str, str]]): See `known_type`.
    RETURNS (str): One of ENTITY_TYPES.
    """
    if label in ENTITY_TYPES and not labels:
        return label
    found = known_type(label, labels)
    if found is None:
        if label not in _told:
            _told.add(label)
            warnings.warn(Errors.W088.format(label=label), stacklevel=2)
        return "OTHER"
    return found


def check_labels(labels: Mapping[str, Any] | None) -> dict[str, str]:
    """A component's setting `labels`. RAISES (RivegaError): E087 for a type that is none of ENTITY_TYPES."""
    wrong = [f"{label} = {kind!r}" for label, kind in (labels or {}).items() if kind not in ENTITY_TYPES]
    if wrong:
        raise RivegaError(Errors.E087.format(wrong=", ".join(wrong), known=", ".join(ENTITY_TYPES)))
    return dict(labels or {})


def labels_of(doc: "Doc", labels: Mapping[str, str] | None = None) -> Mapping[str, str] | None:
    """The mapping for a post: a component's own, else that of the component that wrote its expansions, else None."""
    return labels or doc.user_data.get(LABELS_KEY) or None


def keep_labels(doc: "Doc", labels: Mapping[str, str]) -> None:
    """Let what comes after on this post, and `span._.referring_expression`, use these labels."""
    if labels:
        doc.user_data[LABELS_KEY] = dict(labels)


def _plain(label: str) -> str:
    return _NO_LETTER.sub("", label).upper()


__all__ = ["ENTITY_TYPES", "check_labels", "entity_type", "keep_labels", "known_type", "labels_of"]
