"""Annotate, export, edit as the tool does, import: ids, spans, types, expansions, boxes, masks, shown or not and pictures come back."""

import csv
import json
import shutil
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from blank import NLP, blank_nlp
from marked_post import HEIGHT, TEXT, WIDTH, blob, with_entities
from PIL import Image
from segmenter_tiny import TINY
from spacy.tokens import Span

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.label_studio import picture_path
from rivega_spacy.corpus.formats.web_annotation import svg_mask
from rivega_spacy.corpus.reader import PostCorpus
from rivega_spacy.post.brush import brush_rle
from rivega_spacy.post.extensions import MASKS_KEY, all_masks, span_key
from rivega_spacy.post.outlines import fill_rings
from rivega_spacy.post.posts import write_posts
from rivega_spacy.post.rle import decode_mask, encode_mask


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Posts with all there is: entities with box and masks, a box alone, not shown, not judged; no entities; no picture."""
    tmp_path = tmp_path_factory.mktemp("written")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a b.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "c.png")
    first, second, third = NLP.make_doc(TEXT), NLP.make_doc("nothing, here"), NLP.make_doc("Bob alone")
    for doc, name in ((first, "post/1"), (second, "2"), (third, "3")):
        doc.user_data["id"] = name
    first._.image, second._.image = str(tmp_path / "a b.png"), str(tmp_path / "c.png")
    ada, babbage, total, _ = with_entities(first).ents
    third.ents = [Span(third, 0, 1, label="PER")]
    ada._.expansion, ada._.groundable, ada._.boxes = "a mathematician", True, [[6.0, 16.0, 36.0, 44.0], [50.0, 12.0, 70.0, 31.0]]
    masks = [encode_mask(blob()), encode_mask(blob(20, 60, 90))]
    ada._.mask_rle = masks[0]
    first.user_data[span_key(ada, MASKS_KEY)] = masks
    babbage._.groundable, babbage._.boxes = True, [[40.0, 10.0, 70.0, 50.0]]
    total._.groundable, total._.expansion = False, "a formula"
    list(write_posts([first, second, third], tmp_path / "annotated.jsonl"))
    # The second mask travels with its entity in corrected posts.
    rows = [json.loads(line) for line in (tmp_path / "annotated.jsonl").read_text(encoding="utf8").splitlines()]
    rows[0]["ents"][0]["masks"] = masks
    (tmp_path / "annotated.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def annotated(written, tmp_path):
    """The same for one test, which may change them. Their pictures stay where they are."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def export(folder, form, name):
    assert main(["export", str(folder / "annotated.jsonl"), str(folder / name), "--to", form]) == 0
    return folder / name


def convert(folder, path, *words, status=0):
    assert main(["convert", str(path), str(folder / "train.spacy"), *words]) == status
    return list(read_docbin(folder / "train.spacy", NLP.vocab))


def said(docs):
    """All that must come back of posts."""
    return {
        doc.user_data["id"]: {
            "text": doc.text,
            "image": doc._.image,
            "ents": [
                {
                    "place": (ent.start_char, ent.end_char, ent.label_),
                    "expansion": ent._.expansion,
                    "groundable": ent._.groundable,
                    "boxes": sorted(map(tuple, ent._.boxes or [])),
                    "masks": sorted(decode_mask(mask).tobytes() for mask in all_masks(ent)),
                }
                for ent in doc.ents
            ],
        }
        for doc in docs
    }


@pytest.fixture(scope="module")
def expected(written):
    found = said(convert(written, written / "annotated.jsonl"))
    assert [len(post["ents"]) for post in found.values()] == [4, 0, 1]
    assert [ent["groundable"] for ent in found["post/1"]["ents"]] == [True, True, False, None]
    assert [len(ent["masks"]) for ent in found["post/1"]["ents"]] == [2, 0, 0, 0]
    return found


@pytest.fixture
def wanted(expected):
    """What must come back, for a test to change."""
    return deepcopy(expected)


def reviewed(folder):
    """The tasks as Label Studio exports them once somebody has accepted the predictions."""
    tasks = json.loads((export(folder, "label-studio", "tasks") / "tasks.json").read_text())
    for number, task in enumerate(tasks, start=101):
        result = task.pop("predictions")[0]["result"]
        task |= {"id": number, "annotations": [{"id": number, "result": result, "was_cancelled": False}], "predictions": []}
    return tasks


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf8")
    return path


