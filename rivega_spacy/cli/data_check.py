"""`rivega data check DATA`: which of the data files are missing or broken, and where each comes from."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say, warn

EXAMPLES = (
    "rivega data check ../data",
    "rivega data check ../data --format published --gpu --unpack",
)


def run(
    data: Annotated[Path, typer.Argument(help="The data folder (`vars.data` of project.yml).")],
    form: Annotated[Literal["jsonl", "published"], typer.Option("--format", help="Format of the posts.")] = "jsonl",
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Check what the paper's pipeline needs: pictures, masks, published weights.")
    ] = False,
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack archives whose folder is missing.")] = False,
) -> int:
    """RETURNS (int): 1 if something that is needed is missing or broken."""
    from ..jobs.check_data import check_data

    problems, remarks = check_data(data, form=form, gpu=gpu, unpack=unpack)
    for remark in remarks:
        say(f"note: {remark}\n")
    if problems:
        warn("\n".join([f"In {data} (`vars.data` of project.yml):", *(f"  {line}" for line in problems)]) + "\n")
    return 1 if problems else 0
