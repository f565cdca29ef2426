"""`rivega vision grow WEIGHTS OUT`: a deeper network that begins with the answers of a trained one."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega vision grow network.safetensors deeper.safetensors --depths 2 2 4 3",)


def run(
    weights: Annotated[Path, typer.Argument(help="Weights of a trained network.")],
    out: Annotated[Path, typer.Argument(help="Weights to write.")],
    depths: Annotated[tuple[int, int, int, int], typer.Option("--depths", help="Residual blocks of the four stages.")],
) -> int:
    """RETURNS (int): 0."""
    from ..backends.small.weights import load_network, save_network
    from ..post.files import check_input, check_output
    from ..training.grow import deepen

    check_input(weights)
    check_output(out, inputs=[weights])
    save_network(deepen(load_network(weights, {}), depths), out)
    say(f"{weights} with blocks {' '.join(map(str, depths))} -> {out}\n")
    return 0
