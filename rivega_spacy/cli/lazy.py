"""Groups of commands that import a command's module when the command is called, not to list it."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from .commands import COMMANDS, commands_of, is_group
from .exits import MEANINGS, ended_well

CONTEXT = {"help_option_names": ["-h", "--help"]}
STATUSES = "Exit status: " + "; ".join(f"{status} {meaning}" for status, meaning in MEANINGS.items()) + "."


class LazyGroup(TyperGroup):
    """A group that knows names, panels and one-line helps of its commands (commands.py) and loads the one that is called."""

    def __init__(self, *, group: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.group = group
        for name, listed in commands_of(group).items():
            self.commands[name] = TyperCommand(name, help=_plain(listed.help), rich_help_panel=listed.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, with its arguments and what it does."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = load(f"{self.group} {name}".strip())
        return name, command, rest


def load(name: str) -> Any:
    """A command by its name in COMMANDS, as its module has it.

    RETURNS (Union[TyperCommand, TyperGroup]): What `main` calls.
    """
    listed = COMMANDS[name]
    if is_group(name):
        return LazyGroup(
            group=name, name=name, help=_plain(listed.help), epilog=STATUSES, no_args_is_help=True, context_settings=CONTEXT
        )
    module = module_of(name)
    more = getattr(module, "MORE_HELP", "")
    shown = "\n".join(["[bold]Examples[/bold]", *(f"  {_plain(line)}" for line in examples(name))])
    app = typer.Typer(add_completion=False)
    register = app.command(
        name.rpartition(" ")[2],
        help="\n\n".join([_plain(listed.help), *([_plain(more)] if more else [])]),
        epilog=f"{shown}\n\n{STATUSES}",
        cls=getattr(module, "COMMAND_CLASS", TyperCommand),
        context_settings=CONTEXT,
    )
    register(_ending_well(f"rivega {name}", module.run))
    return typer.main.get_command(app)


def examples(name: str) -> tuple[str, ...]:
    """Command lines that show how a command is called, by its name in COMMANDS."""
    return tuple(module_of(name).EXAMPLES)


def module_of(name: str) -> Any:
    """The module of a command by its name in COMMANDS, with `run` and EXAMPLES."""
    return importlib.import_module(f".{name.replace(' ', '_').replace('-', '_')}", __package__)


def _ending_well(command: str, run: Callable[..., int]) -> Callable[..., None]:
    @functools.wraps(run)
    def call(**arguments: Any) -> None:
        raise typer.Exit(ended_well(command, lambda: run(**arguments)))

    return call


def _plain(text: str) -> str:
    """Text whose brackets are no markup."""
    return text.replace("[", r"\[")
