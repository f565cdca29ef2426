"""`rivega tables`: the paper's tables from one list of experiments."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .options import GpuId, Limit
from .saying import say

EXAMPLES = (
    "rivega tables list",
    "rivega tables run --data corpus --weights weights --gpu-id 0",
    "rivega tables commands --group variants --variant xlmr",
)
VERBS = {
    "list": "which variants there are, and what each lacks",
    "configs": "write the merged, validated configs",
    "commands": "print the commands, in order",
    "run": "run what can be run, report the rest, then make the tables",
    "make": "write the tables: what was measured, with the published results beside it",
}
MORE_HELP = "\n".join(f"{verb:9} {what}" for verb, what in VERBS.items())


def run(
    verb: Annotated[Literal["list", "configs", "commands", "run", "make"], typer.Argument(help="What to do, see above.")],
    group: Annotated[str | None, typer.Option("--group", help="One group of the list.", show_default="all")] = None,
    variant: Annotated[list[str], typer.Option("--variant", metavar="ID", help="Only this one; may be repeated.")] = [],
    plan: Annotated[Path, typer.Option("--plan", help="The list of experiments.")] = Path("configs/variants.yml"),
    data: Annotated[Path, typer.Option("--data", help="train.spacy, dev.spacy and the test posts.")] = Path("corpus"),
    output: Annotated[Path, typer.Option("--output", help="Output folder.")] = Path("training/tables"),
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Folder of published weights.", show_default="weights within --data")
    ] = None,
    test: Annotated[str, typer.Option("--test", help="The test posts within --data.")] = "test.spacy",
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder that relative paths of the test pictures start from.")
    ] = None,
    gpu_id: GpuId = -1,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every training.", show_default="that of each config")] = None,
    hub: Annotated[bool, typer.Option("--hub", help="Allow downloads of weights from the model hub.")] = False,
    enrich: Annotated[bool, typer.Option("--enrich", help="Allow requests to language models, which may cost money.")] = False,
    limit: Limit = 0,
    force: Annotated[bool, typer.Option("--force", help="Also run what is up to date.")] = False,
) -> int:
    """RETURNS (int): 0; 1 if a variant is broken or failed, for `run` and `configs` alike. What is merely missing is no failure."""
    from ..post.errors import Errors, RivegaError
    from ..post.hub import hub_allowed
    from ..tables.page import write_tables
    from ..tables.place import RunPlace
    from ..tables.plan import read_plan
    from ..tables.running import run_variants
    from ..tables.steps import prepare

    listed = read_plan(plan)
    place = RunPlace(
        data=data,
        output=output,
        weights=weights if weights is not None else data / "weights",
        test=test,
        images=images,
        gpu_id=gpu_id,
        seed=seed,
        hub=hub,
        enrich=enrich,
        limit=limit,
    )
    variants = listed.variants(group)
    unknown = set(variant) - {each.id for each in variants}
    if unknown:
        known = ", ".join(each.id for each in variants)
        raise RivegaError(Errors.E531.format(name=", ".join(sorted(unknown)), path=plan, known=known))
    chosen = [each for each in variants if not variant or each.id in variant]
    if verb == "make":
        _say("\n".join([*map(str, write_tables(listed, place, group=group))]))
        return 0
    prepared = [prepare(listed, each, place) for each in chosen]
    if verb == "run":
        with hub_allowed(hub):
            records = run_variants(prepared, place, force=force, tell=_say)
        counts = {
            status: sum(record["status"] == status for record in records)
            for status in ("run", "not run", "failed", "broken", "published")
        }
        _say("\n".join(map(str, write_tables(listed, place, group=group)[-2:])))
        _say(", ".join(f"{count} {status}" for status, count in counts.items() if count or status != "published"))
        return 1 if counts["failed"] or counts["broken"] else 0
    for line in {"list": _list, "configs": _configs, "commands": _commands}[verb](prepared):
        _say(line)
    return 1 if verb == "configs" and any(each.problem for each in prepared) else 0


def _list(prepared: list[Any]) -> list[str]:
    lines = []
    remedies = {}
    for each in prepared:
        choices = ", ".join(f"{axis} {choice}" for axis, choice in each.variant.choices.items())
        lines += [f"{each.variant.id}  ({choices})", f"    {each.state()}"]
        remedies.update({thing.what: thing.remedy for thing in each.missing})
    lines += ["", "What is missing:", *(f"    {what}: {remedy}" for what, remedy in remedies.items()), ""] if remedies else []
    ready = sum(each.ready for each in prepared)
    return [*lines, f"{len(prepared)} variants, {ready} of them ready"]


def _configs(prepared: list[Any]) -> list[str]:
    from ..post.files import write_text

    files = {}
    for each in prepared:
        files.update(dict(each.configs.values()))
    for path, text in files.items():
        write_text(path, text)
    return [*map(str, files), *(f"{each.variant.id}: {each.state()}" for each in prepared if each.problem)]


def _commands(prepared: list[Any]) -> list[str]:
    lines: list[str] = []
    seen: set[str] = set()
    for each in prepared:
        lines.append(f"# {each.variant.id}: {each.state()}")
        # What an earlier variant makes is not made again.
        lines += [str(step) for step in each.steps if step.name not in seen]
        seen.update(step.name for step in each.steps)
    return lines


def _say(line: str) -> None:
    say(line + "\n")
    sys.stdout.flush()
