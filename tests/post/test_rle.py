"""The RLE codec against pycocotools, the format's own implementation."""

import numpy as np
import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import (
    compress_counts,
    decode_mask,
    decompress_counts,
    encode_mask,
    mask_to_counts,
    rle_area,
    rle_intersection,
    rle_iou,
    rle_to_box,
    rle_union,
)

coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is in the extra 'test'")

sides = st.integers(1, 24)
masks = st.tuples(sides, sides).flatmap(lambda shape: arrays(bool, shape))
pairs = st.tuples(sides, sides).flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def coco_encode(mask):
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


@given(masks)
def test_encoding_is_the_one_of_pycocotools(mask):
    rle = encode_mask(mask)
    assert rle == coco_encode(mask)
    decoded = decode_mask(rle)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, mask)


@given(st.lists(st.integers(0, 2**30), min_size=1, max_size=40))
def test_counts_survive_their_text(counts):
    text = compress_counts(counts)
    assert decompress_counts(text).tolist() == counts
    assert decompress_counts(text.encode("ascii")).tolist() == counts


@given(pairs)
def test_measures_equal_those_of_the_decoded_masks(pair):
    first, second = pair
    a, b = encode_mask(first), encode_mask(second)
    assert rle_area(a) == first.sum()
    assert rle_intersection(a, b) == (first & second).sum()
    assert rle_union([a, b]) == encode_mask(first | second)
    total = (first | second).sum()
    assert rle_iou(a, b) == pytest.approx((first & second).sum() / total if total else 0.0)
    x, y, w, h = coco.toBbox(coco_encode(first)).tolist() if first.any() else (0, 0, 0, 0)
    assert rle_to_box(a) == [x, y, x + w, y + h]


@examples(20)
@given(st.integers(0, 2**32 - 1))
def test_large_masks(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(200, 900, size=2)
    coarse = rng.random((8, 8)) < rng.random()
    mask = np.kron(coarse, np.ones((height // 8 + 1, width // 8 + 1), bool))[:height, :width]
    assert encode_mask(mask) == coco_encode(mask)
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


def test_uncompressed_runs_are_read_too():
    mask = np.zeros((5, 7), dtype=bool)
    mask[1:4, 2:6] = True
    rle = {"size": [5, 7], "counts": mask_to_counts(mask).tolist()}
    assert np.array_equal(decode_mask(rle), mask)
    assert rle_iou(rle, encode_mask(mask)) == 1.0


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (1, 1)])
@pytest.mark.parametrize("value", [False, True])
def test_degenerate_sizes(shape, value):
    mask = np.full(shape, value)
    rle = encode_mask(mask)
    assert decode_mask(rle).shape == shape
    assert rle_area(rle) == mask.sum()


def test_full_and_empty_masks_have_exact_boxes():
    assert rle_to_box(encode_mask(np.ones((3, 5), bool))) == [0, 0, 5, 3]
    assert rle_to_box(encode_mask(np.zeros((3, 5), bool))) == [0, 0, 0, 0]


def test_union_of_many():
    rng = np.random.default_rng(0)
    many = rng.random((6, 31, 17)) < 0.2
    assert rle_union([encode_mask(m) for m in many]) == encode_mask(many.any(axis=0))


@pytest.mark.parametrize(
    "rle, message",
    [
        ({"size": [2, 2]}, "must be an RLE dict"),
        (None, "must be an RLE dict"),
        ({"size": [2, 2], "counts": [1, 2]}, "E303"),
        ({"size": [2, 2], "counts": [-1, 5]}, "E303"),
        ({"size": [2, 2], "counts": "é"}, "text form"),
        ({"size": [2, 2], "counts": "o"}, "text form"),
        # A sign beyond those of the text form is no nought, and one before them no number below it.
        ({"size": [2, 2], "counts": "p4"}, "text form"),
        ({"size": [2, 2], "counts": "4 @"}, "text form"),
        # Numbers of more than sixty bits.
        ({"size": [2, 2], "counts": "P" * 12 + "04"}, "text form"),
        ({"size": [2, 2], "counts": [-1, 1, 4]}, "E303"),
        # Their sum runs over, to the four pixels that the mask has.
        ({"size": [2, 2], "counts": [2**62, 2**62, 2**62, 2**62 - 1, 5]}, "E303"),
        ({"size": [-2, -2], "counts": [4]}, "must be an RLE dict"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "must be an RLE dict"),
        ({"size": [2, 2], "counts": [float("nan"), 4]}, "must be an RLE dict"),
        ({"size": [2, 2], "counts": [[4]]}, "must be an RLE dict"),
        ({"size": [2, 2], "counts": ["4"]}, "must be an RLE dict"),
    ],
)
def test_broken_rles_say_what_is_wrong(rle, message):
    with pytest.raises(RivegaError, match=message):
        decode_mask(rle)


def test_a_mask_has_no_more_pixels_than_a_picture(monkeypatch):
    """Ten bytes can say that they are a mask of any size; measures on its runs cost nothing."""
    huge = {"size": [1_000_000, 1_000_000], "counts": [10**12]}
    with pytest.raises(RivegaError, match="E460.*1000000x1000000"):
        decode_mask(huge)
    assert rle_area(huge) == 0 and rle_to_box(huge) == [0, 0, 0, 0]
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "6")
    assert decode_mask(encode_mask(np.ones((2, 3), bool))).all()
    with pytest.raises(RivegaError, match="E460"):
        decode_mask(encode_mask(np.ones((1, 7), bool)))


def test_sizes_must_agree():
    with pytest.raises(RivegaError, match="E304"):
        rle_iou(encode_mask(np.ones((2, 3), bool)), encode_mask(np.ones((3, 2), bool)))
    with pytest.raises(RivegaError, match="two-dimensional"):
        encode_mask(np.ones((2, 3, 1), bool))
