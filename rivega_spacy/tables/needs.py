"""What a variant needs from outside the project, and whether it is at hand."""

import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ..post.image_sources import is_data_uri, locate_image
from .place import RunPlace
from .plan import COMPONENTS, Plan, Variant, Weights

# So many posts are looked at to see what a corpus carries.
SEEN = 50
KEY = "OPENAI_API_KEY"
REMEDY_KEY = "the key of the language model's server; for expansions not needed where the posts bring recorded ones (`rivega convert --expansions`)"


class Missing(NamedTuple):
    """Something that is not at hand.

    what (str): In words, with the path that was looked for.
    remedy (str): Where it comes from, or how it is made.
    blocks (bool): Whether the variant cannot run without it; else some of its columns stay empty.
    """

    what: str
    remedy: str
    blocks: bool = True

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def find_weights(weights: Weights, place: RunPlace) -> tuple[str, bool]:
    """Where weights are.

    weights (Weights): An entry of the list.
    place (RunPlace): Folders.
    RETURNS (Tuple[str, bool]): The path or the name on the hub that a config gets, and whether they are at hand.
    """
    path = place.weights / weights.path
    if path.exists():
        return str(path), True
    if weights.hub is not None and (place.hub or _downloaded(weights.hub)):
        return weights.hub, True
    return str(path), False


def missing_weights(plan: Plan, choice: dict[str, Any], place: RunPlace) -> list[Missing]:
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
        found.append(Missing(f"environment variable {variable} is not set", REMEDY_KEY))
    return found


def missing_for(
    plan: Plan, variant: Variant, place: RunPlace, *, trained: dict[str, bool], corpus: Path, sources: list[str]
) -> list[Missing]:
    """Everything that a variant lacks.

    trained (Dict[str, bool]): Axis -> whether its part is trained already: it then needs neither weights nor training posts.
    corpus (Path): Folder of its posts.
    sources (List[str]): Language models whose answers the posts in the data folder lack.
    RETURNS (List[Missing]): Each thing once; empty if the variant can run.
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
            if any(word in (f"{{data}}/{name}", "{data}" if name != place.test else "{test}") for word in _words(variant))
            and not (place.data / name).exists()
        ]
        return list(dict.fromkeys([*found, *_missing_in_posts(plan, variant, place, corpus)]))
    needed = [place.test] + (["train.spacy", "dev.spacy"] if not all(trained.values()) else [])
    if corpus.is_relative_to(place.output):
        splits = ("train", "dev", Path(place.test).stem)
        lacking = ", ".join(split for split in splits if enrich_input(place, split) is None)
        if lacking:
            remedy = "`rivega data convert` writes them to posts/; enriching and retrieving start from them"
            found.append(Missing(f"compact posts missing ({lacking} .jsonl[.gz] in {place.data})", remedy))
        if sources and not place.enrich:
            remedy = f"`rivega enrich`, or --enrich, asks {', '.join(_asked(plan, name) for name in sources)}"
            found.append(Missing(f"answers of {', '.join(sources)} missing (in {place.data / 'train.spacy'})", remedy))
        if any(_server(plan, name) is None for name in sources) and not os.environ.get(KEY):
            found.append(Missing(f"environment variable {KEY} is not set", REMEDY_KEY))
        found += missing_weights(plan, plan.choice(variant, "knowledge") or {}, place)
    else:
        for name in needed:
            if not (corpus / name).exists():
                found.append(Missing(f"data missing ({corpus / name})", "`rivega convert` makes it"))
    return list(dict.fromkeys([*found, *_missing_in_posts(plan, variant, place, corpus)]))


def _words(variant: Variant) -> list[str]:
    return [word for command in variant.run for word in command]


def _server(plan: Plan, source: str) -> str | None:
    """The address of the server that a language model is asked at; None for that of OpenAI."""
    return plan.sources[source]["model"].get("base_url")


def _asked(plan: Plan, source: str) -> str:
    return f"{plan.sources[source]['model'].get('model', source)} at {_server(plan, source) or 'OpenAI'}"


def _missing_in_posts(plan: Plan, variant: Variant, place: RunPlace, corpus: Path) -> list[Missing]:
    """What the test posts do not carry, of the kinds that a variant reads or is judged by. Nothing if there are no posts at all."""
    path = next((folder / place.test for folder in (corpus, place.data) if (folder / place.test).exists()), None)
    if path is None:
        return []
    posts = _look_at(path)
    found = []
    tagger, knowledge = plan.choice(variant, "tagger") or {}, plan.choice(variant, "knowledge")
    looks = any(axis in variant.choices for axis in ("entailment", "grounder", "segmenter")) or tagger.get("looks", False)
    if (looks or "{images}" in _words(variant)) and not any(_is_there(image, place.images) for image in posts.images):
        remedy = "--images names their folder; the owners of Twitter-2015, -2017, -GMNER and -SMNER give them out"
        found.append(Missing(f"pictures missing (of {path})", remedy))
    if knowledge is not None and knowledge.get("caption") and not posts.captions:
        found.append(Missing(f"captions missing (in {path})", "`rivega convert --captions`, or `rivega enrich` writes them"))
    if knowledge == {} and not posts.knowledge:
        found.append(Missing(f"knowledge missing (in {path})", "`rivega convert --knowledge`, or `rivega enrich` writes it"))
    drawn = [column for column in variant.figures if column.startswith(("EES", "SMNER", "mIoU"))]
    if drawn and not variant.run and not posts.masks:
        remedy = "`rivega convert --masks`; the owners of Twitter-SMNER give them out"
        everything = len(drawn) == len(variant.figures)
        empty = "" if everything else ": columns of masks stay empty"
        found.append(Missing(f"masks missing (in {path}){empty}", remedy, blocks=everything))
    return found


def _is_there(image: str | None, root: Path | None) -> bool:
    """Whether a picture is in the post itself, or where it refers to."""
    if image is None or not image.strip():
        return False
    return is_data_uri(image) or Path(locate_image(image, root)).exists()


def enrich_input(place: RunPlace, split: str) -> Path | None:
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


def find_corpus(plan: Plan, variant: Variant, place: RunPlace) -> tuple[Path, list[str]]:
    """Where the posts of a variant are, and which language models must still be asked for it.

    RETURNS (Tuple[Path, List[str]]): The data folder, or `enriched` within it, where the posts there carry all answers (or several a post of
        models that are not named, as RiVEG publishes them); else the folder that enriching writes, and the models whose answers lack.
        With retrieved knowledge `retrieved` within the data folder, or the folder that retrieving writes.
    """
    if collection_of(plan, variant) is not None:
        ready = place.data / "retrieved"
        name = "-".join([*filter(None, [variant.data]), "retrieved"])
        return (ready if (ready / "train.spacy").exists() else place.output / "corpus" / name), []
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


def collection_of(plan: Plan, variant: Variant) -> str | None:
    """The entry of `weights` with the passages that a variant's knowledge is retrieved from; None if it is not retrieved."""
    return (plan.choice(variant, "knowledge") or {}).get("weights", {}).get("collection")


