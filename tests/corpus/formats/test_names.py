"""Pictures that tools renamed, and everything that comes twice, through `rivega convert`."""

import json
import unicodedata

import pytest
from blank import NLP
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.scoring.read import read_annotations

ACCENTS = "Beyoncé-3"
HASH = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f"


def convert(tmp_path, *arguments, ids=("17_06_1", ACCENTS), images=None):
    rows = [{"id": name, "tokens": ["Zoë", "in", "Rio"], "tags": ["B-PER", "O", "B-LOC"]} for name in ids]
    for row, image in zip(rows, images or ()):
        row["image"] = image
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    status = main(["convert", str(tmp_path / "t.jsonl"), str(tmp_path / "out.spacy"), *map(str, arguments)])
    return status, list(read_docbin(tmp_path / "out.spacy", NLP.vocab)) if status < 2 else []


def write_regions(tmp_path, form, names, label="Rio"):
    """Each picture has a box of its own: 1, 1, 3 + its place, 5."""
    if form == "coco.json":
        images = [{"id": n, "file_name": name, "width": 40, "height": 24} for n, name in enumerate(names)]
        boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 2 + n, 4]} for n in range(len(names))]
        (tmp_path / form).write_text(
            json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 1, "name": label}]}), encoding="utf8"
        )
    elif form == "prodigy.jsonl":
        rows = [
            {"image": name, "width": 40, "height": 24, "spans": [{"label": label, "x": 1, "y": 1, "width": 2 + n, "height": 4}]}
            for n, name in enumerate(names)
        ]
        (tmp_path / form).write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    else:
        (tmp_path / form).mkdir()
        for n, name in enumerate(names):
            stem = name.rpartition(".")[0]
            if form == "voc":
                box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{3 + n}</xmax><ymax>5</ymax></bndbox>"
                text = f"<annotation><size><width>40</width><height>24</height></size><object><name>{label}</name>{box}</object></annotation>"
                (tmp_path / form / f"{stem}.xml").write_text(text, encoding="utf8")
            else:
                shape = {"label": label, "shape_type": "rectangle", "points": [[1, 1], [3 + n, 5]]}
                row = {"imagePath": name, "imageWidth": 40, "imageHeight": 24, "shapes": [shape]}
                (tmp_path / form / f"{stem}.json").write_text(json.dumps(row), encoding="utf8")
    return tmp_path / form


RENAMED = {
    "as they are": lambda name: f"{name}.jpg",
    "Label Studio": lambda name: f"{'1a2b3c4d' if name[0] == '1' else '12345678'}-{name}.jpg",
    "Roboflow": lambda name: f"{name}_jpg.rf.{HASH}.jpg",
    "Roboflow, other letters": lambda name: f"{name.replace('_', '-')}_JPG.rf.{HASH}.jpg",
    "both": lambda name: f"1a2b3c4d-{name}_png.rf.{HASH}.jpg",
    "MD5": lambda name: f"{HASH}_{name}.jpg",
    "UUID": lambda name: f"1a2b3c4d-5e6f-7a8b-9c0d-1a2b3c4d5e6f-{name}.jpg",
    "other ending": lambda name: f"{name}.png",
    "another one": lambda name: f"{name}.WEBP",
    "two endings": lambda name: f"{name}.jpg.png",
    "other case": lambda name: f"{name.upper()}.JPG",
    "accents apart": lambda name: unicodedata.normalize("NFD", f"{name}.jpg"),
    "accents apart, other case": lambda name: unicodedata.normalize("NFD", f"{name}.jpg").upper(),
}


@pytest.mark.parametrize("form", ["coco.json", "prodigy.jsonl", "voc", "labelme"])
@pytest.mark.parametrize("tool", RENAMED)
def test_pictures_that_were_renamed_find_their_posts(tmp_path, capsys, tool, form):
    regions = write_regions(tmp_path, form, [RENAMED[tool](name) for name in ("17_06_1", ACCENTS)])
    status, docs = convert(tmp_path, "--boxes", regions, "--strict")
    assert status == 0, capsys.readouterr().err
    assert [doc.ents[1]._.boxes for doc in docs] == [[[1, 1, 3, 5]], [[1, 1, 4, 5]]]


