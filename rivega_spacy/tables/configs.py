"""The configs of a variant: a base config of the project with what the variant's choices change in it, validated."""

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

from thinc.api import Config, ConfigValidationError

from ..post.errors import Errors, RivegaError
from ..post.textfiles import read_text
from .needs import find_weights
from .place import Place
from .plan import COMPONENTS, Plan, Variant


def part_name(plan: Plan, variant: Variant, axis: str) -> str | None:
    """The name of the part that is trained for an axis, equal for variants that can share it; None where nothing is trained."""
    choice = plan.choice(variant, axis)
    if choice is None or "train" not in choice:
        return None
    words = [axis, variant.choices[axis]]
    if axis == "tagger" or _sources_for(plan, variant, axis):
        words.append(variant.choices.get("knowledge", "given"))
    if axis in ("entailment", "grounder") and expression(plan, variant) != "both":
        words.append(expression(plan, variant))
    return "-".join(words)


def expression(plan: Plan, variant: Variant) -> str:
    """The form of referring expressions that a variant chooses."""
    return (plan.choice(variant, "expression") or {}).get("form", "both")


def corpus_folder(variant: Variant, place: Place, *, enriched: bool) -> Path:
    """Where the posts of a variant are: the data folder, or what enriching made of it."""
    return place.output / "corpus" / variant.choices["knowledge"] if enriched else place.data


def training_config(plan: Plan, variant: Variant, axis: str, place: Place, *, corpus: Path) -> Config:
    """What `spacy train` gets for one part of a variant.

    plan (Plan): The list of experiments.
    variant (Variant): Its row.
    axis (str): The part; its choice has `train`.
    place (Place): Folders.
    corpus (Path): Folder with train.spacy and dev.spacy.
    RETURNS (Config): Merged, not interpolated.
    RAISES (RivegaError): E020 where the base does not exist, E534 where it has no such section, E535 where it is no config.
    """
    choice = plan.choice(variant, axis) or {}
    base = plan.base(choice["train"])
    config = read_base(base)
    changes: dict[str, Any] = {"paths.train": str(corpus / "train.spacy"), "paths.dev": str(corpus / "dev.spacy")}
    for key, name in choice.get("weights", {}).items():
        changes[key] = find_weights(plan.weights[name], place)[0]
    changes.update(choice.get("set", {}))
    if place.seed is not None:
        changes["system.seed"] = place.seed
    knowledge = plan.choice(variant, "knowledge") or {}
    sources = _sources_for(plan, variant, axis)
    if axis == "tagger" and knowledge.get("absent"):
        changes.update({"corpora.train.knowledge": "absent", "corpora.dev.knowledge": "absent"})
    elif sources:
        measured = knowledge.get("measured_with", sources[0])
        for name, names in (("train", sources), ("dev", [measured])):
            changes[f"corpora.{name}.sources"] = names
            if axis == "tagger":
                changes[f"corpora.{name}.knowledge"] = "present"
    if place.images is not None and "images" in config.get("paths", {}):
        changes["paths.images"] = str(place.images)
    if axis in ("entailment", "grounder") and expression(plan, variant) != "both":
        changes[f"components.{COMPONENTS[axis][0]}.expression"] = expression(plan, variant)
    merge(config, changes, base)
    if sources and len(sources) > 1:
        _lengthen(config, len(sources))
    return config


