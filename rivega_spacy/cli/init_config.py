"""`rivega init-config OUT`: a complete, commented config for a part of the pipeline."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..recipes.parts import PARTS
from .saying import say

EXAMPLES = (
    "rivega init-config tagger.cfg --part tagger",
    "rivega init-config grounder.cfg --part grounder --backend ofa --gpu",
    "rivega init-config - --part tagger --optimize accuracy",
    "rivega init-config configs/ --all",
)
Part = Literal["tagger", "entailment", "grounder", "vision", "segmenter", "pipeline", "enrich"]
BACKENDS = "; ".join(f"{part}: {', '.join(backends)}" for part, backends in PARTS.items())


def run(
    output: Annotated[str, typer.Argument(help='File to write, or "-" for standard output; a folder with --all.')],
    part: Annotated[Part | None, typer.Option("--part", help="What to train or put together.")] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help=f"What it is made of ({BACKENDS}).", show_default="the first")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Folder or hub name of the tagger's encoder (bert and xlmr).")
    ] = None,
    optimize: Annotated[
        Literal["efficiency", "accuracy"] | None, typer.Option("--optimize", help="Choose the backend by this instead.")
    ] = None,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--no-gpu", help="Settings for a GPU, or for a CPU.", show_default="the machine the recipe is for"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Write all configs into the folder OUTPUT.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> int:
    """RETURNS (int): 0."""
    from ..post.errors import Errors, RivegaError
    from ..post.files import write_text
    from ..recipes.choosing import choose, named_for
    from ..recipes.writing import config_text, write_all

    if every:
        chosen = {"--part": part, "--backend": backend, "--encoder": encoder, "--optimize": optimize, "--gpu/--no-gpu": gpu}
        given = [option for option, value in chosen.items() if value is not None]
        if given or output == "-":
            raise typer.BadParameter(f"--all writes every config into a folder: leave out {', '.join(given) or 'the dash'}.")
        paths = write_all(Path(output), force=force)
        say(f"{output}: {len(paths)} configs. The head of each says how to use it.\n")
        return 0
    if part is None:
        raise typer.BadParameter("Name a --part, or write all configs with --all.")
    recipe = choose(part, backend=backend, encoder=encoder, gpu=gpu, optimize=optimize)
    if output == "-":
        say(config_text(recipe))
        return 0
    path = Path(output)
    if path.exists() and not force:
        raise RivegaError(Errors.E543.format(path=path))
    write_text(path, config_text(named_for(recipe, path)))
    say(f"{path}: the recipe {recipe.name}. Its head says how to use it.\n")
    return 0
