"""The segmenter that is told what is meant: by phrase, by box, by the boxes of other things; and its score."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from PIL import Image
from segmenter_tiny import disc_picture, make_post
from thinc.api import Adam

from rivega_spacy.backends.crops import CropWindow
from rivega_spacy.backends.small.mask_crops import Crop, in_front, training_crop
from rivega_spacy.backends.small.phrase_segmenter import build_phrase_segmenter, load_vision
from rivega_spacy.pipes.queries import BoxPrompt
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.segmentation.loss import mask_loss

SIZES = {"middle": 16, "width": 16, "fine": [8, 8], "depth": 1, "phrase_width": 16, "word_width": 8}
TINY = {**SIZES, "size": 64, "rotation": 0.0, "pasted": 0.0, "unnamed": 0.0, "trained_stages": 0, "ema_decay": 0.0}
RED, GREEN = Expression(expansion="a red thing"), Expression(expansion="a green thing")


@pytest.fixture
def tiny(seen_weights):
    torch.manual_seed(0)
    model = build_phrase_segmenter(**TINY)
    load_vision(model, seen_weights)
    return model


def overlapping(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A picture with a red and a green square that cover the same box in part: picture, box around both, and their masks."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 120, (64, 80, 3)).astype(np.uint8)
    red, green = np.zeros((64, 80), bool), np.zeros((64, 80), bool)
    red[16:40, 20:44] = True
    green[26:50, 36:60] = True
    red &= ~green
    image[red], image[green] = (220, 30, 30), (30, 200, 30)
    return image, np.array([20.0, 16.0, 60.0, 50.0]), red, green


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def taught(model, steps: int = 110):
    """Train on the two squares, each asked for in the box around both, and on boxes with nothing in them."""
    text = model.shims[0].module.text
    # The words are chance vectors here: they have no near neighbours that noise could stand for.
    text.dropout = text.noise = 0.0
    optimizer = Adam(0.01, L2=0.0)
    for step in range(steps):
        image, box, red, green = overlapping(step % 4)
        nothing = np.array([2.0, 2.0, 18.0, 14.0])
        prompt = BoxPrompt(image, np.array([box, box, nothing]), [RED, GREEN, RED], [], [red, green, np.zeros_like(red)])
        outputs, backprop = model.begin_update([prompt])
        _, gradient = mask_loss(outputs[:, 0], outputs[:, 1], outputs[:, 2])
        backprop(gradient)
        model.finish_update(optimizer)
    return model


@pytest.mark.slow
def test_the_phrase_says_which_of_two_overlapping_things_is_meant_and_the_score_falls_where_the_mask_fails(tiny, tmp_path):
    taught(tiny).to_disk(tmp_path / "model")
    again = build_phrase_segmenter(**TINY).from_disk(tmp_path / "model")
    image, box, red, green = overlapping(9)
    boxes = np.array([box, box, [60.0, 2.0, 78.0, 14.0]])
    for model in (tiny, again):
        [[(first, good), (second, fine), (_, bad)]] = model.predict([BoxPrompt(image, boxes, [RED, GREEN, RED])])
        assert iou(first, red) > 0.7 > iou(first, green)
        assert iou(second, green) > 0.7 > iou(second, red)
        assert min(good, fine) > 0.5 > bad


def test_bare_boxes_and_any_batch_give_the_same_masks(tiny):
    pictures = [disc_picture(48, 64, seed) for seed in range(3)]
    prompts = [
        BoxPrompt(image, np.array([box, [0, 0, 20, 30]]), [RED, None], [np.array([[5, 5, 30, 30]]), np.zeros((0, 4))])
        for image, box, _ in pictures
    ]
    together = tiny.predict([*prompts, BoxPrompt(pictures[0][0], np.zeros((0, 4)))])
    assert together[-1] == []
    for prompt, found in zip(prompts, together):
        [alone] = tiny.predict([prompt])
        for (mask, score), (other, other_score) in zip(found, alone):
            assert np.array_equal(mask, other) and score == other_score
            assert mask.shape == (48, 64) and mask.dtype == bool and 0 <= score <= 1
    image, box, _ = pictures[0]
    [[(pair, _)]], [[(blank, _)]] = (
        tiny.predict([prompt]) for prompt in ((image, np.array([box])), BoxPrompt(image, np.array([box]), [None]))
    )
    assert np.array_equal(pair, blank), "a bare pair of picture and boxes says nothing of what is meant"
    assert tiny.predict([]) == []


@pytest.mark.slow
def test_bfloat16_and_the_mirrored_crop_draw_nearly_the_same_masks(tiny):
    image, box, _ = disc_picture(48, 64, 2)
    [[(mask, score)]] = tiny.predict([(image, np.array([box]))])
    for changed in ({"bf16": True}, {"flip": True}):
        other = build_phrase_segmenter(**{**TINY, **changed}).from_bytes(tiny.to_bytes())
        [[(near, close)]] = other.predict([(image, np.array([box]))])
        assert iou(mask, near) > 0.8 and abs(score - close) < 0.1


def test_weights_say_what_does_not_fit(tiny, seen_weights, tmp_path):
    data = tiny.to_bytes()
    other = build_phrase_segmenter(**{**TINY, "size": 96}).from_bytes(data)
    assert other.shims[0].cfg["size"] == 96, "how to run is the config's to say"
    with pytest.raises(RivegaError, match="middle = 24"):
        build_phrase_segmenter(**{**TINY, "middle": 24}).from_bytes(data)
    with pytest.raises(RivegaError, match="E921"):
        build_phrase_segmenter(trained_stages=7)
    with pytest.raises(RivegaError, match="E331"):
        load_vision(tiny, tmp_path / "nowhere")
    with pytest.raises(RivegaError, match="E330"):
        load_vision(build_phrase_segmenter(**{**TINY, "phrase_width": 24}), seen_weights)
    (tmp_path / "broken").write_bytes(b"no weights")
    with pytest.raises(RivegaError, match="E730"):
        load_vision(tiny, tmp_path / "broken")


@pytest.mark.slow
def test_backbone_and_text_side_come_from_a_pipelines_grounder(seen_weights, tmp_path):
    nlp = blank_nlp()
    sizes = {"width": 16, "box_width": 16, "word_width": 8, "middle": 16, "image_width": 16, "depth": 1}
    pipe = nlp.add_pipe("rivega_grounder", config={"model": {"@architectures": "rivega.SmallGrounder.v2", **sizes}})
    pipe.model.attrs["load"](pipe.model, seen_weights)
    nlp.to_disk(tmp_path)
    models = [build_phrase_segmenter(**TINY) for _ in range(2)]
    for model, path in zip(models, (seen_weights, tmp_path / "rivega_grounder" / "model")):
        load_vision(model, path)
    states = [model.shims[0].module.state_dict() for model in models]
    taken = [name for name in states[0] if name.startswith(("text.", "front.", "back."))]
    assert len(taken) > 50 and all(torch.allclose(states[0][name].float(), states[1][name].float()) for name in taken)


@pytest.mark.slow
def test_the_component_says_what_each_box_is_around_and_where_other_things_are(tiny, picture):
    nlp = blank_nlp()
    pipe = nlp.add_pipe("rivega_segmenter", config={"model": {"@architectures": "rivega.SmallSegmenter.v3", **TINY}})
    asked: list[BoxPrompt] = []
    forward = pipe.model._func

    def noted(model, prompts, is_train):
        asked.extend(prompts)
        return forward(model, prompts, is_train)

    pipe.model._func = noted
    boxes = [[10.0, 8.0, 40.0, 40.0], [11.0, 8.0, 40.0, 40.0], [30.0, 20.0, 60.0, 40.0]]
    doc = make_post(nlp, "Ann her Rex", picture, [[box] for box in boxes])
    doc.ents[0]._.expansion = "a footballer"
    doc = next(pipe.pipe([doc]))
    [prompt] = asked
    assert prompt.expressions[0] == Expression("Ann", "PER", "a footballer")
    # The second box is around the same thing as the first, named twice.
    assert prompt.others_of(0).tolist() == [boxes[2]] and prompt.others_of(2).tolist() == boxes[:2]
    assert all(ent._.mask is not None and 0 <= ent._.mask_score <= 1 for ent in doc.ents)


def test_what_is_pasted_in_front_takes_from_the_thing_behind(picture):
    image, box, red, green = overlapping(0)
    thing = (Image.fromarray(image), box, red | green, RED, np.zeros((0, 4)))
    disc, disc_box, mask = disc_picture(64, 80, 3)
    donor = (Image.fromarray(disc), np.array(disc_box), mask, GREEN, np.zeros((0, 4)))
    meant = set()
    for seed in range(30):
        changed, seen_box, seen, expression, others = in_front(thing, donor, np.random.default_rng(seed))
        if changed is thing[0]:
            continue
        meant.add(expression)
        assert others.shape == (1, 4) and seen.any()
        rows, columns = np.nonzero(seen)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == list(seen_box)
        if expression == RED:
            assert not (seen & ~(red | green)).any()
            # The edge of what is pasted is soft.
            assert (np.asarray(changed)[seen] != image[seen]).any(axis=1).mean() < 0.2
    assert meant == {RED, GREEN}
    empty = (donor[0], donor[1], np.zeros_like(mask), GREEN, np.zeros((0, 4)))
    assert in_front(thing, empty, np.random.default_rng(0)) is thing


def test_crops_mirror_the_boxes_of_other_things_along():
    image, box, red, _ = overlapping(0)
    half = np.array([[0.0, 0.0, 32.0, 64.0]])
    crop = Crop(image[:64, :64], np.ones((64, 64), bool), box, CropWindow(0, 0, 64, 64), half, None)
    assert crop.others_plane()[:, :32].all() and not crop.others_plane()[:, 32:].any()
    crop.mirrored = True
    assert crop.others_plane()[:, 32:].all() and not crop.others_plane()[:, :32].any()
    settings = {"donor": None, "size": 32, "margin": 0.2, "jitter": 0.1, "rotation": 20.0}
    arguments = (Image.fromarray(image), box, red, RED, np.zeros((0, 4)))
    first, same, other = (training_crop(*arguments, **settings, rng=np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first.colours, same.colours) and not np.array_equal(first.colours, other.colours)
    assert first.area >= first.truth.sum() * 0.95


@pytest.mark.slow
def test_training_through_the_component(seen_weights):
    nlp = blank_nlp()
    pipe = nlp.add_pipe("rivega_segmenter", config={"model": {"@architectures": "rivega.SmallSegmenter.v3", **TINY}})
    image, box, red, green = overlapping(0)
    doc = make_post(nlp, "Ann Rex Bob", image, [[list(box)], [[36.0, 26.0, 60.0, 50.0]], [[0.0, 0.0, 20.0, 20.0]]])
    doc.ents[0]._.mask_rle, doc.ents[1]._.mask_rle = encode_mask(red), encode_mask(green)
    example = spacy.training.Example(doc.copy(), doc)
    nlp.initialize(lambda: [example])
    pipe.initialize(lambda: [example], nlp=nlp, encoder=seen_weights)
    losses = [pipe.update([example], sgd=Adam(0.003))["rivega_segmenter"] for _ in range(12)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
