"""The component through its public face: which entities get masks, how they survive, what bad input does."""

import warnings

import numpy as np
import pytest
import spacy
from blank import blank_nlp
from segmenter_tiny import TINY, disc_picture, make_post
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.util import fix_random_seed

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import encode_mask, rle_iou
from rivega_spacy.segmentation.component import BoxSegmenter, score_masks

BOX = [10.0, 8.0, 40.0, 40.0]


@spacy.registry.misc("tests.FilledBoxes.v1")
def make_filled_boxes(fail_on: int = -1):
    """A segmenter that fills each box, scores it by its place and counts its calls."""

    def segment(prompts):
        segment.calls.append([len(boxes) for _, boxes in prompts])
        results = []
        for image, boxes in prompts:
            if image.shape[1] == fail_on:
                raise RuntimeError("no luck")
            masks = []
            for number, (x1, y1, x2, y2) in enumerate(np.round(boxes).astype(int)):
                mask = np.zeros(image.shape[:2], dtype=bool)
                mask[max(y1, 0) : y2, max(x1, 0) : x2] = True
                masks.append((mask, (number + 1) / 10))
            results.append(masks)
        return results

    segment.calls = []
    return segment


@pytest.fixture
def box_nlp():
    nlp = blank_nlp()
    nlp.add_pipe("rivega_segmenter", config={"model": {"@misc": "tests.FilledBoxes.v1"}})
    return nlp


def calls(nlp):
    return nlp.get_pipe("rivega_segmenter").model.attrs["segmenter"].call.calls


def run(nlp, docs):
    return list(nlp.get_pipe("rivega_segmenter").pipe(docs, batch_size=8))


def test_one_mask_an_entity_at_the_size_of_the_picture(box_nlp, picture):
    doc = make_post(box_nlp, "Ann Bob Carl", picture, [[BOX], [[0, 0, 5, 5], [50, 30, 60, 40]], []])
    [doc] = run(box_nlp, [doc])
    ann, bob, carl = doc.ents
    assert ann._.mask.shape == picture.shape[:2]
    assert ann._.mask.sum() == 30 * 32 and ann._.mask[8:40, 10:40].all()
    # Several boxes make one mask, their union; scores are weighted by area.
    assert bob._.mask.sum() == 25 + 100
    assert bob._.mask_score == pytest.approx((0.2 * 25 + 0.3 * 100) / 125)
    assert carl._.mask is None and carl._.mask_score is None
    assert calls(box_nlp) == [[3]], "all boxes of a picture go to the model together"
    assert doc._.rivega_errors == []


def test_only_what_may_be_grounded_is_segmented(box_nlp, picture):
    doc = make_post(box_nlp, "Ann Bob Carl", picture, [[BOX], [BOX], [BOX]])
    doc.ents[0]._.groundable = False
    doc.ents[1]._.groundable = None
    [doc] = run(box_nlp, [doc])
    assert [ent._.mask is not None for ent in doc.ents] == [False, True, True]


def test_a_batch_is_one_call_and_posts_without_boxes_cost_nothing(box_nlp, picture):
    docs = [make_post(box_nlp, "Ann", picture, [[BOX]]) for _ in range(3)]
    docs.append(make_post(box_nlp, "Ann", None, [[]]))
    docs.append(Doc(box_nlp.vocab, words=[]))
    run(box_nlp, docs)
    assert calls(box_nlp) == [[1, 1, 1]]


def test_predict_changes_nothing_and_old_masks_go(box_nlp, picture):
    pipe = box_nlp.get_pipe("rivega_segmenter")
    doc = make_post(box_nlp, "Ann Bob", picture, [[BOX], []])
    doc.ents[1]._.mask_rle = encode_mask(np.ones(picture.shape[:2], bool))
    before = doc.to_bytes()
    results = pipe.predict([doc])
    assert doc.to_bytes() == before
    pipe.set_annotations([doc], results)
    assert doc.ents[0]._.mask is not None and doc.ents[1]._.mask_rle is None


@pytest.mark.parametrize("box", [[5, 5, 5, 20], [20, 20, 10, 10], [-30, -30, -1, -1], [64, 0, 90, 20]])
def test_degenerate_boxes_are_named_and_the_others_used(box_nlp, picture, box):
    docs = [make_post(box_nlp, "Ann Bob", picture, [[box, BOX], [box]]), make_post(box_nlp, "Carl", picture, [[BOX]])]
    docs = run(box_nlp, docs)
    assert docs[0].ents[0]._.mask.sum() == 30 * 32
    assert docs[0].ents[1]._.mask is None
    assert docs[1].ents[0]._.mask is not None
    messages = [entry["message"] for entry in docs[0]._.rivega_errors]
    assert len(messages) == 2 and all("E305" in message for message in messages)
    assert "'Ann'" in messages[0] and "'Bob'" in messages[1]


