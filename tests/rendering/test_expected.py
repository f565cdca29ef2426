import json

import pytest

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.rendering import render_posts
from rivega_spacy.rendering.expected import ExpectedEntity, check_post, read_expected, summarize


def want(shown, boxes=(), labels=("PER",), text="Ada"):
    return ExpectedEntity(0, len(text), text, list(labels), shown, [list(box) for box in boxes])


@pytest.mark.parametrize(
    "found, expected, right, reason",
    [
        ({"groundable": True, "boxes": [[0, 0, 10, 10]]}, want(True, [[0, 0, 10, 12]]), True, ""),
        ({"groundable": True, "boxes": [[0, 0, 10, 10]]}, want(True, [[50, 50, 60, 60], [0, 0, 10, 20]]), True, ""),
        ({"groundable": True, "boxes": [[0, 0, 10, 9]]}, want(True, [[0, 0, 10, 20]]), False, "elsewhere"),
        ({"groundable": True}, want(True, [[0, 0, 10, 20]]), False, "no box"),
        ({"groundable": False}, want(True, [[0, 0, 10, 20]]), False, "the picture shows it"),
        ({"groundable": True, "boxes": [[0, 0, 10, 9]]}, want(False), False, "does not show it"),
        ({"groundable": False}, want(False), True, ""),
        ({"groundable": None}, want(None), True, ""),
        ({"groundable": False}, want(None), False, "there is no picture"),
        ({"groundable": False, "label": "ORG"}, want(False, labels=("PER", "OTHER")), False, "expected type PER or OTHER"),
    ],
)
def test_verdicts(make_post, found, expected, right, reason):
    check = check_post(make_post("Ada", None, [{"text": "Ada", **found}]), [expected])
    verdict = check.verdicts[0, 3]
    assert (verdict.right, check.right, check.total) == (right, int(right), 1)
    assert reason in verdict.reason and bool(verdict.reason) != right


def test_missed_and_surplus_entities(make_post, grey):
    doc = make_post("Ada in Rome", grey(20, 20), [{"text": "Rome", "label": "LOC", "groundable": False}], id="p")
    check = check_post(doc, [want(True, [[0, 0, 5, 5]])])
    assert check.missed == ["Ada"] and (check.right, check.total) == (0, 1)
    assert not check.verdicts[7, 11].found
    line = summarize([check])
    assert line.startswith("0 of 1 entities right") and "1 found that are not expected" in line
    html = render_posts([doc], checks={"p": check})
    assert "not found in the text" in html and "0 of 1 as expected" in html and "<rect class=gold" in html


def test_reading(tmp_path):
    path = tmp_path / "expected.jsonl"
    good = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"], "shown": None, "boxes": []}
    path.write_text(json.dumps({"id": 5, "ents": [good]}) + "\n\n")
    assert read_expected(path) == {"5": [want(None)]}
    for bad in ({**good, "shown": "yes"}, {**good, "boxes": [[1, 2]]}, {"start": 0}):
        path.write_text(json.dumps({"id": 5, "ents": [bad]}))
        with pytest.raises(RivegaError, match="line 1"):
            read_expected(path)
    with pytest.raises(RivegaError, match="does not exist"):
        read_expected(tmp_path / "none.jsonl")
