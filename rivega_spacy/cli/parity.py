"""`rivega parity FOLDER`: whether our port of a published network computes what the published code computed."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega parity fixtures/albef", "rivega parity --quiet fixtures/ofa fixtures/seqtr")


def run(
    folder: Annotated[
        list[Path],
        typer.Argument(
            help="With config.json, state_dict.safetensors, inputs.safetensors, outputs.safetensors; several may be given."
        ),
    ],
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what differs, and the last line.")] = False,
) -> int:
    """Compare and print. RETURNS (int): 0 only if everything holds."""
    from ..backends.parity import compare_folder

    held = True
    for each in folder:
        rows = compare_folder(each)
        width = max([len(row.name) for row in rows] + [6])
        for row in rows:
            if not (quiet and row.ok):
                mark = "ok" if row.ok else "DIFFERS"
                say(f"{row.name:<{width}}  {row.difference:10.3g}  {row.tolerance:10.3g}  {mark}\n")
        wrong = sum(not row.ok for row in rows)
        held = held and bool(rows) and not wrong
        say(f"{each}: {len(rows)} compared, {wrong} differ\n")
    return 0 if held else 1
