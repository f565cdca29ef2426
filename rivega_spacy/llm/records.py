"""Recorded answers in files: what `rivega store export` writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..post.errors import Errors
from ..post.jsonl import read_lines
from .store import Record

_WANTED = {"text": str, "model": str, "prompt": str, "version": str, "post": str, "entity": str, "finish": str}
_COUNTS = ("attempt", "input_tokens", "output_tokens")
_HEX = set("0123456789abcdef")


def read_records(path: str | Path) -> Iterator[Record | str]:
    """Rows of an exported store.

    path (Union[str, Path]): JSON lines.
    YIELDS (Union[Record, str]): A row, or E413 where a line is none.
    """
    for number, row in read_lines(path):
        reason = row if isinstance(row, str) else _reason(row)
        if reason:
            yield Errors.E413.format(path=path, line=number, reason=reason)
        else:
            assert isinstance(row, dict)
            values = {
                "choices": "",
                **row,
                "identity": json.dumps(row["identity"], sort_keys=True),
                "created": float(row["created"]),
            }
            yield Record(**{name: values[name] for name in Record._fields})


def _reason(row: dict[str, Any]) -> str:
    """Why a line is no row; "" where it is one."""
    for name in ("key", "question"):
        value = row.get(name)
        if not (isinstance(value, str) and len(value) == 64 and set(value) <= _HEX):
            return f"`{name}` is not a SHA-256 in hexadecimal"
    for name, kind in _WANTED.items():
        if not isinstance(row.get(name), kind):
            return f"`{name}` is not a string"
    for name in _COUNTS:
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
            return f"`{name}` is not a count"
    if not isinstance(row.get("choices", ""), str):
        return "`choices` is not a string"
    created = row.get("created")
    if isinstance(created, bool) or not isinstance(created, (int, float)) or not 0 <= created < 1e12:
        return "`created` is not a time"
    return "" if isinstance(row.get("identity"), dict) else "`identity` is not an object"
