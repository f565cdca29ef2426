"""What real files hold instead of numbers, masks and names: one bad item is left out and counted, the others are converted."""

import codecs
import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from spacy.vocab import Vocab

from rivega_spacy.corpus.formats.assemble import Sources, read_data_set
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.posts_jsonl import make_docs
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import decode_mask, encode_mask

NAN, INF = float("nan"), float("inf")
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
POINTS = [[10, 10], [30, 10], [30, 30], [10, 30]]
GOOD = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
ADA = [{"id": 1, "name": "Ada"}]
VOCAB = Vocab()


def image(number=1, name="1.jpg", width=100, height=60):
    return {"id": number, "file_name": name, "width": width, "height": height}


def read(folder, dirt=None, ids=("1",), **sources):
    """Posts "Ada", one for each id, with the regions of a source."""
    text = folder / "posts.txt"
    text.write_text("".join(f"IMGID:{name}\nAda\tB-PER\n\n" for name in ids), encoding="utf8")
    dirt = Dirt() if dirt is None else dirt
    posts = list(read_data_set(Sources(text=text, **sources), dirt))
    list(make_docs(enumerate(posts), VOCAB, source="posts"))
    return posts, dirt.counts


def read_coco(folder, annotations, *, images=None, categories=ADA, folder_of_pictures=None, **options):
    path = folder / "coco.json"
    path.write_text(
        json.dumps({"images": [image()] if images is None else images, "annotations": annotations, "categories": categories}),
        encoding="utf8",
    )
    return read(folder, boxes=path, images=folder_of_pictures, **options)


def boxes(post):
    return [row["xyxy"] for row in post["boxes"]]


def masks(post):
    return [decode_mask(row["mask_rle"]) for row in post["boxes"] if "mask_rle" in row]


def square(x1=10, y1=10, x2=30, y2=30, height=60, width=100):
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# VOC


def voc(
    head='<?xml version="1.0"?>',
    root="<annotation>",
    name="Ada",
    size="<size><width>60</width><height>50</height></size>",
    sides=(1, 2, 30, 40),
):
    corners = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), sides))
    return (
        f"{head}{root}<filename>1.jpg</filename>{size}<object><name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"
    )


def read_voc(folder, data, name="Ada"):
    (folder / "b").mkdir()
    (folder / "b" / "1.xml").write_bytes(data)
    (folder / "b" / "2.xml").write_text(voc().replace("1.jpg", "2.jpg"), encoding="utf8")
    (folder / "t.txt").write_text(f"IMGID:1\n{name}\tB-PER\n\nIMGID:2\nAda\tB-PER\n", encoding="utf8")
    dirt = Dirt()
    first, second = read_data_set(Sources(text=folder / "t.txt", boxes=folder / "b"), dirt)
    assert boxes(second) == [[1, 2, 30, 40]] and second["image_width"] == 60
    return first, dirt.counts


@pytest.mark.parametrize("declared, written", [
    ("gb2312", "gb2312"), ("GB2312", "gb18030"), ("gbk", "gbk"), ("big5", "big5"), ("shift_jis", "shift_jis"), ("euc-kr", "utf-8"),
    ("utf-8", "utf-8"), ("utf-8", "utf-8-sig"), ("utf-16", "utf-16"), ("utf-16", "utf-16-le"), ("utf-16", "utf-16-be"), ("utf-16", "utf-8"),
    ("utf-32", "utf-32"), ("utf8mb4", "utf-8"), ("hex", "utf-8"),
])  # fmt: skip
def test_voc_files_are_read_in_the_encoding_that_they_are_in(tmp_path, declared, written):
    name = "中山" if declared != "euc-kr" else "Ada"
    post, counts = read_voc(tmp_path, voc(f'<?xml version="1.0" encoding="{declared}"?>', name=name).encode(written), name)
    assert boxes(post) == [[1, 2, 30, 40]] and not counts


def test_voc_in_latin_1(tmp_path):
    post, counts = read_voc(tmp_path, voc("<?xml version='1.0' encoding='ISO-8859-1'?>", name="Renée").encode("latin-1"), "Renée")
    assert boxes(post) == [[1, 2, 30, 40]] and not counts