def test_a_composed_name_for_a_post_whose_id_is_apart(tmp_path):
    regions = write_regions(tmp_path, "coco.json", [f"{ACCENTS}.jpg"])
    status, docs = convert(tmp_path, "--boxes", regions, "--strict", ids=[unicodedata.normalize("NFD", ACCENTS)])
    assert status == 0 and docs[0].ents[1]._.boxes == [[1, 1, 3, 5]]


def test_the_posts_own_reference_names_its_picture(tmp_path):
    regions = write_regions(tmp_path, "labelme", ["IMG_7.jpg", "IMG_8.jpg"])
    status, docs = convert(tmp_path, "--boxes", regions, "--strict", images=["photos/IMG_8.jpg", "photos\\img_7.png"])
    assert status == 0 and [doc.ents[1]._.boxes for doc in docs] == [[[1, 1, 4, 5]], [[1, 1, 3, 5]]]


def test_entities_whose_accents_are_written_in_another_form(tmp_path):
    regions = write_regions(tmp_path, "coco.json", ["17_06_1.jpg"], label=unicodedata.normalize("NFD", "Zoë"))
    status, docs = convert(tmp_path, "--boxes", regions, "--strict")
    assert status == 0 and docs[0].ents[0]._.boxes == [[1, 1, 3, 5]]


def test_exact_names_come_first_and_none_is_guessed(tmp_path, capsys):
    # "a" has a picture of its own; "A.png" may not go to "a", nor "x-1" to "1", nor "y" to one of two posts of that name.
    regions = write_regions(tmp_path, "coco.json", ["a.jpg", "A.jpg", "20160502-1.jpg", "y.jpg"])
    status, docs = convert(tmp_path, "--boxes", regions, ids=["A", "a", "1", "Y", "Y.png"])
    assert [doc.ents[1]._.boxes for doc in docs] == [[[1, 1, 4, 5]], [[1, 1, 3, 5]], [], [], []]
    assert "2 posts with regions are not among the posts: 20160502-1, y" in capsys.readouterr().out


def test_two_renamed_pictures_of_one_post(tmp_path, capsys):
    regions = write_regions(tmp_path, "coco.json", [f"17_06_1_jpg.rf.{HASH}.jpg", f"17_06_1_jpg.rf.{HASH[::-1]}.jpg"])
    status, docs = convert(tmp_path, "--boxes", regions)
    assert docs[0].ents[1]._.boxes == [[1, 1, 3, 5]]
    assert "1 pictures are annotated twice (the first is kept)" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["coco.json", "prodigy.jsonl", "voc", "labelme"])
@pytest.mark.parametrize("option", ["--boxes", "--masks"])
def test_regions_of_which_none_matches_are_no_harmless_note(tmp_path, capsys, form, option):
    regions = write_regions(tmp_path, form, ["elsewhere.jpg", "nowhere.jpg"])
    assert convert(tmp_path, option, regions)[0] == 1
    assert "1 source of regions matches no post at all" in capsys.readouterr().out
    assert convert(tmp_path, option, regions, "--strict")[0] == 2


def test_one_picture_of_two_annotators(tmp_path, capsys):
    regions = write_regions(tmp_path, "prodigy.jsonl", ["17_06_1.jpg", "17_06_1.jpg"])
    status, docs = convert(tmp_path, "--boxes", regions)
    assert docs[0].ents[1]._.boxes == [[1, 1, 3, 5]] and "1 pictures are annotated twice" in capsys.readouterr().out
    assert convert(tmp_path, "--boxes", regions, "--strict")[0] == 2


FORMATS = [("jpg", "JPEG"), ("JPG", "JPEG"), ("jpeg", "JPEG"), ("jfif", "JPEG"), ("png", "PNG"), ("PNG", "PNG"), ("webp", "WEBP"), ("gif", "GIF"), ("bmp", "BMP"), ("tif", "TIFF"), ("TIFF", "TIFF"), ("avif", "AVIF")]  # fmt: skip


