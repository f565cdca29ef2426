"""`rivega vision keep PHOTOS KEPT`: views of photographs as the frozen backbone sees them, on disk for the trainings that follow."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = ("rivega vision keep corpus/photos training/vision_views --rounds 5",)


def run(
    photos: Annotated[Path, typer.Argument(help="Folder of the photographs' sources.")],
    kept: Annotated[Path, typer.Argument(help="Folder to write to; existing files are kept.")],
    rounds: Annotated[int | None, typer.Option("--rounds", help="Views of each photograph.", show_default="the training's")] = None,
    first: Annotated[int, typer.Option("--first", help="The first round to fill.")] = 0,
    side: Annotated[int | None, typer.Option("--side", help="Side of the input.", show_default="the training's")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the views.", show_default="the training's")] = None,
    bf16: Annotated[bool, typer.Option("--bf16", help="Run the backbone in bfloat16.")] = False,
) -> int:
    """RETURNS (int): 0."""
    from ..training.kept import KeptSettings, KeptViews

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given: dict[str, Any] = {"rounds": rounds, "side": side, "seed": seed}
    settings = KeptSettings(**{name: value for name, value in given.items() if value is not None})
    KeptViews(photos, kept, settings).fill(first=first, bf16=bf16)
    return 0
