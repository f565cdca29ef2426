"""GrabCut on pictures whose answer is known, and on boxes where there is nothing to cut."""

import sys

import numpy as np
import pytest
from blank import blank_nlp
from segmenter_tiny import disc_picture, make_post

from rivega_spacy.backends.grabcut.segmenter import make_grabcut
from rivega_spacy.post.errors import RivegaError


def test_discs_are_found():
    pytest.importorskip("cv2", reason="OpenCV is in the extra 'cv'")
    prompts, truths = [], []
    for seed in range(3):
        image, box, mask = disc_picture(120, 160, seed)
        prompts.append((image, np.array([box])))
        truths.append(mask)
    for [(mask, score)], truth in zip(make_grabcut(max_side=60)(prompts), truths):
        assert score == 1.0 and mask.shape == truth.shape
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85


@pytest.mark.parametrize("box", [[0, 0, 160, 120], [3, 3, 4, 4], [0, 0, 1, 120]])
def test_where_there_is_nothing_to_cut_the_box_is_the_mask(box):
    pytest.importorskip("cv2", reason="OpenCV is in the extra 'cv'")
    image = np.full((120, 160, 3), 90, dtype="uint8")
    [[(mask, score)]] = make_grabcut()([(image, np.array([box], dtype="float64"))])
    assert score == 0.0
    assert mask.sum() == (box[2] - box[0]) * (box[3] - box[1])


def test_in_a_pipeline_and_repeatable():
    pytest.importorskip("cv2", reason="OpenCV is in the extra 'cv'")
    nlp = blank_nlp()
    nlp.add_pipe("rivega_segmenter", config={"model": {"@misc": "rivega.GrabCut.v1"}})
    image, box, truth = disc_picture(60, 80, 4)
    docs = [nlp.get_pipe("rivega_segmenter")(make_post(nlp, "Ann", image, [[box]])) for _ in range(2)]
    assert docs[0].ents[0]._.mask_rle == docs[1].ents[0]._.mask_rle
    assert (docs[0].ents[0]._.mask & truth).sum() > 0.8 * truth.sum()


def test_without_opencv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(RivegaError, match=r"rivega_spacy\[cv\]"):
        make_grabcut()([(np.zeros((8, 8, 3), dtype="uint8"), np.array([[0.0, 0.0, 4.0, 4.0]]))])
