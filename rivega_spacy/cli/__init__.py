"""The command `rivega`: one file a sub-command, each with NAME, HELP, `add_arguments(parser)` and `run(args) -> int`."""
import argparse
import importlib
import pkgutil
import sys
from typing import List, Optional

from ..errors import RivegaError


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command, one sub-parser a module of this package."""
    parser = argparse.ArgumentParser(prog="rivega", description="Named entities in posts with a picture, and the pixels that show them.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        sub = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Entry point of the console script.

    argv (Optional[List[str]]): Arguments without the program's name; None takes sys.argv.
    RETURNS (int): Exit status: 0 done, 1 done with something refused, 2 called wrongly.
    """
    args = make_parser().parse_args(argv)
    try:
        return args.run(args)
    except (RivegaError, FileNotFoundError) as error:
        sys.stderr.write(f"rivega {args.command}: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
