"""`rivega vision measure WEIGHTS`: how well a vision network does on photographs, set by set."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .saying import say

EXAMPLES = ("rivega vision measure network.safetensors --photos corpus/photos --split heldout",)


def run(
    weights: Annotated[Path, typer.Argument(help="Weights of a trained network.")],
    photos: Annotated[Path, typer.Option("--photos", help="Folder of the photographs' sources.")],
    split: Annotated[Literal["dev", "heldout"], typer.Option("--split", help="Which photographs.")] = "dev",
    size: Annotated[int | None, typer.Option("--size", help="Side of the network's input.", show_default="the backbone's")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Photographs of each set at most; 0 for all.")] = 0,
    second_look: Annotated[
        float, typer.Option("--second-look", min=0.0, max=1.0, help="Share of the picture below which a box gets a second look.")
    ] = 0.0,
) -> int:
    """RETURNS (int): 0."""
    from ..training.measure import measure

    found = measure(weights, photos, split=split, size=size, limit=limit, second_look=second_look)
    for name, values in found.items():
        say(f"{name:20} " + " ".join(f"{key} {value:6.1f}" for key, value in values.items()) + "\n")
    return 0
