"""Paths in the config of a saved pipeline: they hold wherever it is loaded from, and wherever it is moved to.

A component may name files: SAM's checkpoint, an answer store, a bank of examples, a prompt. In a config that a person writes they often
start from the working folder. In what is saved, a file in the pipeline's own folder is named from that folder on (`{pipeline}/files/sam.pth`),
so that folder and file move together; any other by its absolute path.
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
# Functions whose `name` is a folder, if there is one of that name.
FOLDERS = {"rivega.HFSam.v1", "rivega.HFSam2.v1"}
# Stands for the pipeline's folder; unlike "${...}" it means nothing to configs themselves.
PIPELINE = "{pipeline}"
# Makes its file if there is none yet.
STORE = "rivega.AnswerStore.v1"
_REFERENCE = re.compile(r"\$\{paths\.(\w+)\}")


def keep_paths(config_path: Path) -> None:
    """Name the files of components from the pipeline's folder on where they are in it, absolutely where they are elsewhere.

    Only paths that something is at and that of an answer store are changed.

    config_path (Path): config.cfg of a pipeline that was just saved, in the working folder that its paths start from.
    """
    config = Config().from_disk(config_path, interpolate=False)
    folder = config_path.resolve().parent
    components = config.get("components", {})
    used: dict[str, bool] = {}
    changed = _walk(components, used, folder)
    paths = config.get("paths", {})
    for name, always in used.items():
        value = _kept(paths.get(name), folder, always=always)
        if value is not None:
            paths[name], changed = value, True
    if changed:
        config.to_disk(config_path)


def needs_folder(section: Any) -> bool:
    """Whether a section of a config names a file in the pipeline's folder."""
    if isinstance(section, dict):
        return any(needs_folder(value) for value in section.values())
    if isinstance(section, (list, tuple)):
        return any(needs_folder(value) for value in section)
    return isinstance(section, str) and (section == PIPELINE or section.startswith(f"{PIPELINE}/"))


def in_folder(section: Any, folder: Path) -> Any:
    """A copy of a section with the paths as they are where the pipeline is now.

    section (Any): A section, or a value in one. folder (Path): The pipeline's.
    """
    if isinstance(section, dict):
        return {key: in_folder(value, folder) for key, value in section.items()}
    if isinstance(section, (list, tuple)):
        return [in_folder(value, folder) for value in section]
    return str(folder / section[len(PIPELINE) + 1 :]) if needs_folder(section) else section


def _walk(section: dict[str, Any], used: dict[str, bool], folder: Path) -> bool:
    """Change a section in place; note the settings of [paths] that it refers to, and whether they count though nothing is there.

    RETURNS (bool): Whether anything was changed.
    """
    changed = False
    always = section.get("@misc") == STORE
    for key, value in section.items():
        if isinstance(value, dict):
            changed |= _walk(value, used, folder)
            continue
        if key not in KEYS and not (key == "name" and section.get("@misc") in FOLDERS):
            continue
        items = value if isinstance(value, list) else [value]
        for match in (_REFERENCE.fullmatch(item) for item in items if isinstance(item, str)):
            if match is not None:
                used[match[1]] = used.get(match[1], False) or always
        moved = [_kept(item, folder, always=always) for item in items]
        if any(item is not None for item in moved):
            whole = [old if new is None else new for old, new in zip(items, moved)]
            section[key], changed = whole if isinstance(value, list) else whole[0], True
    return changed


def _kept(value: Any, folder: Path, *, always: bool) -> str | None:
    """RETURNS (Optional[str]): What is saved in its place; None if it stays, or is no path of anything."""
    if not isinstance(value, str) or not value or "${" in value or needs_folder(value):
        return None
    path = Path(value)
    if not always and not path.exists():
        return None
    full = path.resolve()
    if full.is_relative_to(folder):
        return f"{PIPELINE}/{full.relative_to(folder).as_posix()}"
    return None if path.is_absolute() else str(full)


__all__ = ["KEYS", "PIPELINE", "in_folder", "keep_paths", "needs_folder"]
