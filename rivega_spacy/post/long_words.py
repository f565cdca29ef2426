"""Tokens of words that have no end: spaCy's tokenizer takes time that grows with the square of how often an affix comes off a word.

A thousand emoji, brackets or zero-width characters without a blank are a word with a thousand prefixes, and before each of them the
whole rest is searched for a suffix. Here the affixes of such a word come off in one pass from either side, by the tokenizer's own
patterns, and the tokenizer gets what is left of it; everything else it gets as it was.
"""

import re
from collections.abc import Callable
from typing import Optional

from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.vocab import Vocab

# The longest word that is always left to spaCy, and how many affixes a longer one must have to be taken apart here.
WORD = 32
AFFIXES = 8
_LONG_WORD = re.compile(rf"\S{{{WORD + 1},}}")
# What is longer than any address is no word: it is cut, because patterns (that of addresses above all) take their time with it.
LONGEST, PIECE = 2048, 1024
# How much of a word is searched for an affix; more where an affix fills it. An emoji of a whole family fits in.
_WINDOW = 24

Search = Callable[[str], Optional["re.Match[str]"]]


def tokenize(tokenizer: Tokenizer, vocab: Vocab, text: str) -> Doc:
    """The tokens of a text, in time that grows with its length.

    tokenizer (Tokenizer): spaCy's, or another; one without affix patterns does all the work itself.
    vocab (Vocab): Of the doc.
    text (str): A post.
    RETURNS (Doc): The same as `tokenizer(text)`, but for words of more than `LONGEST` characters, and where a long row of signs could be
        read as other affixes from its other end.
    """
    prefix, suffix = getattr(tokenizer, "prefix_search", None), getattr(tokenizer, "suffix_search", None)
    if prefix is None or suffix is None or _LONG_WORD.search(text) is None:
        return tokenizer(text)
    words: list[str] = []
    spaces: list[bool] = []

    def add(part: str) -> None:
        doc = tokenizer(part)
        words.extend(token.text for token in doc)
        spaces.extend(bool(token.whitespace_) for token in doc)

    done = 0
    for found in _LONG_WORD.finditer(text):
        before, core, after = split_affixes(found.group(), prefix, suffix)
        if len(before) + len(after) < AFFIXES and len(core) <= LONGEST:
            continue
        add(text[done : found.start()])
        words.extend(before)
        spaces.extend([False] * len(before))
        for place in range(0, len(core), PIECE if len(core) > LONGEST else len(core)):
            add(core[place : place + PIECE] if len(core) > LONGEST else core)
        words.extend(after)
        spaces.extend([False] * len(after))
        done = found.end()
        if text[done : done + 1] == " ":
            spaces[-1] = True
            done += 1
    if not done:
        return tokenizer(text)
    add(text[done:])
    return Doc(vocab, words=words, spaces=spaces)


def split_affixes(word: str, prefix: Search, suffix: Search) -> tuple[list[str], str, list[str]]:
    """Prefixes, core and suffixes of a word, as spaCy's tokenizer takes them off; the core keeps at least `WORD` characters.

    word (str): Without blanks.
    prefix (Callable), suffix (Callable): The tokenizer's searches.
    """
    start, end = 0, len(word)
    before: list[str] = []
    while end - start > WORD:
        length = _first(word, start, end, prefix)
        if not length or end - start - length < WORD:
            break
        before.append(word[start : start + length])
        start += length
    after: list[str] = []
    while end - start > WORD:
        length = _last(word, start, end, suffix)
        if not length or end - start - length < WORD:
            break
        after.append(word[end - length : end])
        end -= length
    return before, word[start:end], after[::-1]


def _first(word: str, start: int, end: int, prefix: Search) -> int:
    window = _WINDOW
    while True:
        part = word[start : min(end, start + window)]
        found = prefix(part)
        if found is None or found.end() < len(part) or start + window >= end:
            return 0 if found is None else found.end() - found.start()
        window *= 4


def _last(word: str, start: int, end: int, suffix: Search) -> int:
    window = _WINDOW
    while True:
        part = word[max(start, end - window) : end]
        found = suffix(part)
        if found is None or found.start() > 0 or end - window <= start:
            return 0 if found is None else found.end() - found.start()
        window *= 4
