"""`rivega convert-checkpoint IN OUT.safetensors`: a published checkpoint as plain tensors."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = (
    "rivega convert-checkpoint ofa_large.pt ofa_large.safetensors",
    "rivega convert-checkpoint det_best.pth seqtr.safetensors --network seqtr --ema",
)


def run(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The published file or folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="File to write.")],
    network: Annotated[
        str | None, typer.Option("--network", help="Which network it is.", show_default="recognised by the names of its tensors")
    ] = None,
    ema: Annotated[bool, typer.Option("--ema", help="Use the moving average stored beside the weights.")] = False,
) -> int:
    """Convert. RETURNS (int): 0."""
    from ..backends.conversion import CONVERTERS, convert
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output

    if target.suffix != ".safetensors":
        raise RivegaError(Errors.E723.format(path=target))
    if network is not None and network not in CONVERTERS:
        raise RivegaError(Errors.E724.format(network=network, known=", ".join(sorted(CONVERTERS))))
    check_output(target, inputs=[source])
    name, count = convert(source, target, network=network, ema=ema)
    say(f"{name}: {count} tensors -> {target}\n")
    return 0
