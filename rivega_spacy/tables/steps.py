"""From a variant to the commands that make its figures, in order."""

import hashlib
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from .configs import corpus_folder, expression, make_configs, part_name, ready_pipeline
from .needs import Missing, enrich_input, lacking_sources, missing_for
from .place import Place
from .plan import COMPONENTS, Plan, Variant


@dataclass(frozen=True)
class Step:
    """One command.

    name (str): Equal for variants that can share what it makes.
    words (List[str]): Begins with "rivega" or "spacy".
    output (Path): What it makes.
    config (str): The text of its config, "" where it has none.
    inputs (List[Path]): Files it reads, that may change.
    """

    name: str
    words: list[str]
    output: Path
    config: str = ""
    inputs: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        return shlex.join(self.words)

    def fingerprint(self) -> str:
        """Changes where the command, its config or its input files change; on which device it runs changes nothing."""
        cut = self.words.index("--gpu-id") if "--gpu-id" in self.words else len(self.words)
        seen = hashlib.sha256("\0".join([*self.words[:cut], *self.words[cut + 2 :], self.config]).encode("utf8"))
        for path in self.inputs:
            if path.is_file():
                status = path.stat()
                seen.update(f"{path}{status.st_size}{status.st_mtime_ns}".encode())
        return seen.hexdigest()

    def stamp(self, place: Place) -> Path:
        """Where the fingerprint is kept once the step is done."""
        return place.output / "done" / self.name

    def is_done(self, place: Place) -> bool:
        """Whether the output is there and is of this command, config and input. A folder without a stamp was brought along and counts."""
        if not self.output.exists():
            return False
        stamp = self.stamp(place)
        return stamp.read_text(encoding="utf8").strip() == self.fingerprint() if stamp.is_file() else self.output.is_dir()


@dataclass(frozen=True)
class Prepared:
    """A variant with all that is known before it runs.

    problem (Optional[str]): Why it cannot be made at all.
    missing (List[Missing]): What is not at hand.
    configs (Dict[str, Tuple[Path, str]]): Name -> file and text.
    steps (List[Step]): The commands, in order.
    """

    variant: Variant
    problem: str | None = None
    missing: list[Missing] = field(default_factory=list)
    configs: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def state(self) -> str:
        """RETURNS (str): "ready", or why not, on one line."""
        if self.problem is not None:
            return f"broken: {self.problem}"
        return ", ".join(thing.what for thing in self.missing) or "ready"


def prepare(plan: Plan, variant: Variant, place: Place) -> Prepared:
    """Configs, commands and needs of a variant. What is wrong with it becomes its `problem`, so that the others go on.

    plan (Plan): The list of experiments.
    variant (Variant): One of its rows.
    place (Place): Folders.
    RETURNS (Prepared): Nothing is written and nothing is run.
    """
    if variant.problem is not None:
        return Prepared(variant, problem=variant.problem)
    lacking = lacking_sources(plan, variant, place)
    corpus = corpus_folder(variant, place, enriched=bool(lacking))
    try:
        configs = make_configs(plan, variant, place, corpus=corpus, sources=lacking)
        steps = _steps(plan, variant, place, corpus=corpus, sources=lacking, configs=configs)
    except RivegaError as error:
        return Prepared(variant, problem=str(error))
    except KeyError as error:
        return Prepared(variant, problem=Errors.E533.format(variant=variant.id, reason=f"{error} is missing from the list"))
    done = {step.name: step.is_done(place) for step in steps}
    trained = {axis: done[name] for axis in COMPONENTS for name in [part_name(plan, variant, axis)] if name is not None}
    missing = missing_for(plan, variant, place, trained=trained, corpus=corpus, sources=lacking)
    return Prepared(variant, missing=missing, configs=configs, steps=steps)


def _steps(plan: Plan, variant: Variant, place: Place, *, corpus: Path, sources: list[str], configs: dict[str, Any]) -> list[Step]:
    steps = _enrich_steps(place, corpus=corpus, sources=sources, configs=configs)
    for axis in COMPONENTS:
        name = part_name(plan, variant, axis)
        if name is not None:
            words = [
                "spacy",
                "train",
                str(configs[name][0]),
                "--output",
                str(place.part(name).parent),
                "--gpu-id",
                str(place.gpu_id),
            ]
            steps.append(Step(name, words, place.part(name), configs[name][1], [corpus / "train.spacy", corpus / "dev.spacy"]))
    pipeline = ready_pipeline(plan, variant, place)
    if pipeline is None:
        path, text = configs[variant.id]
        pipeline = str(place.pipeline(variant.id))
        parts = [
            place.part(name) / "meta.json" for axis in COMPONENTS for name in [part_name(plan, variant, axis)] if name is not None
        ]
        steps.append(Step(f"assemble-{variant.id}", ["spacy", "assemble", str(path), pipeline], Path(pipeline), text, parts))
    test = corpus / place.test
    words = [
        "rivega",
        "evaluate",
        pipeline,
        str(test),
        "--output",
        str(place.metrics(variant.id)),
        *_evaluate_options(plan, variant, place),
    ]
    steps.append(Step(f"evaluate-{variant.id}", words, place.metrics(variant.id), inputs=[test, Path(pipeline) / "meta.json"]))
    return steps


def _evaluate_options(plan: Plan, variant: Variant, place: Place) -> list[str]:
    words: list[str] = []
    knowledge = plan.choice(variant, "knowledge") or {}
    if knowledge.get("absent"):
        words += ["--knowledge", "absent"]
    elif knowledge.get("sources"):
        words += ["--source", knowledge.get("measured_with", knowledge["sources"][0])]
    for axis in ("entailment", "grounder"):
        # A part that was trained for a form has it in its own config.
        choice = plan.choice(variant, axis)
        if choice is not None and "train" not in choice and expression(plan, variant) != "both":
            words += ["--set", f"components.{COMPONENTS[axis][0]}.expression={expression(plan, variant)}"]
    words += variant.evaluate
    if place.images is not None:
        words += ["--images", str(place.images)]
    if place.limit:
        words += ["--limit", str(place.limit)]
    return [*words, "--gpu-id", str(place.gpu_id)]


def _enrich_steps(place: Place, *, corpus: Path, sources: list[str], configs: dict[str, Any]) -> list[Step]:
    """Each language model after the other writes beside what the ones before it wrote; then the posts are converted."""
    steps: list[Step] = []
    if not sources:
        return steps
    splits = {"train": "train", "dev": "dev", Path(place.test).stem: "test"}
    measured = [word for split in splits if split != "train" for word in ("--measured", str(_posts(place, split)))]
    for split in splits:
        posts = _posts(place, split)
        for source in sources:
            path, text = configs[f"enrich-{source}"]
            out = corpus / "enriched" / f"{split}-{source}.jsonl.gz"
            words = ["rivega", "enrich", str(posts), str(out), "--config", str(path), *measured]
            words += ["--images", str(place.images)] if place.images is not None else []
            steps.append(Step(f"enrich-{corpus.name}-{split}-{source}", words, out, text, [posts]))
            posts = out
        target = corpus / f"{split}.spacy"
        words = ["rivega", "convert", str(posts), str(target)]
        words += ["--images", str(place.images), "--relative"] if place.images is not None else []
        steps.append(Step(f"convert-{corpus.name}-{split}", words, target, inputs=[posts]))
    return steps


def _posts(place: Place, split: str) -> Path:
    return enrich_input(place, split) or place.data / f"{split}.jsonl.gz"