@pytest.mark.parametrize("ending, form", FORMATS)
def test_pictures_of_every_format_are_found(tmp_path, ending, form):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("17_06_1", unicodedata.normalize("NFD", ACCENTS)):
        try:
            Image.new("RGB", (4, 4)).save(folder / f"{name}.{ending}", format=form)
        except (KeyError, OSError):
            pytest.skip(f"this Pillow writes no {form}")
    status, docs = convert(tmp_path, "--images", folder, "--relative")
    assert status == 0
    assert [unicodedata.normalize("NFC", doc._.image) for doc in docs] == [f"17_06_1.{ending}", f"{ACCENTS}.{ending}"]


@pytest.mark.parametrize(
    "file, image",
    [
        ("sub/17_06_1.jpg", None),
        ("17_06_1", None),
        ("17_06_1.JPG", "17_06_1.jpg"),
        ("17_06_1.png", "17_06_1.jpg"),
        ("img/IMG_7.jpg", "img\\IMG_7.jpg"),
        ("IMG_7.jpg", "old/place/IMG_7.jpg"),
        ("1a2b3c4d-17_06_1.jpg", None),
        (f"17_06_1_jpg.rf.{HASH}.jpg", None),
        ("IMG_7.jpg", f"IMG_7_jpg.rf.{HASH}.jpg"),
    ],
)
def test_pictures_are_found_by_other_names(tmp_path, file, image):
    path = tmp_path / "pictures" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"any")
    status, docs = convert(
        tmp_path, "--images", tmp_path / "pictures", "--relative", ids=["17_06_1"], images=[image] if image else None
    )
    assert status == 0 and docs[0]._.image == file


def test_a_folder_without_any_of_the_pictures_is_no_harmless_note(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    assert convert(tmp_path, "--images", tmp_path / "pictures")[0] == 1
    assert "1 folder holds none of the posts' pictures" in capsys.readouterr().out
    assert convert(tmp_path, "--images", tmp_path / "pictures", "--strict")[0] == 2


def test_texts_that_come_twice(tmp_path, capsys):
    (tmp_path / "z.jsonl").write_text(
        '{"id": "17_06_1", "knowledge": "z"}\n{"id": "17_06_1", "knowledge": "other"}\n', encoding="utf8"
    )
    (tmp_path / "c.txt").write_text("17_06_1.jpg :a\n17_06_1.png :b\n", encoding="utf8")
    (tmp_path / "d.txt").write_text("imgid:17_06_1###a\nimgid:17_06_1###b\nmore\n", encoding="utf8")
    arguments = ["--knowledge", tmp_path / "z.jsonl", "--captions", tmp_path / "c.txt", "--descriptions", tmp_path / "d.txt"]
    _, docs = convert(tmp_path, *arguments)
    assert (docs[0]._.knowledge, docs[0]._.caption, docs[0]._.description) == ("z", "a", "a")
    assert "3 captions, descriptions or pieces of knowledge come twice" in capsys.readouterr().out
    assert convert(tmp_path, *arguments, "--strict")[0] == 2


@pytest.mark.parametrize(
    "row",
    [
        {"text": "Rio", "ents": [{"start": 0, "end": 3, "label": "LOC"}]},
        {"tokens": ["Rio"], "tags": ["B-LOC"]},
        {"text": "Rio", "ents": [[0, 3, "LOC"]]},
    ],
)
def test_scores_keep_the_first_of_two_posts_with_one_id_too(tmp_path, row):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([json.dumps({"id": "1", **row})] * 2 + [json.dumps({"id": "2", **row})]), encoding="utf8")
    found = read_annotations(path)
    assert [len(mentions) for mentions in found.posts.values()] == [1, 1]
    assert len(found.notes) == 1 and "1 posts" in found.notes[0] and found.notes[0].endswith(": 1")


def test_a_turned_rectangle_of_labelme_is_a_box(tmp_path):
    (tmp_path / "l").mkdir()
    shape = {"label": "Rio", "shape_type": "oriented_rectangle", "points": [[10, 2], [20, 12], [15, 17], [5, 7]]}
    row = {"imagePath": "17_06_1.jpg", "imageWidth": 40, "imageHeight": 24, "shapes": [shape]}
    (tmp_path / "l" / "17_06_1.json").write_text(json.dumps(row), encoding="utf8")
    status, docs = convert(tmp_path, "--boxes", tmp_path / "l", "--strict")
    assert status == 0 and docs[0].ents[1]._.boxes == [[5, 2, 20, 17]]
