"""`rivega init-config OUT`: a complete, commented config for a part of the pipeline."""

import argparse
import sys
from pathlib import Path

NAME = "init-config"
HELP = "Write a complete, commented training config: which part, which network, CPU or GPU."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    from ..recipes.choosing import PARTS

    parts = "; ".join(f"{part}: {', '.join(backends)}" for part, backends in PARTS.items())
    parser.add_argument("output", help='file to write, or "-" for standard output')
    parser.add_argument("--part", required=True, choices=tuple(PARTS), help="what to train or put together")
    parser.add_argument("--backend", default=None, help=f"what it is made of ({parts}; default: the first)")
    parser.add_argument("--encoder", default=None, help="folder or hub name of the tagger's encoder (bert and xlmr)")
    parser.add_argument("--optimize", default=None, choices=("efficiency", "accuracy"), help="choose the backend by this instead")
    parser.add_argument(
        "--gpu", action=argparse.BooleanOptionalAction, default=None, help="settings for a GPU (or, --no-gpu, a CPU)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite OUT")


def run(args: argparse.Namespace) -> int:
    """RETURNS (int): 0."""
    from ..post.errors import Errors, RivegaError
    from ..post.files import write_text
    from ..recipes.choosing import choose, named_for
    from ..recipes.writing import config_text

    recipe = choose(args.part, backend=args.backend, encoder=args.encoder, gpu=args.gpu, optimize=args.optimize)
    if args.output == "-":
        sys.stdout.write(config_text(recipe))
        return 0
    path = Path(args.output)
    if path.exists() and not args.force:
        raise RivegaError(Errors.E543.format(path=path))
    write_text(path, config_text(named_for(recipe, path)))
    sys.stdout.write(f"{path}: the recipe {recipe.name}. Its head says how to use it.\n")
    return 0