IMPORTS: dict[str, Callable] = {
    "label-studio": lambda folder: convert(folder, write(folder / "export.json", reviewed(folder))),
    "web-annotation": lambda folder: convert(folder, export(folder, "web-annotation", "page.jsonld")),
    "csv": lambda folder: convert(folder, export(folder, "csv", "entities.csv")),
    "parquet": lambda folder: convert(folder, export(folder, "parquet", "entities.parquet")),
    "docbin": lambda folder: convert(folder, export(folder, "docbin", "posts.spacy")),
}


@pytest.mark.parametrize("form", IMPORTS)
def test_nothing_is_lost_on_the_way(annotated, wanted, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    assert said(IMPORTS[form](annotated)) == wanted


@pytest.mark.parametrize("form", ["coco", "labelme", "prodigy"])
def test_regions_come_back_to_their_posts(annotated, wanted, form):
    """These tools hold regions of pictures: texts, types and expansions stay in the posts. None of them can say "not judged"."""
    path = export(annotated, form, f"{form}.json" if form == "coco" else form)
    posts = annotated / "annotated.jsonl"
    if form == "prodigy":
        posts, path = path / "text.jsonl", path / "images.jsonl"
    wanted["post/1"]["ents"][3]["groundable"] = wanted["3"]["ents"][0]["groundable"] = False
    assert said(convert(annotated, posts, "--boxes", str(path))) == wanted


def test_label_studio_after_editing(annotated, wanted):
    tasks = reviewed(annotated)
    results = tasks[0]["annotations"][0]["result"]
    by_key = {(result.get("id"), result["type"]): result for result in results}
    by_key["e0", "labels"]["value"]["labels"] = ["ORG"]  # another type
    by_key["e0", "textarea"]["value"]["text"] = ["a poet"]  # another expansion
    by_key["e1r0b", "rectanglelabels"]["value"] |= {"x": 25, "y": 50, "width": 50, "height": 25}  # a box moved
    results.remove(by_key["e2", "labels"])  # an entity deleted; what hangs on it stays behind
    start = TEXT.index("London") - 3
    by_key["e3", "labels"]["value"] |= {"start": start, "text": TEXT[start:]}  # a span widened
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "to_name": "image"}
    brush = {"format": "rle", "rle": brush_rle(encode_mask(blob(40, 60))), "brushlabels": ["LOC"]}
    results.append({**size, "id": "Xa9", "type": "brushlabels", "value": brush})  # a stroke, linked from the region to the text
    results.append({"type": "relation", "from_id": "Xa9", "to_id": "e3", "direction": "right"})
    polygon = {"points": [[10, 10], [20, 10], [20, 20], [10, 20]], "closed": True, "polygonlabels": ["ORG"]}
    results.append({**size, "id": "Xb", "type": "polygonlabels", "value": polygon})  # not linked: the only ORG
    results.append(
        {
            **size,
            "id": "Xc",
            "type": "rectanglelabels",
            "value": {"x": 0, "y": 0, "width": 5, "height": 5, "rectanglelabels": ["PET"]},
        }
    )
    tasks[1]["annotations"].insert(0, {"was_cancelled": True, "result": [{"type": "labels", "id": "n", "value": {}}]})
    tasks[2]["annotations"] = []  # nobody has looked at it
    docs = convert(annotated, write(annotated / "export.json", tasks))
    assert [doc.user_data["id"] for doc in docs] == ["post/1", "2"]
    first, babbage, london = docs[0].ents
    assert (first.label_, first._.expansion, len(all_masks(first))) == ("ORG", "a poet", 3)
    square = np.zeros((HEIGHT, WIDTH), dtype=bool)
    square[6:12, 8:16] = True
    assert any((decode_mask(mask) == square).all() for mask in all_masks(first))
    assert babbage._.boxes == [[20, 30, 60, 45]]
    assert (london.text, london._.groundable) == ("in London", True) and (london._.mask == blob(40, 60)).all()


def test_label_studio_that_counts_as_javascript_does(annotated, wanted):
    tasks = reviewed(annotated)
    for result in tasks[0]["annotations"][0]["result"]:
        if "start" in result.get("value", {}):  # the emoji before them is two units
            result["value"]["start"] += 1
            result["value"]["end"] += 1
    assert said(convert(annotated, write(annotated / "export.json", tasks))) == wanted


