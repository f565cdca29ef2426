"""The configs of a variant: a base config of the project with what the variant's choices change in it, validated."""

import copy
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from thinc.api import Config, ConfigValidationError

from ..post.config_files import parse_config
from ..post.errors import Errors, RivegaError
from ..post.textfiles import read_text
from .needs import find_weights, has_recorded, recorded_files, sources_in, unnamed
from .place import RunPlace
from .plan import COMPONENTS, Plan, Variant


def part_name(plan: Plan, variant: Variant, axis: str) -> str | None:
    """The name of the part that is trained for an axis, equal for variants that can share it; None if nothing is trained."""
    choice = plan.choice(variant, axis)
    if choice is None or "train" not in choice:
        return None
    words = [axis, variant.choices[axis]]
    if axis == "tagger":
        words.append(variant.choices.get("knowledge", "given"))
    elif expression(plan, variant) != "name":
        words += [variant.choices["expander"]] if _reads_expansions(plan, variant) else []
        words += [variant.choices["augmented"]] if _sources_for(plan, variant, axis) else []
    if axis != "tagger" and expression(plan, variant) != "both":
        words.append(expression(plan, variant))
    words += [variant.data] if variant.data else []
    words += [f"seed{variant.seed}"] if variant.seed is not None else []
    return "-".join(words)


def expression(plan: Plan, variant: Variant) -> str:
    """The form of referring expressions that a variant chooses."""
    return (plan.choice(variant, "expression") or {}).get("form", "both")


def expander_section(plan: Plan, variant: Variant, place: RunPlace, corpus: Path) -> dict[str, Any] | None:
    """The section of the expander that a variant chooses, its paths filled in; None if it comes from a trained pipeline, or there is none.

    A choice with `recorded` is that where its key is not set and recorded expansions are at hand.
    """
    choice = plan.choice(variant, "expander")
    if choice is None or "component" not in choice:
        return None
    variable = choice.get("environment")
    use = "component"
    if variable is not None and not os.environ.get(variable) and "recorded" in choice and has_recorded(place, corpus):
        use = "recorded"
    return _filled(copy.deepcopy(choice[use]), place, corpus)


def training_config(plan: Plan, variant: Variant, axis: str, place: RunPlace, *, corpus: Path) -> Config:
    """What `spacy train` gets for one part of a variant.

    plan (Plan): The list of experiments.
    variant (Variant): Its row.
    axis (str): The part; its choice has `train`.
    place (RunPlace): Folders.
    corpus (Path): Folder with train.spacy and dev.spacy.
    RETURNS (Config): Merged, not interpolated. Entailment and grounder read their posts with the expander that will ask them.
    RAISES (RivegaError): E020 if the base does not exist, E534 if it has no such section, E535 if it is no config.
    """
    choice = plan.choice(variant, axis) or {}
    base = plan.base(choice["train"])
    config = read_base(base)
    changes: dict[str, Any] = {"paths.train": str(corpus / "train.spacy"), "paths.dev": str(corpus / "dev.spacy")}
    for key, name in choice.get("weights", {}).items():
        changes[key] = find_weights(plan.weights[name], place)[0]
    changes.update(choice.get("set", {}))
    seed = place.seed if place.seed is not None else variant.seed
    if seed is not None:
        changes["system.seed"] = seed
    knowledge = given_knowledge(plan, variant)
    wanted = _sources_for(plan, variant, axis)
    sources = sources_used(wanted, corpus / "train.spacy")
    if axis == "tagger" and knowledge is not None:
        changes.update({"corpora.train.knowledge": knowledge, "corpora.dev.knowledge": knowledge})
    elif wanted:
        for name, value in (("train", sources), ("dev", measured_source(plan, variant, axis, corpus / "dev.spacy"))):
            changes[f"corpora.{name}.sources"] = value if value is None or isinstance(value, list) or value == "all" else [value]
            if axis == "tagger":
                changes[f"corpora.{name}.knowledge"] = "present"
    if place.images is not None and "images" in config.get("paths", {}):
        changes["paths.images"] = str(place.images)
    if axis != "tagger":
        model = (expander_section(plan, variant, place, corpus) or {}).get("model")
        if model is not None:
            changes.update({f"corpora.{name}.expander": model for name in ("train", "dev")})
        if expression(plan, variant) != "both":
            changes[f"components.{COMPONENTS[axis][0]}.expression"] = expression(plan, variant)
    merge(config, changes, base)
    times = len(sources) if isinstance(sources, list) else len(unnamed(sources_in(corpus / "train.spacy")))
    if times > 1 and expression(plan, variant) != "name":
        _lengthen(config, times)
    return config


def given_knowledge(plan: Plan, variant: Variant) -> str | None:
    """What readers and `rivega evaluate` are told to put in the place of the posts' knowledge; None if they leave it."""
    choice = plan.choice(variant, "knowledge") or {}
    return "absent" if choice.get("absent") else "caption" if choice.get("caption") else None


