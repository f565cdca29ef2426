"""Posts of a JSON array, one at a time: the file is never held as a whole, and an element that is no object does not end it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Errors, PostError
from .jsonl import MAX_LINE, Unpacked, parse_object

_SIGNS = re.compile(r'["\\\[\]{},\n]')
_CHUNK = 1 << 16


def read_array(path: str | Path, source: Unpacked) -> Iterator[dict[str, Any] | PostError]:
    """Objects of an array, or of several one after the other.

    path (Union[str, Path]): Of the file, for messages.
    source (Unpacked): The file.
    YIELDS (Union[Dict[str, Any], PostError]): An object, or E820 in its place; E821 last where the array does not end.
    """
    for number, text in enumerate(_elements(source), start=1):
        if text is None:
            yield PostError(Errors.E821.format(path=path, number=number, reason=source.damage or "the closing bracket is missing"))
            return
        post = Errors.E055.format(limit=MAX_LINE) if len(text) > MAX_LINE else parse_object(text, repair=False)
        yield post if isinstance(post, dict) else PostError(Errors.E820.format(number=number, path=path, reason=post))


def _elements(source: Unpacked) -> Iterator[str | None]:
    """The text of each element, cut off where it is too long; None at the end where an array was not closed."""
    text = source.text()
    depth, quoted, skipped, several_lines = -1, False, -1, False
    parts: list[str] = []
    held = place = 0
    while True:
        chunk = text.read(_CHUNK)
        if not chunk:
            break
        begin = 0
        for found in _SIGNS.finditer(chunk):
            sign, at = found.group(), found.start()
            if place + at == skipped:
                continue
            if quoted:
                if sign == "\\":
                    skipped = place + at + 1
                elif sign in '"\n':
                    quoted = False
                # No string goes over a line's end: one that is not closed harms its element alone, where each has a line.
                if sign != "\n" or several_lines:
                    continue
                depth = 0
            elif sign == '"':
                quoted = depth >= 0
            elif sign == "\n":
                several_lines |= depth > 0
            elif sign in "[{":
                depth += 1
                several_lines &= depth > 1
                if depth == 0:
                    begin, parts, held = at + 1, [], 0
            elif sign in "]}" and depth >= 0:
                depth -= 1
            if (depth == 0 and sign in ",\n") or (depth == -1 and sign in "]}"):
                element = "".join(parts) + chunk[begin:at]
                if element.strip():
                    yield element
                begin, parts, held = at + 1, [], 0
        if depth >= 0 and held <= MAX_LINE:
            parts.append(chunk[begin:])
            held += len(chunk) - begin
        place += len(chunk)
    if depth >= 0:
        yield None


__all__ = ["read_array"]
