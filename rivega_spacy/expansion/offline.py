"""`rivega.NounPhraseExpander.v1`: expansions without a language model.

What it is, plainly: a lexicon of visible things and five rules. Of the world it knows some makers and a hundred famous sights: "Nkosi Mbeki (PER)"
becomes "a person", never "a South African midfielder". It looks, in this order, for

1. a noun the post itself puts beside the name: "my cat Chelsea", "Chelsea the cat", "Chelsea, a ginger cat", "Chelsea is a cat",
   "my car, a Citroen DS", "that chair is a Panton", "a dog called Rex"; of a product or company also "the Pepsi logo";
2. a famous name: "Big Ben" -> "a tower";
3. a noun within the name: "Golden Gate Bridge" -> "a bridge", "Harbour Lights Choir" -> "musicians";
4. a maker or model within the name: "Boeing 747" -> "an airliner";
5. the entity's type: PER -> "a person", LOC -> "a place", ORG -> "an organisation", OTHER -> "a thing"; types of OntoNotes and of the
   W-NUT tasks ("GPE", "facility", "sportsteam") are read as what they mean.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from .component import ExpansionRequest

LEXICON = Path(__file__).with_name("visible_nouns.txt")
BY_TYPE = {"PER": "a person", "LOC": "a place", "ORG": "an organisation", "OTHER": "a thing", "MISC": "a thing"}
# Types of other schemes, in lower case: OntoNotes (as spaCy's English pipelines have them) and W-NUT 2016 and 2017.
SCHEMES = {
    **dict.fromkeys(("person", "musicartist"), "PER"),
    **dict.fromkeys(("gpe", "fac", "location", "geo-loc", "facility"), "LOC"),
    **dict.fromkeys(("organization", "organisation", "norp", "company", "corporation", "group", "sportsteam"), "ORG"),
}
# How many words before and after a name are searched for a noun.
REACH = 4
# How many characters before and after a name are looked at: more than any sentence that puts a noun beside a name.
WINDOW = 400
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_DETERMINER = {"a", "an", "the", "my", "our", "his", "her", "their", "your", "this", "that", "these"}
_LINK = re.compile(r"^\s*(?:,|-|–|—|\(|:|is|was|are|were|the|aka)?\s*(?:,|is|was|being)?\s*", re.IGNORECASE)
# What may stand between a noun and the name after it: "my car, a [Citroen DS]", "a dog called [Rex]", "that chair is a [Panton]".
_LEAD = re.compile(
    r"([A-Za-z]+)(?:\s*,\s*(?:an?|the|my|our)|\s*,?\s*(?:called|named)|\s+(?:is|was)\s+(?:an?|the|called|named))\s*$", re.IGNORECASE
)
# A noun that the name belongs to: "the [Pepsi] logo".
_DIRECTLY = re.compile(r"\s+([A-Za-z]+)\b")
_SENTENCE_END = re.compile(r"[.!?;\n]")


class Lexicon:
    """Nouns for things a camera can see, read from visible_nouns.txt.

    nouns (Dict[str, Tuple[str, str]]): noun -> (kind, phrase); kinds are person, group, animal, thing.
    makers (Dict[str, str]): maker or model -> phrase.
    named (Dict[str, str]): whole name of something famous -> phrase.
    """

    def __init__(self, path: Path) -> None:
        self.nouns: dict[str, tuple[str, str]] = {}
        self.makers: dict[str, str] = {}
        self.named: dict[str, str] = {}
        for line in path.read_text(encoding="utf8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            kind, phrase, words = (part.strip() for part in line.split("|"))
            for word in words.split(","):
                word = word.strip()
                if kind in ("maker", "named"):
                    (self.makers if kind == "maker" else self.named)[word.lower()] = phrase
                else:
                    self.nouns[word.lower()] = (kind, phrase)

    def find(self, word: str) -> tuple[str, str] | None:
        """The entry of a noun, in singular or plural, or None."""
        word = word.lower()
        for form in (word, word[:-1] if word.endswith("s") else word, word[:-2] if word.endswith("es") else word):
            if form in self.nouns:
                return self.nouns[form]
        return None


@lru_cache(maxsize=1)
def load_lexicon() -> Lexicon:
    """The lexicon that comes with the package."""
    return Lexicon(LEXICON)


def make_noun_phrase_expander() -> Callable[[Sequence[ExpansionRequest]], list[str | None]]:
    """`rivega.NounPhraseExpander.v1`: the expander described above; it has no settings and no weights."""
    return expand_all


def expand_all(requests: Sequence[ExpansionRequest]) -> list[str | None]:
    """A noun phrase for each request."""
    return [expand(request) for request in requests]


def expand(request: ExpansionRequest) -> str:
    """A noun phrase for one entity; see above.

    request (ExpansionRequest): The entity in its post.
    RETURNS (str): For example "a cat", or "an astronaut, a person".
    """
    lexicon = load_lexicon()
    name = request.text[request.start : request.end]
    beside = _beside(lexicon, request)
    label = SCHEMES.get(request.label.lower(), request.label)
    person = label == "PER"
    if beside is not None:
        kind, phrase = beside
        if kind == "person" and person:
            return phrase if phrase == "a person" else f"{phrase}, a person"
        # "my dog Rex": what the post says beats the type, which taggers rarely get right for pets.
        if kind == "animal" or (kind in ("thing", "group") and not person and label != "LOC"):
            return phrase
    if not person:
        famous = lexicon.named.get(name.lower()) or lexicon.named.get(name.lower().removeprefix("the "))
        if famous is not None:
            return famous
        words = _WORD.findall(name)
        for place in reversed(range(len(words))):
            found = lexicon.find(" ".join(words[place - 1 : place + 1])) if place else None
            found = found or lexicon.find(words[place])
            if (
                found is not None
                and len(words) > 1
                and (found[0] in ("animal", "thing") or (found[0] == "group" and label != "LOC"))
            ):
                return found[1]
        after = _DIRECTLY.match(request.text, request.end)
        found = lexicon.find(after.group(1)) if after is not None and label != "LOC" else None
        if found is not None and found[0] == "thing":
            return found[1]
        if label != "LOC":
            for word in words:
                if word.lower() in lexicon.makers:
                    return lexicon.makers[word.lower()]
    return BY_TYPE.get(label, "a thing")


def _beside(lexicon: Lexicon, request: ExpansionRequest) -> tuple[str, str] | None:
    """The noun that the post puts directly before or after the name."""
    before = _SENTENCE_END.split(request.text[max(0, request.start - WINDOW) : request.start])[-1]
    words = _WORD.findall(before)
    gap = before[before.rindex(words[-1]) + len(words[-1]) :] if words else ""
    if words and not gap.strip(" \"'“‘#@"):
        # The word before the name must be the noun itself: "my cat Chelsea", not "the cat that Chelsea has".
        found = (lexicon.find(" ".join(words[-2:])) if len(words) > 1 else None) or lexicon.find(words[-1])
        if found is not None:
            return found
    lead = _LEAD.search(before)
    if lead is not None:
        found = lexicon.find(lead.group(1))
        if found is not None:
            return found
    after = _SENTENCE_END.split(request.text[request.end : request.end + WINDOW])[0]
    link = _LINK.match(after)
    if link is None or not link.group(0).strip():
        return None
    rest = _WORD.findall(after[link.end() :])[: REACH + 1]
    if not re.search(r"(?i)\bthe\b|,|is|was|are|were|\(|:|-|–|—", link.group(0)):
        return None
    appositive = bool(rest) and (rest[0].lower() in _DETERMINER or "the" in link.group(0).lower().split())
    for place, word in enumerate(rest if appositive else []):
        if word.lower() in ("of", "in", "with", "and", "at", "for", "from", "on", "to", "by", "who", "that"):
            return None
        # "an aircraft carrier" is no aircraft.
        found = (lexicon.find(f"{word} {rest[place + 1]}") if place + 1 < len(rest) else None) or lexicon.find(word)
        if found is not None:
            return found
    return None
