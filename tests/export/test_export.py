"""Annotated posts in the forms of other tools, opened again by the tools' own loaders, or by a reader of ours."""

import csv
import io
import json
import re
from base64 import b64encode
from xml.etree import ElementTree

import numpy as np
import pytest
import srsly
from blank import blank_nlp
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from marked_post import HEIGHT, TEXT, WIDTH, blob, with_entities
from PIL import Image
from spacy.tokens import DocBin

from rivega_spacy.cli import main
from rivega_spacy.corpus.formats.coco import read_coco
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.entity_table import read_entity_table
from rivega_spacy.corpus.formats.labelme import read_labelme
from rivega_spacy.corpus.formats.prodigy import read_prodigy_regions, read_prodigy_text
from rivega_spacy.export.adapters import to_fiftyone, to_supervision
from rivega_spacy.export.coco import to_coco
from rivega_spacy.export.label_studio import label_studio_config, to_label_studio
from rivega_spacy.export.tables import COLUMNS, from_cell, to_rows, write_csv
from rivega_spacy.export.web_annotation import to_web_annotations
from rivega_spacy.post.brush import brush_rle, read_brush_rle
from rivega_spacy.post.cells import to_cell
from rivega_spacy.post.outlines import mask_outline
from rivega_spacy.post.posts import write_posts
from rivega_spacy.post.rle import decode_mask, encode_mask, rle_iou


@pytest.fixture
def nlp():
    return blank_nlp()


@pytest.fixture
def doc(nlp, tmp_path):
    """Four entities: with box and mask, with a box alone, judged absent, not judged."""
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a b.png")
    doc = nlp.make_doc(TEXT)
    doc.user_data["id"] = "post/1"
    doc._.image = str(tmp_path / "a b.png")
    ada, babbage, total, _ = with_entities(doc).ents
    ada._.expansion, ada._.groundable, ada._.boxes = "a mathematician", True, [[6.0, 16.0, 34.0, 44.0]]
    ada._.mask_rle, ada._.mask_score, ada._.box_score = encode_mask(blob()), 0.8, 0.9
    babbage._.groundable, babbage._.boxes = True, [[40.5, 10.0, 70.0, 50.25]]
    total._.groundable = False
    return doc


def test_coco_is_read_by_pycocotools_and_by_convert(doc, tmp_path):
    mask_api = pytest.importorskip("pycocotools.mask")
    from pycocotools.coco import COCO

    path = tmp_path / "coco.json"
    path.write_text(json.dumps(to_coco([doc])), encoding="utf8")
    coco = COCO(str(path))
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["width"], image["height"], image["post_id"], image["text"]) == (WIDTH, HEIGHT, "post/1", TEXT)
    first, second = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(["PER"])))
    assert (coco.annToMask(first).astype(bool) == blob()).all() and first["area"] == blob().sum() == mask_api.area(
        coco.annToRLE(first)
    )
    assert second["bbox"] == [40.5, 10.0, 29.5, 40.25] and second["segmentation"] == []
    assert first["score"] == 0.8 and second["score"] == 1.0
    (picture,) = read_coco(path, Dirt()).values()
    assert [(region.name, region.xyxy) for region in picture.regions] == [
        ("Ada Lovelace", [6.0, 16.0, 34.0, 44.0]),
        ("Babbage", [40.5, 10.0, 70.0, 50.25]),
    ]
    assert (decode_mask(picture.regions[0].mask) == blob()).all()


def test_labelme_comes_back_whole(doc, nlp, tmp_path):
    list(write_posts([doc], tmp_path / "out.jsonl"))
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "labelme"), "--to", "labelme"]) == 0
    assert [path.name for path in (tmp_path / "labelme").iterdir()] == ["post-1.json"]  # an id that cannot be a file's name
    (picture,) = read_labelme(tmp_path / "labelme", Dirt()).values()
    assert (decode_mask(picture.regions[0].mask) == blob()).all() and picture.regions[1].xyxy == [40.5, 10.0, 70.0, 50.25]
    assert [region.name for region in picture.regions] == ["Ada Lovelace", "Babbage"]


