"""Polygons by the COCO API's rule: pixel for pixel what pycocotools draws."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from rivega_spacy.corpus.formats.polygons import polygons_to_rle
from rivega_spacy.post.rle import decode_mask, rle_area

# Whole, half, fifth and tenth pixels are where rounding could differ; the rest is anything, far outside too.
number = st.one_of(
    st.integers(-20, 60).map(float),
    st.integers(-100, 300).map(lambda n: n / 5),
    st.integers(-200, 600).map(lambda n: n / 10),
    st.floats(-60, 60),
    st.floats(-3000, 3000),
)
polygon = st.lists(st.tuples(number, number), min_size=3, max_size=9)


def assert_as_drawn_by_the_api(polygons, height, width):
    """The same pixels, and the same bytes: no run of nothing behind the last pixel."""
    flat = [[value for point in points for value in point] for points in polygons]
    wanted = coco.merge(coco.frPyObjects(flat, height, width))
    found = polygons_to_rle(polygons, height, width)
    assert (decode_mask(found) == coco.decode(wanted).astype(bool)).all()
    assert found["counts"].encode() == wanted["counts"] and found["size"] == wanted["size"]


@pytest.mark.slow
@examples(400)
@given(polygons=st.lists(polygon, min_size=1, max_size=3), height=st.integers(1, 48), width=st.integers(1, 48))
def test_every_polygon_is_drawn_as_the_api_draws_it(polygons, height, width):
    assert_as_drawn_by_the_api(polygons, height, width)


@pytest.mark.parametrize("side", [0.2, 0.5, 1, 2, 4, 4.5])
@pytest.mark.parametrize("place", [0, 3, 3.3, 3.5, 36])
def test_tiny_things(side, place):
    square = [[place, place], [place + side, place], [place + side, place + side], [place, place + side]]
    assert_as_drawn_by_the_api([square], 40, 40)


def test_random_outlines_of_many_corners():
    rng = np.random.default_rng(1)
    for _ in range(60):
        polygons = [rng.uniform(-40, 160, (rng.integers(3, 60), 2)) for _ in range(2)]
        assert_as_drawn_by_the_api(polygons, 90, 120)


@pytest.mark.parametrize(
    "corners",
    [
        [[2, 1], [9, 1], [9, 9], [2, 9]],
        [[-3, -3], [9, -3], [9, 9], [-3, 9]],
        [[4, 2], [5, 2], [5, 30], [4, 30]],
        [[7, 7], [9, 7], [9, 9]],
    ],
)
def test_outlines_beyond_the_picture(corners):
    assert_as_drawn_by_the_api([corners], 4, 5)
    assert_as_drawn_by_the_api([corners, [[0, 0], [2, 0], [2, 3]]], 4, 5)


def test_no_pixel_of_a_huge_picture_is_ever_held():
    rle = polygons_to_rle([[[5, 5], [1e6, 5], [1e6, 9], [5, 9]]], 150_000, 150_000)
    assert rle_area(rle) == 4 * (150_000 - 5) and rle["size"] == [150_000, 150_000]


def test_no_polygon_is_an_empty_mask():
    assert not decode_mask(polygons_to_rle([], 3, 4)).any()
