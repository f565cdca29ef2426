"""`rivega convert-checkpoint IN OUT.safetensors`: a published checkpoint as plain tensors."""

import argparse
import sys
from pathlib import Path

NAME = "convert-checkpoint"
HELP = "Write a published network's weights (OFA, ALBEF, SeqTR) as safetensors, which hold nothing that could run."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("source", type=Path, metavar="IN", help="the published file or folder")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors", help="file to write")
    parser.add_argument("--network", default=None, help="which network it is (default: told by the names of its tensors)")
    parser.add_argument("--ema", action="store_true", help="take the moving average that the file keeps beside the weights")


def run(args: argparse.Namespace) -> int:
    """Convert. RETURNS (int): 0."""
    from ..backends.checkpoints import CONVERTERS, convert
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output

    if args.target.suffix != ".safetensors":
        raise RivegaError(Errors.E723.format(path=args.target))
    if args.network is not None and args.network not in CONVERTERS:
        raise RivegaError(Errors.E724.format(network=args.network, known=", ".join(sorted(CONVERTERS))))
    check_output(args.target, inputs=[args.source])
    network, count = convert(args.source, args.target, network=args.network, ema=args.ema)
    sys.stdout.write(f"{network}: {count} tensors -> {args.target}\n")
    return 0
