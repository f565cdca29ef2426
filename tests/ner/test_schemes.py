"""Tag schemes: constraints, and the way to tags and back."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from rivega_spacy.ner.schemes import TagScheme, read_tags
from rivega_spacy.post.errors import RivegaError

LABELS = ["LOC", "PER"]


def biluo(length, spans):
    tags = ["O"] * length
    for start, end, label in spans:
        if end - start == 1:
            tags[start] = f"U-{label}"
        else:
            tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 2) + [f"L-{label}"]
    return tags


@st.composite
def posts(draw):
    spans, position = [], 0
    for _ in range(draw(st.integers(0, 4))):
        start = position + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 3))
        spans.append((start, end, draw(st.sampled_from(LABELS))))
        position = end
    return position + draw(st.integers(0, 2)) or 1, spans


@pytest.mark.parametrize("kind", ["bio", "bioes"])
@examples(60)
@given(batch=st.lists(posts(), min_size=1, max_size=4))
def test_entities_come_back_from_their_tags(kind, batch):
    scheme = TagScheme(LABELS, kind)
    start, end, follows = scheme.constraints()
    rows = []
    for length, spans in batch:
        allowed = scheme.agreeing(biluo(length, spans))
        assert (allowed.sum(1) == 1).all()
        tags = allowed.argmax(1)
        assert start[tags[0]] and end[tags[-1]] and all(follows[a, b] for a, b in zip(tags, tags[1:]))
        rows.append(tags)
    lengths = [length for length, _ in batch]
    starts, ends, labels = scheme.spans(np.concatenate(rows), lengths)
    offsets = np.cumsum(lengths) - lengths
    expected = [(a + offset, b + offset, label) for (_, spans), offset in zip(batch, offsets) for a, b, label in spans]
    assert list(zip(starts.tolist(), ends.tolist(), [LABELS[label] for label in labels])) == expected


def test_bio_allows_inside_only_after_its_own_type():
    scheme = TagScheme(LABELS)
    start, end, follows = scheme.constraints()
    ids = {tag: number for number, tag in enumerate(scheme.tags)}
    assert scheme.tags == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert not start[ids["I-LOC"]] and end.all()
    assert follows[ids["B-LOC"], ids["I-LOC"]] and follows[ids["I-LOC"], ids["I-LOC"]] and follows[ids["B-LOC"], ids["B-LOC"]]
    assert not follows[ids["O"], ids["I-LOC"]] and not follows[ids["B-PER"], ids["I-LOC"]]


def test_bioes_closes_what_it_opens():
    scheme = TagScheme(["X"], "bioes")
    start, end, follows = scheme.constraints()
    ids = {tag: number for number, tag in enumerate(scheme.tags)}
    assert {tag for tag in ids if start[ids[tag]]} == {"O", "B-X", "S-X"}
    assert {tag for tag in ids if end[ids[tag]]} == {"O", "E-X", "S-X"}
    assert {tag for tag in ids if follows[ids["B-X"], ids[tag]]} == {"I-X", "E-X"}
    assert {tag for tag in ids if follows[ids["S-X"], ids[tag]]} == {"O", "B-X", "S-X"}


def test_tags_that_break_the_scheme_begin_entities():
    scheme = TagScheme(LABELS)
    ids = {tag: number for number, tag in enumerate(scheme.tags)}
    tags = np.array([ids[tag] for tag in ("I-LOC", "I-PER", "O", "B-PER", "I-PER", "I-PER")])
    starts, ends, _ = scheme.spans(tags, [4, 2])
    assert list(zip(starts, ends)) == [(0, 1), (1, 2), (3, 4), (4, 6)]


def names(scheme, allowed):
    return [{scheme.tags[tag] for tag in np.flatnonzero(row)} for row in allowed]


def test_a_token_without_annotation_may_be_anything():
    scheme = TagScheme(LABELS)
    for hole in (None, "-"):
        assert names(scheme, scheme.agreeing(["O", hole])) == [{"O"}, set(scheme.tags)]
    # What comes after the end of an annotated entity is not part of it.
    assert names(scheme, scheme.agreeing(["U-LOC", None])) == [{"B-LOC"}, set(scheme.tags) - {"I-LOC"}]
    assert names(scheme, scheme.agreeing(["B-LOC", None])) == [{"B-LOC"}, set(scheme.tags)]


@pytest.mark.parametrize("kind,open_", [("bio", {"O", "B-PER", "I-PER"}), ("bioes", {"O", "B-PER", "I-PER", "E-PER", "S-PER"})])
def test_what_a_corpus_does_not_annotate_may_be_outside(kind, open_):
    scheme = TagScheme(LABELS, kind)
    first = "B-LOC" if kind == "bio" else "S-LOC"
    assert names(scheme, scheme.agreeing(["U-LOC", "O"], ["PER"])) == [{first}, open_]
    assert names(scheme, scheme.agreeing(["U-LOC", "O"])) == [{first}, {"O"}]


def test_nothing_is_learnt_of_what_says_nothing_or_breaks_the_scheme():
    scheme = TagScheme(LABELS, "bioes")
    assert scheme.agreeing(["U-ORG"]) is None
    assert scheme.agreeing([None, "-"]) is None
    # An entity that is cut off: no tags in a row agree with that.
    assert scheme.agreeing(["B-LOC", "O", None]) is None


def test_published_dirt_is_read():
    assert read_tags(["O", "I-PER", "I-PER", "I-LOC", "B-LOC", "O", "I-LOC"]) == [
        (1, 3, "PER"),
        (3, 4, "LOC"),
        (4, 5, "LOC"),
        (6, 7, "LOC"),
    ]
    assert read_tags([]) == []


def test_unknown_scheme_is_refused():
    with pytest.raises(RivegaError, match="bioes"):
        TagScheme(LABELS, "bilou")