def test_label_studio_links_text_box_and_mask(doc):
    (task,) = to_label_studio([doc], image_prefix="/data/local-files/?d=")
    assert task["data"]["image"].startswith("/data/local-files/?d=/") and task["data"]["text"] == TEXT
    results = {
        result.get("id", n): result
        for n, result in enumerate(task["predictions"][0]["result"])
        if result["type"] not in ("textarea", "choices")
    }
    box, mask = results["e0r0b"], results["e0r0m"]
    value = box["value"]
    corners = [value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100]
    corners += [corners[0] + value["width"] * WIDTH / 100, corners[1] + value["height"] * HEIGHT / 100]
    assert corners == pytest.approx([6, 16, 34, 44]) and value["rectanglelabels"] == ["PER"]
    links = {(result["from_id"], result["to_id"]) for result in results.values() if result["type"] == "relation"}
    assert links == {("e0", "e0r0b"), ("e0", "e0r0m"), ("e1", "e1r0b")}
    # Label Studio counts code points, as Python does: the emoji before the name is one.
    words = results["e0"]["value"]
    assert TEXT[words["start"] : words["end"]] == "Ada Lovelace" == words["text"] and words["labels"] == ["PER"]
    hung = [result for result in task["predictions"][0]["result"] if result["type"] in ("textarea", "choices")]
    said = {(result["from_name"], *result["value"]["text" if result["type"] == "textarea" else "choices"]) for result in hung}
    assert said == {("expansion", "a mathematician"), ("shown", "shown"), ("shown", "not shown")}
    back = read_brush_rle(mask["value"]["rle"], width=WIDTH, height=HEIGHT)
    assert (decode_mask(back) == blob()).all()


def test_label_studio_reads_our_strokes(doc):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    image = brush.decode_rle(brush_rle(encode_mask(blob()))).reshape(HEIGHT, WIDTH, 4)
    assert (image[:, :, 3] > 0).tolist() == blob().tolist()
    theirs = brush.mask2rle(blob().astype("uint8") * 255)
    assert (decode_mask(read_brush_rle(theirs, width=WIDTH, height=HEIGHT)) == blob()).all()


def test_label_studio_config_names_what_the_tasks_use(doc):
    config = ElementTree.fromstring(label_studio_config(["PER", 'A "quoted" <type>']))
    names = {element.get("name") for element in config.iter() if element.get("name")}
    used = {result["from_name"] for result in to_label_studio([doc])[0]["predictions"][0]["result"] if "from_name" in result}
    assert used <= names and {element.get("value") for element in config.iter("Label")} == {"PER", 'A "quoted" <type>'}


@examples(60)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_strokes_and_outlines_are_exact(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    back = read_brush_rle(brush_rle(encode_mask(mask)), width=width, height=height)
    assert (decode_mask(back) == mask).all()
    assert (filled(mask_outline(mask), height, width) == mask).all()


def filled(rings, height, width):
    """Pixels whose middle lies within an odd number of rings: crossings of upright edges to their left."""
    inside = np.zeros((height, width), dtype=int)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, ring[1:] + ring[:1]):
            if x1 == x2:
                inside[min(y1, y2) : max(y1, y2), x1:] += 1
    return inside % 2 == 1


@pytest.mark.parametrize("data", [[], [0] * 5, [255] * 40, "text", [300, 1]])
def test_broken_strokes_are_refused(data):
    with pytest.raises(ValueError, match="brush stroke"):
        read_brush_rle(data, width=4, height=4)


