"""A trained pipeline, trained further on posts of one's own: configs, trainings, assembly, and a table of before and after."""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from ..corpus.converting import convert_sources
from ..corpus.docbin import docbin_files, read_docbin, write_docbin
from ..corpus.formats.assemble import Sources
from ..pipes.loading import load_pipeline
from ..post.errors import Errors, RivegaError
from ..post.files import check_output_folder, write_json, write_text
from ..recipes.choosing import named_for
from ..recipes.fragment import compose
from ..recipes.writing import config_text
from ..scoring.matching import MatchOptions
from .evaluate import evaluate

logger = logging.getLogger(__name__)
# Part -> the recipe that trains it, the components that it is made of, the score that says whether it got better.
PARTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "tagger": ("tune_tagger", ("transformer", "rivega_ner"), "ents_f"),
    "entailment": ("tune_entailment", ("rivega_entailment",), "ve_accuracy"),
    "grounder": ("tune_grounder", ("rivega_grounder",), "vg_prec"),
    "segmenter": ("tune_segmenter", ("rivega_segmenter",), "mask_miou"),
}
GROUPS = {"vision": ("entailment", "grounder"), "all": tuple(PARTS)}
# Each post is seen about so many times, within these bounds of optimiser steps.
PASSES, FEWEST_STEPS, MOST_STEPS = 10, 40, 2000
DEV_SHARE = 5  # one post of so many is kept from training if no dev posts are named
COLUMNS = ("MNER", "GMNER", "SMNER", "EEG", "EES")


class Tuned(NamedTuple):
    """What became of a part: its score on dev before and after, and whether the trained weights were taken."""

    part: str
    before: float | None
    after: float | None
    taken: bool


def parts_of(names: Sequence[str]) -> list[str]:
    """The parts that are meant, in the pipeline's order. RAISES (RivegaError): E930 for one that there is not."""
    wanted: set[str] = set()
    for name in names:
        if name not in PARTS and name not in GROUPS:
            raise RivegaError(Errors.E930.format(part=name, known=", ".join([*PARTS, *GROUPS])))
        wanted.update(GROUPS.get(name, (name,)))
    return [part for part in PARTS if part in wanted]


def prepare(
    train: Path, dev: Path | None, output: Path, *, images: Path | None = None, force: bool = False
) -> tuple[Path, Path, list[str]]:
    """The posts as .spacy files within `output`.

    train (Path), dev (Optional[Path]): Corrected or annotated posts in any form that `rivega convert` reads, or .spacy files. Without dev
        posts every fifth is kept from training, by a hash of its id and text, so always the same.
    images (Optional[Path]): Folder of pictures.
    force (bool): Write into a folder that has something in it.
    RETURNS (Tuple[Path, Path, List[str]]): The two files, and what was said about the posts.
    RAISES (RivegaError): E931 if the folder is not empty, E932 if too few posts are left to learn from and to measure on.
    """
    check_output_folder(output)
    if output.is_dir() and any(output.iterdir()):
        if not force:
            raise RivegaError(Errors.E931.format(path=output))
        for name in ("corpus", "configs", "training", "pipeline", "report.json"):
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    corpus = output / "corpus"
    lines: list[str] = []
    files = [
        _as_docbin(path, corpus / f"given_{name}.spacy", images, lines) for name, path in (("train", train), ("dev", dev)) if path
    ]
    from spacy.vocab import Vocab

    vocab = Vocab()
    docs = list(read_docbin(files[0], vocab))
    if dev is None:
        held = [_is_held(doc) for doc in docs]
        measured = [doc for doc, kept in zip(docs, held) if kept]
        docs = [doc for doc, kept in zip(docs, held) if not kept]
        lines.append(f"{len(measured)} of {len(measured) + len(docs)} posts are kept from training, to measure on")
    else:
        measured = list(read_docbin(files[1], vocab))
    if not docs or not measured:
        raise RivegaError(Errors.E932.format(path=train, train=len(docs), dev=len(measured)))
    write_docbin(docs, corpus / "train.spacy")
    write_docbin(measured, corpus / "dev.spacy")
    return corpus / "train.spacy", corpus / "dev.spacy", lines


def _as_docbin(path: Path, out: Path, images: Path | None, lines: list[str]) -> Path:
    if path.suffix == ".spacy" or path.is_dir():
        docbin_files(path)
        return path
    out.parent.mkdir(parents=True, exist_ok=True)
    said, _ = convert_sources(Sources(text=path), out, images=images)
    lines += said
    return out


def _is_held(doc: Doc) -> bool:
    key = f"{doc.user_data.get('id', '')}\0{doc.text}"
    return int.from_bytes(hashlib.blake2b(key.encode("utf8", "surrogatepass"), digest_size=4).digest(), "big") % DEV_SHARE == 0


