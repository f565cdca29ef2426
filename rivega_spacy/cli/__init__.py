"""The command `rivega`: one file a sub-command, listed in commands.py, imported when called (lazy.py)."""

import sys
from typing import Annotated, Any

import typer

from .. import __version__
from .exits import MEANINGS, ended_well
from .lazy import CONTEXT, LazyGroup

ABOUT = "Named entities in posts with a picture, and the pixels that show them."
EPILOG = "\n".join(
    [
        "[bold]Examples[/bold]",
        "  rivega demo",
        "  rivega annotate posts.jsonl annotated.jsonl",
        "  rivega COMMAND --help",
        "",
        "[bold]Exit status[/bold]",
        *(f"  {status:>3}  {meaning}" for status, meaning in MEANINGS.items()),
    ]
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"rivega_spacy {__version__}\n")
        raise typer.Exit()


def root() -> Any:
    """The whole command.

    RETURNS (TyperGroup): With every sub-command, not yet loaded.
    """
    # Plain tracebacks: what is unexpected is a fault of ours, and goes into a report as it is.
    app = typer.Typer(name="rivega", cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=CONTEXT)

    @app.callback(help=ABOUT, epilog=EPILOG)
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
    ) -> None:
        pass

    return typer.main.get_command(app)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    argv (Optional[List[str]]): Arguments without the program's name; None takes sys.argv.
    RETURNS (int): Exit status, one of exits.MEANINGS.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # Ids and paths can hold what the terminal's encoding cannot say; a command does not fail at that.
        sys.stdout.reconfigure(errors="backslashreplace")
    return ended_well("rivega", lambda: _status(sys.argv[1:] if argv is None else argv))


def _status(words: list[str]) -> int:
    try:
        root().main(args=list(words), prog_name="rivega")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
