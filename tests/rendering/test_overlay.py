import numpy as np
import pytest
from PIL import Image

from rivega_spacy.post.errors import ImageError
from rivega_spacy.rendering import render_overlay
from rivega_spacy.rendering.labels import place_labels
from rivega_spacy.rendering.overlay import _font, mask_layer, readable
from rivega_spacy.rendering.shapes import PALETTE, doc_shapes, rgb


def near(pixel, colour, tolerance=12):
    return max(abs(int(a) - int(b)) for a, b in zip(pixel, colour)) <= tolerance


def test_box_and_mask_are_drawn_where_they_are_in_the_entitys_colour(make_post, grey, block):
    box = [100, 150, 400, 450]
    doc = make_post("Ada", grey(600, 800), [{"text": "Ada", "boxes": [box], "mask": block(600, 800, [200, 250, 300, 350])}])
    picture = np.asarray(render_overlay(doc, labels=False))
    assert picture.shape == (600, 800, 3)
    colour = rgb(PALETTE[0])
    assert near(picture[300, 101], colour), "the frame"
    assert near(picture[150 + 200, 399 - 1], colour), "its right side"
    assert tuple(picture[300, 150]) == (128, 128, 128), "between frame and mask nothing is drawn"
    blend = [128 * 0.55 + 0.45 * c for c in colour]
    assert near(picture[300, 250], blend), "inside the mask"
    assert near(picture[300, 200], colour), "the mask's outline"
    assert tuple(picture[20, 20]) == (128, 128, 128)


@pytest.mark.parametrize("off, spot", [("boxes", (300, 101)), ("masks", (300, 250))])
def test_parts_can_be_left_out(make_post, grey, block, off, spot):
    doc = make_post(
        "Ada", grey(600, 800), [{"text": "Ada", "boxes": [[100, 150, 400, 450]], "mask": block(600, 800, [200, 250, 300, 350])}]
    )
    assert tuple(np.asarray(render_overlay(doc, labels=False))[spot]) != (128, 128, 128)
    assert tuple(np.asarray(render_overlay(doc, labels=False, **{off: False}))[spot]) == (128, 128, 128)


def test_a_mask_without_box_and_a_box_without_mask(make_post, grey, block):
    doc = make_post(
        "Ada met Bob",
        grey(400, 400),
        [{"text": "Ada", "mask": block(400, 400, [10, 200, 60, 260])}, {"text": "Bob", "boxes": [[200, 200, 300, 300]]}],
    )
    picture = np.asarray(render_overlay(doc, min_side=1))
    assert near(picture[230, 35], [128 * 0.55 + 0.45 * c for c in rgb(PALETTE[0])])
    assert near(picture[250, 201], rgb(PALETTE[1]))
    assert (picture[:200, 10:60] != 128).any(), "the mask has a label too"


def test_what_is_not_in_the_picture_is_not_drawn(make_post, grey):
    doc = make_post("Ada in Rome", grey(300, 300), [{"text": "Ada", "groundable": False}, {"text": "Rome"}])
    assert (np.asarray(render_overlay(doc)) == 128).all()


def test_two_entities_with_the_same_box_both_show(make_post, grey):
    box = [50, 50, 350, 350]
    doc = make_post("Ada and Bob", grey(512, 512), [{"text": "Ada", "boxes": [box]}, {"text": "Bob", "boxes": [box]}])
    row = np.asarray(render_overlay(doc, labels=False))[200]
    assert any(near(pixel, rgb(PALETTE[0])) for pixel in row[40:70])
    assert any(near(pixel, rgb(PALETTE[1])) for pixel in row[40:70])


def test_boxes_beyond_the_picture_are_cut_or_left_out_with_a_note(make_post, grey):
    doc = make_post(
        "Ada and Bob and Cid",
        grey(200, 300),
        [
            {"text": "Ada", "boxes": [[-50, -50, 100, 100]]},
            {"text": "Bob", "boxes": [[250, 150, 9000, 9000]]},
            {"text": "Cid", "boxes": [[400, 400, 500, 500]]},
        ],
    )
    first, second, third = doc_shapes(doc)
    assert first.boxes == [[0, 0, 100, 100]]
    assert second.boxes == [[250, 150, 300, 200]]
    assert third.boxes == [] and "300x200" in third.problem and "Cid" in third.problem
    assert third.colour is None
    render_overlay(doc)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (900, 2), (3, 3)])
def test_tiny_and_narrow_pictures(make_post, grey, block, size):
    height, width = size
    doc = make_post(
        "Ada",
        grey(height, width),
        [{"text": "Ada", "boxes": [[0, 0, width, height]], "mask": block(height, width, [0, 0, width, height])}],
    )
    picture = render_overlay(doc)
    assert max(picture.size) == max(512, height, width)
    assert (np.asarray(picture) != 128).any()