@pytest.mark.parametrize("value", ["None", "NaN", "nan", "60px", "inf", "-3", "200000", "1e400", "9" * 5000])
def test_voc_with_a_size_that_is_none(tmp_path, value):
    post, counts = read_voc(tmp_path, voc(size=f"<size><width>{value}</width><height>{value}</height></size>").encode())
    assert boxes(post) == [[1, 2, 30, 40]] and post["image_width"] is None and counts == {"bad_size": 1}


@pytest.mark.parametrize(
    "size", ["", "<size></size>", "<size><width/><height> </height></size>", "<size><width>0</width><height>0</height></size>"]
)
def test_voc_that_says_no_size(tmp_path, size):
    post, counts = read_voc(tmp_path, voc(size=size).encode())
    assert boxes(post) == [[1, 2, 30, 40]] and post["image_width"] is None and not counts


@pytest.mark.parametrize(
    "root", ['<annotation xmlns="http://example.org/voc">', '<annotation xmlns:x="http://example.org/x" x:verified="yes">']
)
def test_voc_with_a_namespace(tmp_path, root):
    post, counts = read_voc(tmp_path, voc(root=root).encode())
    assert boxes(post) == [[1, 2, 30, 40]] and not counts


def test_voc_with_prefixed_tags(tmp_path):
    text = voc(root="<annotation xmlns:v='urn:v'>").replace("<object>", "<v:object>").replace("</object>", "</v:object>")
    assert boxes(read_voc(tmp_path, text.encode())[0]) == [[1, 2, 30, 40]]


def test_voc_with_a_harmless_doctype(tmp_path):
    assert boxes(read_voc(tmp_path, voc('<!DOCTYPE annotation SYSTEM "voc.dtd">').encode())[0]) == [[1, 2, 30, 40]]


@pytest.mark.parametrize("data", [
    b"", b"<annotation>", voc().encode()[:120], "<?xml version='1.0' encoding='gb2312'?><annotation>中".encode(), b"\xff\xfe<\0a",
    "<annotation><object><name>Zoë</name></object></annotation>".encode("latin-1"), b"<html><body>404</body></html>", b"\0" * 40, codecs.BOM_UTF8,
    b'<!DOCTYPE a [<!ENTITY n SYSTEM "file:///etc/hostname">]><annotation><object><name>&n;</name></object></annotation>',
    b"<!DOCTYPE a SYSTEM 'a.dtd'><annotation><object><name>&undefined;</name></object></annotation>",
])  # fmt: skip
def test_voc_that_is_none_is_counted(tmp_path, data):
    post, counts = read_voc(tmp_path, data)
    assert post["boxes"] == [] and counts == {"bad_file": 1}


