"""The public surface of the package: what saved pipelines, configs, scripts and people's fingers rely on.

`python tests/public_surface.py` writes it to public_surface.json, which test_public_surface.py holds against the code.
"""

import configparser
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from spacy.language import Language

from rivega_spacy.cli.commands import COMMANDS, is_group
from rivega_spacy.cli.lazy import load, module_of
from rivega_spacy.post.extensions import DOC_EXTENSIONS, SPAN_EXTENSIONS
from rivega_spacy.post.moved import MOVED

ROOT = Path(__file__).resolve().parents[1]
FROZEN = Path(__file__).with_suffix(".json")
REQUIRED = "(required)"
# `rivega_spacy.room.module.name` and `from rivega_spacy.room.module import name, name`
DOTTED = re.compile(r"\brivega_spacy(?:\.[a-z_]+)+\.[A-Za-z_]+\b")
IMPORTED = re.compile(r"\bfrom (rivega_spacy(?:\.[a-z_]+)*) import ([A-Za-z_]+(?:, *[A-Za-z_]+)*)")

Surface = dict[str, Any]


def read_surface() -> Surface:
    """Everything public, as a tree of plain values: kind -> name -> argument -> default."""
    return {
        "extensions": {"Doc": _extensions(DOC_EXTENSIONS), "Span": _extensions(SPAN_EXTENSIONS)},
        "registered": _registered(),
        "documented": _documented(),
        "commands": _commands(),
        "moved": dict(MOVED),
    }


def differences(frozen: Surface, found: Surface, place: tuple[str, ...] = ()) -> Iterator[str]:
    """One line for each thing that is gone, new or changed between two surfaces."""
    for name in sorted({*frozen, *found}):
        here = (*place, name)
        label = " > ".join(here)
        if name not in found:
            yield f"gone: {label}"
        elif name not in frozen:
            yield f"new: {label}"
        elif isinstance(frozen[name], dict) and isinstance(found[name], dict):
            yield from differences(frozen[name], found[name], here)
        elif frozen[name] != found[name]:
            yield f"changed: {label}: {json.dumps(frozen[name])} -> {json.dumps(found[name])}"


def _extensions(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        name: {key: _plain(arguments[key]) if key == "default" else True for key in arguments} for name, arguments in table.items()
    }


def _registered() -> dict[str, dict[str, Any]]:
    """Every entry point: what configs and saved pipelines name, with the arguments they may set."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf8")
    surface: dict[str, dict[str, Any]] = {}
    for group, lines in setup["options.entry_points"].items():
        surface[group] = {}
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("=", 1))
            module, attribute = target.split(":")
            surface[group][name] = _entry_point(group, name, getattr(importlib.import_module(module), attribute))
    return surface


def _entry_point(group: str, name: str, target: Callable[..., Any]) -> dict[str, Any]:
    if group == "spacy_languages":
        return {}  # spaCy's own arguments
    if group == "spacy_factories":
        meta = Language.get_factory_meta(name)
        return {
            "settings": {
                key: _plain(meta.default_config.get(key, REQUIRED)) for key in _arguments(target) if key not in ("nlp", "name")
            },
            "assigns": sorted(meta.assigns),
            "requires": sorted(meta.requires),
            "score_weights": {key: _plain(value) for key, value in meta.default_score_weights.items()},
        }
    return _arguments(target)


def _documented() -> dict[str, Any]:
    """The Python names that README and docs give, with their arguments."""
    text = "\n".join(path.read_text(encoding="utf8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    names = set(DOTTED.findall(text))
    names.update(f"{module}.{name.strip()}" for module, several in IMPORTED.findall(text) for name in several.split(","))
    surface: dict[str, Any] = {}
    for name in sorted(names):
        found = _find(name)
        if found is None or inspect.ismodule(found):
            continue  # examples of the walks in docs/architecture.md; `python -m` and places to look at
        surface[name] = _describe(found)
    return surface


def _describe(found: Any) -> Any:
    if isinstance(found, type) and issubclass(found, BaseException):
        return [base.__name__ for base in found.__mro__[1:-2]]
    return _arguments(found) if callable(found) else type(found).__name__


def _find(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def _arguments(target: Callable[..., Any]) -> dict[str, Any]:
    return {parameter.name: _default(parameter) for parameter in inspect.signature(target).parameters.values()}


def _default(parameter: inspect.Parameter) -> Any:
    return REQUIRED if parameter.default is parameter.empty else _plain(parameter.default)


def _commands() -> dict[str, Any]:
    """Every sub-command with its arguments and options."""
    return {name: dict(_options(load(name), module_of(name).run)) for name in COMMANDS if not is_group(name)}


def _options(command: Any, run: Callable[..., int]) -> Iterator[tuple[str, Any]]:
    annotations = {name: parameter.annotation for name, parameter in inspect.signature(run).parameters.items()}
    for parameter in command.params:
        option = parameter.param_type_name == "option"
        name = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else parameter.name.upper()
        default = REQUIRED if parameter.required else _plain(parameter.default)
        choices = list(_choices(annotations[parameter.name]))
        yield name, {"default": default, "choices": choices} if choices else default


def _choices(annotation: Any) -> Iterator[Any]:
    """What the Literals within an annotation allow."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _choices(part)


def _plain(value: Any) -> Any:
    """A value as JSON holds it; what it cannot hold, by its name."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def write_surface() -> None:
    """Freeze the surface as it is now."""
    FROZEN.write_text(json.dumps(read_surface(), indent=1, ensure_ascii=False) + "\n", encoding="utf8")


if __name__ == "__main__":
    write_surface()