def test_web_annotations(doc):
    whole, first, second, third, fourth = to_web_annotations([doc])
    assert whole["body"]["value"] == TEXT and whole["target"] == first["target"][1]["source"]
    assert whole["body"]["id"] == first["target"][0]["source"] == "urn:rivega:post%2F1/text"
    assert (
        first["@context"] == "http://www.w3.org/ns/anno.jsonld"
        and first["type"] == "Annotation"
        and first["id"] == "urn:rivega:post%2F1/entity/0"
    )
    assert [(body["purpose"], body["value"]) for body in first["body"]] == [
        ("classifying", "PER"),
        ("describing", "a mathematician"),
        ("assessing", "shown"),
    ]
    text, picture = first["target"]
    position, quote = text["selector"]
    assert TEXT[position["start"] : position["end"]] == quote["exact"] == "Ada Lovelace"
    assert quote["prefix"] + quote["exact"] + quote["suffix"] == TEXT[: position["end"] + 32]
    fragment, svg = picture["selector"]
    assert fragment["value"] == "xywh=pixel:6,16,28,28" and picture["source"].endswith("a%20b.png")
    path = ElementTree.fromstring(svg["value"])[0].get("d")
    rings = [[tuple(map(int, point.split())) for point in ring.split("L")] for ring in re.findall(r"M([^Z]*)Z", path)]
    assert len(rings) == 2 and (filled(rings, HEIGHT, WIDTH) == blob()).all()
    assert [len(item["target"]) for item in (second, third, fourth)] == [2, 1, 1]


def test_csv_cells_are_no_formulas(doc):
    out = io.StringIO(newline="")
    assert write_csv([doc], out) == 4
    rows = list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))
    assert rows[2]["entity"] == "'=SUM(A1)" and from_cell(rows[2]["entity"]) == "=SUM(A1)"
    assert (rows[0]["x1"], rows[0]["groundable"], rows[3]["groundable"]) == ("6.0", "True", "")
    assert json.loads(rows[0]["regions"])[0]["mask_rle"]["size"] == [HEIGHT, WIDTH]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "'=1", "plain", ""])
def test_cells_come_back(text):
    from rivega_spacy.post.cells import to_cell

    assert from_cell(to_cell(text)) == text and not to_cell(text).startswith(("=", "+", "-", "@", "\t"))


def test_parquet(doc, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    list(write_posts([doc], tmp_path / "out.jsonl"))
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "e.parquet"), "--to", "parquet"]) == 0
    rows = pq.read_table(tmp_path / "e.parquet").to_pylist()
    assert [row["entity"] for row in rows] == ["Ada Lovelace", "Babbage", "=SUM(A1)", "London"] and tuple(rows[0]) == COLUMNS
    assert rows == list(to_rows([doc]))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_apostrophe_of_the_text_is_not_taken_for_ours(ending, tmp_path):
    pytest.importorskip("pyarrow.parquet")
    (tmp_path / "posts.jsonl").write_text(
        json.dumps({"id": "p", "text": "'=1 Ada", "ents": [{"start": 4, "end": 7, "label": "PER", "expansion": "'+x"}]})
    )
    assert main(["export", str(tmp_path / "posts.jsonl"), str(tmp_path / f"e.{ending}"), "--to", ending]) == 0
    (post,) = read_entity_table(tmp_path / f"e.{ending}", Dirt())
    assert post["text"] == "'=1 Ada" and [entity["expansion"] for entity in post["ents"]] == ["'+x"]


def test_prodigy_data_sets_are_read_back(doc, tmp_path):
    list(write_posts([doc], tmp_path / "out.jsonl"))
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "prodigy"), "--to", "prodigy"]) == 0
    (post,) = read_prodigy_text(tmp_path / "prodigy" / "text.jsonl", Dirt())
    assert post["id"] == "post/1" and [tag for tag in post["tags"] if tag.startswith("B-")] == [
        "B-PER",
        "B-PER",
        "B-OTHER",
        "B-LOC",
    ]
    picture = read_prodigy_regions(tmp_path / "prodigy" / "images.jsonl", Dirt())["post/1"]
    assert [region.name for region in picture.regions] == ["Ada Lovelace", "Babbage"]
    whole = blob()
    whole[28:33, 18:23] = True  # a polygon has no holes
    assert rle_iou(picture.regions[0].mask, encode_mask(whole)) > 0.9


