"""Texts and posts of any kind, for Hypothesis: all of Unicode, halves of characters too, and what was made to do harm."""

import functools
from typing import Any

import spacy
from hypothesis import strategies as st

from rivega_spacy.ner.schemes import fits_tag
from rivega_spacy.post.text import replace_surrogates

# What a terminal, a browser, a spreadsheet, a parser or a template might take for more than text.
SNIPPETS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x08\x08", "\x00", "\x7f", "\u202e", "\u2066", "\u2069", "\u200b", "\u200d", "\ufeff", "\u2028", "\x85",
    "\u00ad", "\u3164", "\ufe0f", "\ud83d", "\udc00", "\uffff", "\U0010ffff", "e" + "\u0301" * 300, "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "'=1", '=HYPERLINK("http://a.b/")', "|calc", "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "</title>", "</style>", "-->", "]]>", "&amp;", "&#0;", '" onload="', "' x='", "javascript:alert(1)",
    "{{ 7*7 }}", "{% raw %}", "${HOME}", "%s %n", "{0}", "\\u0041", "\\", "\n", "\r\n", "\r", "\t", "  ", "\u00a0", "###", "<EOS>", "IMGID:1", "-DOCSTART-",
    "B-PER", "O\n", "# id 7", '"', "'", ",", ";", "\n\n", "../../etc/passwd", "NUL", "data:,x", "http://[", "// *", "--", "'; DROP TABLE words", "NEAR(a b)",
)  # fmt: skip

_character = st.one_of(st.characters(), st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Zs", "Zl", "Zp", "So"]))
texts = st.lists(
    st.one_of(st.sampled_from(SNIPPETS), st.text(_character, max_size=12), st.text("abc XYZ.", max_size=12)), max_size=6
).map("".join)
filled = texts.filter(lambda text: bool(replace_surrogates(text).strip()))
words = st.text(_character, min_size=1, max_size=9).filter(lambda word: bool(word.strip()))
# Types as people may name them: what a tag of words cannot hold (blanks at its rims, a bar, a tab) is tested by itself.
labels = st.one_of(st.sampled_from(["PER", "LOC", "ORG", "OTHER"]), filled.map(lambda text: text.strip()).filter(fits_tag))
# What JSON may hold where something else belongs.
JUNK = (
    None, True, 0, -1, 10**400, 2**63, 1e308, float("inf"), float("nan"), "", "1.2.3", "http://[", {}, {"x": {}}, {"size": [1, 1], "counts": "0"}, [], [None], [[]],
    [1, "2"], [[1, 2], [3, "x"]], [{}],
)  # fmt: skip
junk = st.one_of(st.sampled_from(JUNK), st.integers(), st.floats(), texts)


# Readers make a language for every file, which takes far longer than to read one post.
blank = functools.lru_cache(spacy.blank)


@st.composite
def posts(draw: Any, *, entities: bool = True) -> dict[str, Any]:
    """A post with entities anywhere in its text, as JSON could hold it."""
    text = draw(texts)
    post: dict[str, Any] = {"id": draw(filled), "text": text}
    for field in ("caption", "description", "knowledge"):
        if draw(st.booleans()):
            post[field] = draw(texts)
    if entities and text:
        borders = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
        post["ents"] = [
            {"start": start, "end": end, "label": draw(labels), "expansion": draw(st.none() | filled)}
            for start, end in zip(borders[::2], borders[1::2])
            if replace_surrogates(text)[start:end].strip()
        ]
    return post


@st.composite
def damaged(draw: Any, value: Any) -> Any:
    """A JSON value with one to three of its parts replaced or left out."""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(value)))
        value = replaced(value, place, LEFT_OUT if place and draw(st.integers(0, 9)) == 0 else draw(junk))
    return value


LEFT_OUT = object()


def places(value: Any) -> list[tuple]:
    """The ways to all parts of a JSON value, itself first."""
    found: list[tuple] = [()]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [(key, *rest) for key, item in items for rest in places(item)]


def replaced(value: Any, place: tuple, by: Any) -> Any:
    """The value with one of its parts replaced, or left out."""
    if not place:
        return by
    key, rest = place[0], place[1:]
    if isinstance(value, dict):
        if not rest and by is LEFT_OUT:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: replaced(value[key], rest, by)}
    return [*value[:key], *([] if not rest and by is LEFT_OUT else [replaced(value[key], rest, by)]), *value[key + 1 :]]
