"""Fitting and augmentation: boxes stay on what they frame."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rivega_spacy.backends.small import pictures
from rivega_spacy.backends.small.pictures import MAX_STRETCH, LabelledPicture, augmented, fit, plain, to_input
from rivega_spacy.training.blanks import blank_picture


def marked(width=120, height=90, box=(30, 20, 80, 70), known=(True, True)) -> LabelledPicture:
    """Grey with a pure red rectangle: key 0 is the rectangle, key 1 is nothing."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = (255, 0, 0)
    boxes = np.array([box], np.float32)
    return LabelledPicture(Image.fromarray(pixels), boxes, np.zeros(1, int), np.zeros(1, bool), np.array(known))


@pytest.fixture
def true_colours(monkeypatch):
    """Geometry alone: the rectangle stays red, so that it can be found again."""
    monkeypatch.setattr(pictures, "_colours", lambda pixels, rng: pixels)


def red_box(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(int)
    rows, columns = np.nonzero((values[..., 0] - values[..., 1] > 60) & (values[..., 0] - values[..., 2] > 60))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@examples(200)
@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([64, 192]))
def test_fit_maps_back_exactly(width, height, size):
    placed = fit(width, height, size)
    box = np.array([[0.1 * width, 0.2 * height, 0.7 * width, 0.9 * height]])
    assert np.allclose(placed.to_picture(placed.to_input(box)), box)
    assert placed.left >= 0 and placed.left + placed.inner_width <= size
    assert placed.top >= 0 and placed.top + placed.inner_height <= size
    assert max(placed.inner_width, placed.inner_height) == size
    if min(placed.inner_width, placed.inner_height) > 30:
        across, down = placed.inner_width / width, placed.inner_height / height
        assert max(across / down, down / across) <= MAX_STRETCH * 1.05


@pytest.mark.parametrize(("width", "height"), [(120, 90), (90, 200), (300, 80), (2000, 1500)])
def test_whole_picture(width, height):
    box = (width // 4, height // 5, width // 2, height // 2)
    view = plain(marked(width, height, box), 96)
    assert view.pixels.shape == (96, 96, 3)
    assert np.abs(red_box(view.pixels) - view.boxes[0]).max() <= 1.5
    assert view.status.tolist() == [1, 0]


def test_gigantic_and_tiny_pictures():
    for shape in [(3000, 5, 3), (1, 1, 3), (4100, 4100, 3)]:
        pixels, placed = to_input(np.zeros(shape, np.uint8), 64)
        assert pixels.shape == (64, 64, 3) and (placed.width, placed.height) == (shape[1], shape[0])


def test_random_views_keep_the_box_on_the_object(true_colours):
    rng = np.random.default_rng(0)
    found, absent, unknown = 0, 0, 0
    for _ in range(150):
        view = augmented([marked(box=(75, 50, 119, 89))], 96, rng)
        if view.status[0] == 1:
            found += 1
            assert np.abs(red_box(view.pixels) - view.boxes[0]).max() <= 3.5
            assert view.boxes.min() >= -1e-3 and view.boxes.max() <= 96 + 1e-3
        elif view.status[0] == 0:
            absent += 1
            values = view.pixels.astype(int)
            assert (values[..., 0] - values[..., 1] > 60).mean() < 0.02
        else:
            unknown += 1
        assert view.status[1] == 0
    assert found > 90 and absent + unknown > 0


def test_mosaic_holds_all_four(true_colours):
    rng = np.random.default_rng(1)
    other = marked(box=(10, 10, 60, 60))
    for _ in range(20):
        view = augmented([marked(), other, marked(), other], 128, rng)
        assert view.pixels.shape == (128, 128, 3)
        inside = view.boxes[~view.hard]
        assert len(inside) <= 4
        for x0, y0, x1, y1 in inside.round().astype(int):
            middle = view.pixels[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].reshape(-1, 3).mean(axis=0)
            assert middle[0] > middle[1] + 60


def test_a_question_unknown_in_one_part_is_unknown_in_the_mosaic():
    rng = np.random.default_rng(2)
    view = augmented([marked(), marked(), marked(), marked(known=(True, False))], 128, rng)
    assert view.status[1] == -1


def test_hard_objects_are_neither_shown_nor_absent():
    picture = marked()
    hard = LabelledPicture(picture.image, picture.boxes, picture.owner, np.ones(1, bool), picture.known)
    assert plain(hard, 64).status.tolist() == [-1, 0]


def test_left_and_right_forbid_mirroring(true_colours):
    picture = marked(box=(0, 20, 40, 70))
    still = LabelledPicture(picture.image, picture.boxes, picture.owner, picture.hard, picture.known, mirror=False)
    rng = np.random.default_rng(3)
    whole = [view for view in (augmented([still], 96, rng) for _ in range(60)) if view.status[0] == 1]
    # The rectangle touches the left edge; unmirrored it can never touch the right edge with grey to its left.
    for view in whole:
        box = view.boxes[0]
        grey_left = box[0] > 40 and (np.abs(view.pixels[48, : int(box[0]) - 4].astype(int) - 128).max() < 5)
        assert not grey_left


def test_colours_change_and_stay_in_range():
    rng = np.random.default_rng(4)
    views = [augmented([marked()], 64, rng).pixels for _ in range(20)]
    assert all(view.dtype == np.uint8 for view in views)
    assert np.std([view.mean() for view in views]) > 3


def test_blank_pictures_hold_nothing_and_vary():
    rng = np.random.default_rng(5)
    views = [augmented([blank_picture(3, rng)], 64, rng) for _ in range(40)]
    assert all(view.status.tolist() == [0, 0, 0] and len(view.boxes) == 0 for view in views)
    spreads = [view.pixels.std(axis=(0, 1)).mean() for view in views]
    assert min(spreads) < 3 and max(spreads) > 20
