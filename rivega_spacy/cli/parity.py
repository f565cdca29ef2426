"""`rivega parity FOLDER`: whether our port of a published network computes what the published code computed."""

import argparse
import sys
from pathlib import Path

NAME = "parity"
HELP = "Compare a port of a published network with reference outputs: the largest difference of every tensor."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "folder", type=Path, nargs="+", help="with config.json, state_dict.safetensors, inputs.safetensors, outputs.safetensors"
    )
    parser.add_argument("--quiet", action="store_true", help="print only what does not hold, and the last line")


def run(args: argparse.Namespace) -> int:
    """Compare and print. RETURNS (int): 0 only if everything holds."""
    from ..backends.parity import compare_folder

    held = True
    for folder in args.folder:
        rows = compare_folder(folder)
        width = max([len(row.name) for row in rows] + [6])
        for row in rows:
            if not (args.quiet and row.ok):
                mark = "ok" if row.ok else "DIFFERS"
                sys.stdout.write(f"{row.name:<{width}}  {row.difference:10.3g}  {row.tolerance:10.3g}  {mark}\n")
        wrong = sum(not row.ok for row in rows)
        held = held and bool(rows) and not wrong
        sys.stdout.write(f"{folder}: {len(rows)} compared, {wrong} differ\n")
    return 0 if held else 1
