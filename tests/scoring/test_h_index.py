"""Predictions of H-Index, in the form that its test script writes."""

import json
from pathlib import Path

import pytest

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.scoring.h_index import is_h_index, read_h_index

TEXT = (
    "Ann ( left ) in Rio\n"
    "Pred: ( Ann , [1] , <<person>> ) ( Rio , [16] , <<location>> ) \n"
    " GT : ( Ann , [0, 1] , <<person>> ) \n"
    "\n"
    "nothing\n"
    "Pred: \n"
    " GT : \n"
    "\n"
    "{'f': 50.0}"
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "pred.txt").write_text(TEXT, encoding="utf8")
    gold = [
        {
            "id": "a",
            "tokens": ["Ann", "(", "left", ")", "in", "Rio"],
            "tags": ["B-PER", "O", "O", "O", "O", "B-LOC"],
            "boxes": [{"name": "Ann", "xyxy": [0, 0, 10, 10]}],
        },
        {"id": "b", "tokens": ["nothing"], "tags": ["O"], "boxes": []},
    ]
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, gold)), encoding="utf8")
    (tmp_path / "boxes.jsonl").write_text(json.dumps({"id": "a", "boxes": [[50, 50, 60, 60], [0, 0, 10, 9]]}), encoding="utf8")
    return tmp_path


def test_it_is_scored_as_everybody_is(files: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["score", "--predictions", str(files / "pred.txt"), "--gold", str(files / "gold.jsonl"), "--rule", "text", "--json"]
    assert main([*given, "--candidates", str(files / "boxes.jsonl")]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["mner"]["right"], scores["gmner"]["right"], scores["gmner"]["gold"]) == (2, 2, 2)
    assert scores["entailment"]["accuracy"] == 1.0 and scores["candidates"]["10"] == 1.0
    # Without the boxes that it chose from, only that it chose one is known.
    assert main(given) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["mner"]["right"] == 2 and "gmner" not in scores


def test_another_number_of_posts_is_refused(files: Path) -> None:
    assert is_h_index(files / "pred.txt") and not is_h_index(files / "gold.jsonl")
    with pytest.raises(RivegaError, match="2 posts"):
        read_h_index(files / "pred.txt", ["a", "b", "c"])
