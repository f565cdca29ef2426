"""Posts that the product wrote, corrected or not, and posts as README has them, through `rivega convert` and `rivega annotate`."""

import json

import numpy as np
import pytest
from blank import NLP, blank_nlp

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.post.extensions import MASKS_KEY
from rivega_spacy.post.posts import doc_to_post, post_to_doc
from rivega_spacy.post.rle import encode_mask

TEXT = "Ann  meets (Ann) in Rio, é😀!"
MASK = np.zeros((24, 40), bool)
MASK[2:9, 3:12] = True
RLE = encode_mask(MASK)
BOX, OTHER = [3.0, 2.0, 12.0, 9.0], [20.0, 2.0, 30.0, 9.0]


def ent(start, end, label, **more):
    return {"start": start, "end": end, "label": label, "text": TEXT[start:end], **more}


def annotated(**more):
    """A post as `rivega annotate` writes it, by way of a doc."""
    row = {"id": "p1", "text": TEXT, "image": "p1.jpg", "knowledge": "z", "caption": "c", "description": "d"}
    row["ents"] = [[0, 3, "PER"], [12, 15, "PER"], [20, 23, "LOC"]]
    doc = post_to_doc(NLP, row)
    first, second, rio = doc.ents
    first._.boxes, first._.mask_rle, first._.groundable, first._.expansion = [BOX], RLE, True, "a woman"
    second._.boxes, second._.groundable, rio._.groundable = [OTHER], True, False
    first._.ner_score = first._.box_score = 0.5
    return {**json.loads(json.dumps(doc_to_post(doc))), **more}


def convert(tmp_path, rows, *arguments, out="out.spacy"):
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    status = main(["convert", str(tmp_path / "posts.jsonl"), str(tmp_path / out), *map(str, arguments)])
    return status, read(tmp_path / out) if status < 2 and out.endswith(".spacy") else []


def read(path):
    return list(read_docbin(path, NLP.vocab))


def test_annotated_posts_become_training_data(tmp_path, capsys):
    status, (doc,) = convert(tmp_path, [annotated()], "--strict")
    assert status == 0 and doc.text == TEXT and doc.user_data["id"] == "p1" and doc._.image == "p1.jpg"
    assert (doc._.knowledge, doc._.caption) == ("z", "c")
    # Each entity has its own regions, also where two have one text.
    assert [(e.start_char, e.label_, e._.groundable, e._.boxes, e._.expansion) for e in doc.ents] == [
        (0, "PER", True, [BOX], "a woman"), (12, "PER", True, [OTHER], None), (20, "LOC", False, [], None),
    ]  # fmt: skip
    assert (doc.ents[0]._.mask == MASK).all() and doc.ents[1]._.mask is None
    assert "3 entities, 2 of them groundable, 2 boxes, 1 masks" in capsys.readouterr().out


def test_corrections_count(tmp_path):
    post = annotated()
    first, second, rio = post["ents"]
    first.update(label="ORG", boxes=[OTHER, BOX], box=OTHER, mask_rle=None, masks=[RLE, encode_mask(~MASK)], expansion="a band")
    second.update(groundable=False, boxes=[], box=None)
    post.update(ents=[first, second, ent(4, 10, "OTHER")], knowledge="better")
    status, (doc,) = convert(tmp_path, [post])
    assert [(e.text, e.label_, e._.groundable, e._.boxes) for e in doc.ents] == [
        ("Ann", "ORG", True, [OTHER, BOX]), ("meets", "OTHER", None, []), ("Ann", "PER", False, []),
    ]  # fmt: skip
    assert doc._.knowledge == "better" and doc.ents[0]._.expansion == "a band"
    assert len(doc.user_data[("._.", MASKS_KEY, 0, 3)]) == 2


def test_the_form_of_the_readme(tmp_path):
    post = {"text": TEXT, "ents": [[20, 23, "LOC"], [0, 3, "PER"]], "expansions": ["a city", None], "knowledge": "z"}
    status, (doc, second) = convert(tmp_path, [post, {"text": "nobody"}], "--strict")
    assert status == 0 and [(e.text, e.label_, e._.expansion, e._.groundable) for e in doc.ents] == [
        ("Ann", "PER", None, None),
        ("Rio", "LOC", "a city", None),
    ]
    assert doc.text == TEXT and second.text == "nobody" and [d.user_data["id"] for d in (doc, second)] == ["1", "2"]