@pytest.mark.parametrize(
    "result",
    [
        None,
        5,
        {"type": "labels"},
        {"type": "labels", "id": "x", "value": {"start": 900, "end": 901, "labels": ["PER"]}},
        {"type": "labels", "id": "x", "value": {"start": "a", "end": None, "labels": "PER"}},
        {
            "type": "brushlabels",
            "id": "x",
            "value": {"rle": [1, 2], "brushlabels": ["PER"]},
            "original_width": 80,
            "original_height": 60,
        },
        {"type": "rectanglelabels", "id": "x", "value": {"x": "a"}, "original_width": 80, "original_height": 60},
        {"type": "rectanglelabels", "id": "x", "value": {"x": 1, "y": 1, "width": 1, "height": 1}},
        *(
            {"type": "x", "id": "x", "value": value, "original_width": 80, "original_height": 60}
            for value in (
                {"points": [[10**39, 1], [50, 1], [50, 50]]},
                {"points": [["1e400", 1], [50, 1], [50, 50]]},
                {"x": 10, "y": 10, "radiusX": 1e200, "radiusY": 5},
                {"x": 10, "y": 10, "radiusX": 5, "radiusY": 5, "rotation": 1e300},
                {"x": 1e39, "y": 10, "width": 10, "height": 10},
            )
        ),
        {"type": "relation"},
    ],
)
@pytest.mark.slow
def test_label_studio_results_that_are_broken_cost_nothing_else(annotated, wanted, result, capsys):
    tasks = reviewed(annotated)
    tasks[0]["annotations"][0]["result"].insert(0, result)
    capsys.readouterr()
    assert said(convert(annotated, write(annotated / "export.json", tasks))) == wanted
    assert result == {"type": "relation"} or "left out" in capsys.readouterr().out


def test_pictures_by_the_addresses_that_label_studio_serves():
    assert picture_path("/data/local-files/?d=photos/a%20b.png") == "photos/a b.png"
    assert picture_path("/data/upload/3/1a2b3c4d-a.png") == "1a2b3c4d-a.png"
    assert picture_path("https://host/bucket/a.png") == "a.png" and picture_path("photos/a.png") == "photos/a.png"


def test_web_annotations_after_editing(annotated, wanted):
    path = export(annotated, "web-annotation", "page.jsonld")
    page = json.loads(path.read_text())
    _, ada, babbage, total, london, *rest = page["items"]
    ada["body"][0]["value"] = "ORG"
    babbage["target"][1]["selector"][0]["value"] = "xywh=pixel:20,30,40,15"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="60"><polygon points="10,10 30,10 30,20 10,20"/></svg>'
    london["target"].append({"source": "x.png", "selector": {"type": "SvgSelector", "value": svg}})
    page["items"] = [*rest, london, babbage, ada, *page["items"][:1], {"type": "Annotation", "body": [], "target": "urn:x"}]
    docs = {doc.user_data["id"]: doc for doc in convert(annotated, write(path, page))}
    first, second, third = docs["post/1"].ents
    assert [ent.label_ for ent in (first, second, third)] == ["ORG", "PER", "LOC"] and len(all_masks(first)) == 2
    assert second._.boxes == [[20, 30, 60, 45]]
    assert third._.groundable and third._.boxes == [[10, 10, 30, 20]] and third._.mask.sum() == 200


def test_svg_paths():
    frame = '<svg width="20px" height="10">{}</svg>'
    square = np.zeros((10, 20), dtype=bool)
    square[2:6, 3:9] = True
    for path in ("M3 2L9 2L9 6L3 6Z", "M3,2H9V6H3Z", "m3 2h6v4h-6z", "m 3,2 6,0 0,4 -6,0 z", "M3 2 9 2 9 6 3 6"):
        assert (decode_mask(svg_mask(frame.format(f'<path d="{path}"/>'))) == square).all()
    holed = decode_mask(svg_mask(frame.format('<path d="M3 2H9V6H3Z m1 1h2v2h-2z"/>')))
    assert holed.sum() == 24 - 4 and not holed[3:5, 4:6].any()
    for bad in (
        "<svg",
        frame.format('<path d="M0 0C1 1 2 2 3 3Z"/>'),
        frame.format(""),
        '<svg><path d="M3 2H9V6Z"/></svg>',
        "<!DOCTYPE x>" + frame,
        frame.format('<path d="M3 2H1e300V6Z"/>'),
        frame.format('<polygon points="3,2 9,2 1e300,1e300"/>'),
    ):
        assert svg_mask(bad) is None


def test_rings_beyond_the_picture():
    assert fill_rings([[[-5, -5], [100, -5], [100, 100], [-5, 100]]], 6, 7).all()
    assert not fill_rings([[[50, 50], [60, 50], [60, 60]]], 6, 7).any()


