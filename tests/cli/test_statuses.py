"""Whatever goes wrong, a command says it in one line, ends with a documented status and leaves what was there."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from blank import blank_nlp

from rivega_spacy.cli import main
from rivega_spacy.cli.exits import ended_well


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a pipeline, posts, annotated and gold ones."""
    tmp_path = tmp_path_factory.mktemp("written")
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "text": "Ada sang"}\n')
    ent = {"start": 0, "end": 3, "label": "PER", "text": "Ada"}
    (tmp_path / "annotated.jsonl").write_text(json.dumps({"id": "1", "text": "Ada sang", "ents": [ent]}) + "\n")
    (tmp_path / "compact.jsonl").write_text('{"id": "1", "tokens": ["Ada", "sang"], "tags": ["B-PER", "O"]}\n')
    (tmp_path / "out.jsonl").write_text("before")
    assert main(["convert", str(tmp_path / "compact.jsonl"), str(tmp_path / "gold.spacy")]) == 0
    return tmp_path


@pytest.fixture
def place(written, tmp_path, monkeypatch):
    """The same for one test, which works in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(capsys, *words):
    """Status of a command and what it said on stderr, which is one line where it stopped."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rivega ")]
    assert len(lines) == (status > 1)
    return status, lines[0] if lines else ""


@pytest.mark.parametrize(
    "command",
    [
        "annotate posts.jsonl {} --model pipeline",
        "convert compact.jsonl {}",
        "score --predictions annotated.jsonl --gold gold.spacy --sweep --plot {}",
        "report annotated.jsonl --gold gold.spacy --output {}",
        "evaluate pipeline gold.spacy --output {}",
        "evaluate pipeline gold.spacy --predictions {}",
    ],
)
@pytest.mark.slow
def test_outputs_that_cannot_be_written(place, capsys, command, monkeypatch):
    source = "compact.jsonl" if command.startswith("convert") else "posts.jsonl" if command.startswith("annotate") else "gold.spacy"
    os.link(place / source, place / f"hard-{source}")
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert run(capsys, *command.format(source).split())[0] == 2
    assert run(capsys, *command.format(f"hard-{source}").split())[0] == 2
    assert run(capsys, *command.format("pipeline").split())[0] == 2
    assert run(capsys, *command.format("/proc/none/out.jsonl").split())[0] == 3
    status, line = run(capsys, *command.format("/dev/full").split())
    assert status == 3 and "/dev/full" in line and "No space" in line
    monkeypatch.setattr(
        "rivega_spacy.post.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    assert run(capsys, *command.format("out.jsonl").split())[0] == 3
    assert before == {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


def test_pipelines_that_cannot_be_loaded(place, capsys):
    (place / "pipeline" / "config.cfg").write_text("[nlp\nbroken")
    (place / "empty").mkdir()
    for model, reason in (
        ("none", "neither installed"),
        ("pipeline", "cannot be loaded"),
        ("empty", "cannot be loaded"),
        ("posts.jsonl", "pipeline"),
    ):
        for command in (
            f"annotate posts.jsonl out.jsonl --model {model}",
            f"evaluate {model} gold.spacy",
            f"fit-threshold {model} gold.spacy",
        ):
            status, line = run(capsys, *command.split())
            assert status == 2 and reason in line
    assert (place / "out.jsonl").read_text() == "before"


def test_a_gpu_that_is_not_there(place, capsys):
    status, line = run(capsys, "annotate", "posts.jsonl", "out.jsonl", "--model", "pipeline", "--gpu-id", "99")
    assert status == 2 and "GPU 99" in line


@pytest.mark.parametrize("options", ["--batch-size 0", "--batch-size -1", "--n-process 0", "--images none"])
def test_wrong_options_leave_the_output(place, capsys, options):
    assert run(capsys, "annotate", "posts.jsonl", "out.jsonl", "--model", "pipeline", *options.split())[0] == 2
    assert (place / "out.jsonl").read_text() == "before"


def test_inputs_that_are_none(place, capsys):
    (place / "bad.spacy").write_bytes(b"\x00junk")
    (place / "folder").mkdir()
    for command in (
        "annotate folder out.jsonl",
        "annotate none.jsonl out.jsonl",
        "render folder pages",
        "render none.jsonl pages",
        "score --predictions none --gold gold.spacy",
        "score --predictions bad.spacy --gold gold.spacy",
        "report annotated.jsonl --gold gold.spacy --output r.html --scores posts.jsonl.gz",
        "evaluate pipeline bad.spacy",
        "convert folder out.jsonl",
        "render annotated.jsonl posts.jsonl",
        "render annotated.jsonl pages --page-size 0",
    ):
        assert run(capsys, *command.split())[0] == 2, command


def test_bad_lines_are_named_and_the_rest_is_scored(place, capsys):
    with (place / "annotated.jsonl").open("a") as lines:
        lines.write("{broken\n" + "[" * 100_000 + '\n{"id": "2", "text": "x", "ents": [{"start": 0, "end": 1, "label": 5}]}\n')
    assert main(["score", "--predictions", "annotated.jsonl", "--gold", "gold.spacy", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["mner"]["f"] == 1.0 and [f"line {number} " in " ".join(result["notes"]) for number in (2, 3, 4)] == [True] * 3
    assert main(["report", "annotated.jsonl", "--gold", "gold.spacy", "--output", "r.html"]) == 1
    assert "line 3" in (place / "r.html").read_text(encoding="utf8")


def test_interruptions_and_closed_pipes(place, capsys, monkeypatch):
    def stop(error):
        def read(*_, **__):
            raise error
            yield

        return read

    for error, status in ((KeyboardInterrupt(), 130), (BrokenPipeError(), 141)):
        monkeypatch.setattr("rivega_spacy.post.post_files.read_posts", stop(error))
        assert run(capsys, "annotate", "posts.jsonl", "out.jsonl", "--model", "pipeline")[0] == status
    assert (place / "out.jsonl").read_text() == "before"


def test_errors_of_the_system_are_told_with_the_file_where_there_is_one(capsys):
    def stop(error):
        def call():
            raise error

        return ended_well("rivega annotate", call), capsys.readouterr().err

    # Without one it is what was open already: the output.
    assert stop(OSError(errno.ENOSPC, "No space left")) == (3, "rivega annotate: OSError: No space left\n")
    assert stop(PermissionError(errno.EACCES, "Permission denied", "a\nb")) == (2, "rivega annotate: a b: Permission denied\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_nobody_takes():
    # What every command prints and returns goes this way; the version needs no library of networks.
    code = "import sys; from rivega_spacy import cli; sys.exit(cli.main(['--version']))"
    with open("/dev/full", "w") as out:
        full = subprocess.run([sys.executable, "-c", code], stdout=out, stderr=subprocess.PIPE, text=True)
    assert full.returncode == 3 and full.stderr.count("\n") == 1 and "No space" in full.stderr
