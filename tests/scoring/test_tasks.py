"""The scores, on counts worked out by hand and on the published predictions."""

import numpy as np
import pytest
from blank import blank_nlp

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.mentions import Annotations, Mention
from rivega_spacy.scoring.read import read_annotations
from rivega_spacy.scoring.tasks import score


def counts(scores, task):
    total = scores.tasks[task].total
    return total.right, total.predicted, total.gold


# Gold: Voss PER shown, Lyon LOC not shown, Tarn OTHER shown twice, Orbex ORG not shown. Predicted: Voss with a box of IoU exactly
# 0.5; Lyon as ORG; Tarn as MISC with a good box, as OTHER with a bad one, and once more without a place; Orbex wrongly shown.
@pytest.mark.parametrize(
    "rule, types, mner, gmner, eeg",
    [
        ("offset", "raw", (3, 6, 5), (1, 6, 5), (3, 6, 5)),
        ("offset", "folded", (4, 6, 5), (2, 6, 5), (3, 6, 5)),
        ("offset", "none", (5, 6, 5), (3, 6, 5), (3, 6, 5)),
        ("text", "raw", (4, 6, 5), (1, 6, 5), (3, 6, 5)),
        ("text", "folded", (4, 6, 5), (2, 6, 5), (3, 6, 5)),
        ("text", "none", (5, 6, 5), (3, 6, 5), (3, 6, 5)),
    ],
)
def test_counts_by_rule_and_types(predicted, gold, rule, types, mner, gmner, eeg):
    scores = score(predicted, gold, MatchOptions(rule=rule, types=types))
    assert counts(scores, "mner") == mner
    assert counts(scores, "gmner") == gmner
    assert counts(scores, "eeg") == eeg


def test_counts_by_type_add_up(predicted, gold):
    task = score(predicted, gold, MatchOptions(rule="text", types="raw")).tasks["mner"]
    assert {label: (c.right, c.predicted, c.gold) for label, c in task.types.items()} == {
        "LOC": (0, 0, 1),
        "MISC": (0, 1, 0),
        "ORG": (1, 2, 1),
        "OTHER": (2, 2, 2),
        "PER": (1, 1, 1),
    }
    assert task.per_post.sum(axis=0).tolist() == [4, 6, 5]


def test_precision_recall_and_f(predicted, gold):
    total = score(predicted, gold).tasks["mner"].total
    assert (total.p, total.r, total.f) == (pytest.approx(4 / 6), pytest.approx(4 / 5), pytest.approx(8 / 11))


def test_threshold_and_comparison(predicted, gold):
    assert counts(score(predicted, gold, MatchOptions(comparison=">")), "eeg")[0] == 2
    assert counts(score(predicted, gold, MatchOptions(iou=0.97)), "eeg")[0] == 1
    assert counts(score(predicted, gold, MatchOptions(iou=0.1)), "eeg")[0] == 4


def test_a_gold_entity_is_used_once():
    gold, ours = Annotations(groundability=True, boxes=True), Annotations(groundability=True, boxes=True)
    gold.add(Mention("p", "Ann", "PER", groundable=True, boxes=([0, 0, 10, 10],)))
    for _ in range(3):
        ours.add(Mention("p", "Ann", "PER", groundable=True, boxes=([0, 0, 10, 10],)))
    for task in ("mner", "gmner", "eeg"):
        assert counts(score(ours, gold, MatchOptions(rule="text")), task) == (1, 3, 1)


def test_the_best_assignment_is_found_among_equal_names():
    gold, ours = Annotations(groundability=True, boxes=True), Annotations(groundability=True, boxes=True)
    gold.add(Mention("p", "Ann", "PER", groundable=True, boxes=([0, 0, 10, 10],)))
    gold.add(Mention("p", "Ann", "PER", groundable=False))
    ours.add(Mention("p", "Ann", "PER", groundable=False))
    ours.add(Mention("p", "Ann", "PER", groundable=True, boxes=([0, 0, 10, 9],)))
    assert counts(score(ours, gold, MatchOptions(rule="text")), "gmner") == (2, 2, 2)


def test_entailment_grounding_and_their_denominators(predicted, gold):
    scores = score(predicted, gold)
    # By offset five are found; Orbex is wrongly shown.
    assert scores.entailment["right"] == 4 and scores.entailment["judged"] == 5
    assert scores.entailment["p"] == pytest.approx(3 / 4) and scores.entailment["r"] == 1.0
    assert scores.grounding["right"] == 2 and scores.grounding["boxed"] == scores.grounding["grounded"] == 3
    assert scores.grounding["miou"] == pytest.approx((0.5 + 0.96 + 0.2) / 3)


