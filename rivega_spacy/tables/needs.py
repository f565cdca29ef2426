"""What a variant needs from outside the project, and whether it is at hand."""

import importlib.util
import os
from collections.abc import Sequence
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


def missing_packages(plan: Plan, choice: dict[str, Any], *, recorded: bool = False) -> list[Missing]:
    """Installed packages and environment variables that a choice needs and that are not there.

    recorded (bool): Whether the answers of its language model are at hand, so that no key is needed.
    """
    found = []
    for name in (choice.get("package"), choice.get("pipeline")):
        if name is not None and not _installed(name):
            found.append(Missing(f"package missing ({name})", plan.packages.get(name, f"pip install {name}")))
    variable = choice.get("environment")
    if variable is not None and not os.environ.get(variable) and not (recorded and "recorded" in choice):
        remedy = "the key of the language model's server; not needed where the posts bring recorded expansions (`rivega convert --expansions`)"
        found.append(Missing(f"environment variable {variable} is not set", remedy))
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
    recorded = has_recorded(place, corpus)
    for axis in COMPONENTS:
        choice = plan.choice(variant, axis)
        if choice is not None and not trained.get(axis, False):
            found += missing_weights(plan, choice, place) + missing_packages(plan, choice, recorded=recorded)
    for name in variant.needs:
        found += missing_weights(plan, {"weights": {name: name}}, place)
    if variant.run:
        found += [
            Missing(f"data missing ({place.data / name})", "`rivega data convert` makes it")
            for name in ("train.spacy", "dev.spacy", place.test)
            if any(("{data}" if name != place.test else "{test}") in word for command in variant.run for word in command)
            and not (place.data / name).exists()
        ]
        return list(dict.fromkeys(found))
    needed = [place.test] + (["train.spacy", "dev.spacy"] if not all(trained.values()) else [])
    if sources:
        names = ", ".join(sources)
        for split in ("train", "dev", Path(place.test).stem):
            if enrich_input(place, split) is None:
                found.append(
                    Missing(
                        f"posts missing ({place.data / split}.jsonl[.gz])",
                        "compact posts, which `rivega enrich` starts from; `rivega data convert` writes them to posts/",
                    )
                )
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
    """The compact posts of a split, from which enriching starts: beside the .spacy files, or where `rivega data convert` writes them."""
    for folder in (place.data, place.data / "posts"):
        for suffix in (".jsonl.gz", ".jsonl"):
            path = folder / f"{split}{suffix}"
            if path.is_file():
                return path
    return None


def wanted_sources(plan: Plan, variant: Variant) -> list[str]:
    """Language models whose answers a variant trains or is measured on."""
    choices = (plan.choice(variant, axis) or {} for axis in ("knowledge", "augmented"))
    return list(dict.fromkeys(name for choice in choices for name in choice.get("sources", [])))


def find_corpus(plan: Plan, variant: Variant, place: Place) -> tuple[Path, list[str]]:
    """Where the posts of a variant are, and which language models must still be asked for it.

    RETURNS (Tuple[Path, List[str]]): The data folder, or `enriched` within it, where the posts there carry all answers (or several a post of
        models that are not named, as RiVEG publishes them); else the folder that enriching writes, and the models whose answers lack.
    """
    wanted = wanted_sources(plan, variant)
    if not wanted:
        return place.data, []
    names = [variant.choices[axis] for axis in ("knowledge", "augmented") if (plan.choice(variant, axis) or {}).get("sources")]
    made = place.output / "corpus" / "-".join([*filter(None, [variant.data]), *dict.fromkeys(names)])
    for folder in (place.data, place.data / "enriched"):
        present = sources_in(folder / "train.spacy")
        if set(wanted) <= set(present) or (len(wanted) > 1 and len(unnamed(present)) > 1):
            return folder, []
    present = sources_in(place.data / "train.spacy")
    return made, [name for name in wanted if name not in present]


def unnamed(sources: Sequence[str]) -> list[str]:
    """Those that are only counted: "1", "2", or "MODEL-1"."""
    return [name for name in sources if name.rpartition("-")[2].isdigit()]


def sources_in(path: Path) -> tuple[str, ...]:
    """The language models whose answers the first posts of a file carry; none where it is not there."""
    return _looked_at(str(path), path.stat().st_mtime_ns)[0] if path.exists() else ()


def has_recorded(place: Place, corpus: Path) -> bool:
    """Whether expansions are at hand: with the test posts, or as files in the data folder's `expansions`."""
    path = corpus / place.test
    return bool(recorded_files(place)) or (path.exists() and _looked_at(str(path), path.stat().st_mtime_ns)[1])


def recorded_files(place: Place) -> list[Path]:
    """Files of recorded expansions within the data folder (`expansions/`)."""
    folder = place.data / "expansions"
    return sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []


@lru_cache(maxsize=64)
def _looked_at(path: str, changed: int) -> tuple[tuple[str, ...], bool]:
    """RETURNS (Tuple[Tuple[str, ...], bool]): Names of models, and whether any entity has an expansion."""
    import spacy

    from ..corpus.docbin import read_docbin
    from ..corpus.sources import source_names

    docs = list(read_docbin(path, spacy.blank("rivega").vocab, limit=SEEN))
    names = tuple(sorted({name for doc in docs for name in source_names(doc)}))
    return names, any(ent._.expansion for doc in docs for ent in doc.ents)


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
