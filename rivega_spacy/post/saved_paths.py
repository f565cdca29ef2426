"""Paths in the config of a saved pipeline: absolute, so that the pipeline loads from anywhere.

A component may name files outside the pipeline: SAM's checkpoint, an answer store, a bank of examples, a prompt. In a config that a person
writes they often start from the working folder. What is saved must not: the pipeline may be moved, and loaded from another folder.
"""

import re
from pathlib import Path
from typing import Any

from thinc.api import Config

# Settings of the registered functions that hold the path of a file or folder.
KEYS = {
    "path", "checkpoint", "vocab", "words", "vectors", "darknet", "weights", "bank", "prompt", "caption_prompt", "description_prompt", "examples",
    "index",
}  # fmt: skip
# Makes its file where there is none yet.
STORE = "rivega.AnswerStore.v1"
_REFERENCE = re.compile(r"\$\{paths\.(\w+)\}")


def keep_paths(config_path: Path) -> None:
    """Make relative paths of components absolute, those that something is at and that of an answer store; nothing else changes.

    config_path (Path): config.cfg of a pipeline that was just saved, in the working folder that its paths start from.
    """
    config = Config().from_disk(config_path, interpolate=False)
    components = config.get("components", {})
    used: dict[str, bool] = {}
    changed = _walk(components, used)
    paths = config.get("paths", {})
    for name, always in used.items():
        value = _absolute(paths.get(name), always=always)
        if value is not None:
            paths[name], changed = value, True
    if changed:
        config.to_disk(config_path)


def _walk(section: dict[str, Any], used: dict[str, bool]) -> bool:
    """Change a section in place; note the settings of [paths] that it refers to, and whether they count though nothing is there.

    RETURNS (bool): Whether anything was changed.
    """
    changed = False
    always = section.get("@misc") == STORE
    for key, value in section.items():
        if isinstance(value, dict):
            changed |= _walk(value, used)
            continue
        if key not in KEYS:
            continue
        items = value if isinstance(value, list) else [value]
        for match in (_REFERENCE.fullmatch(item) for item in items if isinstance(item, str)):
            if match is not None:
                used[match[1]] = used.get(match[1], False) or always
        moved = [_absolute(item, always=always) for item in items]
        if any(item is not None for item in moved):
            whole = [old if new is None else new for old, new in zip(items, moved)]
            section[key], changed = whole if isinstance(value, list) else whole[0], True
    return changed


def _absolute(value: Any, *, always: bool) -> str | None:
    """RETURNS (Optional[str]): The absolute path; None where it is one already, or no path of anything."""
    if not isinstance(value, str) or not value or "${" in value or Path(value).is_absolute():
        return None
    return str(Path(value).resolve()) if always or Path(value).exists() else None


__all__ = ["KEYS", "keep_paths"]