def test_entities_of_a_voc_file_are_not_expanded(tmp_path):
    laughs = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    tracemalloc.start()
    post, counts = read_voc(tmp_path, voc(f"<!DOCTYPE annotation [{laughs}]>", name="&a9;").encode("utf-16"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert post["boxes"] == [] and counts == {"bad_file": 1} and peak < 5e6


@pytest.mark.parametrize(
    "sides", [("nan", 1, 5, 5), (1, 1, "inf", 5), (1, 1, "1e300", 5), ("", 1, 5, 5), ("10px", 1, 50, 5), (5, 5, 1, 1)]
)
def test_voc_boxes_of_no_numbers(tmp_path, sides):
    post, counts = read_voc(tmp_path, voc(sides=sides).encode())
    assert post["boxes"] == [] and counts == {"bad_region": 1}


def test_a_folder_that_is_called_like_a_file(tmp_path):
    (tmp_path / "b" / "3.xml").mkdir(parents=True)
    (tmp_path / "b" / "1.xml").write_text(voc(), encoding="utf8")
    posts, counts = read(tmp_path, boxes=tmp_path / "b")
    assert boxes(posts[0]) == [[1, 2, 30, 40]] and counts == {"bad_file": 1}


# COCO


@pytest.mark.parametrize("bad", [
    {"bbox": [NAN, 1, 5, 5]}, {"bbox": [1, 1, INF, 5]}, {"bbox": [1, 1, -INF, 5]}, {"bbox": [1e300, 1, 5, 5]}, {"bbox": [10**400, 1, 5, 5]},
    {"bbox": 5}, {"bbox": "1 1 5 5"}, {"bbox": [1, 1, 5]}, {"bbox": [[1, 1], [5, 5]]}, {"bbox": {"x": 1}}, {"bbox": None}, {"bbox": [True, 1, 5, 5]},
    {"bbox": ["a", 1, 5, 5]}, {"image_id": [1]}, {"image_id": {"id": 1}}, {"image_id": None}, {"image_id": True}, {"category_id": [1]}, {"category_id": None},
    {"bbox": [1, 1, 0, 0]}, {"bbox": [1, 1, -5, 5]},
])  # fmt: skip
def test_one_bad_coco_annotation_is_left_out(tmp_path, bad):
    posts, counts = read_coco(tmp_path, [GOOD, {**GOOD, "id": 2, **bad}, {**GOOD, "id": 3, "bbox": [2, 2, 5, 5]}])
    assert boxes(posts[0]) == [[1, 1, 6, 6], [2, 2, 7, 7]] and counts == {"bad_region": 1}


@pytest.mark.parametrize("bad", [None, 7, "text", [1, 2], [GOOD]])
def test_annotations_that_are_no_objects(tmp_path, bad):
    posts, counts = read_coco(tmp_path, [bad, GOOD])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and counts == {"bad_region": 1}


@pytest.mark.parametrize("fine", [
    {"attributes": []}, {"attributes": "none"}, {"attributes": 3}, {"attributes": [{"name": "occluded", "value": False}]}, {"meta": "x"},
    {"attributes": [{"name": "entity", "value": "Ada"}, 4], "category_id": 99}, {"attributes": {"entity": "Ada"}, "category_id": 99},
    {"name": ["Ada"]}, {"caption": 0.5, "name": "Ada"}, {"image_id": "1"}, {"image_id": 1.0}, {"category_id": "1"}, {"bbox": ["1", "1", "5", "5"]}, {"id": [4]},
])  # fmt: skip
def test_fields_of_another_type_are_no_loss(tmp_path, fine):
    posts, counts = read_coco(tmp_path, [{**GOOD, **fine}])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not counts


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        {"id": 2},
        {"file_name": "2.jpg"},
        {"id": [2], "file_name": "2.jpg"},
        {"id": 2, "file_name": 7},
        {"id": 2, "file_name": "\ud83d.jpg"},
    ],
)
def test_one_bad_picture_is_left_out(tmp_path, bad):
    posts, counts = read_coco(tmp_path, [GOOD], images=[bad, image()])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and counts == {"bad_picture": 1}


@pytest.mark.parametrize("bad", [None, {"id": 2}, {"name": "x"}, {"id": [1], "name": "x"}, {"id": 3, "name": None}])
def test_one_bad_category_is_left_out(tmp_path, bad):
    posts, counts = read_coco(tmp_path, [GOOD], categories=[bad, *ADA])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and counts == {"bad_picture": 1}


@pytest.mark.parametrize(
    "width, height",
    [(200_000, 200_000), (NAN, 60), (100, INF), ("60px", 60), (-100, 60), ([100], 60), (None, 60), (10**9, 10**9), (10**400, 1)],
)
def test_no_mask_is_drawn_at_a_size_that_no_picture_has(tmp_path, width, height):
    tracemalloc.start()
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": [SQUARE]}], images=[image(width=width, height=height)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not masks(posts[0]) and posts[0]["image_width"] is None
    assert counts == {"bad_size": 1, "no_size": 1} and peak < 20e6


def test_sizes_written_as_text_are_sizes(tmp_path):
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": [SQUARE]}], images=[image(width="100", height=60.0)])
    assert (masks(posts[0])[0] == square()).all() and not counts