def test_an_unreadable_picture_costs_only_its_own_post(box_nlp, picture):
    docs = [make_post(box_nlp, "Ann", b"no picture", [[BOX]]), make_post(box_nlp, "Bob", picture, [[BOX]])]
    docs = run(box_nlp, docs)
    assert docs[0].ents[0]._.mask is None and docs[1].ents[0]._.mask is not None
    assert "cannot be decoded" in docs[0]._.rivega_errors[0]["message"]


def test_a_failing_model_costs_only_the_post_it_fails_on(picture):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_segmenter", config={"model": {"@misc": "tests.FilledBoxes.v1", "fail_on": 33}})
    odd = np.zeros((20, 33, 3), dtype="uint8")
    docs = run(nlp, [make_post(nlp, "Ann", image, [[BOX]]) for image in (picture, odd, picture)])
    assert [doc.ents[0]._.mask is not None for doc in docs] == [True, False, True]
    assert "no luck" in docs[1]._.rivega_errors[0]["message"]
    assert docs[0]._.rivega_errors == []


def test_masks_survive_bytes_and_docbin(tiny_nlp, picture):
    doc = make_post(tiny_nlp, "Ann Bob", picture, [[BOX], [[0, 0, 20, 20]]])
    [doc] = run(tiny_nlp, [doc])
    copies = [Doc(tiny_nlp.vocab).from_bytes(doc.to_bytes())]
    stored = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    copies.extend(DocBin().from_bytes(stored).get_docs(tiny_nlp.vocab))
    for copy in copies:
        for ent, original in zip(copy.ents, doc.ents):
            assert np.array_equal(ent._.mask, original._.mask)
            assert ent._.mask_score == original._.mask_score


def test_workers_give_the_same_masks(tiny_nlp):
    docs, expected = [], []
    for seed in range(4):
        image, box, _ = disc_picture(48, 64, seed)
        expected.append(run(tiny_nlp, [make_post(tiny_nlp, "Ann", image, [[box]])])[0].ents[0]._.mask_rle)
        docs.append(make_post(tiny_nlp, "Ann", image, [[box]]))
    found = list(tiny_nlp.pipe(docs, n_process=2, batch_size=2))
    assert [doc.ents[0]._.mask_rle for doc in found] == expected


@pytest.mark.slow
def test_to_disk_and_to_bytes_keep_the_masks(tiny_nlp, tmp_path):
    image, box, _ = disc_picture(48, 64, 1)
    expected = run(tiny_nlp, [make_post(tiny_nlp, "Ann", image, [[box]])])[0].ents[0]._.mask_rle
    tiny_nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    again = blank_nlp()
    again.add_pipe("rivega_segmenter", config={"model": TINY})
    again.from_bytes(loaded.to_bytes())
    for nlp in (loaded, again):
        found = run(nlp, [make_post(nlp, "Ann", image, [[box]])])[0].ents[0]._.mask_rle
        # Half precision on disk may move a pixel of an untrained network's outline.
        assert rle_iou(found, expected) > 0.95


@pytest.mark.slow
def test_training_draws_discs():
    fix_random_seed(0)
    nlp = blank_nlp()
    config = {**TINY, "ema_decay": 0.0, "jitter": 0.02}
    nlp.add_pipe("rivega_segmenter", config={"model": config})
    examples = [disc_example(nlp, seed) for seed in range(12)]
    held_out = [disc_example(nlp, seed) for seed in range(100, 108)]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    before = nlp.evaluate(held_out)["mask_miou"]
    losses = []
    for _ in range(50):
        losses.append(nlp.update(examples, sgd=optimizer)["rivega_segmenter"])
    scores = nlp.evaluate(held_out)
    assert losses[-1] < 0.5 * losses[0]
    # A box around a disc has an IoU of pi / 4 with it.
    assert scores["mask_miou"] > max(before, 0.85)
    assert scores["mask_miou_per_type"] == {"PER": scores["mask_miou"]}


def test_an_entity_with_several_boxes_learns_each_part(tiny_nlp):
    image, box, mask = disc_picture(48, 64, 3)
    reference = make_post(tiny_nlp, "Ann", image, [[box, [0.0, 0.0, 12.0, 12.0]]])
    mask = mask.copy()
    mask[:12, :12] = True
    reference.ents[0]._.mask_rle = encode_mask(mask)
    [(_, boxes, masks)] = tiny_nlp.get_pipe("rivega_segmenter")._gold_prompts(reference)
    assert len(boxes) == len(masks) == 2
    assert masks[1].sum() == 144 and not masks[1][12:].any()


def disc_example(nlp, seed):
    image, box, mask = disc_picture(48, 64, seed)
    reference = make_post(nlp, "Ann", image, [[box]])
    reference.ents[0]._.mask_rle = encode_mask(mask)
    return Example(make_post(nlp, "Ann", image, [[box]]), reference)


