"""Gold as one-box entries, entities that training has, and several runs of a system."""

import json
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.scoring.entries import one_box_entries
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.mentions import Annotations, Mention
from rivega_spacy.scoring.novelty import score_by_novelty
from rivega_spacy.scoring.read import read_annotations
from rivega_spacy.scoring.seeds import compare_runs
from rivega_spacy.scoring.tasks import score


def annotations(*mentions: Mention) -> Annotations:
    result = Annotations(groundability=True, boxes=True)
    for mention in mentions:
        result.add(mention)
    return result


def mention(post: str, start: int, end: int, label: str = "PER", boxes: tuple[Any, ...] = (), text: str = "x") -> Mention:
    return Mention(post, text, label, tokens=(start, end), groundable=bool(boxes), boxes=tuple(list(box) for box in boxes))


A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def test_an_entity_with_two_boxes_stands_twice_and_one_behind_another_not_at_all() -> None:
    gold = annotations(mention("1", 0, 2, boxes=(A, B)), mention("1", 2, 3), mention("1", 3, 4), mention("1", 5, 6))
    entries = one_box_entries(gold)
    assert [(m.tokens, m.boxes) for m in entries.mentions] == [((0, 2), ([*A],)), ((0, 2), ([*B],)), ((3, 4), ()), ((5, 6), ())]
    assert len(gold.mentions) == 4, "gold itself stays"
    found = annotations(mention("1", 0, 2, boxes=(B,)), mention("1", 3, 4), mention("1", 2, 3))
    scores = score(found, gold, MatchOptions(rule="entry"))
    gmner = scores.tasks["gmner"].total
    # One of the two entries is met; the entity at 2 to 3 is none here.
    assert (gmner.right, gmner.predicted, gmner.gold) == (2, 3, 4)
    assert any("entries of one box: 4, of which 3 differ" in note for note in scores.notes)
    assert score(found, gold, MatchOptions()).tasks["gmner"].total.right == 3


@pytest.mark.shared
def test_the_published_number_of_entries_comes_out(shared_dir: Path) -> None:
    gold = read_annotations(shared_dir / "data" / "posts" / "twitter_gmner_test.jsonl.gz")
    entries = one_box_entries(gold)
    assert len(gold.posts) == 1500 and len(gold.mentions) == 2543
    assert len(entries.mentions) == 2703
    assert len({(m.post, m.tokens, m.type) for m in entries.mentions}) == 2497


def write(path: Path, *posts: dict[str, Any]) -> str:
    path.write_text("\n".join(map(json.dumps, posts)), encoding="utf8")
    return str(path)


def post(name: str, tags: str, tokens: str = "Ann Bob Cy Rome") -> dict[str, Any]:
    return {"id": name, "tokens": tokens.split(), "tags": tags.split()}


def test_seen_and_unseen_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train = write(tmp_path / "train.jsonl", post("9", "B-PER O O B-LOC", "ANN x y Paris"))
    gold = write(tmp_path / "gold.jsonl", post("1", "B-PER B-PER O B-LOC"))
    found = write(tmp_path / "found.jsonl", post("1", "B-PER O B-PER B-ORG"))
    out = tmp_path / "scores.json"
    assert main(["score", "--predictions", found, "--gold", gold, "--trained-on", train, "--output", str(out)]) == 0
    novelty = json.loads(out.read_text())["novelty"]
    assert novelty["seen"]["mner"] == {"right": 1, "predicted": 1, "gold": 1, "p": 1.0, "r": 1.0, "f": 1.0}
    # Rome under another type belongs to the gold entity of its place; Cy, which gold lacks, is not known.
    unseen = novelty["unseen"]["mner"]
    assert (unseen["right"], unseen["predicted"], unseen["gold"]) == (0, 2, 2)
    assert "entities unseen in training" in capsys.readouterr().out


@pytest.mark.slow
def test_several_runs_have_a_mean_a_deviation_and_a_p_value(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    names = [str(n) for n in range(12)]
    gold = write(tmp_path / "gold.jsonl", *(post(name, "B-PER O O B-LOC") for name in names))
    good = [
        write(tmp_path / f"good{n}.jsonl", *(post(name, "B-PER O O B-LOC" if int(name) != n else "O O O O") for name in names))
        for n in range(3)
    ]
    poor = [
        write(tmp_path / f"poor{n}.jsonl", *(post(name, "B-PER O O O" if int(name) % 2 else "O O O O") for name in names))
        for n in range(3)
    ]
    out = tmp_path / "scores.json"
    assert main(["score", "--predictions", *good, "--gold", gold, "--against", *poor, "--output", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["runs"] == 3 and result["mner"]["f"] == pytest.approx(2 * 22 / 46) and result["deviation"]["mner"] < 1e-12
    test = result["against"]["mner"]
    assert test["difference"] == pytest.approx(2 * 22 / 46 - 2 * 6 / 30) and test["p_value"] < 0.01
    assert test["p_seeds"] == pytest.approx(2 / 20), "of the 20 ways to deal six runs out, this one and its mirror"
    assert "mean of 3 runs" in capsys.readouterr().out
    assert main(["score", "--predictions", *good, "--gold", gold, "--against", *good]) == 0
    assert main(["score", "--predictions", *good, "--gold", gold, "--against", poor[0]]) == 2
    with pytest.raises(RivegaError, match="as many"):
        compare_runs([], [], "mner")


def test_equal_runs_do_not_differ() -> None:
    gold = annotations(*(mention(str(n), 0, 1) for n in range(10)))
    runs = [score(annotations(*(mention(str(n), 0, 1) for n in range(k, 10))), gold) for k in (0, 1, 2)]
    same = compare_runs(runs, runs, "mner", samples=50)
    assert same.difference == 0 and same.p_value == 1.0 and same.p_seeds == 1.0


def test_seen_and_unseen_entries_add_up() -> None:
    gold = annotations(
        mention("1", 0, 1, text="Ann"), mention("1", 1, 2, text="Bob", boxes=(A, B)), mention("1", 3, 4, text="Cy", boxes=(A, B))
    )
    options = MatchOptions(rule="entry")
    parts = score_by_novelty(gold, gold, {("bob", "PER")}, options)
    whole = score(gold, gold, options).tasks["mner"].total
    assert [parts[name].tasks["mner"].total.gold for name in ("seen", "unseen")] == [0, 3] and whole.gold == 3
    assert sum(part.tasks["mner"].total.right for part in parts.values()) == whole.right