@pytest.mark.parametrize("segmentation", [
    [SQUARE], SQUARE, POINTS, [POINTS], [[SQUARE]], [[POINTS]], [[[POINTS]]], [SQUARE, []], [[str(x) for x in SQUARE]], [{"x": x, "y": y} for x, y in POINTS],
    [[10, 10, 20, 10, 20, 30, 10, 30], [20, 10, 30, 10, 30, 30, 20, 30]], [[10, 10, 20, 20], SQUARE],
    {"size": [60, 100], "counts": [610, *[20, 40] * 19, 20, 4230]}, [{"size": [60, 100], "counts": [610, *[20, 40] * 19, 20, 4230]}],
    encode_mask(square()), [encode_mask(square())], [encode_mask(square(x2=20)), [20, 10, 30, 10, 30, 30, 20, 30]], [encode_mask(square(x2=20)), encode_mask(square(x1=20))],
    {"size": ["60", "100"], "counts": [610.0, *[20, 40] * 19, 20, 4230]},
])  # fmt: skip
def test_every_form_of_a_mask_is_read(tmp_path, segmentation):
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": segmentation}])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and (masks(posts[0])[0] == square()).all() and not counts


@pytest.mark.parametrize("segmentation", [
    5, "polygon", [5], [SQUARE[:-1]], [[10, 10, 20, 20]], [SQUARE[:6] + [NAN, 3]], [SQUARE, SQUARE[:6] + [INF, 3]], [SQUARE[:6] + [1e300, 3]], [SQUARE[:6] + [None, 3]], [[{"x": 1}]],
    {"counts": [1]}, {"size": [60, 100]}, {"size": [60, 100], "counts": [1, 2]}, {"size": [60, 100], "counts": "~~~"}, {"size": [60, 100], "counts": "é"},
    {"size": [60, 100], "counts": [NAN]}, {"size": [60, 100], "counts": [10**30]}, {"size": [-60, -100], "counts": [6000]}, {"size": [INF, 100], "counts": [6000]},
    {"size": [200_000, 200_000], "counts": [10, 20, 40_000_000_000 - 30]}, {"size": [60, 100], "counts": [[6000]]}, {"size": [60, 100], "counts": ["6000"]},
    {"size": [60, 100], "counts": [0.5, 5999.5]}, {"size": 60, "counts": [6000]}, {"size": [60, 100], "counts": [2**63 - 1, 2**63 - 1, 6002]},
    [encode_mask(square()), encode_mask(np.ones((3, 3), bool))], [[[[[[[[SQUARE]]]]]]]],
])  # fmt: skip
def test_a_mask_that_is_none_is_counted_and_its_box_kept(tmp_path, segmentation):
    tracemalloc.start()
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": segmentation}])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not masks(posts[0]) and counts == {"bad_mask": 1} and peak < 20e6


@pytest.mark.parametrize("size", [[100, 60], [30, 50]])
def test_a_stored_mask_of_another_size_is_counted_and_its_box_kept(tmp_path, size):
    mask = np.zeros(size, bool)
    mask[2:5, 2:5] = True
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": encode_mask(mask)}])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not masks(posts[0]) and counts == {"mask_size": 1}


@pytest.mark.parametrize("segmentation", [[], [[]], {}, None, [[], []], {"size": [60, 100], "counts": [6000]}])
def test_no_mask_is_no_fault(tmp_path, segmentation):
    posts, counts = read_coco(tmp_path, [{**GOOD, "segmentation": segmentation}])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not masks(posts[0]) and not counts


@pytest.mark.parametrize(
    "box, told",
    [
        ([], {}),
        (None, {}),
        ([0, 0, 0, 0], {"box_from_mask": 1}),
        ([10, 10, -1, 5], {"box_from_mask": 1}),
        ([NAN] * 4, {"box_from_mask": 1}),
        ("?", {"box_from_mask": 1}),
    ],
)
@pytest.mark.parametrize("segmentation", [[SQUARE], encode_mask(square())])
def test_a_region_without_box_has_that_of_its_mask(tmp_path, box, told, segmentation):
    posts, counts = read_coco(tmp_path, [{**GOOD, "bbox": box, "segmentation": segmentation}])
    assert boxes(posts[0]) == [[10, 10, 30, 30]] and (masks(posts[0])[0] == square()).all() and counts == told


