"""Outlines moved to the edges of the picture."""

import numpy as np
import pytest
from PIL import Image
from segmenter_tiny import disc_picture

from rivega_spacy.backends.crops import box_window, cut, paste
from rivega_spacy.backends.refine import MAX_SIDE, refine


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_outline_moves_to_the_edge(seed):
    image, box, mask = disc_picture(240, 300, seed)
    window = box_window(box)
    coarse, _ = cut(Image.fromarray(mask.astype("uint8") * 255), window, 20, fill=0)
    probabilities = np.clip(coarse.astype("float32") / 255 + np.random.default_rng(seed).normal(0, 0.1, coarse.shape), 0, 1)
    plain, _ = paste(probabilities.astype("float32"), window, box, height=240, width=300)
    fine, score = paste(probabilities.astype("float32"), window, box, height=240, width=300, image=image)
    assert overlap(fine, mask) > overlap(plain, mask) + 0.01
    assert 0 < score <= 1


def test_a_plain_picture_changes_no_mask():
    image = np.full((80, 80, 3), 90, dtype="uint8")
    probabilities = np.zeros((64, 64), dtype="float32")
    probabilities[12:52, 12:52] = 0.9
    box = [10.0, 10.0, 70.0, 70.0]
    plain, _ = paste(probabilities, box_window(box), box, height=80, width=80)
    same, _ = paste(probabilities, box_window(box), box, height=80, width=80, image=image)
    # Without edges the filter only blurs: corners are rounded, the rest stays.
    assert overlap(plain, same) > 0.95


def test_large_regions_are_filtered_at_a_lower_resolution():
    side = 2 * MAX_SIDE + 37
    rng = np.random.default_rng(0)
    mask = np.zeros((side, side), dtype=bool)
    mask[150:400, 120:430] = True
    image = np.where(mask[..., None], 200, 40).astype("uint8") + rng.integers(0, 20, (side, side, 3)).astype("uint8")
    small = Image.fromarray(mask.astype("float32")).resize((64, 64), Image.BILINEAR)
    blurred = np.array(small.resize((side, side), Image.BILINEAR))
    found = refine(blurred, image, radius=12)
    assert found.dtype == np.float32 and found.shape == mask.shape and found.min() >= 0 and found.max() <= 1
    assert overlap(found > 0.5, mask) > overlap(blurred > 0.5, mask)


def test_below_a_pixel_nothing_is_done():
    probabilities = np.random.default_rng(0).random((9, 7)).astype("float32")
    assert refine(probabilities, np.zeros((9, 7, 3), dtype="uint8"), radius=0.4) is probabilities
