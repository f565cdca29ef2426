"""What README, the first page and the tutorial show is run, in their order, with the shipped pipeline. A block under a comment
`<!-- not run: reason -->` is left out."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import spacy

from rivega_spacy.cli import main

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not spacy.util.is_package("rivega_twitter"), reason="rivega_twitter is not installed: pip install ./assets/rivega_twitter"
    ),
]


def blocks(page: str, *kinds: str) -> list[tuple[str, str]]:
    text = (ROOT / page).read_text(encoding="utf8")
    return [(kind, code) for reason, kind, code in BLOCK.findall(text) if not reason and kind in kinds]


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/tutorial.md"])
def test_python_runs(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    found = blocks(page, "python")
    assert found
    names: dict[str, object] = {}
    for _, code in found:
        exec(compile(code, page, "exec"), names)  # the project's own pages
    shown = capsys.readouterr().out
    assert "True [" in shown  # an entity that the picture shows, and its box


def test_the_tutorial_from_an_empty_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "assets" / "demo", tmp_path / "assets" / "demo")
    for kind, code in blocks("docs/tutorial.md", "bash", "json"):
        if kind == "json":
            Path("posts.jsonl").write_text(code, encoding="utf8")
            continue
        for line in code.splitlines():
            words = shlex.split(line.split("#")[0])
            for command in " ".join(words).split(" && "):
                first, *rest = command.split()
                if first == "mkdir":
                    Path(rest[0]).mkdir()
                elif first == "cd":
                    monkeypatch.chdir(rest[0])
                elif first == "cp":
                    for name in rest[:-1]:
                        shutil.copy(name, rest[-1])
                else:
                    assert first == "rivega"
                    assert main(rest) == 0, capsys.readouterr().err
    made = {path.name for path in Path.cwd().iterdir()}
    assert {"out.jsonl", "pages", "coco.json", "entities.csv"} <= made
