"""Masks for the boxes of any system."""

import json

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import decode_mask, encode_mask
from rivega_spacy.scoring import segment
from rivega_spacy.scoring.mentions import Annotations, Mention
from rivega_spacy.scoring.read import read_annotations
from rivega_spacy.scoring.segment import add_masks, find_picture, load_segmenter, write_mentions

from .masks import square


def fill(prompts):
    """The boxes themselves as masks."""
    results = []
    for image, boxes in prompts:
        assert image.shape == (40, 50, 3)
        results.append([(square(box), 1.0) for box in boxes])
    return results


@pytest.fixture
def folder(tmp_path):
    for name in ("p.jpg", "q.png"):
        Image.new("RGB", (50, 40)).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def predicted():
    result = Annotations(groundability=True, boxes=True)
    result.add(Mention("p", "Ann", "PER", tokens=(0, 1), groundable=True, boxes=([5, 5, 10, 10], [10, 10, 30, 30])))
    result.add(Mention("p", "Rio", "LOC", tokens=(2, 3), groundable=False))
    result.add(Mention("q", "Bob", "PER", tokens=(0, 1), groundable=True, boxes=([40, 30, 90, 90],)))
    result.add(Mention("lost", "Cy", "PER", tokens=(0, 1), groundable=True, boxes=([1, 1, 5, 5],)))
    return result


def test_the_box_that_counts_gets_a_mask(predicted, folder):
    found = add_masks(predicted, fill, find_picture(folder))
    ann, rio, bob, cy = found.mentions
    assert (decode_mask(ann.mask) == square([10, 10, 30, 30])).all()
    assert (decode_mask(bob.mask) == square([40, 30, 50, 40])).all()
    assert rio.mask is None and cy.mask is None
    assert found.notes == ["1 predicted boxes have no picture that can be read, so no mask"]


def test_predictions_with_masks_come_back(predicted, folder, tmp_path):
    found = add_masks(predicted, fill, find_picture(folder))
    write_mentions(found, tmp_path / "out.jsonl")
    again = read_annotations(tmp_path / "out.jsonl")
    assert [(m.post, m.tokens, m.groundable, m.box, m.mask) for m in again.mentions] == [
        (m.post, m.tokens, m.groundable, m.box, m.mask) for m in found.mentions
    ]


def test_pictures_are_found_by_reference_or_by_id(folder):
    (folder / "sub").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "sub" / "x.jpg")
    find = find_picture(folder, {"z": "sub/x.jpg", "p": "none.jpg"})
    assert [find(name) for name in ("z", "p", "q", "lost")] == [
        str(folder / "sub" / "x.jpg"),
        str(folder / "p.jpg"),
        str(folder / "q.png"),
        None,
    ]


def test_one_command_makes_smner_of_gmner(predicted, folder, monkeypatch, capsys):
    write_mentions(predicted, folder / "system.jsonl")
    gold = [
        {
            "id": "p",
            "text": "Ann",
            "type": "PER",
            "start": 0,
            "end": 1,
            "groundable": 2,
            "boxes": [[10, 10, 30, 30]],
            "masks": [encode_mask(square([10, 10, 30, 24]))],
        }
    ]
    (folder / "gold.jsonl").write_text("\n".join(json.dumps(row) for row in gold), encoding="utf8")
    monkeypatch.setattr(segment, "load_segmenter", lambda source: fill)
    arguments = [
        "--predictions",
        str(folder / "system.jsonl"),
        "--gold",
        str(folder / "gold.jsonl"),
        "--segment-with",
        "any",
        "--json",
    ]
    assert main(["score", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["smner"]["right"] == 1 and result["segmentation"]["miou"] == pytest.approx(14 / 20)


def test_a_pipeline_without_segmenter_is_told(tmp_path):
    blank_nlp().to_disk(tmp_path / "blank")
    with pytest.raises(RivegaError, match="--segment-with"):
        load_segmenter(tmp_path / "blank")


@pytest.mark.slow
def test_a_pipelines_segmenter_is_taken():
    assets = sorted(segment.Path(__file__).parents[2].glob("assets/rivega_twitter/rivega_twitter/rivega_twitter-*"))
    if not assets:
        pytest.skip("the shipped pipeline is not built")
    segmenter = load_segmenter(assets[-1])
    ((mask, score),) = segmenter([(np.zeros((40, 50, 3), "uint8"), np.array([[5.0, 5.0, 30.0, 30.0]]))])[0]
    assert mask.shape == (40, 50) and mask.dtype == bool and 0.0 <= score <= 1.0