def pipeline_config(plan: Plan, variant: Variant, place: Place) -> Config | None:
    """What `spacy assemble` gets.

    RETURNS (Optional[Config]): None where the variant is a pipeline that is there already, or a tagger alone.
    RAISES (RivegaError): As `training_config`.
    """
    axes = [axis for axis in COMPONENTS if axis in variant.choices]
    if ready_pipeline(plan, variant, place) is not None:
        return None
    base = plan.base(plan.assemble)
    config = read_base(base)
    config["components"] = {}
    config.pop("paths", None)
    for axis in axes:
        choice = plan.choice(variant, axis) or {}
        trained = part_name(plan, variant, axis)
        for name in COMPONENTS[axis]:
            if trained is not None:
                config["components"][name] = {"source": str(place.part(trained))}
            elif "pipeline" in choice:
                config["components"][name] = {"source": choice["pipeline"]}
            else:
                section = _filled(copy.deepcopy(choice["component"]), place)
                for key, weights in choice.get("weights", {}).items():
                    _put(section, key.split("."), find_weights(plan.weights[weights], place)[0])
                config["components"][name] = section
    config["nlp"]["pipeline"] = [name for axis in axes for name in COMPONENTS[axis]]
    return config


def ready_pipeline(plan: Plan, variant: Variant, place: Place) -> str | None:
    """The pipeline that needs no assembling: one installed package for everything, or one trained part alone."""
    axes = [axis for axis in COMPONENTS if axis in variant.choices]
    choices = [plan.choice(variant, axis) or {} for axis in axes]
    packages = {choice.get("pipeline") for choice in choices}
    if len(packages) == 1 and None not in packages and len(axes) == len(COMPONENTS):
        return str(packages.pop())
    if len(axes) == 1:
        trained = part_name(plan, variant, axes[0])
        return None if trained is None else str(place.part(trained))
    return None


def enrich_config(plan: Plan, source: str, place: Place, *, first: bool) -> Config:
    """What `rivega enrich` gets for one language model.

    source (str): Its name in `sources`.
    first (bool): Whether it also describes the pictures; later ones find that done.
    """
    config = read_base(plan.base(plan.enrich))
    entry = plan.sources[source]
    config["models"] = {source: copy.deepcopy(entry["model"])}
    if "examples" in entry:
        config["examples"] = copy.deepcopy(entry["examples"])
    config["store"]["path"] = str(place.output / "answers.sqlite")
    config["enrich"].update({"knowledge": [source], "expansions": [source], "main": source})
    for key in ("captions", "descriptions"):
        config["enrich"][key] = source if first else None
    return config


def read_base(path: Path) -> Config:
    """RAISES (RivegaError): E020, E535."""
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        return Config().from_str(read_text(path), interpolate=False)
    except ValueError as error:
        raise RivegaError(Errors.E535.format(path=path, reason=one_line(error))) from error


def merge(config: Config, changes: dict[str, Any], base: Path) -> None:
    """Put values into a config.

    config (Config): Changed in place.
    changes (Dict[str, Any]): "section.sub.name" -> value. Sections must exist: a change of one that does not would be lost unseen.
    base (Path): Its file, for errors.
    RAISES (RivegaError): E534.
    """
    for key, value in changes.items():
        *sections, name = key.split(".")
        place: Any = config
        for section in sections:
            if not isinstance(place, dict) or not isinstance(place.get(section), dict):
                raise RivegaError(Errors.E534.format(path=base, section=".".join(sections), key=key))
            place = place[section]
        place[name] = value


def validate(config: Config, path: Path) -> None:
    """Check a merged config against what the registered functions take, without building anything: no weights are needed.

    config (Config): Merged.
    path (Path): Its file, for errors.
    RAISES (RivegaError): E535 with the first thing that is wrong.
    """
    fault = _fault(config.to_str(interpolate=False))
    if fault is not None:
        raise RivegaError(Errors.E535.format(path=path, reason=fault))