def test_compact_lines_and_back(tmp_path):
    convert(tmp_path, [annotated()], out="out.jsonl")
    assert main(["convert", str(tmp_path / "out.jsonl"), str(tmp_path / "again.spacy"), "--strict"]) == 0
    _, (direct,) = convert(tmp_path, [annotated()])
    (again,) = read(tmp_path / "again.spacy")
    assert again.text == TEXT and [token.text for token in again] == [token.text for token in direct]
    assert [doc_to_post(doc)["ents"] for doc in (again,)] == [doc_to_post(direct)["ents"]]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"start": 0, "end": 300, "text": None}, "1 entities are malformed"),
        ({"label": ""}, "1 entities are malformed"),
        ({"start": 12, "end": 15}, "1 entities are malformed"),  # overlaps the next
        ({"boxes": [[1, 1, float("nan"), 5]]}, "1 values of entities are malformed"),
        ({"boxes": [[9, 9, 1, 1]]}, "1 values of entities are malformed"),
        ({"mask_rle": {"size": [3, 3], "counts": "zz"}}, "1 values of entities are malformed"),
        ({"mask_rle": "?"}, "1 values of entities are malformed"),
        ({"groundable": "yes"}, "1 values of entities are malformed"),
        ({"groundable": False}, "`groundable` is false"),
        ({"box": [1, 1, 2, 2]}, "none of their `boxes`"),
    ],
)
@pytest.mark.slow
def test_what_does_not_fit_is_left_out_and_counted(tmp_path, capsys, change, told):
    post = annotated()
    post["ents"][0].update(change)
    status, (doc,) = convert(tmp_path, [post])
    assert told in capsys.readouterr().out and [e.text for e in doc.ents][-1] == "Rio"
    assert convert(tmp_path, [post], "--strict")[0] == 2


def test_an_entity_is_found_again_in_a_corrected_text(tmp_path, capsys):
    post = annotated(text="So " + TEXT)
    post["ents"] = [post["ents"][2], post["ents"][0]]  # "Rio" is there once, "Ann" twice
    status, (doc,) = convert(tmp_path, [post])
    assert [e.text for e in doc.ents] == ["Rio"]
    out = capsys.readouterr().out
    assert "1 entities stand elsewhere" in out and "1 entities are malformed" in out


def test_entities_within_tokens_cut_them(tmp_path, capsys):
    status, (doc,) = convert(tmp_path, [{"text": "#RioNow yes", "ents": [[1, 4, "LOC"]]}], "--strict")
    assert [(e.text, e.start_char) for e in doc.ents] == [("Rio", 1)] and doc.text == "#RioNow yes"
    assert "begin or end within a token" in capsys.readouterr().out


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Ann", "entities": [[0, 3, "PER"]]},
        {"text": "Ann", "label": [[0, 3, "PER"]]},
        {"text": "Ann", "ents": [], "spans": [{"start": 0, "end": 3, "label": "PER"}]},
        {"text": "Ann", "spans": [], "ents": [[0, 3, "PER"]], "tags": ["B-PER"]},
        {"tokens": ["Ann"], "ner_tags": [1]},
        {"tokens": ["Ann"], "tags": ["O"], "ents": [[0, 3, "PER"]]},
        {"text": "Ann", "spans": [], "answer": "accept", "entities": [[0, 3, "PER"]]},
    ],
)
@pytest.mark.slow
def test_entities_in_other_fields_are_never_silent(tmp_path, capsys, row):
    assert convert(tmp_path, [row])[0] == 1
    assert "1 fields hold entities and are not read: 1 `" in capsys.readouterr().out
    assert convert(tmp_path, [row], "--strict")[0] == 2


def test_regions_of_another_source_take_the_place_of_the_posts_own(tmp_path):
    coco = {
        "images": [{"id": 1, "file_name": "p1.jpg", "width": 40, "height": 24}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        "categories": [{"id": 1, "name": "Rio"}],
    }
    (tmp_path / "c.json").write_text(json.dumps(coco), encoding="utf8")
    _, (doc,) = convert(tmp_path, [annotated()], "--boxes", tmp_path / "c.json")
    assert [(e._.boxes, e._.groundable, e._.mask) for e in doc.ents] == [
        ([], False, None),
        ([], False, None),
        ([[1, 1, 6, 6]], True, None),
    ]
    assert doc.ents[0]._.expansion == "a woman"


@pytest.mark.slow
def test_annotate_reads_what_it_wrote(tmp_path):
    nlp = blank_nlp()
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "a.jsonl").write_text(json.dumps(annotated()) + "\n", encoding="utf8")
    for one, two in (("a", "b"), ("b", "c")):
        assert (
            main(
                ["annotate", str(tmp_path / f"{one}.jsonl"), str(tmp_path / f"{two}.jsonl"), "--model", str(tmp_path / "pipeline")]
            )
            == 0
        )
    rows = [json.loads((tmp_path / f"{name}.jsonl").read_text(encoding="utf8")) for name in "abc"]
    assert rows[0]["ents"] == rows[1]["ents"] == rows[2]["ents"] and len(rows[0]["ents"]) == 3
    assert all(not row["errors"] and row["knowledge"] == "z" for row in rows)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"ents": [{**ent(0, 3, "PER"), "boxes": "?"}]}, "`boxes` of 'Ann'"),
        ({"ents": [{**ent(0, 3, "PER"), "mask_rle": {"size": [2, 2], "counts": "?"}}]}, "`mask_rle` of 'Ann'"),
        ({"ents": [{**ent(20, 23, "LOC"), "start": 4, "end": 7}]}, "found at [20, 23]"),
        ({"ents": [{"start": 0, "label": "PER"}]}, "start_char"),
        ({"entities": [[0, 3, "PER"]]}, "the field `entities` contains entities"),
    ],
)
def test_given_objects_that_do_not_fit_are_noted(more, words):
    doc = post_to_doc(blank_nlp(), {"text": TEXT, **more})
    assert [words in entry["message"] for entry in doc._.rivega_errors] == [True]
