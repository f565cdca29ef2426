"""A byte order mark is no content, whoever reads the file."""

import gzip
import json

import pytest
from blank import NLP

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.jobs.enrich import read_settings
from rivega_spacy.knowledge.examples import read_examples
from rivega_spacy.llm.prompting import load_prompt
from rivega_spacy.post.annotated import read_annotated
from rivega_spacy.post.posts import read_posts
from rivega_spacy.post.textfiles import open_text, read_text
from rivega_spacy.rendering.expected import read_expected
from rivega_spacy.scoring.candidates import read_candidates
from rivega_spacy.scoring.read import read_annotations

MARKED = ("utf-8-sig", "utf-16")
RIO = {"id": "1", "tokens": ["Rio", "é"], "tags": ["B-LOC", "O"]}
COCO = {
    "images": [{"id": 1, "file_name": "1.jpg", "width": 9, "height": 9}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
    "categories": [{"id": 1, "name": "Rio"}],
}
LABELME = {
    "imagePath": "1.jpg",
    "imageWidth": 9,
    "imageHeight": 9,
    "shapes": [{"label": "Rio", "points": [[1, 1], [6, 6]], "shape_type": "rectangle"}],
}


def write(path, content, encoding="utf-8-sig"):
    path.parent.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", [*MARKED, "utf-32", "utf-8"])
@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_the_mark_says_the_encoding(tmp_path, encoding, ending):
    path = tmp_path / f"a{ending}"
    data = "é\u2028b\nc".encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    assert read_text(path) == "é\u2028b\nc"
    with open_text(path) as lines:
        assert list(lines) == ["é\u2028b\n", "c"]


def test_an_empty_file_has_no_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    assert read_text(tmp_path / "a.txt") == ""


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("text", ["t.jsonl", "t.txt"])
@pytest.mark.parametrize("boxes", ["coco.json", "labelme", "image.jsonl"])
def test_convert_takes_marked_files_of_every_form(tmp_path, capsys, encoding, text, boxes):
    write(tmp_path / "t.jsonl", RIO, encoding)
    write(tmp_path / "t.txt", "IMGID:1\nRio\tB-LOC\né\tO\n", encoding)
    write(tmp_path / "coco.json", COCO, encoding)
    write(tmp_path / "labelme" / "1.json", LABELME, encoding)
    write(
        tmp_path / "image.jsonl",
        {"id": "1", "spans": [{"label": "Rio", "type": "rect", "x": 1, "y": 1, "width": 5, "height": 5}]},
        encoding,
    )
    write(tmp_path / "z.jsonl", {"id": "1", "knowledge": "z"}, encoding)
    write(tmp_path / "captions" / "a.txt", "1.jpg :a beach\n", encoding)
    write(tmp_path / "captions" / "b.txt", "2.jpg :a wall\n", encoding)
    write(tmp_path / "owl.txt", "imgid:1###Sand.\n", encoding)
    more = ["--knowledge", tmp_path / "z.jsonl", "--captions", tmp_path / "captions", "--descriptions", tmp_path / "owl.txt"]
    arguments = ["convert", tmp_path / text, tmp_path / "out.spacy", "--boxes", tmp_path / boxes, *more, "--strict"]
    assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr()
    (doc,) = read_docbin(tmp_path / "out.spacy", NLP.vocab)
    assert [(ent.text, ent._.boxes) for ent in doc.ents] == [("Rio", [[1, 1, 6, 6]])]
    assert (doc.text, doc._.knowledge, doc._.caption, doc._.description) == ("Rio é", "z", "a beach", "Sand.")


def test_marked_knowledge_in_the_order_of_the_posts(tmp_path):
    write(tmp_path / "t.jsonl", RIO)
    write(tmp_path / "z.txt", "Rio\tB-LOC\r\né\tO\r\n<EOS>\tX\r\nz\tX\r\n")
    assert (
        main(
            ["convert", str(tmp_path / "t.jsonl"), str(tmp_path / "out.jsonl"), "--knowledge", str(tmp_path / "z.txt"), "--strict"]
        )
        == 0
    )
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf8"))["knowledge"] == "z"


def test_files_put_together_hold_a_mark_at_each_beginning(tmp_path):
    mark, row = "\ufeff".encode(), json.dumps({"text": "Rio"}).encode() + b"\n"
    (tmp_path / "p.jsonl").write_bytes(mark + row + mark + row + mark)
    assert list(read_posts(tmp_path / "p.jsonl")) == [{"text": "Rio"}] * 2
    row = json.dumps(RIO).encode() + b"\n"
    (tmp_path / "c.jsonl").write_bytes(mark + row + mark + row.replace(b'"1"', b'"2"') + mark)
    assert main(["convert", str(tmp_path / "c.jsonl"), str(tmp_path / "out.spacy")]) == 0
    (tmp_path / "c.txt").write_bytes(mark + b"IMGID:1\nRio\tB-LOC\n" + mark + b"IMGID:2\nRio\tB-LOC\n")
    assert main(["convert", str(tmp_path / "c.txt"), str(tmp_path / "out.spacy"), "--strict"]) == 0
    assert [len(doc) for doc in read_docbin(tmp_path / "out.spacy", NLP.vocab)] == [1, 1]


ENT = {"start": 0, "end": 3, "label": "LOC", "text": "Rio", "labels": ["LOC"], "shown": True, "boxes": [[1, 1, 5, 5]]}
POST = {"id": "1", "text": "Rio", "ents": [ENT]}
CONFIG = '[models]\n[models.a]\n@misc = "rivega.Replay.v1"\npath = ""\n'


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize(
    "read, content",
    [
        (lambda path: [doc.ents[0].text for doc in read_annotated(path)] == ["Rio"], POST),
        (lambda path: read_expected(path)["1"][0].text == "Rio", POST),
        (lambda path: read_annotations(path).posts["1"][0].text == "Rio", POST),
        (lambda path: read_annotations(path).posts["1"][0].text == "Rio", "1.jpg###Rio(LOC)###Rio###0\n"),
        (lambda path: len(read_candidates(path)["1"]) == 1, {"id": "1", "boxes": [[1, 1, 5, 5]]}),
        (lambda path: read_examples(path)[0][0].text == "Rio", {"text": "Rio", "annotation": "1. Rio"}),
        (lambda path: read_settings(path, overrides={"models.a.path": str(path)}).models.keys() == {"a"}, CONFIG),
        (lambda path: load_prompt("caption", ["caption"], str(path)), read_text(load_prompt("caption", []).path)),
    ],
)
def test_other_readers_of_the_package(tmp_path, encoding, read, content):
    assert read(write(tmp_path / "file.jsonl", content, encoding))
