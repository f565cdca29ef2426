"""`rivega pipeline package PIPELINE OUT`: a finished pipeline as an installable source folder with a fixed name."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega pipeline package training/rivega_twitter assets",)


def run(
    pipeline: Annotated[Path, typer.Argument(help="The finished pipeline.")],
    out: Annotated[Path, typer.Argument(help="Folder in which the source folder is created.")],
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.packaging import package

    target = package(pipeline, out)
    say(f"{target}: install with `pip install {target}`\n")
    return 0
