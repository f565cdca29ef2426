"""Characters that are none: halves of surrogate pairs, and what nobody sees."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
# Characters that draw nothing and stand in none of the general categories that say so.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# What a terminal obeys instead of showing it: controls but for tabs and line ends, the marks that turn the direction of what follows, and
# what some programs take for the end of a line.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_VARIATION = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def has_lone_surrogate(text: str) -> bool:
    """Whether a text has halves of surrogate pairs, as which bytes that are not UTF-8 are read."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def replace_surrogates(text: str) -> str:
    """The text as UTF-8 can write it.

    text (str): May hold lone surrogates: JSON can spell half an emoji ("\\\\ud83d"), which is no character.
    RETURNS (str): Of the same length, with U+FFFD in place of each.
    """
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def replace_surrogates_in(value: Any) -> tuple[Any, list[str]]:
    """The same for everything within a JSON value, keys included.

    value (Any): Nested no deeper than `jsonl.MAX_DEPTH`.
    RETURNS (Tuple[Any, List[str]]): The value, itself if nothing is wrong with it, and for an object the names of the fields in
        which something was replaced.
    """
    if not isinstance(value, dict):
        return _repaired(value), []
    changed = [name for name, item in value.items() if _repaired(name) is not name or _repaired(item) is not item]
    return _repaired(value), [replace_surrogates(str(name)) for name in changed]


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        found = replace_surrogates(value)
        return value if found == value else found
    if isinstance(value, (list, tuple)):
        items = [_repaired(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value)) else value
    if isinstance(value, dict):
        pairs = [(_repaired(name), _repaired(item)) for name, item in value.items()]
        same = all(name is old and item is value[old] for (name, item), old in zip(pairs, value))
        return value if same else dict(pairs)
    return value


def printable(text: str) -> str:
    """A text as a terminal may have it: what it would obey is spelled out, "\\u001b", as JSON and Python spell it."""
    return text if text.isprintable() else _OBEYED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def brief(value: Any, limit: int = 80) -> str:
    """A value as messages show it: on one line, cut after so many characters. However large it is, no more of it is looked at."""
    shown = ""
    try:
        for piece in _repr_of(value, limit + 1):
            shown += piece
            if len(shown) > limit:
                return shown[: limit - 3] + "..."
    except (ValueError, RecursionError):  # a whole number that Python does not write out, an object that holds itself
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def _repr_of(value: Any, limit: int) -> Iterator[str]:
    """`repr(value)` in pieces, of strings no more than so many characters."""
    kind = type(value)
    if kind in (str, bytes):
        yield repr(value[:limit])
    elif kind is dict:
        yield "{"
        for place, (name, item) in enumerate(value.items()):
            yield ", " if place else ""
            yield from _repr_of(name, limit)
            yield ": "
            yield from _repr_of(item, limit)
        yield "}"
    elif kind in (list, tuple):
        yield "[" if kind is list else "("
        for place, item in enumerate(value):
            yield ", " if place else ""
            yield from _repr_of(item, limit)
        yield "]" if kind is list else ",)" if len(value) == 1 else ")"
    else:
        yield repr(value)


def is_invisible(sign: str) -> bool:
    """Whether a character draws nothing: blanks, controls, zero-width and direction marks, soft hyphens, variation selectors."""
    return (
        sign.isspace()
        or unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
        or sign in _BLANK
        or _VARIATION.match(sign) is not None
    )


def has_visible(text: str) -> bool:
    """Whether a reader sees anything of a text; replacement characters (U+FFFD) say only that something was lost."""
    return any(sign != "\ufffd" and not is_invisible(sign) for sign in text)


def trim_invisible(words: list[str]) -> tuple[int, int] | None:
    """What remains of the words of an entity without those at its rims that nobody sees.

    words (List[str]): The texts of its tokens.
    RETURNS (Optional[Tuple[int, int]]): First word and the one after the last; None if the entity shows nothing at all.
    """
    if not any(has_visible(word) for word in words):
        return None
    start, end = 0, len(words)
    while all(map(is_invisible, words[start])):
        start += 1
    while all(map(is_invisible, words[end - 1])):
        end -= 1
    return start, end
