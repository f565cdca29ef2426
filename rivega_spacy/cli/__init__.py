"""The command `rivega`: one file a sub-command, each with NAME, HELP, `add_arguments(parser)` and `run(args) -> int`."""

import argparse
import importlib
import os
import pkgutil
import sys

from ..post.errors import OutputError, RivegaError

# Exit statuses; README lists them too.
DONE, REFUSED, WRONG_CALL, NOT_WRITTEN, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command, one sub-parser a module of this package."""
    parser = argparse.ArgumentParser(
        prog="rivega", description="Named entities in posts with a picture, and the pixels that show them."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{__name__}.{info.name}")
        sub = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    argv (Optional[List[str]]): Arguments without the program's name; None takes sys.argv.
    RETURNS (int): Exit status: 0 done, 1 done with something refused, 2 called wrongly (an argument, a file or a pipeline that
        cannot be used), 3 the results cannot be written, 130 interrupted, 141 whoever read the output has gone away.
    """
    args = make_parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):
        # Ids and paths can hold what the terminal's encoding cannot say; a command does not fail at that.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = args.run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _leave_stdout()
        return _stop(args.command, "whoever read the output has gone away", BROKEN_PIPE)
    except KeyboardInterrupt:
        return _stop(args.command, "interrupted", INTERRUPTED)
    except OutputError as error:
        return _stop(args.command, str(error), NOT_WRITTEN)
    except RivegaError as error:
        return _stop(args.command, str(error), WRONG_CALL)
    except OSError as error:
        if error.filename is None:  # what is open already: a full disk, most often
            _leave_stdout()
            return _stop(args.command, f"{type(error).__name__}: {error.strerror or error}", NOT_WRITTEN)
        return _stop(args.command, f"{error.filename}: {error.strerror or error}", WRONG_CALL)


def _stop(command: str, reason: str, status: int) -> int:
    line = " ".join(reason.split())
    sys.stderr.write(f"rivega {command}: {line}\n")
    return status


def _leave_stdout() -> None:
    """What is still to be written to a closed or full output must not fail once more when Python ends."""
    try:
        sys.stdout.flush()
        return
    except (OSError, ValueError):
        pass
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main())
