"""What commands print is text, whatever stands in posts and files."""

import ast
import json
from pathlib import Path

import pytest

from rivega_spacy.cli import main

CLI = Path(__file__).resolve().parents[2] / "rivega_spacy" / "cli"
EVIL = "\x1b[2Jevil\x9b31m\u202e\x08\r"


def test_commands_print_through_one_place():
    """`sys.stdout.write` and its like would hand on what a terminal obeys; --version alone says nothing but a number."""
    for path in sorted(CLI.glob("*.py")):
        if path.name in ("saying.py", "__init__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.stdout.write", "sys.stderr.write", "typer.echo", "typer.secho", "click.echo"), (
                    f"{path.name}: {called}"
                )


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "annotated.jsonl", "out.spacy"],
        ["export", "annotated.jsonl", "out.json", "--to", "coco"],
        ["score", "annotated.jsonl", "annotated.jsonl"],
        ["score", "broken.jsonl", "annotated.jsonl"],
        ["retrieve", "none.sqlite", "broken.jsonl", "out.jsonl"],
        ["index", "broken.jsonl", "out.sqlite"],
        ["store", "import", "out.sqlite", "broken.jsonl"],
        ["convert", EVIL, "out.spacy"],
        ["render", "annotated.jsonl", "pages"],
    ],
    ids=" ".join,
)
def test_no_terminal_is_obeyed(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ents = [{"start": 0, "end": len(EVIL), "label": EVIL, "text": EVIL}, [3, 4, EVIL], {"start": EVIL}]
    post = {"id": EVIL, "text": EVIL, "image": EVIL, "ents": ents, "tags": EVIL}
    Path("annotated.jsonl").write_text(json.dumps(post) + "\n" + json.dumps({**post, "id": "2"}) + "\n")
    Path("broken.jsonl").write_text(json.dumps({**post, "ents": EVIL}) + "\n" + EVIL + "\n")
    main(words)
    shown = capsys.readouterr()
    assert shown.out + shown.err and not set("\x1b\x9b\u202e\x08\r") & set(shown.out + shown.err)