def test_ees_and_smner_on_masks():
    def mask(width):
        array = np.zeros((10, 20), bool)
        array[:, :width] = True
        return encode_mask(array)

    gold, ours = Annotations(groundability=True, boxes=True, masks=True), Annotations(groundability=True, boxes=True, masks=True)
    gold.add(Mention("p", "Ann", "PER", chars=(0, 3), groundable=True, boxes=([0, 0, 10, 10],), masks=(mask(10),)))
    gold.add(Mention("p", "Bob", "PER", chars=(5, 8), groundable=True, boxes=([0, 0, 20, 10],), masks=(mask(20),)))
    gold.add(Mention("p", "Acme", "ORG", chars=(10, 14), groundable=False))
    ours.add(Mention("p", "Ann", "ORG", chars=(0, 3), groundable=True, boxes=([0, 0, 10, 10],), masks=(mask(8),)))
    ours.add(Mention("p", "Bob", "PER", chars=(5, 8), groundable=True, boxes=([0, 0, 20, 10],), masks=(mask(4),)))
    ours.add(Mention("p", "Acme", "ORG", chars=(10, 14), groundable=False))
    scores = score(ours, gold)
    assert counts(scores, "ees") == (2, 3, 3)
    assert counts(scores, "smner") == (1, 3, 3)
    assert counts(scores, "gmner") == (2, 3, 3)
    assert scores.segmentation["miou"] == pytest.approx((0.8 + 0.2) / 2)


def test_what_a_side_does_not_say_is_not_scored_and_is_told(gold):
    ours = Annotations(name="other system")
    ours.add(Mention("a1", "Lyon", "LOC", tokens=(4, 5)))
    scores = score(ours, gold)
    assert set(scores.tasks) == {"mner"} and scores.entailment is None and scores.grounding is None
    assert any("gmner not scored" in note for note in scores.notes)


def test_a_system_that_shows_nothing_is_still_scored(gold):
    ours = Annotations(groundability=True)
    ours.add(Mention("a1", "Lyon", "LOC", tokens=(4, 5), groundable=False))
    ours.add(Mention("a1", "Mara Voss", "PER", tokens=(0, 2), groundable=False))
    assert counts(score(ours, gold), "gmner") == (1, 2, 5)


def test_gold_with_boxes_but_no_mask_is_told():
    gold = Annotations(groundability=True, boxes=True, masks=True)
    gold.add(Mention("p", "Ann", "PER", chars=(0, 3), groundable=True, boxes=([0, 0, 1, 1],)))
    assert any("boxes but no mask" in note for note in score(gold, gold).notes)


def test_gold_against_itself_is_perfect(gold):
    scores = score(gold, gold, MatchOptions(types="raw"))
    assert all(task.total.f == 1.0 for task in scores.tasks.values())
    assert scores.entailment["accuracy"] == scores.grounding["prec"] == 1.0


def test_no_common_post_is_an_error(gold):
    other = Annotations(name="elsewhere")
    other.add(Mention("z", "Ann", "PER"))
    with pytest.raises(RivegaError, match="post ids"):
        score(other, gold, MatchOptions(rule="text"))


@pytest.mark.shared
@pytest.mark.parametrize(
    "types, right, p, r, f",
    [("raw", 2187, 86.27, 86.03, 86.15), ("folded", 2213, 87.30, 87.06, 87.18), ("none", 2333, 92.03, 91.78, 91.90)],
)
@pytest.mark.slow
def test_published_predictions_give_the_published_numbers(shared_dir, types, right, p, r, f):
    posts = shared_dir / "data" / "posts"
    predicted = read_annotations(posts / "riveg_test_predictions.jsonl.gz")
    gold = read_annotations(posts / "riveg_test_gold.jsonl.gz")
    scores = score(predicted, gold, MatchOptions(rule="text", types=types))
    total = scores.tasks["mner"].total
    assert (total.right, total.predicted, total.gold) == (right, 2535, 2542)
    assert [round(100 * value, 2) for value in (total.p, total.r, total.f)] == [p, r, f]
    assert (scores.entailment["right"], scores.entailment["judged"]) == (1975, 2340)
    assert round(100 * scores.entailment["accuracy"], 2) == 84.40


@pytest.mark.shared
def test_published_predictions_by_offset_against_the_data_set(shared_dir):
    posts = shared_dir / "data" / "posts"
    predicted = read_annotations(posts / "riveg_test_predictions.jsonl.gz")
    gold = read_annotations(posts / "twitter_gmner_test.jsonl.gz")
    total = score(predicted, gold, MatchOptions(rule="offset", types="raw")).tasks["mner"].total
    assert (total.right, total.predicted, total.gold) == (2187, 2535, 2543)


def test_mask_miou_is_one_number_in_every_scorer():
    import numpy as np
    from spacy.training import Example

    from rivega_spacy.post.rle import encode_mask
    from rivega_spacy.scoring.scorers import make_grounding_scorer, make_post_scorer
    from rivega_spacy.segmentation.component import score_masks

    nlp = blank_nlp()
    mask = encode_mask(np.ones((4, 4), dtype=bool))

    def doc(*masks):
        made = nlp.make_doc("Ada Bob")
        made.ents = [made.char_span(0, 3, label="PER"), made.char_span(4, 7, label="PER")]
        for ent, rle in zip(made.ents, masks):
            ent._.mask_rle = rle
        return made

    for predicted, value in (
        ((mask, None), 0.5),
        ((mask, mask), 1.0),
        ((None, None), 0.0),
        ((encode_mask(np.ones((2, 2), dtype=bool)), mask), 0.5),
    ):
        examples = [Example(doc(*predicted), doc(mask, mask))]
        found = [score_masks(examples), make_post_scorer()(examples), make_grounding_scorer()(examples)]
        assert [scores["mask_miou"] for scores in found] == [value] * 3
    assert make_post_scorer()([Example(doc(mask), doc())])["mask_miou"] is None