def write_configs(
    parts: Sequence[str],
    start: str,
    train: Path,
    dev: Path,
    output: Path,
    *,
    seed: int = 1,
    steps: int | None = None,
    rate: float | None = None,
) -> dict[str, Path]:
    """One training config a part, complete and commented, as `rivega init-config` writes them.

    start (str): The pipeline that they start from. steps (Optional[int]): Of the optimiser; None takes about ten passes over the posts.
    rate (Optional[float]): The highest learning rate; None takes the recipe's.
    RETURNS (Dict[str, Path]): Part -> file.
    """
    from spacy.vocab import Vocab

    known = [bool(doc._.knowledge) for doc in read_docbin(train, Vocab())]
    count = len(known)
    found: dict[str, Path] = {}
    for part in parts:
        recipe = compose(PARTS[part][0])
        config = recipe.config
        size = config["training"]["batcher"]["size"]
        number = steps or min(MOST_STEPS, max(FEWEST_STEPS, PASSES * -(-count // size)))
        config["paths"].update(start=start, train=str(train), dev=str(dev))
        config["system"]["seed"] = seed
        config["training"].update(max_steps=number, eval_frequency=max(1, number // 10))
        if rate is not None:
            config["training"]["optimizer"]["learn_rate"]["initial_rate"] = rate
        if part == "tagger" and not any(known):
            config["corpora"]["train"]["knowledge"] = config["paths"]["dev_knowledge"] = "absent"
        found[part] = output / "configs" / f"{part}.cfg"
        found[part].parent.mkdir(parents=True, exist_ok=True)
        write_text(found[part], config_text(named_for(recipe, found[part])))
    return found


def check_labels(nlp: Language, train: Path) -> None:
    """RAISES (RivegaError): E933 if the posts have types that the tagger does not have; a tagger's types are fixed by its weights."""
    tagger: Any = nlp.get_pipe("rivega_ner") if "rivega_ner" in nlp.pipe_names else None
    known = set(tagger.labels) if tagger is not None else set()
    found = Counter(ent.label_ for doc in read_docbin(train, nlp.vocab) for ent in doc.ents)
    new = [f"{label} ({count})" for label, count in found.most_common() if label not in known]
    if known and new:
        raise RivegaError(Errors.E933.format(types=", ".join(new), known=", ".join(sorted(known))))


def tune(
    parts: Sequence[str],
    start: str,
    train: Path,
    dev: Path,
    output: Path,
    configs: dict[str, Path],
    *,
    images: Path | None = None,
    gpu_id: int = -1,
) -> dict[str, Any]:
    """Train the parts, put the better ones into the pipeline, and measure it before and after.

    parts (Sequence[str]): Of PARTS. start (str): The pipeline. train (Path), dev (Path): From `prepare`. configs (Dict[str, Path]): From `write_configs`.
    output (Path): Gets training/PART, pipeline/ and report.json.
    RETURNS (Dict[str, Any]): The report: per part its dev scores, and the scores of the pipeline before and after.
    RAISES (RivegaError): E934 if the pipeline lacks a part, E933 for types that its tagger does not have.
    """
    nlp = load_pipeline(start, gpu_id=gpu_id)
    for part in parts:
        missing = [name for name in PARTS[part][1] if name not in nlp.pipe_names]
        if missing:
            raise RivegaError(Errors.E934.format(part=part, path=start, missing=", ".join(missing)))
    if "tagger" in parts:
        check_labels(nlp, train)
    before = evaluate(nlp, dev, MatchOptions(), images=images)
    done: list[Tuned] = []
    for part in parts:
        done.append(_train_part(part, nlp, configs[part], output, gpu_id))
    nlp.to_disk(output / "pipeline")
    after = evaluate(load_pipeline(str(output / "pipeline"), gpu_id=gpu_id), dev, MatchOptions(), images=images)
    report = {"parts": [one._asdict() for one in done], "before": _scores(before), "after": _scores(after)}
    write_json(output / "report.json", report)
    return report


def _train_part(part: str, nlp: Language, config: Path, output: Path, gpu_id: int) -> Tuned:
    from spacy.cli.train import train as spacy_train
    from spacy.util import load_config, load_model_from_config, registry

    _, components, key = PARTS[part]
    out = output / "training" / part
    settings = load_config(config, interpolate=True)
    # The same examples, the same scorer: what the part does before it learns anything.
    alone = load_model_from_config(settings, auto_fill=True)
    corpus = registry.resolve({"dev": settings["corpora"]["dev"]})["dev"]
    before = alone.evaluate(list(corpus(alone))).get(key)
    try:
        spacy_train(config, out, use_gpu=gpu_id)
    except ValueError as error:
        raise RivegaError(Errors.E935.format(part=part, reason=error)) from error
    best = out / "model-best"
    after = load_pipeline(str(best), gpu_id=gpu_id).meta.get("performance", {}).get(key)
    taken = after is not None and (before is None or after > before)
    if taken:
        for name in components:
            nlp.get_pipe(name).from_disk(best / name, exclude=["vocab"])  # type: ignore[attr-defined]
    return Tuned(part, before, after, taken)


def _scores(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """P, R and F1 of each task that the posts have gold data for."""
    found = {}
    for name in COLUMNS:
        task = result.get(name.lower()) or result.get(name)
        if isinstance(task, dict) and task.get("f") is not None:
            found[name] = {key: task[key] for key in ("p", "r", "f")}
    return found


def format_report(report: dict[str, Any]) -> list[str]:
    """The table that the command prints."""
    lines = ["", f"{'part':12}{'before':>9}{'after':>9}  (its own score on the dev posts, given gold input)"]
    for one in report["parts"]:
        word = "taken" if one["taken"] else "kept as it was: it did not get better"
        lines.append(f"{one['part']:12}{_percent(one['before']):>9}{_percent(one['after']):>9}  {word}")
    lines += ["", f"{'pipeline':12}{'before':>27}{'after':>27}", f"{'':12}{'P':>11}{'R':>8}{'F1':>8}{'P':>11}{'R':>8}{'F1':>8}"]
    for name in report["after"]:
        row = "".join(
            f"{_percent(report[side].get(name, {}).get(key)):>{width}}"
            for side in ("before", "after")
            for key, width in zip("prf", (11, 8, 8))
        )
        lines.append(f"{name:12}{row}")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


__all__ = ["GROUPS", "PARTS", "Tuned", "format_report", "parts_of", "prepare", "tune", "write_configs"]
