"""A fragment of a config: what it builds on, what it changes, and the comments that go with its settings.

A fragment is a `.cfg` file whose first section says what it builds on:

    [recipe]
    extends = ["post_part","cosine"]
    drop = ["training.patience"]

Fragments in `extends` are merged in that order, `drop` takes settings away, and the rest of the file is merged last. Comment lines stay with
the setting or section below them; those above `[recipe]` are the head of the config.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thinc.api import Config

from ..post.errors import Errors, RivegaError

FOLDER = Path(__file__).parent / "fragments"
_OWN = "recipe"
# Stands for "${" while a fragment is parsed.
_REFERENCE = "\N{SECTION SIGN}{"


@dataclass
class Recipe:
    """A composed config.

    name (str): Its name.
    config (Config): Not interpolated.
    head (List[str]): Lines of the comment above everything, with their "#".
    comments (Dict[str, List[str]]): "section.key" or "[section]" -> comment lines above it.
    """

    name: str
    config: Config = field(default_factory=Config)
    head: list[str] = field(default_factory=list)
    comments: dict[str, list[str]] = field(default_factory=dict)


def names() -> list[str]:
    """All recipes that make a whole config: those whose head gives the command that uses it."""
    return sorted(path.stem for path in FOLDER.glob("*.cfg") if f"configs/{path.stem}.cfg" in path.read_text(encoding="utf8"))


def compose(name: str) -> Recipe:
    """The config of a recipe, with all that it builds on.

    name (str): See `names`.
    RETURNS (Recipe): Not interpolated and not validated.
    RAISES (RivegaError): E540 for a name that there is not.
    """
    path = FOLDER / f"{name}.cfg"
    if not path.is_file():
        raise RivegaError(Errors.E540.format(name=name, known=", ".join(names())))
    text = path.read_text(encoding="utf8")
    own = _parse(text)
    build = own.pop(_OWN, {})
    recipe = Recipe(name)
    for base in build.get("extends", []):
        part = compose(base)
        merge_sections(recipe.config, part.config)
        recipe.comments.update(part.comments)
    for key in build.get("drop", []):
        _drop(recipe.config, key.split("."))
    merge_sections(recipe.config, own)
    recipe.head, comments = read_comments(text)
    recipe.comments.update(comments)
    return recipe


def extend(recipe: Recipe, name: str) -> None:
    """Put another fragment on top of a composed recipe, in place; its head follows the recipe's."""
    part = compose(name)
    merge_sections(recipe.config, part.config)
    recipe.comments.update(part.comments)
    recipe.head += part.head


def merge_sections(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Merge one config into another, in place. A section that names another registered function replaces the former one whole."""
    for key, value in changes.items():
        former = base.get(key)
        if isinstance(value, dict) and isinstance(former, dict) and _function(value) in (None, _function(former)):
            merge_sections(former, value)
        else:
            base[key] = copy.deepcopy(value)


def read_comments(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """RETURNS (Tuple[List[str], Dict[str, List[str]]]): Lines of the head, and the comment lines above each setting or section."""
    head: list[str] = []
    comments: dict[str, list[str]] = {}
    waiting: list[str] = []
    section = ""
    for line in text.splitlines():
        if line.startswith("#"):
            waiting.append(line)
            continue
        if line.startswith("["):
            section = line.strip("[] ")
            if section == _OWN:
                head, waiting = waiting, []
            elif waiting:
                comments[f"[{section}]"], waiting = _trimmed(waiting), []
        elif "=" in line and waiting:
            comments[f"{section}.{line.split('=', 1)[0].strip()}"], waiting = _trimmed(waiting), []
        elif not line.strip() and waiting:
            waiting.append("")
    return _trimmed(head), comments


def _parse(text: str) -> Config:
    """A fragment's settings. A config must name each section above another one, and refer to settings of its own only; a fragment need not."""
    lines: list[str] = []
    seen: set[str] = set()
    for line in text.replace("${", _REFERENCE).splitlines():
        if line.startswith("["):
            parts = line.strip("[] ").split(".")
            above = [".".join(parts[:depth]) for depth in range(1, len(parts))]
            lines += [f"[{name}]" for name in above if name not in seen]
            seen.update(above, [".".join(parts)])
        lines.append(line)
    config = Config().from_str("\n".join(lines), interpolate=False)
    _restore_references(config)
    return config


def _restore_references(section: dict[str, Any]) -> None:
    for key, value in section.items():
        if isinstance(value, dict):
            _restore_references(value)
        elif isinstance(value, str):
            section[key] = value.replace(_REFERENCE, "${")


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def _function(section: dict[str, Any]) -> str | None:
    return next((f"{key}={value}" for key, value in section.items() if key.startswith("@") or key in ("factory", "source")), None)


def _drop(config: dict[str, Any], keys: list[str]) -> None:
    for key in keys[:-1]:
        config = config[key]
    del config[keys[-1]]