@lru_cache(maxsize=256)
def _fault(text: str) -> str | None:
    """What is wrong with a config. Kept by its text: variants share most of theirs."""
    from spacy.language import DEFAULT_CONFIG
    from spacy.schemas import ConfigSchemaTraining
    from spacy.util import registry

    try:
        plain = Config().from_str(text)
        # Packages that bring factories may bring registries too.
        nlp: Any = _blank(plain["nlp"]["lang"]) if "nlp" in plain else None
        _known_functions(plain, registry)
        if "training" in plain:
            # Neither optimiser nor readers need weights or data to be made, so they are made: that checks every value.
            registry.resolve({**DEFAULT_CONFIG["training"], **plain["training"]}, schema=ConfigSchemaTraining)
        registry.resolve(plain.get("corpora", {}))
        registry.fill({name: plain[name] for name in ("models", "store", "examples", "initialize") if name in plain})
        for name, section in plain.get("components", {}).items():
            if "source" in section:
                continue
            if not nlp.has_factory(section["factory"]):
                raise ValueError(f"[components.{name}]: there is no factory {section['factory']!r}")
            unknown = set(section) - set(nlp.get_factory_meta(section["factory"]).default_config) - {"factory"}
            if unknown:
                raise ValueError(f"[components.{name}] has no option {', '.join(sorted(unknown))}")
            registry.fill({name: {key: value for key, value in section.items() if key != "factory"}})
        missing = [name for name in plain.get("nlp", {}).get("pipeline", []) if name not in plain["components"]]
        if missing:
            raise ValueError(f"the pipeline names {', '.join(missing)}, which [components] lacks")
    except (ConfigValidationError, ValueError, KeyError) as error:
        return one_line(error)
    return None


def _known_functions(section: dict[str, Any], registry: Any) -> None:
    """RAISES (ValueError): Where a section names a function that is not registered."""
    for key, value in section.items():
        if key.startswith("@") and not registry.has(key[1:], value):
            raise ValueError(f"there is no function {value!r} in the registry {key[1:]!r}")
        if isinstance(value, dict):
            _known_functions(value, registry)


@lru_cache(maxsize=4)
def _blank(lang: str) -> Any:
    """A pipeline to ask about factories: spaCy reads them from entry points when it makes one."""
    import spacy

    return spacy.blank(lang)


def make_configs(plan: Plan, variant: Variant, place: Place, *, corpus: Path, sources: list[str]) -> dict[str, tuple[Path, str]]:
    """All configs of a variant.

    corpus (Path): Folder of its posts.
    sources (List[str]): Language models that must still be asked.
    RETURNS (Dict[str, Tuple[Path, str]]): Name -> file and text; nothing is written.
    RAISES (RivegaError): Where one of them cannot be made or is not valid.
    """
    found: dict[str, Config] = {}
    for number, source in enumerate(sources):
        found[f"enrich-{source}"] = enrich_config(plan, source, place, first=number == 0)
    for axis in COMPONENTS:
        name = part_name(plan, variant, axis)
        if name is not None:
            found[name] = training_config(plan, variant, axis, place, corpus=corpus)
    assembled = pipeline_config(plan, variant, place)
    if assembled is not None:
        found[variant.id] = assembled
    for name, config in found.items():
        validate(config, place.config(name))
    return {name: (place.config(name), config.to_str(interpolate=False)) for name, config in found.items()}


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def _sources_for(plan: Plan, variant: Variant, axis: str) -> list[str]:
    knowledge = plan.choice(variant, "knowledge") or {}
    return list(knowledge.get("sources", [])) if axis in knowledge.get("for", ["tagger"]) else []


def _lengthen(config: Config, times: int) -> None:
    """With n examples a post an epoch has n times the steps: what counts steps of a whole training grows with it."""
    training = config["training"]
    rate = training["optimizer"]["learn_rate"]
    for section, keys in (
        (training, ("max_steps", "patience")),
        (rate if isinstance(rate, dict) else {}, ("total_steps", "warmup_steps")),
    ):
        for key in keys:
            if isinstance(section.get(key), int):
                section[key] *= times


def _filled(section: Any, place: Place) -> Any:
    if isinstance(section, dict):
        return {key: _filled(value, place) for key, value in section.items()}
    return section.replace("{output}", str(place.output)) if isinstance(section, str) else section


def _put(section: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
