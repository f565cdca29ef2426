"""What a variant needs from outside the project, and whether it is at hand."""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from .place import Place
from .plan import COMPONENTS, Plan, Variant, Weights

# So many posts are looked at to see what a corpus carries.
SEEN = 50


class Missing(NamedTuple):
    """Something that is not at hand.

    what (str): In words, with the path that was looked for.
    remedy (str): Where it comes from, or how it is made.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def find_weights(weights: Weights, place: Place) -> tuple[str, bool]:
    """Where weights are.

    weights (Weights): An entry of the list.
    place (Place): Folders.
    RETURNS (Tuple[str, bool]): The path or the name on the hub that a config gets, and whether they are at hand.
    """
    path = place.weights / weights.path
    if path.exists():
        return str(path), True
    if weights.hub is not None and (place.hub or _downloaded(weights.hub)):
        return weights.hub, True
    return str(path), False


def missing_weights(plan: Plan, choice: dict[str, Any], place: Place) -> list[Missing]:
    """Weights that a choice names and that are not at hand."""
    found = []
    for name in choice.get("weights", {}).values():
        weights = plan.weights[name]
        path, there = find_weights(weights, place)
        if not there:
            hub = f", or --hub to download {weights.hub}" if weights.hub is not None else ""
            found.append(Missing(f"weights missing ({path})", f"from {weights.origin}{hub}"))
    return found


def missing_packages(plan: Plan, choice: dict[str, Any]) -> list[Missing]:
    """Installed packages and environment variables that a choice needs and that are not there."""
    found = []
    for name in (choice.get("package"), choice.get("pipeline")):
        if name is not None and not _installed(name):
            found.append(Missing(f"package missing ({name})", plan.packages.get(name, f"pip install {name}")))
    variable = choice.get("environment")
    if variable is not None and not os.environ.get(variable):
        found.append(Missing(f"environment variable {variable} is not set", "the key of the language model's server"))
    return found


def missing_for(
    plan: Plan, variant: Variant, place: Place, *, trained: dict[str, bool], corpus: Path, sources: list[str]
) -> list[Missing]:
    """Everything that a variant lacks.

    trained (Dict[str, bool]): Axis -> whether its part is trained already: it then needs neither weights nor training posts.
    corpus (Path): Folder of its posts.
    sources (List[str]): Language models whose answers the posts in the data folder lack.
    RETURNS (List[Missing]): Each thing once; empty where the variant can run.
    """
    found: list[Missing] = []
    for axis in COMPONENTS:
        choice = plan.choice(variant, axis)
        if choice is not None and not trained.get(axis, False):
            found += missing_weights(plan, choice, place) + missing_packages(plan, choice)
    needed = [place.test] + (["train.spacy", "dev.spacy"] if not all(trained.values()) else [])
    if sources:
        names = ", ".join(sources)
        for split in ("train", "dev", Path(place.test).stem):
            if enrich_input(place, split) is None:
                found.append(Missing(f"posts missing ({place.data / split}.jsonl[.gz])", f"to be enriched by {names}"))
        if not place.enrich:
            found.append(
                Missing(f"answers of {names} missing (in {place.data / 'train.spacy'})", "`rivega enrich`, or --enrich to ask them")
            )
    else:
        for name in needed:
            if not (corpus / name).exists():
                found.append(Missing(f"data missing ({corpus / name})", "`rivega convert` makes it"))
    return list(dict.fromkeys(found))


def enrich_input(place: Place, split: str) -> Path | None:
    """The compact posts of a split, from which enriching starts."""
    for suffix in (".jsonl.gz", ".jsonl"):
        path = place.data / f"{split}{suffix}"
        if path.is_file():
            return path
    return None


def lacking_sources(plan: Plan, variant: Variant, place: Place) -> list[str]:
    """Language models whose answers a variant trains or is measured on, and that the posts in the data folder do not carry."""
    wanted = list((plan.choice(variant, "knowledge") or {}).get("sources", []))
    path = place.data / "train.spacy"
    if not wanted or not path.exists():
        return wanted
    present = _sources_of(str(path), path.stat().st_mtime_ns)
    return [name for name in wanted if name not in present]


@lru_cache(maxsize=8)
def _sources_of(path: str, changed: int) -> tuple[str, ...]:
    import spacy

    from ..corpus.docbin import read_docbin
    from ..corpus.sources import source_names

    docs = read_docbin(path, spacy.blank("rivega").vocab, limit=SEEN)
    return tuple(sorted({name for doc in docs for name in source_names(doc)}))


def _installed(name: str) -> bool:
    """Whether a name is that of a folder or of an importable package."""
    if Path(name).is_dir():
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a path with a dot in it looks like a package within a package
        return False


def _downloaded(name: str) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:  # comes with transformers
        return False
    return isinstance(try_to_load_from_cache(name, "config.json"), str)
