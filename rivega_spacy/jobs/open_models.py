"""A pipeline of today's open networks from the model hub: what is taken, what it weighs, under which licence; assembled and saved.

Only safetensors, JSON and text files are downloaded, never code; without a yes nothing is. What was taken lies in the saved pipeline's own
folder, each network once, with its revision in open_models.json; `--pins open_models.json` takes the same revisions again.
"""

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import spacy
import srsly
from spacy.language import Language
from thinc.api import Config

from ..post.errors import Errors, RivegaError
from ..post.files import check_output_folder, open_output_folder
from ..post.hub import local_only
from ..post.saved_paths import PIPELINE
from ..post.versions import installed
from ..scoring.thresholds import dev_scores, expanded, fit_threshold

BASE = "rivega_twitter"
FILES = ["*.safetensors", "*.json", "*.txt"]
# What the saved pipeline is made of; written beside it.
RECORD = "open_models.json"
# Where in its folder they lie.
NETWORKS = "networks"
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A detector's score from which an entity counts as shown, if no dev file says better. Not fitted: fit it if there is one.
THRESHOLD = 0.3


class Checkpoint(NamedTuple):
    """A network of the model hub.

    function (str): What runs it here. name (str): On the hub. megabytes (int): Its weights in single precision. licence (str): As found in
    November 2026 (docs/backends.md says where). since (Tuple[int, int]): The transformers that it needs.
    """

    function: str
    name: str
    megabytes: int
    licence: str
    since: tuple[int, int] = (4, 49)


GROUNDERS = {
    "mm-grounding-dino": Checkpoint(
        "rivega.MMGroundingDINO.v1", "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det", 690, "Apache 2.0", (4, 55)
    ),
    "llmdet": Checkpoint("rivega.MMGroundingDINO.v1", "iSEE-Laboratory/llmdet_large", 1370, "Apache 2.0", (4, 55)),
    "grounding-dino": Checkpoint("rivega.GroundingDINO.v1", "IDEA-Research/grounding-dino-tiny", 689, "Apache 2.0"),
    "owlv2": Checkpoint("rivega.OWLv2.v1", "google/owlv2-base-patch16-ensemble", 620, "Apache 2.0"),
    "owlv2-large": Checkpoint("rivega.OWLv2.v1", "google/owlv2-large-patch14-ensemble", 1750, "licence: see its card"),
    "florence2": Checkpoint("rivega.Florence2.v1", "florence-community/Florence-2-base", 930, "licence: see its card", (4, 56)),
}
SEGMENTERS = {
    "sam2-tiny": Checkpoint("rivega.HFSam2.v1", "facebook/sam2.1-hiera-tiny", 156, "Apache 2.0", (4, 56)),
    "sam2-large": Checkpoint("rivega.HFSam2.v1", "facebook/sam2.1-hiera-large", 898, "Apache 2.0", (4, 56)),
    "edgetam": Checkpoint("rivega.HFSam2.v1", "yonigozlan/EdgeTAM-hf", 56, "Apache 2.0", (4, 57)),
    "sam-base": Checkpoint("rivega.HFSam.v1", "facebook/sam-vit-base", 375, "Apache 2.0"),
    "sam-huge": Checkpoint("rivega.HFSam.v1", "facebook/sam-vit-huge", 2564, "Apache 2.0"),
}
# Profile -> choices of grounder and segmenter, the first that the installed transformers has; "chat" asks a server, "base" keeps the base
# pipeline's segmenter.
PROFILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "laptop": (("mm-grounding-dino", "owlv2"), ("sam2-tiny", "sam-base")),
    "gpu": (("llmdet", "owlv2-large"), ("sam2-large", "sam-huge")),
    "server": (("chat",), ("base",)),
}
CHAT_MODEL = "Qwen/Qwen3-VL-8B-Instruct"


class OpenPlan(NamedTuple):
    """What a pipeline is assembled of. grounder, segmenter (Optional[Checkpoint]): None for a chat model, and for the base pipeline's.
    revisions (Dict[str, str]): Name on the hub -> the revision asked for."""

    grounder: Checkpoint | None
    segmenter: Checkpoint | None
    revisions: dict[str, str]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """Those that are read."""
        return [found for found in (self.grounder, self.segmenter) if found is not None]

    def lines(self) -> list[str]:
        """What will be read, for the user: one line a checkpoint."""
        found = []
        for each in self.checkpoints:
            where = "a folder of this machine" if Path(each.name).is_dir() else f"{each.megabytes or '?'} MB, {each.licence}"
            revision = self.revisions.get(each.name)
            found.append(f"{each.function:28}{each.name}{f' at {revision}' if revision else ''} ({where})")
        return found


