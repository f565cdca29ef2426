"""Greedy longest-match-first wordpieces (the BERT "uncased" rules), in plain Python."""

import unicodedata
from collections.abc import Sequence

UNKNOWN = "[UNK]"
MAX_WORD_CHARS = 60


def split_words(text: str) -> list[str]:
    """Lower-case, strip accents, and cut at spaces, punctuation and ideographs.

    text (str): Any text.
    RETURNS (List[str]): The words, in order.
    """
    words: list[str] = []
    current: list[str] = []
    for char in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(char)
        if category == "Mn" or char == "\ufffd" or (category[0] == "C" and char not in "\t\n\r"):
            continue
        if char.isspace():
            if current:
                words.append("".join(current))
                current = []
        elif _stands_alone(char, category):
            if current:
                words.append("".join(current))
                current = []
            words.append(char)
        else:
            current.append(char)
    if current:
        words.append("".join(current))
    return words


def _stands_alone(char: str, category: str) -> bool:
    code = ord(char)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return category[0] == "P" or 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF


class WordPieces:
    """A vocabulary of wordpieces and the cutting of words into them.

    vocab (Sequence[str]): One piece a row; pieces inside a word begin with "##".
    """

    def __init__(self, vocab: Sequence[str]) -> None:
        self.ids: dict[str, int] = {piece: i for i, piece in enumerate(vocab)}
        self.unknown = self.ids.get(UNKNOWN, 0)
        self._words: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Wordpiece ids of a text, without special tokens.

        text (str): Any text.
        RETURNS (List[int]): Row numbers in the vocabulary.
        """
        ids: list[int] = []
        for word in split_words(text):
            pieces = self._words.get(word)
            if pieces is None:
                pieces = self._cut(word)
                if len(self._words) < 100_000:
                    self._words[word] = pieces
            ids.extend(pieces)
        return ids

    def _cut(self, word: str) -> list[int]:
        if len(word) > MAX_WORD_CHARS:
            return [self.unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            end = len(word)
            while end > start:
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self.ids:
                    pieces.append(self.ids[piece])
                    break
                end -= 1
            if end == start:
                return [self.unknown]
            start = end
        return pieces
