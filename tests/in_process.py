"""Command lines of `rivega`, `spacy` and `python SCRIPT` called in the process of the tests.

A process for each would spend several seconds on imports that this one has made. What only a process of its own shows (that the console
script is installed, that its exit status arrives) is tested once, elsewhere.
"""

import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from typer.main import get_command

from rivega_spacy.cli import main


def call(words: Sequence[str]) -> int:
    """Run a command line here.

    words (Sequence[str]): As a process would get them.
    RETURNS (int): Exit status.
    """
    program, *rest = words
    with process_state():
        if Path(program).name.startswith("python"):
            if rest[:1] == ["-m"]:
                return {"spacy": _spacy, "rivega_spacy": main}[rest[1]](rest[2:])
            return _leaving(lambda: _script(rest))
        return {"spacy": _spacy, "rivega": main}[program](rest)


def call_into(words: Sequence[str], log: Path) -> int:
    """The same with all that the command prints in a file: stands in for `tables.running.start`."""
    with log.open("w", encoding="utf8") as out, redirect_stdout(out), redirect_stderr(out):
        try:
            return call([Path(words[0]).name, *words[1:]])
        except Exception:  # a process would end with it
            traceback.print_exc()
            return 1


def _spacy(words: list[str]) -> int:
    from spacy.cli._util import app

    return _leaving(lambda: get_command(app)(args=words, prog_name="spacy"))


def _script(words: list[str]) -> None:
    sys.argv = list(words)
    sys.path.insert(0, str(Path(words[0]).resolve().parent))
    runpy.run_path(words[0], run_name="__main__")


def _leaving(function: Callable[[], Any]) -> int:
    try:
        function()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


@contextmanager
def process_state() -> Iterator[None]:
    """What a command changes in its process is put back behind it: arguments, module path, modules of scripts, environment, threads."""
    argv, path, environment, folder, threads = (
        list(sys.argv),
        list(sys.path),
        dict(os.environ),
        os.getcwd(),
        torch.get_num_threads(),
    )
    loaded = set(sys.modules)
    try:
        yield
    finally:
        sys.argv[:], sys.path[:] = argv, path
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        torch.set_num_threads(threads)
        for name in set(sys.modules) - loaded:
            # A script's neighbours, which another folder may have under the same name.
            if "benchmarks" in Path(getattr(sys.modules[name], "__file__", None) or "").parts:
                del sys.modules[name]