def make_plan(profile: str, *, grounder: str | None = None, segmenter: str | None = None, pins: Path | None = None) -> OpenPlan:
    """Choose networks.

    profile (str): A key of PROFILES.
    grounder (Optional[str]), segmenter (Optional[str]): Others than the profile's: a key of GROUNDERS or SEGMENTERS, "chat" or "base",
        or FUNCTION=NAME[@REVISION] with a function of this package and a folder or a name on the hub.
    pins (Optional[Path]): open_models.json of a pipeline that was assembled before, whose revisions are taken; those named with @ come first.
    RAISES (RivegaError): E910 for an unknown profile or network, E912 for a file that is no such record.
    """
    if profile not in PROFILES:
        raise RivegaError(Errors.E910.format(value=profile, known=", ".join(PROFILES)))
    revisions = {} if pins is None else _pinned(pins)
    grounders, segmenters = PROFILES[profile]
    return OpenPlan(
        _choose((grounder,) if grounder else grounders, GROUNDERS, "chat", revisions),
        _choose((segmenter,) if segmenter else segmenters, SEGMENTERS, "base", revisions),
        revisions,
    )


def _pinned(path: Path) -> dict[str, str]:
    """RETURNS (Dict[str, str]): Name on the hub -> revision, of a record."""
    try:
        rows = srsly.read_json(path)
        return {str(row["name"]): str(row["revision"]) for row in rows if row["revision"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RivegaError(Errors.E912.format(path=path, reason=repr(error))) from error


def _choose(choices: tuple[str, ...], known: dict[str, Checkpoint], other: str, revisions: dict[str, str]) -> Checkpoint | None:
    for choice in choices:
        if choice == other:
            return None
        function, given, name = choice.partition("=")
        if given:
            name, _, revision = name.partition("@")
            if revision:
                revisions[name] = revision
            return Checkpoint(
                function if function.startswith("rivega.") else f"rivega.{function}.v1", name, 0, "licence: see its card"
            )
        if choice not in known:
            raise RivegaError(Errors.E910.format(value=choice, known=", ".join([*known, other, "FUNCTION=NAME@REVISION"])))
        if installed("transformers") >= known[choice].since or choice == choices[-1]:
            return known[choice]
    raise AssertionError("a profile has at least one network")


def fetch(plan: OpenPlan, *, agree: Callable[[list[str]], bool]) -> dict[str, str]:
    """Folders of the plan's checkpoints: given ones, those that the hub's client downloaded before, and, if the user agrees, new downloads.

    agree (Callable): (lines about what is missing) -> whether to download it. Not asked with RIVEGA_HUB=1, nor where all is there.
    RETURNS (Dict[str, str]): Name -> folder.
    RAISES (RivegaError): E911 if something is missing and must not be, or cannot be, downloaded.
    """
    folders = {each.name: str(Path(each.name).resolve()) for each in plan.checkpoints if Path(each.name).is_dir()}
    wanted = [each for each in plan.checkpoints if each.name not in folders]
    missing = []
    for each in wanted:
        try:
            folders[each.name] = _whole(_snapshot(each.name, plan.revisions.get(each.name), local=True))
        except (OSError, ValueError):
            missing.append(each)
    if not missing:
        return folders
    lines = [line for line in plan.lines() if any(each.name in line for each in missing)]
    if local_only() and not agree(lines):
        raise RivegaError(Errors.E911.format(names=", ".join(each.name for each in missing), reason="it was not agreed to"))
    for each in missing:
        try:
            folders[each.name] = _whole(_snapshot(each.name, plan.revisions.get(each.name), local=False))
        except (OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RivegaError(Errors.E911.format(names=each.name, reason=reason)) from error
    return folders


def _snapshot(name: str, revision: str | None, *, local: bool) -> str:
    from huggingface_hub import snapshot_download

    return str(snapshot_download(name, revision=revision, allow_patterns=FILES, local_files_only=local))


def _whole(folder: str) -> str:
    """RAISES (ValueError): If the hub's client has a part of a network only, or one without weights in safetensors."""
    if not (Path(folder) / "config.json").is_file() or not any(Path(folder).glob("*.safetensors")):
        raise ValueError(f"{folder} has no config.json with weights in safetensors")
    return folder


def assemble_open(
    output: Path,
    plan: OpenPlan,
    folders: dict[str, str],
    *,
    base: str = BASE,
    entailment: bool = True,
    dev: Path | None = None,
    base_url: str = "http://localhost:8000/v1",
    chat_model: str = CHAT_MODEL,
) -> list[str]:
    """Put the pipeline together and save it, with a copy of each network's files in its folder, so that it can be moved.

    output (Path): Its folder.
    plan (OpenPlan), folders (Dict[str, str]): See `make_plan` and `fetch`.
    base (str): The pipeline whose tagger, expander and, where the plan has none, segmenter are taken.
    entailment (bool): Judge by the grounder's score, or by the chat model, whether a picture shows an entity; else all are looked for.
    dev (Optional[Path]): Posts (.spacy) that the threshold of the entailment is fitted on.
    base_url (str), chat_model (str): Of the server, where the plan has no grounder.
    RETURNS (List[str]): What was done, in lines.
    """
    from ..pipes.loading import load_pipeline

    check_output_folder(output)
    nlp = load_pipeline(base)
    for name in ("rivega_entailment", "rivega_grounder", *(("rivega_segmenter",) if plan.segmenter else ())):
        if name in nlp.pipe_names:
            nlp.remove_pipe(name)
    place: dict[str, Any] = {} if plan.segmenter or "rivega_segmenter" not in nlp.pipe_names else {"before": "rivega_segmenter"}
    client = {"@misc": "rivega.OpenAIChat.v1", "model": chat_model, "base_url": base_url}
    if plan.grounder is None:
        grounder: dict[str, Any] = {"@architectures": "rivega.ChatGrounder.v1", "convention": "auto", "client": client}
        judge: dict[str, Any] = {"@architectures": "rivega.ChatEntailment.v1", "client": client}
    else:
        grounder = {"@architectures": plan.grounder.function, "path": folders[plan.grounder.name], **_once(plan.grounder.function)}
        judge = {"@architectures": "rivega.GroundingScore.v1", "grounder": dict(grounder)}
    if entailment:
        threshold = 0.5 if plan.grounder is None else THRESHOLD
        nlp.add_pipe("rivega_entailment", config={"model": judge, "threshold": threshold}, **place)
    nlp.add_pipe("rivega_grounder", config={"model": grounder}, **place)
    if plan.segmenter is not None:
        segmenter = {"@misc": plan.segmenter.function, "name": folders[plan.segmenter.name]}
        nlp.add_pipe("rivega_segmenter", config={"model": segmenter})
    lines = [_fit(nlp, dev)] if dev is not None and entailment else []
    with open_output_folder(output) as folder:
        nlp.to_disk(folder)
        _take_in(folder, [folders[each.name] for each in plan.checkpoints])
        records = [_record(each, folders[each.name]) for each in plan.checkpoints]
        srsly.write_json(folder / RECORD, records)
    lines += [f"{each['name']} at revision {each['revision']}" for each in records if each["revision"]]
    return [*lines, f"saved to {output}: {', '.join(nlp.pipe_names)}"]


def _once(function: str) -> dict[str, bool]:
    """Of a grounder that can leave its weights in its folder: that it does, since two components need them."""
    known = inspect.signature(spacy.registry.architectures.get(function)).parameters
    return {"save_weights": False} if "save_weights" in known else {}


def _take_in(folder: Path, sources: list[str]) -> None:
    """Copy networks into a saved pipeline's folder, and let its config name them from there on."""
    config = Config().from_disk(folder / "config.cfg", interpolate=False)
    for number, source in enumerate(dict.fromkeys(sources)):
        place = folder / NETWORKS / str(number)
        place.mkdir(parents=True)
        for file in sorted({file for pattern in FILES for file in Path(source).glob(pattern)}):
            # The hub's client keeps links to files that are named by their digests.
            shutil.copyfile(file, place / file.name)
        _renamed(config, source, f"{PIPELINE}/{NETWORKS}/{number}")
    config.to_disk(folder / "config.cfg")


def _renamed(section: dict[str, Any], old: str, new: str) -> None:
    for key, value in section.items():
        if isinstance(value, dict):
            _renamed(value, old, new)
        elif value == old:
            section[key] = new


def _record(each: Checkpoint, folder: str) -> dict[str, str]:
    # The hub's client names the folder of a download by its revision.
    revision = Path(folder).name if _COMMIT.fullmatch(Path(folder).name) and not Path(each.name).is_dir() else ""
    return {"function": each.function, "name": each.name, "revision": revision, "licence": each.licence}


def _fit(nlp: Language, dev: Path) -> str:
    from ..corpus.docbin import docbin_files, read_docbin
    from ..pipes.settings import configure

    docbin_files(dev)
    pipe: Any = nlp.get_pipe("rivega_entailment")
    scores, shown = dev_scores(pipe, expanded(nlp, read_docbin(dev, nlp.vocab), "rivega_entailment"))
    fitted = fit_threshold(scores, shown, before=pipe.cfg["threshold"])
    configure(nlp, "rivega_entailment", threshold=fitted.threshold)
    return f"threshold {fitted.threshold:.4g}: accuracy {100 * fitted.value:.2f} on {fitted.count} entities of {dev}"


__all__ = ["GROUNDERS", "PROFILES", "SEGMENTERS", "Checkpoint", "OpenPlan", "assemble_open", "fetch", "make_plan"]
