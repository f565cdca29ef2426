"""`rivega data convert DATA OUT`: Twitter-GMNER in either form to train, dev and test .spacy and compact JSON lines."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say

EXAMPLES = (
    "rivega data convert ../data corpus",
    "rivega data convert ../data corpus --format published --version v1",
)


def run(
    data: Annotated[Path, typer.Argument(help="The data folder (`vars.data` of project.yml).")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    form: Annotated[Literal["jsonl", "published"], typer.Option("--format", help="Format of the posts.")] = "jsonl",
    version: Annotated[Literal["v1", "v2.0"], typer.Option("--version", help="Version of Twitter-GMNER.")] = "v2.0",
    knowledge: Annotated[str, typer.Option("--knowledge", help="Name of RiVEG's zip of knowledge.")] = "Twitter10000_noaugment",
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.convert_data import convert_data

    lines = convert_data(data, out, form=form, version=version, knowledge=knowledge)
    say("\n".join(lines) + "\n")
    return 0