def test_a_region_without_box_and_size_has_the_box_of_its_corners(tmp_path):
    posts, counts = read_coco(tmp_path, [{**GOOD, "bbox": [], "segmentation": [SQUARE]}], images=[{"id": 1, "file_name": "1.jpg"}])
    assert boxes(posts[0]) == [[10, 10, 30, 30]] and counts == {"no_size": 1}


def test_runs_as_bytes_are_read():
    rle = encode_mask(square())
    for kind in (str.encode, lambda text: bytearray(text, "ascii"), lambda text: memoryview(text.encode())):
        assert (decode_mask({**rle, "counts": kind(rle["counts"])}) == square()).all()


def test_no_mask_is_decoded_that_is_larger_than_any_picture():
    with pytest.raises(RivegaError, match="200000x200000"):
        decode_mask({"size": [200_000, 200_000], "counts": [200_000**2]})


def test_pictures_of_one_name_in_two_folders(tmp_path):
    images = [image(1, "a/1.jpg"), image(2, "b/1.jpg", 50, 50)]
    annotations = [GOOD, {**GOOD, "id": 2, "image_id": 2, "bbox": [30, 30, 5, 5]}]
    posts, counts = read_coco(tmp_path, annotations, images=images)
    assert posts[0]["boxes"] == [] and counts == {"ambiguous": 2}
    row = {"id": "1", "tokens": ["Ada"], "tags": ["B-PER"]}
    for reference, expected in (
        ("b/1.jpg", [[30, 30, 35, 35]]),
        ("a\\1.jpg", [[1, 1, 6, 6]]),
        ("x/b/1.jpg", [[30, 30, 35, 35]]),
        ("1.jpg", []),
        ("c/1.jpg", []),
    ):
        (tmp_path / "posts.jsonl").write_text(json.dumps({**row, "image": reference}), encoding="utf8")
        (post,) = read_data_set(Sources(text=tmp_path / "posts.jsonl", boxes=tmp_path / "coco.json"), Dirt())
        assert boxes(post) == expected


def test_pictures_of_one_name_are_told_apart_by_the_folder_of_pictures(tmp_path):
    images = [image(1, "1.jpg"), image(2, "b/1.jpg")]
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (100, 60)).save(tmp_path / "pictures" / "1.jpg")
    annotations = [GOOD, {**GOOD, "id": 2, "image_id": 2, "bbox": [30, 30, 5, 5]}]
    posts, counts = read_coco(tmp_path, annotations, images=images, folder_of_pictures=tmp_path / "pictures")
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and not counts


def test_one_id_of_two_pictures(tmp_path):
    images = [image(1, "1.jpg"), image(1, "2.jpg", 50, 50), image(3, "3.jpg")]
    posts, counts = read_coco(tmp_path, [GOOD, {**GOOD, "image_id": 3}], images=images, ids=("1", "2", "3"))
    assert [boxes(post) for post in posts] == [[], [], [[1, 1, 6, 6]]] and counts == {"ambiguous": 1}


def test_a_picture_that_is_listed_twice_is_one(tmp_path):
    posts, counts = read_coco(
        tmp_path, [GOOD, {**GOOD, "id": 2, "image_id": 2, "bbox": [2, 2, 5, 5]}], images=[image(1), image(1), image(2)]
    )
    assert boxes(posts[0]) == [[1, 1, 6, 6], [2, 2, 7, 7]] and not counts


def judged(posts):
    return [doc.ents[0]._.groundable for doc in make_docs(enumerate(posts), VOCAB, source="posts")]


def test_whether_the_picture_shows_it_is_not_known_where_its_region_was_left_out(tmp_path):
    bad = {**GOOD, "bbox": [NAN, 1, 5, 5]}
    for annotations, expected in (
        ([bad], [None]),
        ([bad, {**GOOD, "id": 2}], [True]),
        ([], [False]),
        ([{**bad, "category_id": 5}], [False]),
    ):
        assert judged(read_coco(tmp_path, annotations)[0]) == expected
    images = [image(1, "1.jpg"), image(1, "2.jpg", 50, 50), image(3, "3.jpg")]
    assert judged(read_coco(tmp_path, [GOOD], images=images, ids=("1", "2", "3"))[0]) == [None, None, False]
    images = [image(1, "a/1.jpg"), image(2, "b/1.jpg")]
    assert judged(read_coco(tmp_path, [GOOD], images=images)[0]) == [None]


def test_one_id_of_two_categories(tmp_path):
    posts, counts = read_coco(tmp_path, [GOOD, {**GOOD, "id": 2, "name": "Ada"}], categories=[*ADA, {"id": 1, "name": "Bob"}])
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and counts == {"ambiguous": 1}


def test_annotations_of_one_id(tmp_path):
    posts, counts = read_coco(tmp_path, [GOOD, GOOD, {**GOOD, "bbox": [2, 2, 5, 5]}])
    assert boxes(posts[0]) == [[1, 1, 6, 6], [2, 2, 7, 7]] and counts == {"duplicate_region": 1}


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"images": 1, "annotations": []}', '{"images": [], "annotations": {}}', "[" * 100_000, '{"images": null}', "{"],
)
def test_what_is_not_coco_is_told(tmp_path, text):
    (tmp_path / "coco.json").write_text(text, encoding="utf8")
    with pytest.raises(RivegaError, match="not COCO"):
        read(tmp_path, boxes=tmp_path / "coco.json")


def test_coco_in_utf_16_and_with_numbers_of_thousands_of_digits(tmp_path):
    text = json.dumps({"images": [image()], "annotations": [GOOD, {**GOOD, "area": "#"}], "categories": ADA}).replace(
        '"#"', "9" * 5000
    )
    (tmp_path / "coco.json").write_bytes(text.encode("utf-16"))
    posts, counts = read(tmp_path, boxes=tmp_path / "coco.json")
    assert boxes(posts[0]) == [[1, 1, 6, 6]] * (2 - counts.get("duplicate_region", 0))


# labelme


def read_labelme(folder, shapes, **row):
    (folder / "b").mkdir()
    file = {"imagePath": "1.jpg", "imageWidth": 100, "imageHeight": 60, "shapes": shapes, **row}
    (folder / "b" / "1.json").write_text(json.dumps(file), encoding="utf8")
    posts, counts = read(folder, boxes=folder / "b")
    return posts[0], counts


def shape(points, kind="polygon", **more):
    return {"label": "Ada", "points": points, "shape_type": kind, **more}


@pytest.mark.parametrize("bad", [
    shape([[NAN, 10], [30, 10], [30, 30]]), shape([[10, INF], [30, 10], [30, 30]]), shape([[1e300, 10], [30, 10], [30, 30]]), shape([10, 10, 30, 10, 30, 30]), shape("10,10"),
    shape(None), shape([[1, 2, 3]] * 3), shape([[10, 10], [NAN, 30]], "rectangle"), shape([[10, 10], [1e30, 30]], "rectangle"), shape([[10, 10], [INF, 10]], "circle"),
    shape([[1, 1], [2, 2]], "mask", mask=5), shape([[1, 1], [2, 2]], "mask"), shape(POINTS, ["polygon"]), {"label": ["Ada"], "points": POINTS}, "Ada", None, 4, [],
])  # fmt: skip
def test_one_bad_labelme_shape_is_left_out(tmp_path, bad):
    post, counts = read_labelme(tmp_path, [bad, shape([[1, 2], [9, 8]], "rectangle")])
    assert boxes(post) == [[1, 2, 9, 8]] and counts == {"bad_region": 1}


@pytest.mark.parametrize("size", [(200_000, 200_000), (NAN, 60), ("60px", 50), (-1, -1), (INF, INF), ([1], [1])])
def test_labelme_of_a_size_that_no_picture_has(tmp_path, size):
    tracemalloc.start()
    post, counts = read_labelme(tmp_path, [shape(POINTS), shape([[1, 1], [5, 5]], "line")], imageWidth=size[0], imageHeight=size[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert boxes(post) == [[10, 10, 30, 30]] and not masks(post) and peak < 20e6
    assert counts == {"bad_size": 1, "no_size": 1, "bad_region": 1}


@pytest.mark.parametrize("form", ["labelme", "prodigy"])
def test_no_more_is_held_than_what_is_drawn(tmp_path, form):
    disc = shape([[20, 20], [25, 20]], "circle")
    tracemalloc.start()
    if form == "labelme":
        post, counts = read_labelme(
            tmp_path, [shape(POINTS), disc, shape([[9e6, 9e6], [9e6, 9.1e6], [9.1e6, 9e6]])], imageWidth=10_000, imageHeight=9_000
        )
    else:
        post, counts = read_prodigy(tmp_path, [{"type": "polygon", "label": "Ada", "points": POINTS}], width=10_000, height=9_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    first = decode_mask(post["boxes"][0]["mask_rle"])
    assert peak < 20e6 and first.shape == (9_000, 10_000) and first[10:31, 10:31].all() and first.sum() == 21 * 21
    assert counts == ({"bad_region": 1} if form == "labelme" else {})


def test_labelme_without_a_size(tmp_path):
    post, counts = read_labelme(tmp_path, [shape(POINTS)], imageWidth=None, imageHeight=None)
    assert boxes(post) == [[10, 10, 30, 30]] and counts == {"no_size": 1}


@pytest.mark.parametrize("path", [None, 5, ["1.jpg"], "", "\ud800.jpg"])
def test_labelme_with_an_odd_reference(tmp_path, path):
    post, counts = read_labelme(tmp_path, [shape([[1, 2], [9, 8]], "rectangle")], imagePath=path)
    assert boxes(post) == [[1, 2, 9, 8]] and post.get("image") is None and not counts


def test_labelme_files_of_one_name_in_two_folders(tmp_path):
    for folder, corner in (("a", 9), ("b", 20)):
        (tmp_path / "r" / folder).mkdir(parents=True)
        row = {
            "imagePath": "1.jpg",
            "imageWidth": 100,
            "imageHeight": 60,
            "shapes": [shape([[1, 2], [corner, corner]], "rectangle")],
        }
        (tmp_path / "r" / folder / "1.json").write_text(json.dumps(row), encoding="utf8")
    posts, counts = read(tmp_path, boxes=tmp_path / "r")
    assert posts[0]["boxes"] == [] and counts == {"ambiguous": 2}


# Prodigy


def read_prodigy(folder, spans, **row):
    (folder / "r.jsonl").write_text(json.dumps({"id": "1", "width": 100, "height": 60, "spans": spans, **row}), encoding="utf8")
    posts, counts = read(folder, boxes=folder / "r.jsonl")
    return posts[0], counts


RECT = {"type": "rect", "label": "Ada", "x": 1, "y": 1, "width": 5, "height": 5}


@pytest.mark.parametrize("bad", [
    {**RECT, "x": NAN}, {**RECT, "width": INF}, {**RECT, "x": 1e300}, {**RECT, "x": [1]}, {**RECT, "x": None}, {**RECT, "label": 5}, {**RECT, "label": ["Ada"]}, "Ada", None, 3,
    {"type": "polygon", "label": "Ada", "points": [[NAN, 1], [5, 5], [1, 5]]}, {"type": "polygon", "label": "Ada", "points": [1, 1, 5, 5, 1, 5]},
    {"type": "polygon", "label": "Ada"}, {"type": "freehand", "label": "Ada", "points": "1,1"}, {"type": "polygon", "label": "Ada", "points": [[1, 1], [2, 2]]},
])  # fmt: skip
def test_one_bad_prodigy_span_is_left_out(tmp_path, bad):
    post, counts = read_prodigy(tmp_path, [bad, RECT])
    assert boxes(post) == [[1, 1, 6, 6]] and counts == {"bad_region": 1}


def test_prodigy_numbers_as_text_are_added_and_not_joined(tmp_path):
    post, _ = read_prodigy(tmp_path, [{**RECT, "x": "1", "y": "1", "width": "5", "height": "5"}])
    assert boxes(post) == [[1, 1, 6, 6]]


def test_one_bad_line_of_prodigy_leaves_the_rest(tmp_path):
    good = json.dumps({"id": "1", "width": 100, "height": 60, "spans": [RECT]})
    (tmp_path / "r.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 2, "spans": [\n7\n' + good.encode() + b"\n" + b"[" * 100_000)
    posts, counts = read(tmp_path, boxes=tmp_path / "r.jsonl")
    assert boxes(posts[0]) == [[1, 1, 6, 6]] and counts == {"bad_region": 3}


@pytest.mark.parametrize("width", [200_000, NAN, "60px"])
def test_prodigy_of_a_size_that_no_picture_has(tmp_path, width):
    post, counts = read_prodigy(tmp_path, [{"type": "polygon", "label": "Ada", "points": POINTS}], width=width, height=200_000)
    assert boxes(post) == [[10, 10, 30, 30]] and not masks(post) and counts == {"bad_size": 1, "no_size": 1}


@pytest.mark.parametrize("odd", [{"meta": "x"}, {"meta": [1]}, {"path": 5}, {"path": "\ud800"}])
def test_prodigy_fields_of_another_type(tmp_path, odd):
    assert boxes(read_prodigy(tmp_path, [RECT], **odd)[0]) == [[1, 1, 6, 6]]


@pytest.mark.parametrize(
    "spans",
    ["Ada", 5, {"start": 0}, [None], ["Ada"], [{"start": [0], "end": 3, "label": "PER"}], [{"start": 0, "end": 3, "label": 5}]],
)
def test_prodigy_texts_with_odd_spans(tmp_path, spans):
    rows = [{"text": "Ada", "spans": spans}, {"text": "Ada", "spans": [{"start": 0, "end": 3, "label": "PER"}]}]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf8")
    dirt = Dirt()
    first, second = read_data_set(Sources(text=tmp_path / "t.jsonl", format="prodigy"), dirt)
    assert first["tags"] == ["O"] and second["tags"] == ["B-PER"] and dirt.counts == {"misaligned": 1}


# Compact posts


@pytest.mark.parametrize("bad, told", [
    ({"name": "Ada", "xyxy": [NAN, 1, 5, 5]}, "bad_region"), ({"name": "Ada", "xyxy": [1, 1, 1e300, 5]}, "bad_region"), ({"name": "Ada", "xyxy": 5}, "bad_region"), ("Ada", "bad_region"),
    ({"name": "Ada", "mask_rle": 5}, "bad_region"), ({"name": "Ada", "mask_rle": {"size": [2, 2], "counts": [1]}}, "bad_region"),
])  # fmt: skip
def test_one_bad_region_of_a_compact_post_is_left_out(tmp_path, bad, told):
    row = {"id": "1", "tokens": ["Ada"], "tags": ["B-PER"], "boxes": [bad, {"name": "Ada", "xyxy": [1, 1, 6, 6]}]}
    (tmp_path / "posts.jsonl").write_text(json.dumps(row), encoding="utf8")
    dirt = Dirt()
    (post,) = read_data_set(Sources(text=tmp_path / "posts.jsonl"), dirt)
    assert boxes(post) == [[1, 1, 6, 6]] and dirt.counts == {told: 1}


def test_compact_masks_that_are_none_or_of_another_size(tmp_path):
    rows = [
        {"name": "Ada", "xyxy": [1, 1, 6, 6], "mask_rle": {"size": [60, 100], "counts": "~"}},
        {"name": "Ada", "xyxy": [2, 2, 6, 6], "mask_rle": encode_mask(square(height=30))},
    ]
    row = {"id": "1", "tokens": ["Ada"], "tags": ["B-PER"], "boxes": rows, "image_width": 100, "image_height": 60}
    (tmp_path / "posts.jsonl").write_text(json.dumps(row), encoding="utf8")
    dirt = Dirt()
    (post,) = read_data_set(Sources(text=tmp_path / "posts.jsonl"), dirt)
    assert boxes(post) == [[1, 1, 6, 6], [2, 2, 6, 6]] and not masks(post) and dirt.counts == {"bad_mask": 1, "mask_size": 1}
