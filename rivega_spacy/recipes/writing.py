"""A composed recipe as the text of a config file, with its comments."""

from __future__ import annotations

from pathlib import Path

from thinc.api import Config

from ..post.errors import Errors, RivegaError
from ..post.files import write_text
from .fragment import Recipe, compose, names

# As spaCy orders the sections of a config.
_ORDER = [
    "paths",
    "system",
    "store",
    "models",
    "examples",
    "enrich",
    "nlp",
    "components",
    "corpora",
    "training",
    "pretraining",
    "initialize",
]


def config_text(recipe: Recipe) -> str:
    """RETURNS (str): What `rivega init-config` writes: the head, then the sections, each setting below its comment."""
    settings = _settings(Config(recipe.config).to_str(interpolate=False))
    lines = [*recipe.head, ""] if recipe.head else []
    for section in _depth_first(recipe.config):
        lines += [*recipe.comments.get(f"[{section}]", ()), f"[{section}]"]
        for line in settings[section]:
            lines += [*recipe.comments.get(f"{section}.{line.split('=', 1)[0].strip()}", ()), line]
        lines.append("")
    return "\n".join(lines).strip() + "\n"


def write_all(folder: Path, *, force: bool = False) -> list[Path]:
    """Write every config that there is.

    folder (Path): Where to; made if it is not there.
    force (bool): Overwrite files.
    RETURNS (List[Path]): The files, one a recipe.
    RAISES (RivegaError): E543 if a file is there already; nothing is written then.
    """
    paths = {folder / f"{name}.cfg": name for name in names()}
    there = [path for path in paths if path.exists() and not force]
    if there:
        raise RivegaError(Errors.E543.format(path=there[0]))
    for path, name in paths.items():
        write_text(path, config_text(compose(name)))
    return list(paths)


def _settings(text: str) -> dict[str, list[str]]:
    """The lines of each section."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found[section] = []
        elif line:
            found[section].append(line)
    return found


def _depth_first(config: Config) -> list[str]:
    """Names of all sections, each followed by those below it."""
    top = sorted(config, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return [name for section in top for name in _walk(section, config[section])]


def _walk(name: str, section: dict) -> list[str]:
    return [name, *(below for key, value in section.items() if isinstance(value, dict) for below in _walk(f"{name}.{key}", value))]
