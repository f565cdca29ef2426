"""Geometry of boxes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivega_spacy.post.boxes import box_area, box_iou, check_box, clip_boxes
from rivega_spacy.post.errors import RivegaError

coordinate = st.floats(-500, 500)
box = st.tuples(coordinate, coordinate, coordinate, coordinate)


@given(box, st.integers(1, 300), st.integers(1, 300))
def test_clipped_boxes_are_ordered_nonempty_and_inside(value, height, width):
    x1, y1, x2, y2 = clip_boxes(np.array([value]), height, width)[0]
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


@given(st.lists(box, min_size=1, max_size=4), st.lists(box, min_size=1, max_size=4))
def test_iou_is_symmetric_and_within_bounds(a, b):
    overlap = box_iou(np.array(a), np.array(b))
    assert overlap.shape == (len(a), len(b)) and ((overlap >= 0) & (overlap <= 1 + 1e-9)).all()
    assert np.allclose(overlap, box_iou(np.array(b), np.array(a)).T)


def test_iou_counts_pixels():
    # Half-open boxes: the overlap of two cell sets, counted.
    a, b = (2, 3, 10, 9), (5, 1, 12, 7)
    cells = [{(x, y) for x in range(p[0], p[2]) for y in range(p[1], p[3])} for p in (a, b)]
    assert box_iou([a], [b])[0, 0] == pytest.approx(len(cells[0] & cells[1]) / len(cells[0] | cells[1]))
    assert box_area(a) == len(cells[0])


@pytest.mark.parametrize("value", [None, [1, 2, 3], [1, 2, 3, float("nan")], "abcd", [1, 2, 3, 4, 5]])
def test_what_is_no_box_is_refused(value):
    with pytest.raises(RivegaError, match="four finite numbers"):
        check_box(value)
