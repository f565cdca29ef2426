"""Running variants: what is done is not done again, what fails or is missing does not stop the others."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..post.errors import Errors
from ..post.files import write_json, write_text
from .place import RunPlace
from .steps import PreparedVariant, Step

# First word of a command -> how it is started with the interpreter that runs this.
PROGRAMS: dict[str, list[str]] = {"rivega": ["-m", "rivega_spacy"], "spacy": ["-m", "spacy"]}
# `rivega convert` and `rivega enrich` end with 1 where a post or box was refused: that is said in the log and is no failure.
TOLERATED = {"convert": {0, 1}, "enrich": {0, 1}}


def run_variants(
    prepared: Iterable[PreparedVariant], place: RunPlace, *, force: bool = False, tell: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """Run all that can be run.

    prepared (Iterable[PreparedVariant]): Variants with their commands.
    place (RunPlace): Folders.
    force (bool): Do again what is up to date.
    tell (Optional[Callable[[str], None]]): Gets a line about each thing that begins or ends.
    RETURNS (List[Dict[str, Any]]): One record a variant, as written to runs/: `status` is "run", "not run", "failed" or "broken",
        `reason` says why.
    """
    say = tell or _silent
    broken: dict[str, str] = {}
    redone: set = set()
    records = []
    for each in prepared:
        record = _run_variant(each, place, force=force, say=say, broken=broken, redone=redone)
        write_json(place.record(each.variant.id), record)
        if each.variant.same is not None:
            write_json(place.record(each.variant.same), {**record, "id": each.variant.same})
        say(f"{each.variant.id}: {record['status']}" + (f" ({record['reason']})" if record["reason"] else ""))
        records.append(record)
    return records


def _run_variant(
    each: PreparedVariant, place: RunPlace, *, force: bool, say: Callable[[str], None], broken: dict[str, str], redone: set
) -> dict[str, Any]:
    started = time.monotonic()
    record: dict[str, Any] = {"id": each.variant.id, "status": "run", "reason": "", "commands": [str(step) for step in each.steps]}
    if each.problem is not None:
        return {**record, "status": "broken", "reason": each.problem}
    if each.variant.elsewhere:
        return {**record, "status": "published"}
    for path, text in each.configs.values():
        if not path.is_file() or path.read_text(encoding="utf8") != text:
            write_text(path, text)
    if not each.ready:
        return {**record, "status": "not run", "reason": each.state()}
    for step in each.steps:
        # A part that another variant shares is tried once.
        reason = broken.get(step.name)
        if reason is None and (step.name not in redone) and (force or not step.is_done(place)):
            say(f"{each.variant.id}: {step}")
            reason = run_step(step, place)
            redone.add(step.name)
        if reason is not None:
            broken[step.name] = reason
            return {**record, "status": "failed", "reason": reason}
    record["seconds"] = round(time.monotonic() - started, 1)
    record["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return record


def run_step(step: Step, place: RunPlace) -> str | None:
    """Run one command, its output in logs/.

    RETURNS (Optional[str]): None if it did what it should, else why not.
    """
    log = place.output / "logs" / f"{step.name}.log"
    for path in (log, step.output, step.stamp(place)):
        path.parent.mkdir(parents=True, exist_ok=True)
    # What a stopped run leaves behind, and what an earlier run made, are not taken for this one's result.
    step.stamp(place).write_text("begun\n", encoding="utf8")
    if step.output.is_file():
        step.output.unlink()
    command = [sys.executable, *PROGRAMS[step.words[0]], *step.words[1:]]
    status = start(command, log)
    if status not in TOLERATED.get(step.words[1], {0}) or not step.output.exists():
        reason = _last_line(log) if status else f"it made no {step.output}"
        return Errors.E536.format(step=step.name, status=status, reason=reason, log=log)
    step.stamp(place).write_text(step.fingerprint() + "\n", encoding="utf8")
    return None


def start(command: list[str], log: Path) -> int:
    """Run a command in a process of its own.

    command (List[str]): Its words.
    log (Path): Gets what it prints.
    RETURNS (int): Its exit status.
    """
    with open(log, "w", encoding="utf8") as out:
        return subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False).returncode


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _silent(line: str) -> None:
    return None
