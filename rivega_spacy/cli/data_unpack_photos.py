"""`rivega data unpack-photos ARCHIVES OUT`: the photographs that the small vision networks learn from."""

from pathlib import Path
from typing import Annotated

import typer

from .saying import say

EXAMPLES = ("rivega data unpack-photos ../data/photos corpus/photos",)


def run(
    archives: Annotated[Path, typer.Argument(help="Folder of .tar.gz archives.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; each archive is unpacked into a folder of its own name.")],
) -> int:
    """RETURNS (int): 0."""
    from ..jobs.unpack_photos import unpack_photos

    say(f"{unpack_photos(archives, out)} archives -> {out}\n")
    return 0
