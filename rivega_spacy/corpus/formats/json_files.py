"""JSON files of annotation tools: whatever is in one of them, it ends the reading of no other."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

from ...post.files import is_plain_file
from ...post.textfiles import read_text

# Python refuses to convert longer numbers, and with them the whole file.
_DIGITS = 300


def read_json(path: str | Path) -> Any:
    """The value that a JSON file holds.

    path (Union[str, Path]): UTF-8, UTF-16 or UTF-32, with a byte order mark or without.
    RAISES (ValueError): If it cannot be read or is no JSON, or lists in it lie too deep within each other.
    """
    path = Path(path)
    if not is_plain_file(path):
        raise ValueError("not a file")
    try:
        return json.loads(read_text(path), parse_int=_whole)
    except RecursionError:
        raise ValueError("lists or objects lie too deep within each other") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else math.inf


def reference(value: Any) -> str | None:
    """A reference to a picture that a post can carry.

    value (Any): What a file has there.
    RETURNS (Optional[str]): It; None if it is no text, empty, or text that UTF-8 cannot write.
    """
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        value.encode("utf8")
    except UnicodeEncodeError:
        return None
    return value


__all__ = ["read_json", "reference"]