def test_a_table_that_a_spreadsheet_saved(annotated, wanted):
    """Sorted otherwise, with semicolons and a mark, types and boxes corrected, a row deleted."""
    path = export(annotated, "csv", "entities.csv")
    with open(path, encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file))
    by_name = {row["entity"]: row for row in rows}
    by_name["Babbage"] |= {"label": "ORG", "x1": "20", "groundable": "TRUE"}
    by_name["Ada Lovelace"]["expansion"] = "a poet; a mathematician"
    rows.remove(by_name["London"])
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows[::-1])
    found = said(convert(annotated, path))
    ents = wanted["post/1"]["ents"]
    del ents[3]
    ents[0]["expansion"] = "a poet; a mathematician"
    ents[1] |= {"place": (*ents[1]["place"][:2], "ORG"), "boxes": [(20.0, 10.0, 70.0, 50.0)]}
    assert found == wanted and list(found) == ["3", "2", "post/1"]


def test_shapes_that_were_moved_lose_what_was_kept_beside_them(annotated):
    folder = export(annotated, "labelme", "labelme")
    (path,) = (file for file in folder.iterdir() if "post-1" in file.name)
    content = json.loads(path.read_text())
    content["shapes"][0]["points"] = [[x + 3, y + 2] for x, y in content["shapes"][0]["points"]]
    write(path, content)
    docs = convert(annotated, annotated / "annotated.jsonl", "--boxes", str(folder))
    moved = np.roll(np.roll(blob(), 2, axis=0), 3, axis=1)
    ada = docs[0].ents[0]
    assert any((decode_mask(mask) == moved).all() for mask in all_masks(ada)) and [6.0, 16.0, 36.0, 44.0] not in ada._.boxes


def test_labelme_opens_and_saves_its_files(annotated, wanted):
    """By labelme's own loader: its masks, and what it keeps of what it does not know."""
    pytest.importorskip("labelme")
    from labelme._label_file import read_label_file

    folder = export(annotated, "labelme", "labelme")
    for path in folder.iterdir():
        found = read_label_file(str(path))
        if "post-1" in path.name:
            ys, xs = np.nonzero(blob())
            assert (found.shapes[0]["mask"] == blob()[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]).all()
            assert [shape["label"] for shape in found.shapes] == ["Ada Lovelace", "Ada Lovelace", "Babbage"]
        shapes = [{**shape, **shape.get("other_data", {})} for shape in found.shapes]
        for shape in shapes:
            shape.pop("other_data", None)
            shape["mask"] = None if shape["mask"] is None else json.loads(path.read_text())["shapes"][shapes.index(shape)]["mask"]
        content = json.loads(path.read_text())
        write(path, {**content, "shapes": shapes})
    wanted["post/1"]["ents"][3]["groundable"] = wanted["3"]["ents"][0]["groundable"] = False
    assert said(convert(annotated, annotated / "annotated.jsonl", "--boxes", str(folder))) == wanted


def test_label_studio_accepts_config_and_tasks(annotated):
    interface = pytest.importorskip("label_studio_sdk.label_interface", exc_type=ImportError)
    folder = export(annotated, "label-studio", "tasks")
    labels = interface.LabelInterface((folder / "config.xml").read_text())
    labels.validate()
    for task in json.loads((folder / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        assert labels.validate_prediction(prediction, return_errors=True) == []


@pytest.mark.slow
def test_what_came_back_is_trained_on(annotated, wanted):
    IMPORTS["label-studio"](annotated)
    nlp = blank_nlp()
    nlp.add_pipe("rivega_segmenter", config={"model": TINY})
    nlp.add_pipe(
        "ner",
        config={
            "model": {
                "tok2vec": {
                    "@architectures": "spacy.HashEmbedCNN.v2",
                    "width": 16,
                    "depth": 1,
                    "embed_size": 200,
                    "window_size": 1,
                    "maxout_pieces": 2,
                    "subword_features": True,
                    "pretrained_vectors": None,
                }
            }
        },
    )
    examples = list(PostCorpus(annotated / "train.spacy")(nlp))
    nlp.initialize(lambda: examples)
    losses = nlp.update(examples)
    assert set(nlp.get_pipe("ner").labels) == {"PER", "OTHER", "LOC"} and losses["ner"] > 0 and losses["rivega_segmenter"] > 0


def test_files_that_are_none_of_these_forms(tmp_path, capsys):
    for name, value, form, words in (
        ("a.json", [{"data": 5}], "label-studio", "Label Studio"),
        ("b.json", {"images": []}, "web-annotation", "W3C"),
        ("c.json", "", "web-annotation", "W3C"),
    ):
        write(tmp_path / name, value)
        assert main(["convert", str(tmp_path / name), str(tmp_path / "out.spacy"), "--format", form]) == 2
        assert words in capsys.readouterr().err
