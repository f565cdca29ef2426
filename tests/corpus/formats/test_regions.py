"""VOC XML, labelme, COCO, Prodigy."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from rivega_spacy.corpus.formats.coco import read_coco
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.labelme import read_labelme
from rivega_spacy.corpus.formats.prodigy import read_prodigy_regions, read_prodigy_text
from rivega_spacy.corpus.formats.voc import read_voc
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import decode_mask, encode_mask

from .published_files import bitmap, polygon, write_labelme, write_voc

TRIANGLE = [[2, 2], [30, 2], [2, 20]]


def drawn(points, height=24, width=40):
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], outline=1, fill=1)
    return np.array(canvas) > 0


def test_voc_goes_by_the_files_own_name(tmp_path):
    posts = [
        {
            "id": "17_06_1",
            "image_width": 600,
            "image_height": 400,
            "boxes": [{"name": "R & B", "xyxy": [1, 2, 30, 40]}, {"name": "R & B", "xyxy": [5, 6, 70, 80]}],
        }
    ]
    dirt = Dirt()
    pictures = read_voc(write_voc(tmp_path, posts, other_name=["17_06_1"]), dirt)
    picture = pictures["17_06_1"]
    assert (picture.width, picture.height) == (600, 400)
    assert [(region.name, region.xyxy) for region in picture.regions] == [("R & B", [1, 2, 30, 40]), ("R & B", [5, 6, 70, 80])]
    assert dirt.counts == {"filename": 1}


def test_names_are_kept_to_the_letter(tmp_path):
    write_voc(tmp_path, [{"id": "1", "image_width": 9, "image_height": 9, "boxes": [{"name": "Pacquia\n", "xyxy": [1, 1, 2, 2]}]}])
    assert read_voc(tmp_path, Dirt())["1"].regions[0].name == "Pacquia\n"


def test_bad_xml_and_bad_boxes_leave_the_rest(tmp_path):
    good = {
        "id": "1",
        "image_width": 9,
        "image_height": 9,
        "boxes": [{"name": "a", "xyxy": [1, 1, 5, 5]}, {"name": "b", "xyxy": [5, 5, 5, 5]}, {"name": "c", "xyxy": ["", 1, 2, 3]}],
    }
    write_voc(tmp_path, [good])
    (tmp_path / "2.xml").write_text("<annotation><object>", encoding="utf8")
    dirt = Dirt()
    assert [region.name for region in read_voc(tmp_path, dirt)["1"].regions] == ["a"]
    assert dirt.counts == {"bad_file": 1, "bad_region": 2}


def test_folders_without_files_are_told(tmp_path):
    with pytest.raises(RivegaError, match="no XML"):
        read_voc(tmp_path, Dirt())
    with pytest.raises(RivegaError, match="no labelme"):
        read_labelme(tmp_path, Dirt())


def test_labelme_polygons_bitmaps_and_several_of_a_name(tmp_path):
    dots = np.zeros((5, 6), bool)
    dots[1:3, 2:6] = True
    shapes = [polygon("Ann", TRIANGLE), bitmap("Ann", dots, 30, 10), polygon("Bob", [[0, 0], [4, 0], [4, 4], [0, 4]])]
    write_labelme(tmp_path, "p1", shapes, width=40, height=24, image="..\\img\\p1.jpg")
    dirt = Dirt()
    regions = read_labelme(tmp_path, dirt)["p1"].regions
    assert [region.name for region in regions] == ["Ann", "Ann", "Bob"] and not dirt.counts
    assert (decode_mask(regions[0].mask) == drawn(TRIANGLE)).all()
    placed = np.zeros((24, 40), bool)
    placed[11:13, 32:36] = True
    assert (decode_mask(regions[1].mask) == placed).all()
    assert regions[1].xyxy == [32, 11, 36, 13]


def test_labelme_parts_of_one_group_are_one_region(tmp_path):
    left, right = [[0, 0], [4, 0], [4, 4], [0, 4]], [[20, 0], [24, 0], [24, 4], [20, 4]]
    write_labelme(tmp_path, "p1", [polygon("Ann", left, 7), polygon("Ann", right, 7)], width=40, height=24)
    (region,) = read_labelme(tmp_path, Dirt())["p1"].regions
    assert (decode_mask(region.mask) == (drawn(left) | drawn(right))).all() and region.xyxy == [0, 0, 25, 5]


def test_labelme_bitmap_over_the_edge_is_cut(tmp_path):
    write_labelme(tmp_path, "p1", [bitmap("Ann", np.ones((10, 10), bool), 35, -4)], width=40, height=24)
    (region,) = read_labelme(tmp_path, Dirt())["p1"].regions
    assert region.xyxy == [35, 0, 40, 6]


def test_labelme_rectangle_is_a_box_and_circle_a_mask(tmp_path):
    rectangle = {"label": "a", "points": [[9, 8], [1, 2]], "shape_type": "rectangle"}
    circle = {"label": "b", "points": [[20, 12], [25, 12]], "shape_type": "circle"}
    write_labelme(tmp_path, "p1", [rectangle, circle], width=40, height=24)
    box, disc = read_labelme(tmp_path, Dirt())["p1"].regions
    assert box.xyxy == [1, 2, 9, 8] and box.mask is None
    assert abs(decode_mask(disc.mask).sum() - np.pi * 25) < 8


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "a", "points": [[1, 1], [2, 2]], "shape_type": "line"},
        {"label": "a", "points": [[1, 1], [2, 2]], "shape_type": "polygon"},
        {"label": "a", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "not base64!"},
        {"label": "a", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "aGVsbG8="},
        {"label": "", "points": TRIANGLE, "shape_type": "polygon"},
        {"label": "a", "points": [[100, 100], [110, 100], [110, 110]], "shape_type": "polygon"},
    ],
)
def test_labelme_shapes_without_area_are_counted(tmp_path, shape):
    write_labelme(tmp_path, "p1", [shape, polygon("Ann", TRIANGLE)], width=40, height=24)
    dirt = Dirt()
    assert [region.name for region in read_labelme(tmp_path, dirt)["p1"].regions] == ["Ann"]
    assert dirt.counts == {"bad_region": 1}


def test_labelme_broken_files_leave_the_rest(tmp_path):
    write_labelme(tmp_path, "p1", [polygon("Ann", TRIANGLE)], width=40, height=24)
    (tmp_path / "p2.json").write_text("{}", encoding="utf8")
    (tmp_path / "p3.json").write_text("[1", encoding="utf8")
    dirt = Dirt()
    assert list(read_labelme(tmp_path, dirt)) == ["p1"] and dirt.counts == {"bad_file": 2}


def test_coco(tmp_path):
    mask = drawn(TRIANGLE)
    runs, value, counts = mask.ravel(order="F"), False, [0]
    for pixel in runs:
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 1, "bbox": [2, 2, 29, 19], "segmentation": [[2, 2, 30, 2, 2, 20]]},
        {
            "id": 2,
            "image_id": 5,
            "category_id": 1,
            "bbox": [2, 2, 29, 19],
            "segmentation": {"size": [24, 40], "counts": counts},
            "attributes": {"entity": "Ann"},
        },
        {"id": 3, "image_id": 5, "category_id": 1, "bbox": [2, 2, 29, 19], "segmentation": encode_mask(mask), "name": "Bob"},
        {"id": 4, "image_id": 5, "category_id": 1, "bbox": [2, 2, 0, 19], "segmentation": []},
        {"id": 5, "image_id": 99, "category_id": 1, "bbox": [2, 2, 9, 19]},
    ]
    path = tmp_path / "coco.json"
    images = [{"id": 5, "file_name": "img/p1.jpg", "width": 40, "height": 24}]
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "PER"}]}), encoding="utf8"
    )
    dirt = Dirt()
    picture = read_coco(path, dirt)["p1"]
    assert [(region.name, region.xyxy) for region in picture.regions] == [(name, [2, 2, 31, 21]) for name in ("PER", "Ann", "Bob")]
    outline, *stored = [decode_mask(region.mask) for region in picture.regions]
    assert (outline == coco.decode(coco.frPyObjects([[2, 2, 30, 2, 2, 20]], 24, 40))[..., 0]).all()
    assert all((found == mask).all() for found in stored)
    assert dirt.counts == {"bad_region": 2}


def test_what_is_not_coco_is_told(tmp_path):
    (tmp_path / "x.json").write_text("[]", encoding="utf8")
    with pytest.raises(RivegaError, match="not COCO"):
        read_coco(tmp_path / "x.json", Dirt())


def test_prodigy_text(tmp_path):
    tokens = [{"text": "Ann", "start": 0, "end": 3}, {"text": "Lee", "start": 4, "end": 7}, {"text": "!", "start": 7, "end": 8}]
    rows = [
        {
            "text": "Ann Lee!",
            "tokens": tokens,
            "spans": [{"start": 0, "end": 7, "label": "PER"}],
            "meta": {"id": "p1"},
            "answer": "accept",
            "image": "img/p1.jpg",
        },
        {
            "text": "In Rio",
            "spans": [{"start": 3, "end": 6, "label": "LOC"}, {"start": 4, "end": 6, "label": "LOC"}],
            "image": "data:image/png;base64,x",
        },
        {"text": "No", "spans": [], "answer": "reject"},
    ]
    path = tmp_path / "ner.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf8")
    dirt = Dirt()
    found = list(read_prodigy_text(path, dirt))
    assert [(post["id"], post["tokens"], post["tags"], post["image"]) for post in found] == [
        ("p1", ["Ann", "Lee", "!"], ["B-PER", "I-PER", "O"], "img/p1.jpg"),
        ("2", ["In", "Rio"], ["O", "B-LOC"], None),
    ]
    assert dirt.counts == {"misaligned": 1, "rejected": 1}


def test_prodigy_regions(tmp_path):
    spans = [
        {"label": "Ann", "type": "rect", "points": [[1, 2], [1, 20], [30, 20], [30, 2]]},
        {"label": "Bob", "type": "rect", "x": 3, "y": 4, "width": 10, "height": 5},
        {"label": "Cy", "type": "polygon", "points": TRIANGLE},
        {"label": "Dee", "type": "polygon", "points": [[1, 1]]},
    ]
    path = tmp_path / "image.jsonl"
    path.write_text(json.dumps({"image": "p1.jpg", "width": 40, "height": 24, "spans": spans}), encoding="utf8")
    dirt = Dirt()
    ann, bob, cy = read_prodigy_regions(path, dirt)["p1"].regions
    assert ann.xyxy == [1, 2, 30, 20] and bob.xyxy == [3, 4, 13, 9]
    assert (decode_mask(cy.mask) == drawn(TRIANGLE)).all()
    assert dirt.counts == {"bad_region": 1}
