"""`rivega pipeline finish PIPELINE`: no training vocabulary, a full meta.json, a model card."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega pipeline finish training/rivega_twitter --version 0.8.0 --metrics metrics/test.json",)


def run(
    pipeline: Annotated[Path, typer.Argument(help="Folder of the assembled pipeline; changed in place.")],
    version: Annotated[str, typer.Option("--version", help="Entry in meta.json.")],
    name: Annotated[str, typer.Option("--name", help="Entry in meta.json.")] = "twitter",
    metrics: Annotated[
        list[Path], typer.Option("--metrics", help="JSON files whose contents go into meta.json's `performance`; may be repeated.")
    ] = [],
    card: Annotated[Path | None, typer.Option("--card", help="The model card.", show_default="that of rivega_twitter")] = None,
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.finishing import CARD, finish

    line = finish(pipeline, name=name, version=version, metrics=metrics, card=card if card is not None else CARD)
    say(line + "\n")
    return 0