def test_adapters(doc, nlp):
    (sample,) = to_fiftyone([doc])
    first, second = sample["entities"]["detections"]
    assert first["bounding_box"] == pytest.approx([6 / 80, 16 / 60, 28 / 80, 28 / 60]) and first["mask"].shape == (28, 28)
    assert "mask" not in second and second["label"] == "PER"
    found = to_supervision(doc)
    assert found["xyxy"].shape == (2, 4) and found["mask"].shape == (2, HEIGHT, WIDTH) and (found["mask"][0] == blob()).all()
    assert found["data"]["entity"].tolist() == ["Ada Lovelace", "Babbage"]
    nothing = to_supervision(nlp.make_doc("no picture"))
    assert nothing["xyxy"].shape == (0, 4) and nothing["mask"] is None


def test_supervision_takes_it(doc):
    supervision = pytest.importorskip("supervision")
    detections = supervision.Detections(**to_supervision(doc))
    assert len(detections) == 2 and detections.area.tolist() == [blob().sum(), pytest.approx(30 * 40, abs=60)]


def test_docbin_and_errors(doc, nlp, tmp_path, capsys):
    list(write_posts([doc], tmp_path / "out.jsonl"))
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "e.spacy"), "--to", "docbin"]) == 0
    (back,) = DocBin().from_disk(tmp_path / "e.spacy").get_docs(nlp.vocab)
    assert (back.ents[0]._.mask == blob()).all() and back.ents[0]._.expansion == "a mathematician"
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "x"), "--to", "coco", "--image-prefix", "/x"]) == 2
    assert "no effect" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_a_picture_that_is_gone(doc, tmp_path, capsys):
    """Its size is known from the mask; without one the post has no regions to export, and says why."""
    (tmp_path / "a b.png").unlink()
    assert to_coco([doc])["images"][0]["width"] == WIDTH
    for ent in doc.ents:
        ent._.mask_rle = None
    assert to_coco([doc])["images"] == [] and any(entry["component"] == "export" for entry in doc._.rivega_errors)


def test_the_command_says_why_posts_have_errors(tmp_path, capsys):
    ent = {"start": 0, "end": 3, "label": "PER", "groundable": True, "boxes": [[1, 1, 5, 5]]}
    lines = [{"id": f"p{n}", "text": "Ann", "image": f"{n}.jpg", "ents": [ent]} for n in range(5)]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf8")
    assert main(["export", str(tmp_path / "out.jsonl"), str(tmp_path / "coco.json"), "--to", "coco"]) == 1
    out, err = capsys.readouterr()
    assert "5 posts with errors" in out
    first, *_, last = err.splitlines()
    assert first.startswith("rivega export: 'p0': [E001]")
    assert len(err.splitlines()) == 4 and last == "rivega export: and 2 more"


@pytest.mark.parametrize("form", ["coco", "labelme", "prodigy"])
def test_pictures_without_a_path_are_told(form, tmp_path, capsys):
    picture = io.BytesIO()
    Image.new("RGB", (8, 6)).save(picture, "PNG")
    address = "data:image/png;base64," + b64encode(picture.getvalue()).decode()
    ent = {"start": 0, "end": 3, "label": "PER", "boxes": [[1, 1, 5, 5]]}
    post = {"id": "a", "text": "Bob there", "image": address, "ents": [ent]}
    srsly.write_jsonl(tmp_path / "posts.jsonl", [post])
    assert main(["export", str(tmp_path / "posts.jsonl"), str(tmp_path / "out"), "--to", form]) == 1
    assert "post 'a' was given as bytes" in capsys.readouterr().err


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"], ids=ascii)
@pytest.mark.parametrize("before", ["", "'", " ", "\u200b", "\x00", "\ufeff"], ids=ascii)
def test_no_cell_begins_like_a_formula(sign, before):
    """Also behind what nobody sees; with a letter behind, since some programs take the tab alone for the end of a cell."""
    text = f"{before}{sign}A1"
    assert to_cell(text) == f"'{text}" and from_cell(to_cell(text)) == text
    assert to_cell(f"x{text}") == f"x{text}"
