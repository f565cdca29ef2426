"""Candidates, sweep, significance and calibration."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.scoring.calibration import calibrate
from rivega_spacy.scoring.candidates import read_candidates, top_n_precision
from rivega_spacy.scoring.matching import MatchOptions, make_groups
from rivega_spacy.scoring.mentions import Annotations, Mention
from rivega_spacy.scoring.significance import bootstrap, compare, f_of_counts
from rivega_spacy.scoring.sweep import sweep_iou, sweep_plot, sweep_table
from rivega_spacy.scoring.tasks import score


def test_top_n_precision(tmp_path, gold):
    rows = [
        {"id": "a1", "boxes": [[200, 200, 210, 210], [10, 10, 110, 100]], "scores": [0.2, 0.9]},
        {"id": "a2", "boxes": [[300, 0, 310, 10], [60, 0, 110, 50]]},
    ]
    path = tmp_path / "boxes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf8")
    found = top_n_precision(read_candidates(path), gold, tops=(1, 2))
    # Voss at once by its score; both Tarn only by the second box.
    assert found == {1: pytest.approx(1 / 3), 2: pytest.approx(1.0)}


def test_candidates_with_as_many_scores_as_boxes(tmp_path):
    path = tmp_path / "boxes.jsonl"
    path.write_text('{"id": "a1", "boxes": [[0, 0, 1, 1]], "scores": [1, 2]}', encoding="utf8")
    with pytest.raises(RivegaError, match="line 1"):
        read_candidates(path)


def test_sweep_falls_with_the_threshold_and_starts_at_the_score(predicted, gold):
    scores = score(predicted, gold)
    sweep = sweep_iou(scores, (0.1, 0.5, 0.9, 0.97))
    assert sweep["eeg"] == [pytest.approx(2 * right / 11) for right in (4, 3, 2, 1)]
    assert sweep["gmner"][1] == scores.tasks["gmner"].total.f
    assert sweep_table(sweep, (0.1, 0.5, 0.9, 0.97)).count("\n") == 5


def test_the_plot_is_well_formed_and_has_a_line_for_each_task(predicted, gold):
    root = ElementTree.fromstring(sweep_plot(sweep_iou(score(predicted, gold))))
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert all(len(line.get("points").split()) == 10 for line in lines)


def runs(posts: int, right: int, better: int):
    """Gold, a run that finds `right` of `posts` entities, and one that finds `better` more."""
    gold, first, second = Annotations(), Annotations(), Annotations()
    for number in range(posts):
        mention = Mention(f"p{number}", "Ann", "PER", tokens=(0, 1))
        gold.add(mention)
        for run, limit in ((first, right), (second, right + better)):
            run.add(mention if number < limit else Mention(f"p{number}", "Ann", "ORG", tokens=(0, 1)))
    return gold, score(first, gold), score(second, gold)


def test_bootstrap_interval_is_that_of_a_binomial():
    _, first, _ = runs(400, 300, 0)
    low, high = bootstrap(first.tasks["mner"], samples=2000)["f"]
    spread = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - spread, abs=0.01) and high == pytest.approx(0.75 + spread, abs=0.01)


def test_bootstrap_is_seeded_and_certain_where_all_is_right():
    _, first, _ = runs(50, 50, 0)
    task = first.tasks["mner"]
    assert bootstrap(task, samples=50, seed=3) == bootstrap(task, samples=50, seed=3)
    assert tuple(bootstrap(task, samples=50)["f"]) == (1.0, 1.0)


def test_paired_test_tells_a_clear_difference_from_none():
    _, first, second = runs(300, 200, 30)
    clear = compare(second, first, "mner", samples=1000)
    assert clear.difference == pytest.approx(0.1) and clear.p_value < 0.005 and clear.interval.low > 0
    assert compare(first, second, "mner", samples=1000).difference == pytest.approx(-0.1)
    same = compare(first, first, "mner", samples=200)
    assert same.difference == 0 and same.p_value == 1.0


def test_paired_test_of_one_differing_post_is_chance():
    # With a single post that differs, swapping it or not gives the observed difference either way.
    _, first, second = runs(100, 60, 1)
    assert compare(second, first, "mner", samples=400).p_value == 1.0


def test_paired_test_refuses_other_gold():
    _, first, _ = runs(10, 5, 0)
    _, other, _ = runs(12, 5, 0)
    with pytest.raises(RivegaError, match="same posts"):
        compare(first, other, "mner")


def test_f_of_no_counts_is_zero():
    assert f_of_counts(np.zeros((2, 3))).tolist() == [0.0, 0.0]


def test_calibration():
    gold, ours = Annotations(groundability=True), Annotations(groundability=True)
    for number, (probability, shown) in enumerate([(0.9, True), (0.8, True), (0.8, False), (0.1, False)]):
        gold.add(Mention(f"p{number}", "Ann", "PER", groundable=shown))
        ours.add(Mention(f"p{number}", "Ann", "PER", groundable=True, groundable_score=probability))
    found = calibrate(make_groups(ours, gold, MatchOptions(rule="text")), thresholds=(0.5, 0.85))
    assert found.count == 4
    assert found.brier == pytest.approx((0.01 + 0.04 + 0.64 + 0.01) / 4)
    assert found.ece == pytest.approx((0.1 + 2 * 0.3 + 0.1) / 4)
    assert [(row["p"], row["r"]) for row in found.curve] == [(pytest.approx(2 / 3), 1.0), (1.0, 0.5)]
    assert found.average_precision == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    assert found.best_threshold("p") == 0.85


def test_calibration_without_scores_is_none(predicted, gold):
    assert calibrate(score(predicted, gold).groups) is None
