"""Files in, in every form."""

import gzip
import json
import shutil

import numpy as np
import pytest
from blank import blank_nlp

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.posts import post_to_doc, write_posts
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.scoring.matching import MatchOptions
from rivega_spacy.scoring.read import parse_riveg_line, read_annotations
from rivega_spacy.scoring.tasks import score

from .conftest import DATA


def test_text_form_says_the_same_as_json_lines(predicted, gold):
    text = read_annotations(DATA / "predictions.txt")
    for options in (MatchOptions(rule="text"), MatchOptions(rule="text", types="raw")):
        ours, theirs = score(text, gold, options), score(predicted, gold, options)
        assert ours.to_dict() == theirs.to_dict()


def test_gzip_and_crlf(tmp_path, predicted):
    raw = (DATA / "predictions.txt").read_text(encoding="utf8").replace("\n", "\r\n")
    with gzip.open(tmp_path / "p.txt.gz", "wb") as out:
        out.write(raw.encode("utf8"))
    found = read_annotations(tmp_path / "p.txt.gz")
    assert [mention.boxes for mention in found.mentions] == [mention.boxes for mention in predicted.mentions]


@pytest.mark.parametrize(
    "line, post, text, label, boxes",
    [
        ("17_06_2.jpg###R (ex . band)(ORG)###a band###2###&[1, 2, 3, 4]&[5.0, 6, 7, 8]", "17_06_2", "R (ex . band)", "ORG", 2),
        ("Imageid:9.jpg#8465###Garfield Park(LOC)###Garfield Park(LOC)-A garden.###0", "9", "Garfield Park", "LOC", 0),
        ("9.jpg###Lyon(LOC)###a city###0###&[0, 0, 0, 0]", "9", "Lyon", "LOC", 0),
    ],
)
def test_lines_of_the_text_form(line, post, text, label, boxes):
    mention, _ = parse_riveg_line(line)
    assert (mention.post, mention.text, mention.type, len(mention.boxes)) == (post, text, label, boxes)


def make_doc(nlp):
    doc = post_to_doc(nlp, {"id": "p1", "text": "Mara Voss in Lyon", "ents": [[0, 9, "PER"], [13, 17, "LOC"]]})
    voss, lyon = doc.ents
    voss._.groundable, lyon._.groundable = True, False
    voss._.boxes = [[1, 2, 30, 40]]
    voss._.mask_rle = encode_mask(np.eye(5, dtype=bool))
    return doc


def test_docbin_and_annotate_output_say_the_same(tmp_path):
    nlp = blank_nlp()
    write_docbin([make_doc(nlp)], tmp_path / "gold.spacy")
    list(write_posts([make_doc(nlp)], tmp_path / "out.jsonl"))
    from_docbin, from_json = read_annotations(tmp_path / "gold.spacy"), read_annotations(tmp_path / "out.jsonl")
    assert from_docbin.boxes and from_docbin.masks and from_json.boxes and from_json.masks
    for ours, theirs in ((from_docbin, from_json), (from_json, from_docbin)):
        scores = score(ours, theirs)
        assert set(scores.tasks) == {"mner", "eeg", "gmner", "ees", "smner"}
        assert all(task.total.right == 2 for task in scores.tasks.values())


def test_a_folder_of_shards(tmp_path):
    nlp = blank_nlp()
    write_docbin([make_doc(nlp)], tmp_path / "shards" / "a.spacy")
    assert list(read_annotations(tmp_path / "shards").posts) == ["p1"]


def test_compact_posts_with_dirt(tmp_path):
    row = {
        "id": "x",
        "tokens": ["\u00a0", "Rio", "and", "Rio"],
        "tags": ["O", "I-LOC", "O", "B-LOC"],
        "boxes": [{"name": "Rio\n", "xyxy": [1, 1, 9, 9]}],
    }
    empty = {"id": "y", "tokens": ["nothing"], "tags": ["O"], "boxes": []}
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in (row, empty)), encoding="utf8")
    found = read_annotations(path)
    assert list(found.posts) == ["x", "y"]
    assert [(m.tokens, m.groundable, len(m.boxes)) for m in found.mentions] == [((1, 2), True, 1), ((3, 4), True, 1)]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{broken", "line 2"),
        ('{"id": "1", "type": "PER"}', "'text'"),
        ("plain words", "neither"),
        ("a.jpg###b###c###0", "Name"),
        ("a.jpg###b", "fields"),
    ],
)
def test_a_line_that_is_none_of_the_forms_is_named(tmp_path, line, reason):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "1", "text": "Ann", "type": "PER"}\n' + line + "\n", encoding="utf8")
    with pytest.raises(RivegaError, match=reason) as error:
        read_annotations(path)
    assert "line 2" in str(error.value)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(RivegaError, match="does not exist"):
        read_annotations(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf8")
    with pytest.raises(RivegaError, match="nothing to score"):
        read_annotations(tmp_path / "empty.jsonl")


def test_reading_does_not_need_the_suffix(tmp_path, gold):
    shutil.copy(DATA / "gold.jsonl", tmp_path / "gold")
    assert len(read_annotations(tmp_path / "gold").mentions) == len(gold.mentions)