def test_a_mask_that_is_not_of_its_pictures_size_is_told_and_ends_no_training(tiny_nlp):
    good, bad = disc_example(tiny_nlp, 0), disc_example(tiny_nlp, 1)
    bad.reference.ents[0]._.mask_rle = encode_mask(np.ones((64, 48), dtype=bool))
    with pytest.warns(UserWarning, match=r"the size of their picture.*\(64, 48\)"):
        losses = tiny_nlp.update([bad, good, disc_example(tiny_nlp, 2)])
    assert losses["rivega_segmenter"] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tiny_nlp.update([bad])["rivega_segmenter"] == 0


def test_a_gold_mask_of_another_size_counts_as_missed(tiny_nlp):
    example = disc_example(tiny_nlp, 0)
    example.predicted.ents[0]._.mask_rle = encode_mask(np.ones((64, 48), dtype=bool))
    assert score_masks([example])["mask_miou"] == 0.0


def test_initialize_wants_masks(tiny_nlp, picture):
    doc = make_post(tiny_nlp, "Ann", picture, [[BOX]])
    with pytest.raises(RivegaError, match="no entity with boxes and"):
        tiny_nlp.initialize(lambda: [Example(doc, doc)] * 101)


def test_models_that_do_not_learn(box_nlp, picture):
    pipe = box_nlp.get_pipe("rivega_segmenter")
    assert isinstance(pipe, BoxSegmenter) and not pipe.is_trainable
    doc = make_post(box_nlp, "Ann", picture, [[BOX]])
    with pytest.raises(RivegaError, match="cannot be trained"):
        pipe.update([Example(doc, doc)])
    box_nlp.initialize()


def test_only_a_model_with_an_encoder_takes_one(tiny_nlp, picture, tmp_path):
    doc = make_post(tiny_nlp, "Ann", picture, [[BOX]])
    doc.ents[0]._.mask_rle = encode_mask(np.ones(picture.shape[:2], dtype=bool))
    component = tiny_nlp.get_pipe("rivega_segmenter")
    del component.model.attrs["load_encoder"]
    with pytest.raises(RivegaError, match="SmallSegmenter.v2"):
        component.initialize(lambda: [Example(doc, doc)], encoder=tmp_path / "vision.safetensors")


def test_a_component_without_weights_survives_the_disk(box_nlp, picture, tmp_path):
    box_nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    assert run(nlp, [make_post(nlp, "Ann", picture, [[BOX]])])[0].ents[0]._.mask.sum() == 30 * 32


def test_scores_count_missing_masks_as_zero(tiny_nlp):
    examples = [disc_example(tiny_nlp, seed) for seed in range(2)]
    examples[0].predicted.ents[0]._.mask_rle = examples[0].reference.ents[0]._.mask_rle
    assert score_masks(examples)["mask_miou"] == 0.5
    assert score_masks([])["mask_miou"] is None


@spacy.registry.misc("tests.LeftHalves.v1")
def make_left_halves(score: float):
    """A segmenter that fills the left half of each box, and one stray row of pixels in the rest."""

    def segment(prompts):
        results = []
        for image, boxes in prompts:
            masks = []
            for x1, y1, x2, y2 in np.round(boxes).astype(int):
                mask = np.zeros(image.shape[:2], dtype=bool)
                mask[y1:y2, x1 : (x1 + x2) // 2] = True
                mask[y1, x1:x2] = True
                masks.append((mask, score))
            results.append(masks)
        return results

    return segment


def tightened(share, picture, scores, mask_score=0.8):
    nlp = blank_nlp()
    nlp.add_pipe(
        "rivega_segmenter", config={"model": {"@misc": "tests.LeftHalves.v1", "score": mask_score}, "tighten_boxes": share}
    )
    doc = make_post(nlp, "Ann Bob", picture, [[[10.0, 10.0, 30.0, 40.0]], [[0.0, 0.0, 20.0, 30.0]]])
    for ent, score in zip(doc.ents, scores):
        ent._.box_score = score
    [doc] = run(nlp, [doc])
    return [ent._.boxes for ent in doc.ents]


@pytest.mark.parametrize("share, right", [(0.0, 30.0), (0.5, 25.0), (1.0, 20.0)])
def test_found_boxes_move_to_their_masks_and_given_ones_stay(picture, share, right):
    boxes = tightened(share, picture, [0.7, None])
    assert boxes == [[[10.0, 10.0, right, 40.0]], [[0.0, 0.0, 20.0, 30.0]]]


def test_a_mask_of_low_score_moves_no_box(picture):
    assert tightened(1.0, picture, [0.7, 0.7], mask_score=0.5) == tightened(0.0, picture, [0.7, 0.7])


def test_how_far_boxes_move_is_a_share(picture):
    with pytest.raises(RivegaError, match="E208"):
        tightened(1.5, picture, [None, None])
