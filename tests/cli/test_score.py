"""`rivega score`."""

import json
from pathlib import Path

import pytest

from rivega_spacy.cli import main

DATA = Path(__file__).parents[1] / "scoring" / "data"
FILES = ["--predictions", str(DATA / "predictions.jsonl"), "--gold", str(DATA / "gold.jsonl")]


def run(capsys, *arguments):
    status = main(["score", *FILES, *arguments])
    return status, capsys.readouterr().out


def test_json(capsys):
    status, out = run(capsys, "--rule", "text", "--types", "raw", "--json")
    result = json.loads(out)
    assert status == 0
    assert (result["rule"], result["types"], result["iou"]) == ("text", "raw", 0.5)
    assert result["mner"]["right"] == 4 and result["gmner"]["right"] == 1
    assert result["mner"]["types"]["OTHER"] == {"right": 2, "predicted": 2, "gold": 2, "p": 1.0, "r": 1.0, "f": 1.0}


def test_table_for_people(capsys):
    _, out = run(capsys, "--sweep", "--bootstrap", "100", "--against", str(DATA / "predictions.txt"), "--rule", "text")
    assert "rule text, types folded, IoU >= 0.5" in out
    assert any(line.split()[:4] == ["MNER", "66.67", "80.00", "72.73"] for line in out.splitlines())
    assert "p = 1.0000" in out and "| 0.95 |" in out


def test_plot_candidates_and_calibration(capsys, tmp_path):
    (tmp_path / "boxes.jsonl").write_text('{"id": "a1", "boxes": [[10, 10, 110, 110]]}', encoding="utf8")
    status, out = run(
        capsys,
        "--plot",
        str(tmp_path / "s.svg"),
        "--candidates",
        str(tmp_path / "boxes.jsonl"),
        "--tops",
        "1",
        "--calibration",
        "--json",
    )
    assert status == 0 and (tmp_path / "s.svg").read_text(encoding="utf8").startswith("<svg")
    assert json.loads(out)["candidates"] == {"1": pytest.approx(1 / 3)}
    assert json.loads(out)["calibration"] is None


def test_bad_files_end_with_a_message(capsys, tmp_path):
    assert main(["score", "--predictions", str(tmp_path / "none"), "--gold", str(DATA / "gold.jsonl")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.shared
@pytest.mark.parametrize("types, f", [("raw", 86.15), ("folded", 87.18), ("none", 91.90)])
def test_the_published_numbers_as_a_command(capsys, shared_dir, types, f):
    posts = shared_dir / "data" / "posts"
    arguments = ["--predictions", str(posts / "riveg_test_predictions.jsonl.gz"), "--gold", str(posts / "riveg_test_gold.jsonl.gz")]
    assert main(["score", *arguments, "--rule", "text", "--types", types, "--json"]) == 0
    assert round(100 * json.loads(capsys.readouterr().out)["mner"]["f"], 2) == f
