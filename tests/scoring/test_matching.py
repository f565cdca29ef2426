"""The two matching rules, types, one-to-one matching."""

import itertools

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.matching import MatchOptions, best_box_iou, best_mask_iou, largest_matching, make_groups
from rivega_spacy.scoring.mentions import Annotations, Mention


def annotations(*mentions: Mention) -> Annotations:
    result = Annotations(groundability=True, boxes=True)
    for mention in mentions:
        result.add(mention)
    return result


def brute_force(edges: dict[int, list[int]]) -> int:
    """Size of a largest matching by trying every order of the left side."""
    best = 0
    for order in itertools.permutations(edges):
        for choice in itertools.product(*[[None, *edges[left]] for left in order]):
            taken = [right for right in choice if right is not None]
            if len(taken) == len(set(taken)):
                best = max(best, len(taken))
    return best


@given(st.dictionaries(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=4, unique=True), max_size=4))
@examples(80)
def test_matching_is_as_large_as_can_be_and_uses_each_side_once(edges):
    found = largest_matching(edges)
    assert len(found) == brute_force(edges)
    assert len({left for left, _ in found}) == len({right for _, right in found}) == len(found)
    assert all(right in edges[left] for left, right in found)


def test_a_greedy_choice_does_not_cost_a_pair():
    # The first prediction could take either gold entity, the second only the first.
    assert largest_matching({0: [0, 1], 1: [0]}) == [(0, 1), (1, 0)]


def test_offset_rule_goes_by_place_text_rule_by_surface():
    ours = annotations(Mention("p", "Rome", "LOC", tokens=(5, 6)), Mention("p", "Rome", "LOC", tokens=(0, 1)))
    theirs = annotations(Mention("p", "Rome", "LOC", tokens=(0, 1)))
    by_offset = make_groups(ours, theirs, MatchOptions(rule="offset"))
    assert sorted((len(group.predicted), len(group.gold)) for group in by_offset) == [(1, 0), (1, 1)]
    by_text = make_groups(ours, theirs, MatchOptions(rule="text"))
    assert [(len(group.predicted), len(group.gold)) for group in by_text] == [(2, 1)]


def test_an_entity_without_a_place_matches_nothing_by_offset():
    ours = annotations(Mention("p", "Rome", "LOC", tokens=(0, 1)), Mention("p", "Oslo", "LOC"))
    theirs = annotations(Mention("p", "Rome", "LOC", tokens=(0, 1)), Mention("p", "Oslo", "LOC"))
    groups = make_groups(ours, theirs, MatchOptions())
    assert sum(len(group.pairs) for group in groups) == 1


def test_the_same_text_in_another_post_is_another_entity():
    groups = make_groups(
        annotations(Mention("p", "Rome", "LOC")), annotations(Mention("q", "Rome", "LOC")), MatchOptions(rule="text")
    )
    assert [group.pairs for group in groups] == [[], []]


def test_characters_are_preferred_where_both_sides_have_them():
    ours = annotations(Mention("p", "Rome", "LOC", tokens=(0, 1), chars=(3, 7)))
    theirs = annotations(Mention("p", "Rome", "LOC", tokens=(1, 2), chars=(3, 7)))
    assert make_groups(ours, theirs, MatchOptions())[0].pairs


def test_tokens_and_characters_cannot_be_compared():
    ours = annotations(Mention("p", "Rome", "LOC", chars=(3, 7)))
    theirs = annotations(Mention("p", "Rome", "LOC", tokens=(1, 2)))
    with pytest.raises(RivegaError, match="--rule text"):
        make_groups(ours, theirs, MatchOptions())


@pytest.mark.parametrize("types, same", [("raw", False), ("folded", True), ("none", True)])
def test_misc_is_other_only_where_types_are_folded_or_ignored(types, same):
    groups = make_groups(
        annotations(Mention("p", "x", "MISC")), annotations(Mention("p", "x", "OTHER")), MatchOptions(rule="text", types=types)
    )
    assert groups[0].pairs[0].same_type is same


@pytest.mark.parametrize("option", [{"rule": "fuzzy"}, {"types": "all"}, {"comparison": "<"}, {"iou": 1.5}])
def test_unknown_options_are_refused(option):
    with pytest.raises(RivegaError):
        MatchOptions(**option)


def test_comparison_decides_at_the_threshold_itself():
    assert MatchOptions(comparison=">=").reaches(0.5)
    assert not MatchOptions(comparison=">").reaches(0.5)
    assert MatchOptions(comparison=">").reaches(0.51)


corners = st.tuples(*[st.integers(0, 20)] * 4).map(lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])])


@given(corners, st.lists(corners, min_size=1, max_size=3))
@examples(80)
def test_box_iou_of_a_pair_is_that_of_the_array_version(box, others):
    ours, theirs = Mention("p", "x", "", boxes=(box,)), Mention("p", "x", "", boxes=tuple(others))
    assert best_box_iou(ours, theirs) == pytest.approx(box_iou([box], others).max())


def test_mask_iou_takes_the_best_gold_mask_and_no_mask_of_another_size():
    left, right = np.zeros((4, 8), bool), np.zeros((4, 8), bool)
    left[:, :4], right[:, 4:] = True, True
    half = np.zeros((4, 8), bool)
    half[:, 4:6] = True
    ours = Mention("p", "x", "", masks=(encode_mask(half),))
    assert best_mask_iou(ours, Mention("p", "x", "", masks=(encode_mask(left), encode_mask(right)))) == pytest.approx(0.5)
    assert best_mask_iou(ours, Mention("p", "x", "", masks=(encode_mask(np.ones((8, 16), bool)),))) == 0.0
    assert best_mask_iou(ours, Mention("p", "x", "")) is None


def test_places_are_the_same_in_texts_with_other_blanks():
    from rivega_spacy.scoring.mentions import Annotations, Mention
    from rivega_spacy.scoring.tasks import score

    def post(text, *words):
        found = Annotations(texts={"1": text})
        for word in words:
            start = text.index(word)
            found.add(Mention("1", word, "LOC", chars=(start, start + len(word))))
        return found

    gold = post("in New York , not in Rome !", "New York", "Rome")
    for text, words in (
        ("in New York, not in Rome!", ("New York", "Rome")),
        ("  in New\u00a0York,\n not in Rome!", ("New\u00a0York", "Rome")),
    ):
        scores = score(post(text, *words), gold)
        assert scores.tasks["mner"].total.f == 1.0 and not scores.notes
    other = score(post("in N. York, not in Rome!", "N. York", "Rome"), gold)
    assert other.tasks["mner"].total.right < 2 and "'1'" in other.notes[0] and "more than blanks" in other.notes[0]
