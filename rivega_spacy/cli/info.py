"""`rivega info [PIPELINE]`: versions and devices; of a pipeline its parts and their sizes."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson
from .saying import say

if TYPE_CHECKING:
    from ..jobs.machine import Machine
    from ..jobs.pipeline_info import PipelineInfo

EXAMPLES = ("rivega info", "rivega info rivega_twitter", "rivega info training/rivega_twitter --json")


def run(
    pipeline: Annotated[str | None, typer.Argument(help="Installed pipeline or folder.")] = None,
    as_json: AsJson = False,
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.machine import read_machine
    from ..jobs.pipeline_info import describe_pipeline
    from ..pipes.loading import load_pipeline

    machine = read_machine()
    about = None if pipeline is None else describe_pipeline(load_pipeline(pipeline))
    if as_json:
        found = {"machine": machine.to_dict(), **({} if about is None else {"pipeline": about.to_dict()})}
        say(json.dumps(found, indent=1) + "\n")
    else:
        say("\n".join(_machine_lines(machine) if about is None else _pipeline_lines(about)) + "\n")
    return 0


def _machine_lines(machine: "Machine") -> list[str]:
    memory = "" if machine.memory_bytes is None else f", {machine.memory_bytes / 1024**3:.1f} GiB"
    cards = [f"  --gpu-id {card['gpu_id']}  {card['name']}, {card['memory_bytes'] / 1024**3:.0f} GiB" for card in machine.gpus]
    return [
        "Versions",
        *(f"  {name:24}{number}" for name, number in machine.versions.items()),
        "Devices",
        f"  {machine.processor}, {machine.cores} cores{memory}; {machine.threads} threads a network",
        *(cards or ["  no graphics card that PyTorch sees (`rivega doctor` says why)"]),
    ]


def _pipeline_lines(about: "PipelineInfo") -> list[str]:
    lines = [
        f"{about.name} {about.version}  (spaCy {about.spacy_version}, licence {about.license or 'not stated'})",
        f"{about.path or 'not saved'}, {_size(about.disk_bytes)}",
        "",
        f"{'part':22}{'parameters':>12}{'memory':>10}{'disk':>10}  made by, writes",
    ]
    for part in about.parts:
        # Without a model of its own it is its factory that makes it.
        made = part.architecture or part.factory
        count = "when used" if part.parameters is None else f"{part.parameters:,}"
        lines.append(f"{part.name:22}{count:>12}{_size(part.memory_bytes):>10}{_size(part.disk_bytes):>10}  {made}")
        lines.append(f"{'':56}{', '.join(part.writes)}")
    total = sum(part.parameters or 0 for part in about.parts)
    memory, disk = (sum(getattr(part, name) for part in about.parts) for name in ("memory_bytes", "disk_bytes"))
    return [*lines, f"{'all of them':22}{total:>12,}{_size(memory):>10}{_size(disk):>10}"]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.1f} kB" if count else "-"
