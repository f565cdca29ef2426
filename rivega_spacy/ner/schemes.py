"""Tag schemes: entities as one tag a token (BIO or BIOES), what may follow what, and the way back to entities."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..post.errors import Errors, RivegaError

SCHEMES = ("bio", "bioes")
# Prefix codes, the first row of `TagScheme.codes`.
OUT, BEGIN, INSIDE, END, SINGLE = range(5)
_BILUO = {"B": BEGIN, "I": INSIDE, "L": END, "U": SINGLE}
# How files write them: BIOES and BMES besides BIO, BILOU, BMEWO.
_WRITTEN = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_PREFIXED = re.compile(r"(?P<prefix>[BIMELSUWbimelsuw])[-_](?P<label>[^|\t]+)$")
_SUFFIXED = re.compile(r"(?P<label>[^|\t]+)[-_](?P<prefix>[BIMELSUW])$")
# The tag of a token of which an annotation says nothing, as in spaCy's BILUO tags.
UNSAID = "-"
_PREFIX = {BEGIN: "B", INSIDE: "I", END: "E", SINGLE: "S"}


class TaggedSpan(NamedTuple):
    """An entity as the tags of one post say it.

    start (int), end (int): First token and the one after the last.
    label (str): Entity type.
    """

    start: int
    end: int
    label: str


class TagScheme:
    """The tags of a set of entity types.

    labels (Sequence[str]): Entity types, in an order that is kept: tag ids depend on it.
    kind (str): "bio" or "bioes".
    RAISES (RivegaError): E100 for another kind.
    """

    def __init__(self, labels: Sequence[str], kind: str = "bio") -> None:
        if kind not in SCHEMES:
            raise RivegaError(Errors.E100.format(kind=kind, known=", ".join(SCHEMES)))
        self.labels = tuple(labels)
        self.kind = kind
        prefixes = (BEGIN, INSIDE) if kind == "bio" else (BEGIN, INSIDE, END, SINGLE)
        codes = [(OUT, -1)] + [(prefix, index) for index in range(len(self.labels)) for prefix in prefixes]
        self._ids = {code: position for position, code in enumerate(codes)}
        # 2 x n_tags: prefix code and index of the label (-1 for O) of every tag.
        self.codes = np.asarray(codes, dtype="int64").T
        self.tags = ["O"] + [f"{_PREFIX[prefix]}-{self.labels[index]}" for prefix, index in codes[1:]]

    def __len__(self) -> int:
        return len(self.tags)

    def constraints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the scheme allows.

        RETURNS (Tuple[ndarray, ndarray, ndarray]): n_tags bool: may begin a post; n_tags bool: may end one;
            n_tags x n_tags bool: [i, j] is True if j may follow i.
        """
        prefix, label = self.codes
        continues = (prefix == INSIDE) | (prefix == END)
        same = label[:, None] == label[None, :]
        if self.kind == "bio":
            opened = (prefix == BEGIN) | (prefix == INSIDE)
            follows = ~continues[None, :] | (opened[:, None] & same)
            return ~continues, np.ones(len(self), dtype=bool), follows
        opened = (prefix == BEGIN) | (prefix == INSIDE)
        follows = np.where(opened[:, None], continues[None, :] & same, ~continues[None, :])
        return ~continues, ~opened, follows

    def agreeing(self, biluo: Sequence[str | None], missing_labels: Sequence[str] = ()) -> np.ndarray | None:
        """The tags of one post that agree with its annotation, where that may be partial.

        biluo (Sequence[Optional[str]]): spaCy's BILUO tags; None or "-" if nothing is said of a token.
        missing_labels (Sequence[str]): Types that the annotation does not have: a token outside may belong to one of them.
        RETURNS (Optional[ndarray]): Tokens x n_tags bool; one True a token where the annotation is complete. None if nothing can be
            learnt: of a type that is not among `labels`, without a word about any token, or at odds with the scheme.
        """
        known = {label: index for index, label in enumerate(self.labels)}
        prefix, label = self.codes
        outside = (prefix == OUT) | np.isin(label, [known[name] for name in missing_labels if name in known])
        allowed = np.zeros((len(biluo), len(self)), dtype=bool)
        for position, tag in enumerate(biluo):
            if not tag or tag == UNSAID:
                allowed[position] = True
            elif tag == "O":
                allowed[position] = outside
            elif tag[0] not in _BILUO or tag[2:] not in known:
                return None
            else:
                allowed[position, self._ids[(self._prefix(tag[0]), known[tag[2:]])]] = True
        single = allowed.sum(1) == 1
        if single.all():
            return allowed
        if all(not tag or tag == UNSAID for tag in biluo):
            return None
        if self.kind == "bio":
            # An entity that is annotated ends where the annotation ends it; in BIOES its last tag says so.
            for position, tag in enumerate(biluo[:-1]):
                if tag and tag[0] in "LU" and not single[position + 1]:
                    allowed[position + 1, self._ids[(INSIDE, known[tag[2:]])]] = False
        return allowed if self._has_path(allowed) else None

    def _has_path(self, allowed: np.ndarray) -> bool:
        start, end, follows = self.constraints()
        reached = start & allowed[0]
        for row in allowed[1:]:
            reached = (reached @ follows) & row
        return bool((reached & end).any())

    def _prefix(self, letter: str) -> int:
        """The prefix code of a BILUO letter."""
        prefix = _BILUO[letter]
        if self.kind == "bio":
            prefix = BEGIN if prefix in (BEGIN, SINGLE) else INSIDE
        return prefix

    def spans(self, tags: np.ndarray, lengths: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entities of a batch of posts, without a loop over its tokens.

        tags (ndarray): Tag ids of all posts, one after the other.
        lengths (Sequence[int]): Tokens of each post; they sum to the length of `tags`.
        RETURNS (Tuple[ndarray, ndarray, ndarray]): First tokens and ends (one after the last) as positions in `tags`, and
            label indices. Tags that break the scheme (an I- with nothing before it) begin an entity, as
            conlleval reads them.
        """
        prefix, label = self.codes[0][tags], self.codes[1][tags]
        first = np.zeros(len(tags) + 1, dtype=bool)
        first[np.cumsum([0, *lengths])] = True
        continues = (prefix == INSIDE) | (prefix == END)
        # Whether the token belongs to the same entity as the one before it.
        joined = np.zeros(len(tags) + 1, dtype=bool)
        if len(tags) > 1:
            open_before = (prefix[:-1] == BEGIN) | (prefix[:-1] == INSIDE)
            joined[1:-1] = continues[1:] & open_before & (label[1:] == label[:-1])
        joined &= ~first
        named = prefix != OUT
        starts = np.flatnonzero(named & ~joined[:-1])
        ends = np.flatnonzero(named & ~joined[1:]) + 1
        return starts, ends, label[starts]


class WrittenTag(NamedTuple):
    """One tag as a file has it.

    prefix (str): "B", "I", "E" (ends an entity), "S" (is one alone) or "O".
    label (str): Entity type; "" of O.
    """

    prefix: str
    label: str


def parse_tag(tag: str) -> WrittenTag | None:
    """What a written tag says, in any of the common schemes: BIO, IOB1, BIOES, BILOU, BMES, BMEWO.

    tag (str): "B-PER", "b-per", "B_PER", "PER-B", "M-PER", "L-PER", "U-PER", "O" and so on. A tag that is written small from
        beginning to end has a label in capitals.
    RETURNS (Optional[WrittenTag]): None for a tag of none of these schemes.
    """
    tag = tag.strip()
    if tag in ("O", "o"):
        return WrittenTag("O", "")
    found = _PREFIXED.match(tag) or _SUFFIXED.match(tag)
    if found is None:
        return None
    letter, label = found["prefix"], found["label"]
    return WrittenTag(_WRITTEN[letter.upper()], label.upper() if letter.islower() and label.islower() else label)


def fits_tag(label: str) -> bool:
    """Whether a tag can hold a type: "B-" and the type say the same type again when they are read."""
    return parse_tag(f"B-{label}") == ("B", label)


def read_tags(tags: Sequence[str]) -> list[TaggedSpan]:
    """Entities of written tags of any scheme that `parse_tag` knows; a tag of none is O.

    tags (Sequence[str]): For example ["B-PER", "I-PER", "O"]. One that continues or ends an entity if there is none of its type
        begins one.
    RETURNS (List[TaggedSpan]): In order of their first token.
    """
    spans: list[TaggedSpan] = []
    start, current = 0, ""
    for position, tag in enumerate([*tags, "O"]):
        prefix, label = parse_tag(tag) or ("O", "")
        if current and not (prefix in "IE" and label == current):
            spans.append(TaggedSpan(start, position, current))
            current = ""
        if prefix != "O" and not current:
            start, current = position, label
        if prefix in "ES":
            spans.append(TaggedSpan(start, position + 1, current))
            current = ""
    return spans


def bio_tags(spans: Sequence[TaggedSpan], length: int) -> list[str]:
    """Entities as BIO tags.

    spans (Sequence[TaggedSpan]): Not overlapping.
    length (int): Tokens.
    RETURNS (List[str]): One tag a token.
    """
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags
