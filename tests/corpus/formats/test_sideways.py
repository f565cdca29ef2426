"""Photographs that are stored on their side: regions lie on the picture as a person sees it, whatever their tool wrote down."""

import json

import numpy as np
import pytest
from PIL import Image

from rivega_spacy.corpus.converting import convert_sources
from rivega_spacy.corpus.formats.assemble import Sources
from rivega_spacy.post.images import read_image
from rivega_spacy.post.rle import decode_mask, encode_mask

T = Image.Transpose
# What turns the upright picture into the stored one: the reverse of what a viewer does.
REVERSE = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}
WIDTH, HEIGHT = 60, 100
# Low in an upright picture of 60x100: beyond the lower edge of one of 100x60.
BOX = (12, 70, 32, 92)


@pytest.fixture
def photograph(tmp_path):
    """Makes a picture with a red square at BOX as a person sees it; its path, its mask, and the box of the square as it is stored."""

    def make(orientation, name="1.jpg"):
        upright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        upright[BOX[1] : BOX[3], BOX[0] : BOX[2], 0] = 255
        stored = Image.fromarray(upright)
        stored = stored if REVERSE[orientation] is None else stored.transpose(REVERSE[orientation])
        exif = Image.Exif()
        exif[0x0112] = orientation
        (tmp_path / "pictures").mkdir(exist_ok=True)
        stored.save(tmp_path / "pictures" / name, exif=exif, quality=100, subsampling=0)
        rows, columns = np.nonzero(np.array(stored)[..., 0] > 128)
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        mask = read_image(tmp_path / "pictures" / name)[..., 0] > 128
        return mask, box

    return make


def corners(box):
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def convert(folder, annotation, width, height, *, at_hand=True):
    file = {"images": [{"id": 1, "file_name": "1.jpg", "width": width, "height": height}], "categories": [{"id": 1, "name": "Ada"}]}
    file["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, **annotation}]
    (folder / "coco.json").write_text(json.dumps(file), encoding="utf8")
    return convert_boxes(folder, folder / "coco.json", at_hand)


def convert_boxes(folder, boxes, at_hand=True):
    (folder / "posts.txt").write_text("IMGID:1\nAda\tB-PER\n", encoding="utf8")
    images = folder / "pictures" if at_hand else None
    lines, _ = convert_sources(Sources(text=folder / "posts.txt", boxes=boxes), folder / "out.jsonl", images=images)
    return json.loads((folder / "out.jsonl").read_text(encoding="utf8")), "\n".join(lines)


# What would lie in either picture was drawn on the one whose size is stated; nothing else tells. So 7 and 8, whose square is stored in the
# upper left, are not among what was drawn on the stored picture and states the upright size.
DRAWN = [(o, stated, drawn) for o in (5, 6, 7, 8) for stated in ("upright", "stored") for drawn in ("upright", "stored")]
DRAWN = [case for case in DRAWN if case[1:] != ("upright", "stored") or case[0] in (5, 6)]


@pytest.mark.parametrize("orientation, stated, drawn", DRAWN)
def test_regions_lie_where_a_person_sees_them(tmp_path, photograph, orientation, stated, drawn):
    mask, stored_box = photograph(orientation)
    size = (WIDTH, HEIGHT) if stated == "upright" else (HEIGHT, WIDTH)
    x1, y1, x2, y2 = box = BOX if drawn == "upright" else stored_box
    post, told = convert(tmp_path, {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": [corners(box)]}, *size)
    (row,) = post["boxes"]
    assert (decode_mask(row["mask_rle"]) == mask).all() and row["xyxy"] == list(BOX)
    assert (post["image_width"], post["image_height"]) == (WIDTH, HEIGHT)
    assert ("lie sideways" in told) == (drawn == "stored") and "--images" not in told


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_mirrored_pictures_are_annotated_as_a_person_sees_them(tmp_path, photograph, orientation):
    mask, _ = photograph(orientation)
    post, told = convert(tmp_path, {"segmentation": [corners(BOX)]}, WIDTH, HEIGHT)
    assert (decode_mask(post["boxes"][0]["mask_rle"]) == mask).all() and "sideways" not in told


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("stated", ["upright", "stored"])
def test_stored_masks_are_turned_by_their_own_size(tmp_path, photograph, orientation, stated):
    mask, (x1, y1, x2, y2) = photograph(orientation)
    stored = np.zeros((WIDTH, HEIGHT), bool)
    stored[y1:y2, x1:x2] = True
    size = (WIDTH, HEIGHT) if stated == "upright" else (HEIGHT, WIDTH)
    for given in (mask, stored):
        post, _ = convert(tmp_path, {"segmentation": encode_mask(given)}, *size)
        (row,) = post["boxes"]
        assert (decode_mask(row["mask_rle"]) == mask).all() and row["xyxy"] == list(BOX)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_voc_boxes_are_turned_and_still_count_from_one(tmp_path, photograph, orientation):
    _, (x1, y1, x2, y2) = photograph(orientation)
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2)))
    size = f"<size><width>{HEIGHT}</width><height>{WIDTH}</height></size>"
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "1.xml").write_text(
        f"<annotation>{size}<object><name>Ada</name><bndbox>{sides}</bndbox></object></annotation>", encoding="utf8"
    )
    post, _ = convert_boxes(tmp_path, tmp_path / "xml")
    assert post["boxes"][0]["xyxy"] == [BOX[0] + 1, BOX[1] + 1, BOX[2], BOX[3]] and post["image_width"] == WIDTH


@pytest.mark.parametrize("orientation", [6, 8])
def test_labelme_polygons_are_drawn_by_its_rule_and_then_turned(tmp_path, photograph, orientation):
    mask, (x1, y1, x2, y2) = photograph(orientation)
    # labelme draws the outline too: the last pixels are one less.
    points = [[x1, y1], [x2 - 1, y1], [x2 - 1, y2 - 1], [x1, y2 - 1]]
    row = {
        "imagePath": "../pictures/1.jpg",
        "imageWidth": HEIGHT,
        "imageHeight": WIDTH,
        "shapes": [{"label": "Ada", "points": points, "shape_type": "polygon"}],
    }
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "1.json").write_text(json.dumps(row), encoding="utf8")
    # The file itself says where its picture is.
    post, _ = convert_boxes(tmp_path, tmp_path / "masks", at_hand=False)
    assert (decode_mask(post["boxes"][0]["mask_rle"]) == mask).all() and post["boxes"][0]["xyxy"] == list(BOX)


def test_regions_of_a_smaller_copy_are_scaled(tmp_path, photograph):
    mask, _ = photograph(1)
    half = [value / 2 for value in BOX]
    post, told = convert(
        tmp_path,
        {"bbox": [half[0], half[1], half[2] - half[0], half[3] - half[1]], "segmentation": [corners(half)]},
        WIDTH // 2,
        HEIGHT // 2,
    )
    assert (
        (decode_mask(post["boxes"][0]["mask_rle"]) == mask).all()
        and post["boxes"][0]["xyxy"] == list(BOX)
        and "annotated at another size" in told
    )


@pytest.mark.parametrize("width, height", [(200_000, 200_000), (None, None), ("60px", 5), (70, 100), (30, 90)])
def test_the_picture_decides_where_the_stated_size_is_wrong(tmp_path, photograph, width, height):
    mask, _ = photograph(6)
    post, _ = convert(tmp_path, {"segmentation": [corners(BOX)]}, width, height)
    assert (decode_mask(post["boxes"][0]["mask_rle"]) == mask).all() and post["image_width"] == WIDTH


def test_what_reaches_beyond_the_picture_is_cut_and_counted(tmp_path, photograph):
    photograph(1)
    post, told = convert(tmp_path, {"bbox": [40, 80, 60, 60], "segmentation": [corners((40, 80, 100, 140))]}, WIDTH, HEIGHT)
    (row,) = post["boxes"]
    assert (
        row["xyxy"] == [40, 80, WIDTH, HEIGHT]
        and decode_mask(row["mask_rle"]).sum() == 20 * 20
        and "1 regions reach beyond" in told
    )
    post, told = convert(tmp_path, {"bbox": [400, 80, 60, 60], "segmentation": [corners((400, 80, 460, 140))]}, WIDTH, HEIGHT)
    assert post["boxes"] == [] and "1 regions are empty or malformed" in told


def test_without_the_picture_what_does_not_fit_is_counted_and_no_mask_is_cut(tmp_path):
    annotation = {"bbox": [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]], "segmentation": [corners(BOX)]}
    post, told = convert(tmp_path, annotation, HEIGHT, WIDTH, at_hand=False)
    (row,) = post["boxes"]
    assert row["xyxy"] == list(BOX) and "mask_rle" not in row and "image_width" not in post
    assert "1 pictures have regions that fit only if it is turned on its side" in told
    post, told = convert(tmp_path, annotation, WIDTH, HEIGHT, at_hand=False)
    assert "mask_rle" in post["boxes"][0] and "turned on its side" not in told


def test_a_slip_over_the_edge_is_none_of_this(tmp_path):
    post, told = convert(tmp_path, {"segmentation": [corners((-1, 20, 61.5, 50))]}, WIDTH, HEIGHT, at_hand=False)
    assert decode_mask(post["boxes"][0]["mask_rle"]).sum() == WIDTH * 30 and "reach beyond" not in told


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0cut"])
def test_a_picture_that_cannot_be_opened_decides_nothing(tmp_path, data):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.jpg").write_bytes(data)
    post, _ = convert(tmp_path, {"segmentation": [corners(BOX)]}, WIDTH, HEIGHT)
    assert post["image_width"] == WIDTH and decode_mask(post["boxes"][0]["mask_rle"]).sum() == 20 * 22


def test_compact_posts_are_turned_too(tmp_path, photograph):
    mask, (x1, y1, x2, y2) = photograph(6)
    stored = np.zeros((WIDTH, HEIGHT), bool)
    stored[y1:y2, x1:x2] = True
    row = {"id": "1", "tokens": ["Ada"], "tags": ["B-PER"], "image_width": HEIGHT, "image_height": WIDTH}
    row["boxes"] = [{"name": "Ada", "xyxy": [x1, y1, x2, y2], "mask_rle": encode_mask(stored)}]
    (tmp_path / "posts.jsonl").write_text(json.dumps(row), encoding="utf8")
    convert_sources(Sources(text=tmp_path / "posts.jsonl"), tmp_path / "out.jsonl", images=tmp_path / "pictures")
    post = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf8"))
    assert (decode_mask(post["boxes"][0]["mask_rle"]) == mask).all() and post["boxes"][0]["xyxy"] == list(BOX)
