"""What `rivega` says about itself, how soon, and how it takes wrong calls."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import rivega_spacy
from rivega_spacy.cli import exits, main, root
from rivega_spacy.cli.commands import COMMANDS, is_group
from rivega_spacy.cli.export import Form
from rivega_spacy.cli.init_config import Part
from rivega_spacy.cli.lazy import load
from rivega_spacy.cli.score import spread
from rivega_spacy.recipes.parts import PARTS

ROOT = Path(rivega_spacy.__file__).parents[1]
# Processor time of a Python that does nothing is part of it.
SECONDS = 0.3
# On a machine that is busy elsewhere every instruction takes longer: then it is held against the library of the command line alone,
# which takes two thirds of it.
SHARE = 2.0
PROBE = """
import json, resource, sys
{code}
heavy = [name for name in ("torch", "spacy", "thinc", "transformers", "numpy", "PIL") if name in sys.modules]
sys.stderr.write(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_utime, heavy]))
"""
HELP = "from rivega_spacy.cli import main; assert main(sys.argv[1:]) == 0"
LIBRARY = "import typer, typer.rich_utils"


def probe(code, *words):
    """Seconds of processor time and heavy modules of a process."""
    command = [sys.executable, "-c", PROBE.format(code=code), *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["store", "--help"]], ids=" ".join)
def test_help_comes_at_once(words):
    for _ in range(5):
        seconds, heavy = probe(HELP, *words)
        assert heavy == []
        if seconds < SECONDS or seconds < SHARE * probe(LIBRARY)[0]:
            return
    pytest.fail(f"{seconds:.2f} s of processor time")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_and_has_its_help(name, capsys):
    *group, own = name.split()
    assert main([*group, "--help"]) == 0
    assert f"│ {own} " in capsys.readouterr().out
    assert main([*name.split(), "-h"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for status in (exits.DONE, exits.REFUSED, exits.WRONG_CALL, exits.NOT_WRITTEN, exits.INTERRUPTED, exits.BROKEN_PIPE):
        assert f" {status} {exits.MEANINGS[status][:8]}" in out
    if not is_group(name):
        assert f"rivega {name} " in out.partition("Examples")[2]


def test_no_help_imports_a_library_of_networks():
    code = (
        "import sys; from rivega_spacy.cli import lazy; [lazy.load(n) for n in lazy.COMMANDS]; "
        "sys.exit(str([m for m in ('torch', 'spacy', 'thinc') if m in sys.modules] or ''))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", [name for name in COMMANDS if not is_group(name)])
def test_examples_can_be_called(name):
    import shlex

    from rivega_spacy.cli import lazy

    for line in lazy.examples(name):
        words = shlex.split(line)
        assert words[: 1 + len(name.split())] == ["rivega", *name.split()]
        load(name).make_context(name, words[1 + len(name.split()) :])


def test_choices_are_those_of_the_code():
    from rivega_spacy.cli import options
    from rivega_spacy.export.writing import FORMS
    from rivega_spacy.scoring.matching import COMPARISONS, RULES, TYPES

    def choices(annotated):
        return get_args(get_args(annotated)[0])

    assert choices(options.Rule) == RULES and choices(options.Types) == TYPES and choices(options.Comparison) == COMPARISONS
    assert set(get_args(Form)) == set(FORMS) and get_args(Part) == tuple(PARTS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rivega_spacy {rivega_spacy.__version__}\n"


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "Usage: rivega"),
        (["stroe"], "Did you mean 'store'"),
        (["store"], "Usage: rivega store"),
        (["annotate", "posts.jsonl"], "Missing argument 'POSTS'"),
        (["annotate", "a", "b", "--gpu-id", "x"], "--gpu-id"),
        (["annotate", "a", "b", "--gpu", "0"], "--gpu"),
        (["convert", "a", "b", "--format", "xml"], "xml"),
        (["export", "a", "b"], "--to"),
    ],
)
def test_wrong_calls(words, said, capsys):
    assert main(words) == exits.WRONG_CALL
    out, err = capsys.readouterr()
    assert said.lower() in (out + err).lower()


def test_values_behind_one_option():
    assert spread(["--tops", "1", "2", "--json", "x", "--tops", "3"], "--tops") == [
        "--tops",
        "1",
        "--tops",
        "2",
        "--json",
        "x",
        "--tops",
        "3",
    ]
    context = load("score").make_context("score", ["--predictions", "p", "--gold", "g", "--tops", "1", "5", "9", "--json"])
    # A tuple from some versions of click.
    assert list(context.params["tops"]) == [1, 5, 9]


def test_commands_complete(capsys, monkeypatch):
    monkeypatch.setenv("_RIVEGA_COMPLETE", "complete_bash")
    for words, at, wanted in (
        ("rivega fit", "1", "fit-threshold"),
        ("rivega store ex", "2", "export"),
        ("rivega demo --mo", "2", "--model"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", at)
        assert main([]) == 0
        assert wanted in capsys.readouterr().out.split()


def test_root_lists_what_the_table_lists():
    assert list(root().commands) == [name for name in COMMANDS if " " not in name]
