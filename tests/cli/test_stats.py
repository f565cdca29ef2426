"""`rivega stats` and `rivega candidates`: counts that are known, and boxes of a small detector with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rivega_spacy.cli import main

BOX, OTHER = [10, 10, 50, 50], [60, 10, 90, 40]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Train: two posts with answers of two models; test: two posts with pictures, of Twitter-2015 one."""
    tags = {"tokens": ["Ann", "in", "Rome"], "tags": ["B-PER", "O", "B-LOC"]}
    two = {"knowledge_by_model": {"a": "x", "b": "y"}}
    rows: dict[str, list[dict[str, Any]]] = {
        "train": [
            {"id": "1", **tags, **two, "boxes": [{"name": "Ann", "xyxy": BOX}, {"name": "Ann", "xyxy": OTHER}]},
            {"id": "2", **tags, **two, "boxes": []},
        ],
        "test": [
            {"id": "3", **tags, "boxes": [{"name": "Ann", "xyxy": BOX}, {"name": "Rome", "xyxy": OTHER}]},
            {"id": "4", "tokens": ["Ann", "Ann"], "tags": ["B-PER", "B-PER"], "boxes": [{"name": "Ann", "xyxy": OTHER}]},
        ],
        "2015/dev": [{"id": "5", "tokens": ["x"], "tags": ["O"]}],
    }
    (tmp_path / "images").mkdir()
    for name in "34":
        Image.fromarray(np.random.default_rng(int(name)).integers(0, 255, (64, 96, 3), dtype="uint8")).save(
            tmp_path / "images" / f"{name}.png"
        )
    for split, posts in rows.items():
        (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, posts)), encoding="utf8")
        more = ["--images", str(tmp_path / "images")] if split == "test" else []
        assert main(["convert", str(tmp_path / "posts.jsonl"), str(tmp_path / f"{split}.spacy"), *more]) == 0
    return tmp_path


def test_everything_is_counted_as_the_paper_does(data: Path, capsys: pytest.CaptureFixture) -> None:
    lines = [{"id": "3", "boxes": [BOX, [0, 0, 5, 5]], "scores": [0.9, 0.1]}, {"id": "1", "boxes": [OTHER]}]
    (data / "found.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf8")
    assert main(["stats", str(data), "--candidates", str(data / "found.jsonl"), "--output", str(data / "stats.json")]) == 0
    found = json.loads((data / "stats.json").read_text())
    train, test = found["splits"]["train"], found["splits"]["test"]
    assert (train["posts"], train["entities"], train["groundable"], train["boxes"], train["pairs"]) == (2, 4, 1, 2, 4)
    # Ann stands twice in a post and has one box: two groundable entities, one box.
    assert (test["entities"], test["groundable"], test["boxes"]) == (4, 4, 3)
    assert found["sizes"]["train"] == {"GMNER": 2, "GMNER+": 4, "VE": 4, "VE+": 8, "VG": 1, "VG+": 2}
    assert found["sizes"]["dev"] == {"T15": 1, "T15+": 1} and found["sizes"]["total"]["VE+"] == 12
    assert train["masks"] is test["masks"] is None, "no masks were given: nothing is said of their number"
    assert found["pictures"] == {"none": 0.25, "one": 0.25, "several": 0.5}
    assert found["by_type"]["LOC"] == {"entities": 3, "groundable": 1}
    # Of the groundable ones the detector covers Ann of post 1 (by her second box) and of post 3.
    assert found["missed"]["total"] == {
        "not groundable": 3,
        "groundable": 5,
        "not groundable, with misses": 6,
        "groundable, without misses": 2,
    }
    assert "PER: 4 of 5 groundable" in capsys.readouterr().out
    assert main(["stats", str(data / "test.spacy"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["test"] == {**test, "missed": 0}
    (data / "found.jsonl").write_text(json.dumps({"id": "nobody", "boxes": [BOX]}), encoding="utf8")
    assert main(["stats", str(data), "--candidates", str(data / "found.jsonl")]) == 2
    assert "No box of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.shared
def test_the_published_counts_come_out(shared_dir: Path, tmp_path: Path) -> None:
    from rivega_spacy.jobs.count_data import count_data

    posts = shared_dir / "data" / "posts" / "twitter_gmner_dev.jsonl.gz"
    assert main(["convert", str(posts), str(tmp_path / "dev.spacy")]) == 0
    dev = count_data(tmp_path)["splits"]["dev"]
    assert [dev[name] for name in ("posts", "entities", "groundable", "boxes", "pairs")] == [1500, 2450, 991, 1164, 2450]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A YOLOS of two layers."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessor

    path = tmp_path_factory.mktemp("yolos")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = YolosConfig(**size, image_size=[64, 96], patch_size=16, num_detection_tokens=30, num_labels=4)
    YolosForObjectDetection(config).save_pretrained(path)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(path)
    return str(path)


@pytest.mark.slow
def test_candidates_are_a_detectors_boxes_in_pixels_best_first(data: Path, detector: str, capsys: pytest.CaptureFixture) -> None:
    out, scores = data / "boxes.jsonl", data / "table1.json"
    assert main(["candidates", detector, str(data / "test.spacy"), str(out), "--top", "20", "--scores", str(scores)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["3", "4"]
    for row in rows:
        boxes = np.array(row["boxes"])
        assert boxes.shape == (20, 4) and (boxes >= 0).all() and (boxes <= [96, 64, 96, 64]).all()
        assert row["scores"] == sorted(row["scores"], reverse=True)
    table = json.loads(scores.read_text())["candidates"]
    assert list(table) == ["10", "15", "20"] and table["10"] <= table["15"] <= table["20"]
    # The same figures as the scorer takes from the file.
    assert "Top10-Prec@0.5" in capsys.readouterr().out
    gold = str(data / "test.spacy")
    assert main(["score", "--predictions", gold, "--gold", gold, "--candidates", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidates"] == table


@pytest.mark.slow
def test_what_is_no_detector_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["candidates", str(tmp_path), str(data / "test.spacy"), str(data / "out.jsonl")]) != 0
    assert "cannot be read as a detector" in capsys.readouterr().err and not (data / "out.jsonl").exists()