@pytest.mark.slow
def test_a_huge_picture_is_scaled_down_with_its_boxes(make_post, grey, block):
    doc = make_post(
        "Ada",
        grey(3000, 4000),
        [{"text": "Ada", "boxes": [[1000, 1000, 3000, 2000]], "mask": block(3000, 4000, [1500, 1400, 2500, 1800])}],
    )
    picture = np.asarray(render_overlay(doc, max_side=1000, labels=False))
    assert picture.shape == (750, 1000, 3)
    assert near(picture[375, 251], rgb(PALETTE[0]))
    assert near(picture[400, 500], [128 * 0.55 + 0.45 * c for c in rgb(PALETTE[0])])


def test_a_mask_of_another_size_is_not_drawn_and_the_reason_is_kept(make_post, grey, block):
    doc = make_post("Ada", grey(100, 100), [{"text": "Ada", "mask": block(50, 50, [0, 0, 50, 50])}])
    shape = doc_shapes(doc)[0]
    assert shape.mask is None and "[50, 50]" in shape.problem
    doc.ents[0]._.mask_rle = {"size": [100, 100], "counts": "!!"}
    assert "cannot be drawn" in doc_shapes(doc)[0].problem
    doc.ents[0]._.mask_rle = {"size": [100000000, 100000000], "counts": "0"}
    assert doc_shapes(doc)[0].mask is None
    render_overlay(doc)


def test_without_a_readable_picture_the_error_says_so(make_post, tmp_path):
    with pytest.raises(ImageError, match=r"\[E600\]"):
        render_overlay(make_post("Ada", None, [{"text": "Ada"}]))
    with pytest.raises(ImageError, match="no picture that can be read"):
        render_overlay(make_post("Ada", tmp_path / "missing.png", [{"text": "Ada", "boxes": [[0, 0, 5, 5]]}]))


def test_exif_rotated_pictures_are_drawn_as_seen(make_post, tmp_path):
    picture = Image.fromarray(np.zeros((40, 80, 3), dtype="uint8"))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    doc = make_post("Ada", tmp_path / "turned.jpg", [{"text": "Ada", "boxes": [[0, 0, 40, 80]]}])
    assert render_overlay(doc, min_side=1).size == (40, 80)


@pytest.mark.parametrize(
    "name", ["🚀🚀", "محمد", "Zoë", "王小明", "A very long name that no picture of this width has room for, ever"]
)
def test_names_in_any_script_can_be_labels(make_post, grey, name):
    doc = make_post(f"{name} here", grey(300, 300), [{"text": name, "label": "OTHER", "boxes": [[20, 60, 200, 200]]}])
    plain = np.asarray(render_overlay(doc, labels=False))
    assert (np.asarray(render_overlay(doc)) != plain).any()


def test_readable_keeps_what_the_font_has():
    font = _font(16)
    assert readable("Zoë  Łukasz 🚀\nx", font) == "Zoe Lukasz x"
    assert readable("محمد", font) == ""


def test_mask_layer_outlines_masks_that_touch_the_edge():
    layer = np.asarray(mask_layer(np.ones((50, 50), dtype=bool), (50, 50), (10, 20, 30), 0.4))
    assert layer[0, 25, 3] == 255 and layer[25, 0, 3] == 255
    assert layer[25, 25, 3] == round(0.4 * 255)
    assert (layer[:, :, :3] == (10, 20, 30)).all()


def test_labels_do_not_cover_each_other_and_stay_within():
    anchors = [[100, 100, 300, 300]] * 6 + [[0, 0, 640, 480], [630, 470, 640, 480], [-20, 5, 10, 30]]
    sizes = [(120, 20)] * len(anchors)
    places = place_labels(anchors, sizes, 640, 480)
    for index, (left, top) in enumerate(places):
        assert 0 <= left <= 640 - 120 and 0 <= top <= 480 - 20
        for other_left, other_top in places[index + 1 :]:
            assert abs(left - other_left) >= 120 or abs(top - other_top) >= 20


def test_labels_without_room_still_get_a_place():
    assert place_labels([[0, 0, 5, 5]] * 3, [(50, 20)] * 3, 10, 10) == [(0.0, 0.0)] * 3


def test_from_the_registry(make_post, grey):
    from spacy.util import registry

    render = registry.misc.get("rivega.Overlay.v1")(max_side=200, labels=False)
    assert render(make_post("Ada", grey(400, 400))).size == (200, 200)
