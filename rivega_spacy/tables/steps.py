"""From a variant to the commands that make its figures, in order."""

import hashlib
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from .configs import expression, given_knowledge, make_configs, measured_source, part_name, ready_pipeline, run_id
from .needs import Missing, collection_of, enrich_input, find_corpus, find_weights, missing_for
from .place import RunPlace
from .plan import COMPONENTS, Plan, Variant


@dataclass(frozen=True)
class Step:
    """One command.

    name (str): Equal for variants that can share what it makes.
    words (List[str]): Begins with "rivega" or "spacy".
    output (Path): What it makes.
    config (str): The text of its config, "" if it has none.
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

    def stamp(self, place: RunPlace) -> Path:
        """Where the fingerprint is kept once the step is done."""
        return place.output / "done" / self.name

    def is_done(self, place: RunPlace) -> bool:
        """Whether the output is there and is of this command, config and input. A folder without a stamp was brought along and counts."""
        if not self.output.exists():
            return False
        stamp = self.stamp(place)
        return stamp.read_text(encoding="utf8").strip() == self.fingerprint() if stamp.is_file() else self.output.is_dir()


@dataclass(frozen=True)
class PreparedVariant:
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
        if self.variant.elsewhere:
            return "published"
        without = [thing.what for thing in self.missing if not thing.blocks]
        return ", ".join([*([thing.what for thing in self.missing if thing.blocks] or ["ready"]), *without])

    @property
    def ready(self) -> bool:
        """Whether it can run. Some of its columns may stay empty all the same."""
        return self.problem is None and not self.variant.elsewhere and not any(thing.blocks for thing in self.missing)


def prepare(plan: Plan, variant: Variant, place: RunPlace) -> PreparedVariant:
    """Configs, commands and needs of a variant. What is wrong with it becomes its `problem`, so that the others go on.

    plan (Plan): The list of experiments.
    variant (Variant): One of its rows.
    place (RunPlace): Folders.
    RETURNS (PreparedVariant): Nothing is written and nothing is run.
    """
    if variant.problem is not None:
        return PreparedVariant(variant, problem=variant.problem)
    if variant.same is not None:
        # The same experiment in another table: what it lacks and does is that row's.
        return replace(prepare(plan, plan.row(variant.same), place), variant=variant)
    place = place.within(variant.data)
    if variant.elsewhere:
        return PreparedVariant(variant)
    corpus, lacking = find_corpus(plan, variant, place)
    runs = [replace(variant, seed=seed) for seed in variant.seeds] if variant.seeds and place.seed is None else [variant]
    configs: dict[str, Any] = {}
    steps: list[Step] = []
    try:
        for run in runs:
            configs.update(make_configs(plan, run, place, corpus=corpus, sources=lacking))
            more = (
                _own_steps(plan, run, place)
                if run.run
                else _steps(plan, run, place, corpus=corpus, sources=lacking, configs=configs)
            )
            steps += [step for step in more if step.name not in {known.name for known in steps}]
        if len(runs) > 1:
            steps.append(_mean_step(variant, runs, place, corpus))
    except RivegaError as error:
        return PreparedVariant(variant, problem=str(error))
    except KeyError as error:
        return PreparedVariant(variant, problem=Errors.E533.format(variant=variant.id, reason=f"{error} is missing from the list"))
    done = {step.name: step.is_done(place) for step in steps}
    trained = {
        axis: all(done[part_name(plan, run, axis) or ""] for run in runs)
        for axis in COMPONENTS
        if part_name(plan, variant, axis) is not None
    }
    missing = missing_for(plan, variant, place, trained=trained, corpus=corpus, sources=lacking)
    return PreparedVariant(variant, missing=missing, configs=configs, steps=steps)


def _own_steps(plan: Plan, variant: Variant, place: RunPlace) -> list[Step]:
    """The commands that a row brings itself. Rows with the same ones share what they make."""
    metrics = place.metrics(variant.metrics)
    values = {"data": place.data, "test": place.data / place.test, "output": place.output, "metrics": metrics, "gpu": place.gpu_id}
    values["images"] = place.images if place.images is not None else place.data
    for name in variant.needs:
        values[f"weights.{name}"] = find_weights(plan.weights[name], place)[0]
    steps = []
    for number, command in enumerate(variant.run):
        words = [_put_in(word, values) for word in command]
        last = number == len(variant.run) - 1
        mark = hashlib.sha256("\0".join(words).encode("utf8")).hexdigest()[:8]
        steps.append(
            Step(f"{variant.metrics}-{mark}", words, metrics if last else _written(words), inputs=[place.data / place.test])
        )
    return steps


def _put_in(word: str, values: dict[str, Any]) -> str:
    for key, value in values.items():
        word = word.replace(f"{{{key}}}", str(value))
    return word


def _written(words: list[str]) -> Path:
    """What a command that is not the last one writes: its last argument that is a path of a file."""
    return Path(next(word for word in reversed(words) if Path(word).suffix))


def _steps(
    plan: Plan, variant: Variant, place: RunPlace, *, corpus: Path, sources: list[str], configs: dict[str, Any]
) -> list[Step]:
    steps = _enrich_steps(place, corpus=corpus, sources=sources, configs=configs)
    collection = collection_of(plan, variant)
    if collection is not None and corpus.is_relative_to(place.output):
        steps += _retrieve_steps(place, find_weights(plan.weights[collection], place)[0], corpus)
    for axis in COMPONENTS:
        name = part_name(plan, variant, axis)
        if name is not None:
            output = str(place.part(name).parent)
            words = ["spacy", "train", str(configs[name][0]), "--output", output, "--gpu-id", str(place.gpu_id)]
            steps.append(Step(name, words, place.part(name), configs[name][1], [corpus / "train.spacy", corpus / "dev.spacy"]))
    pipeline = ready_pipeline(plan, variant, place)
    run = run_id(variant)
    if pipeline is None:
        path, text = configs[run]
        pipeline = str(place.pipeline(run))
        parts = [
            place.part(name) / "meta.json" for axis in COMPONENTS for name in [part_name(plan, variant, axis)] if name is not None
        ]
        steps.append(Step(f"assemble-{run}", ["spacy", "assemble", str(path), pipeline], Path(pipeline), text, parts))
    test = corpus / place.test
    words = ["rivega", "evaluate", pipeline, str(test), "--output", str(place.metrics(run))]
    words += _evaluate_options(plan, variant, place, test)
    if variant.seed is not None:
        words[-2:-2] = ["--predictions", str(place.predictions(run))]
    steps.append(Step(f"evaluate-{run}", words, place.metrics(run), inputs=[test, Path(pipeline) / "meta.json"]))
    return steps


def _mean_step(variant: Variant, runs: list[Variant], place: RunPlace, corpus: Path) -> Step:
    """The mean of the runs, and their difference from those of another row."""
    own = [place.predictions(run_id(run)) for run in runs]
    others = [place.predictions(run_id(replace(run, id=variant.against))) for run in runs] if variant.against is not None else []
    rule = variant.evaluate[variant.evaluate.index("--rule") + 1] if "--rule" in variant.evaluate else "offset"
    words = ["rivega", "score", "--predictions", *map(str, own), "--gold", str(corpus / place.test), "--rule", rule]
    words += ["--against", *map(str, others)] if others else []
    metrics = place.metrics(variant.id)
    return Step(f"mean-{variant.id}", [*words, "--output", str(metrics)], metrics, inputs=[*own, *others])


def _evaluate_options(plan: Plan, variant: Variant, place: RunPlace, test: Path) -> list[str]:
    words: list[str] = []
    knowledge = given_knowledge(plan, variant)
    if knowledge is not None:
        words += ["--knowledge", knowledge]
    else:
        source = measured_source(plan, variant, "tagger", test)
        words += ["--source", source] if source is not None else []
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


def _enrich_steps(place: RunPlace, *, corpus: Path, sources: list[str], configs: dict[str, Any]) -> list[Step]:
    """Each language model after the other writes beside what the ones before it wrote; then the posts are converted."""
    steps: list[Step] = []
    if not sources:
        return steps
    splits = _splits(place)
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
        steps.append(_convert_step(place, posts, corpus, split))
    return steps


def _retrieve_steps(place: RunPlace, collection: str, corpus: Path) -> list[Step]:
    """Passages of a collection as the posts' knowledge, in place of what they have; then the posts are converted."""
    steps: list[Step] = []
    for split in _splits(place):
        posts, out = _posts(place, split), corpus / "posts" / f"{split}.jsonl.gz"
        words = ["rivega", "retrieve", collection, str(posts), str(out), "--overwrite"]
        steps.append(Step(f"retrieve-{corpus.name}-{split}", words, out, inputs=[posts, Path(collection)]))
        steps.append(_convert_step(place, out, corpus, split))
    return steps


def _splits(place: RunPlace) -> list[str]:
    return ["train", "dev", Path(place.test).stem]


def _convert_step(place: RunPlace, posts: Path, corpus: Path, split: str) -> Step:
    target = corpus / f"{split}.spacy"
    words = ["rivega", "convert", str(posts), str(target), "--format", "jsonl"]
    words += ["--images", str(place.images), "--relative"] if place.images is not None else []
    return Step(f"convert-{corpus.name}-{split}", words, target, inputs=[posts])


def _posts(place: RunPlace, split: str) -> Path:
    return enrich_input(place, split) or place.data / f"{split}.jsonl.gz"
