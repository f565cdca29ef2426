"""Say whether the tests run enough of the package, from .coverage.json, which `make test` writes while it tests.

    python ci/coverage.py [FILE]

It fails below 95 % of all lines, where less than 80 % of a file ran and ci/uncovered.json does not say why, and where that gives a reason for a file that
needs none. Its rows are a file, `why` in a sentence, and `reached_with`: the package, or the folder beside the checkout, that the tests do without, and with
which more of the file runs. A line is one that has code of its own, so that a call over three lines counts three times. What is counted, and which lines are not, stands in
pyproject.toml under [tool.slipcover]: files that no test imports count with all their lines, and processes that tests start are not watched.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MEASURE, REASONS = ROOT / ".coverage.json", ROOT / "ci" / "uncovered.json"
PACKAGE = "rivega_spacy"
# Percent of the lines of all files together, and of one file.
FLOOR, FLOOR_OF_A_FILE = 95.0, 80.0

Reasons = dict[str, dict[str, str]]


class Ran(NamedTuple):
    """How much of a file, or of all of them, the tests ran."""

    lines: int
    missing: int

    @property
    def percent(self) -> float:
        """Of the lines; a file without any is whole."""
        return 100.0 * (self.lines - self.missing) / self.lines if self.lines else 100.0


def files_of(measure: dict[str, Any]) -> dict[str, Ran]:
    """The measured files, relative to the root as ci/uncovered.json names them."""
    return {
        Path(name).as_posix(): Ran(len(row["executed_lines"]) + len(row["missing_lines"]), len(row["missing_lines"]))
        for name, row in measure["files"].items()
    }


def total(files: dict[str, Ran]) -> Ran:
    """All files together."""
    return Ran(sum(ran.lines for ran in files.values()), sum(ran.missing for ran in files.values()))


def faults(files: dict[str, Ran], reasons: Reasons, sources: set[str]) -> list[str]:
    """What is wrong, a sentence each.

    files (dict): What was measured. reasons (dict): Why a file may be below its floor, as ci/uncovered.json has it. sources (set): The package's
        files as they are on the disk.
    RETURNS (list): Empty if enough ran.
    """
    found = [f"{name} was not measured: run `make test` again." for name in sorted(sources - set(files))]
    found += [f"{name} was measured and is not there: run `make test` again." for name in sorted(set(files) - sources)]
    everything = total(files)
    if everything.percent < FLOOR:
        found.append(f"The tests run {percent(everything)} of the lines, and {FLOOR:g} % is the floor: test what the table names.")
    for name, ran in sorted(files.items()):
        if ran.percent < FLOOR_OF_A_FILE and name not in reasons:
            found.append(f"{name}: {percent(ran)} of {ran.lines} lines. Test it, or say in ci/uncovered.json why not.")
        elif ran.percent >= FLOOR_OF_A_FILE and name in reasons and not reached(reasons[name]):
            found.append(f"{name}: {percent(ran)} of {ran.lines} lines; take its reason out of ci/uncovered.json.")
    found += [f"ci/uncovered.json names {name}, which is not there: take it out." for name in sorted(set(reasons) - sources)]
    found += [
        f"ci/uncovered.json gives no reason for {name}: say why in a sentence."
        for name, reason in sorted(reasons.items())
        if not reason["why"].strip()
    ]
    return found


def reached(reason: dict[str, str]) -> bool:
    """Whether what a reason says the tests do without is here: a package, or a path from the root, which has a slash."""
    name = reason.get("reached_with", "")
    return (ROOT / name).exists() if "/" in name else bool(name) and importlib.util.find_spec(name) is not None


def table(files: dict[str, Ran], reasons: Reasons) -> str:
    """The total, and the files below their floor with the reasons, least covered first."""
    everything = total(files)
    low = {name: ran for name, ran in files.items() if ran.percent < FLOOR_OF_A_FILE}
    rows = [
        f"The tests run {percent(everything)} of {everything.lines:,} lines; {len(low)} of {len(files)} files below {FLOOR_OF_A_FILE:g} %:"
    ]
    for name, ran in sorted(low.items(), key=lambda item: (item[1].percent, item[0])):
        why = reasons[name]["why"] if name in reasons else "no reason given"
        rows.append(f"{percent(ran):>8}  {ran.missing:4} lines  {name.removeprefix(PACKAGE + '/')}: {why}")
    return "\n".join(rows)


def percent(ran: Ran) -> str:
    """Rounded down, so that nothing below a floor reads as if it were at it."""
    return f"{int(ran.percent * 100) / 100:.2f} %"


def sources() -> set[str]:
    """The package's files on the disk."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")}


def main(arguments: list[str]) -> int:
    """Print the table and what is wrong.

    RETURNS (int): 1 if something is.
    """
    measure = Path(arguments[0]) if arguments else MEASURE
    if not measure.is_file():
        sys.stdout.write(f"{measure.name} is not there: `make test` writes it.\n")
        return 1
    files = files_of(json.loads(measure.read_text(encoding="utf8")))
    reasons = json.loads(REASONS.read_text(encoding="utf8"))
    wrong = faults(files, reasons, sources())
    sys.stdout.write("\n".join([table(files, reasons), *wrong]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
