"""`rivega vision export WEIGHTS OUT`: a trained network as spaCy components, its scores calibrated."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = (
    "rivega vision export training/vision_run/model-last training/vision --photos corpus/photos",
    "rivega vision export network.safetensors out --photos corpus/photos --size 256",
)


def run(
    weights: Annotated[Path, typer.Argument(help="Weights, or the pipeline folder that `spacy train` wrote.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: network.safetensors and pipeline/.")],
    photos: Annotated[Path | None, typer.Option("--photos", help="Folder of photographs, for calibration.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the network's input.", show_default="what it was trained for")
    ] = None,
    second_look: Annotated[
        float, typer.Option("--second-look", min=0.0, max=1.0, help="Share of the picture below which a box gets a second look.")
    ] = 0.0,
) -> int:
    """RETURNS (int): 0."""
    from ..post.files import check_output, check_output_folder
    from ..training.export import export

    check_output_folder(out, inputs=[weights])
    check_output_folder(out / "pipeline", inputs=[weights])
    check_output(out / "network.safetensors", inputs=[weights])
    fitted = export(weights, out, size=size, photos=photos, second_look=second_look)
    found = ", ".join(f"{name} {value:.4g}" for name, value in fitted.items()) or "not calibrated again"
    say(f"{weights} -> {out}: {found}\n")
    return 0
