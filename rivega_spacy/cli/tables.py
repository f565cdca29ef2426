"""`rivega tables`: the paper's tables from one list of experiments."""

import argparse
import sys
from pathlib import Path
from typing import Any

NAME = "tables"
HELP = "Configs, commands, runs and tables of a list of experiments (configs/variants.yml)."
VERBS = {
    "list": "which variants there are, and what each lacks",
    "configs": "write the merged, validated configs",
    "commands": "print the commands, in order",
    "run": "run what can be run, then make the tables; what is missing or fails is reported and stops nothing else",
    "make": "write the tables from what was measured, published figures beside it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "\n".join([HELP, "", *(f"  {verb:9} {what}" for verb, what in VERBS.items())])
    parser.add_argument("verb", choices=tuple(VERBS), metavar="VERB", help=", ".join(VERBS))
    parser.add_argument("--group", default=None, help="one group of the list (default: all)")
    parser.add_argument("--variant", action="append", default=[], metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--plan", type=Path, default=Path("configs/variants.yml"), help="the list (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, default=Path("corpus"), help="train.spacy, dev.spacy and the test posts (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("training/tables"), help="where everything goes (default: %(default)s)")
    parser.add_argument("--weights", type=Path, default=None, help="folder of published weights (default: weights within --data)")
    parser.add_argument("--test", default="test.spacy", help="the test posts within --data (default: %(default)s)")
    parser.add_argument("--images", type=Path, default=None, help="folder that relative paths of the test pictures start from")
    parser.add_argument("--gpu-id", type=int, default=-1, help="GPU to use; -1 for the CPU (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of every training (default: that of each config)")
    parser.add_argument("--hub", action="store_true", help="weights named on the model hub may be downloaded")
    parser.add_argument("--enrich", action="store_true", help="language models may be asked, which may cost money")
    parser.add_argument("--limit", type=int, default=0, help="test posts at most (default: all)")
    parser.add_argument("--force", action="store_true", help="do again what is up to date")


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): 0; 1 where a variant is broken or failed, for `run` and `configs` alike. What is merely missing is no failure."""
    from ..post.errors import Errors, RivegaError
    from ..tables.page import write_tables
    from ..tables.place import Place
    from ..tables.plan import read_plan
    from ..tables.running import run_variants
    from ..tables.steps import prepare

    plan = read_plan(args.plan)
    place = Place(
        data=args.data,
        output=args.output,
        weights=args.weights if args.weights is not None else args.data / "weights",
        test=args.test,
        images=args.images,
        gpu_id=args.gpu_id,
        seed=args.seed,
        hub=args.hub,
        enrich=args.enrich,
        limit=args.limit,
    )
    variants = plan.variants(args.group)
    unknown = set(args.variant) - {variant.id for variant in variants}
    if unknown:
        known = ", ".join(variant.id for variant in variants)
        raise RivegaError(Errors.E531.format(name=", ".join(sorted(unknown)), path=args.plan, known=known))
    chosen = [variant for variant in variants if not args.variant or variant.id in args.variant]
    if args.verb == "make":
        _say("\n".join([*map(str, write_tables(plan, place, group=args.group))]))
        return 0
    prepared = [prepare(plan, variant, place) for variant in chosen]
    if args.verb == "run":
        records = run_variants(prepared, place, force=args.force, tell=_say)
        counts = {
            status: sum(record["status"] == status for record in records) for status in ("run", "not run", "failed", "broken")
        }
        _say("\n".join(map(str, write_tables(plan, place, group=args.group)[-2:])))
        _say(", ".join(f"{count} {status}" for status, count in counts.items()))
        return 1 if counts["failed"] or counts["broken"] else 0
    for line in {"list": _list, "configs": _configs, "commands": _commands}[args.verb](prepared):
        _say(line)
    return 1 if args.verb == "configs" and any(each.problem for each in prepared) else 0


def _list(prepared: list[Any]) -> list[str]:
    lines = []
    remedies = {}
    for each in prepared:
        choices = ", ".join(f"{axis} {choice}" for axis, choice in each.variant.choices.items())
        lines += [f"{each.variant.id}  ({choices})", f"    {each.state()}"]
        remedies.update({thing.what: thing.remedy for thing in each.missing})
    lines += ["", "What is missing:", *(f"    {what}: {remedy}" for what, remedy in remedies.items()), ""] if remedies else []
    ready = sum(each.state() == "ready" for each in prepared)
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
    seen = set()
    for each in prepared:
        lines.append(f"# {each.variant.id}: {each.state()}")
        # What an earlier variant makes is not made again.
        lines += [str(step) for step in each.steps if step.name not in seen]
        seen.update(step.name for step in each.steps)
    return lines


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