def sources_used(wanted: list[str], path: Path) -> list[str] | Literal["all"]:
    """The models that a reader is told to take: those that are wanted, or all where the posts carry several answers without names."""
    present = sources_in(path)
    return "all" if len(wanted) > 1 and not set(wanted) <= set(present) and len(unnamed(present)) > 1 else wanted


def measured_source(plan: Plan, variant: Variant, axis: str, path: Path) -> str | None:
    """Whose answers dev or test posts are read with; None for what they came with, where they carry none of that model."""
    choice = plan.choice(variant, "knowledge" if axis == "tagger" else "augmented") or {}
    wanted = choice.get("measured_with", next(iter(choice.get("sources", [])), None))
    return wanted if wanted is None or not path.exists() or wanted in sources_in(path) else None


def pipeline_config(plan: Plan, variant: Variant, place: RunPlace, *, corpus: Path) -> Config | None:
    """What `spacy assemble` gets.

    RETURNS (Optional[Config]): None if the variant is a pipeline that is there already, or a tagger alone.
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
                section = expander_section(plan, variant, place, corpus) if axis == "expander" else None
                section = section or _filled(copy.deepcopy(choice["component"]), place, corpus)
                for key, weights in choice.get("weights", {}).items():
                    _put(section, key.split("."), find_weights(plan.weights[weights], place)[0])
                config["components"][name] = section
    config["nlp"]["pipeline"] = [name for axis in axes for name in COMPONENTS[axis]]
    return config


def ready_pipeline(plan: Plan, variant: Variant, place: RunPlace) -> str | None:
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


def enrich_config(plan: Plan, source: str, place: RunPlace, *, first: bool) -> Config:
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
        return parse_config(read_text(path), interpolate=False)
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
    """RAISES (ValueError): If a section names a function that is not registered."""
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


def make_configs(plan: Plan, variant: Variant, place: RunPlace, *, corpus: Path, sources: list[str]) -> dict[str, tuple[Path, str]]:
    """All configs of a variant.

    corpus (Path): Folder of its posts.
    sources (List[str]): Language models that must still be asked.
    RETURNS (Dict[str, Tuple[Path, str]]): Name -> file and text; nothing is written.
    RAISES (RivegaError): If one of them cannot be made or is not valid.
    """
    found: dict[str, Config] = {}
    for number, source in enumerate(sources):
        found[f"enrich-{source}"] = enrich_config(plan, source, place, first=number == 0)
    for axis in COMPONENTS:
        name = part_name(plan, variant, axis)
        if name is not None:
            found[name] = training_config(plan, variant, axis, place, corpus=corpus)
    assembled = pipeline_config(plan, variant, place, corpus=corpus)
    if assembled is not None:
        found[run_id(variant)] = assembled
    # The configs of further seeds differ in nothing else.
    checked = found if variant.seed in (None, *variant.seeds[:1]) else {}
    for name, config in checked.items():
        validate(config, place.config(name))
    return {name: (place.config(name), config.to_str(interpolate=False)) for name, config in found.items()}


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def run_id(variant: Variant) -> str:
    """The name of the files of a variant's run: its id, and the seed where it has several."""
    return variant.id if variant.seed is None else f"{variant.id}-seed{variant.seed}"


def _reads_expansions(plan: Plan, variant: Variant) -> bool:
    """Whether the chosen expander writes what entailment and grounder learn from, in place of that of their base configs."""
    return "model" in (plan.choice(variant, "expander") or {}).get("component", {})


def _sources_for(plan: Plan, variant: Variant, axis: str) -> list[str]:
    choice = plan.choice(variant, "knowledge" if axis == "tagger" else "augmented") or {}
    return list(choice.get("sources", []))


def _lengthen(config: Config, times: int) -> None:
    """With n examples a post an epoch has n times the steps: what counts steps of a whole training grows with it."""
    training = config["training"]
    rate = training["optimizer"]["learn_rate"]
    for section, keys in (
        (training, ("max_steps", "patience", "eval_frequency")),
        (rate if isinstance(rate, dict) else {}, ("total_steps", "warmup_steps", "steps")),
    ):
        for key in keys:
            if isinstance(section.get(key), int):
                section[key] *= times


def _filled(section: Any, place: RunPlace, corpus: Path) -> Any:
    """A section with {output} and {data} filled in; "{recorded}" is the list of all files with recorded expansions."""
    if isinstance(section, dict):
        return {key: _filled(value, place, corpus) for key, value in section.items()}
    if section == "{recorded}":
        posts = [corpus / name for name in ("train.spacy", "dev.spacy", place.test)]
        there = [path for path in posts if path.exists()] or posts
        return [str(path) for path in (*there, *recorded_files(place))]
    if isinstance(section, str):
        return section.replace("{output}", str(place.output)).replace("{data}", str(place.data))
    return section


def _put(section: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