def unnamed(sources: Sequence[str]) -> list[str]:
    """Those that are only counted: "1", "2", or "MODEL-1"."""
    return [name for name in sources if name.rpartition("-")[2].isdigit()]


def sources_in(path: Path) -> tuple[str, ...]:
    """The language models whose answers the first posts of a file carry; none if it is not there."""
    return _look_at(path).sources if path.exists() else ()


def has_recorded(place: RunPlace, corpus: Path) -> bool:
    """Whether expansions are at hand: with the test posts, or as files in the data folder's `expansions`."""
    path = corpus / place.test
    return bool(recorded_files(place)) or (path.exists() and _look_at(path).expansions)


def recorded_files(place: RunPlace) -> list[Path]:
    """Files of recorded expansions within the data folder (`expansions/`)."""
    folder = place.data / "expansions"
    return sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []


class _Carried(NamedTuple):
    """What the first posts of a file carry: names of models, and whether any of them has such a thing.

    images (Tuple[Optional[str], ...]): What each post's picture is given as; bytes as an empty data: URI.
    """

    sources: tuple[str, ...]
    expansions: bool
    knowledge: bool
    captions: bool
    masks: bool
    images: tuple[str | None, ...]


def _look_at(path: Path) -> _Carried:
    return _looked_at(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _looked_at(path: str, changed: int) -> _Carried:
    from ..corpus.docbin import read_docbin
    from ..corpus.sources import source_names
    from ..post.extensions import all_masks
    from ..post.language import reading_vocab

    docs = list(read_docbin(path, reading_vocab(), limit=SEEN))
    ents = [ent for doc in docs for ent in doc.ents]
    return _Carried(
        sources=tuple(sorted({name for doc in docs for name in source_names(doc)})),
        expansions=any(ent._.expansion for ent in ents),
        knowledge=any(doc._.knowledge or source_names(doc) for doc in docs),
        captions=any(doc._.caption for doc in docs),
        masks=any(all_masks(ent) for ent in ents),
        images=tuple(doc._.image if isinstance(doc._.image, str | None) else "data:," for doc in docs),
    )


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
