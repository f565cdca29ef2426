"""Crops, loss and the small network's model."""

import numpy as np
import pytest
import torch
from blank import blank_nlp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from segmenter_tiny import disc_picture
from thinc.api import Adam

from rivega_spacy.backends.crops import box_window, cut, paste, turned
from rivega_spacy.backends.small.network import SmallVision
from rivega_spacy.backends.small.segmenter import build_seeing_segmenter, training_crops
from rivega_spacy.backends.small.segmenter_network import X_PLANE, colour_odds
from rivega_spacy.backends.small.weights import save_network
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.segmentation.loss import mask_loss

# The layout of the vision network's encoder, with one block less in the last stage.
SEEING = {"size": 64, "widths": [8, 8, 12, 12], "depths": [1, 1, 1, 1], "fine": [8, 8]}
VISION = {
    "image_widths": [8, 8, 12, 12],
    "image_depths": [1, 1, 1, 2],
    "width": 8,
    "box_width": 8,
    "word_width": 8,
    "vocab_size": 4,
}
edges = st.floats(-30, 130, allow_nan=False)


def test_gradient_of_the_loss_is_the_one_of_autograd():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (3, 6, 6))
    targets = np.clip(rng.normal(0.5, 0.6, (3, 6, 6)), 0, 1)
    targets[2] = 0
    weights = (rng.random((3, 6, 6)) < 0.8).astype("float64")
    loss, gradient = mask_loss(logits, targets, weights)
    x = torch.tensor(logits, requires_grad=True)
    t, w = torch.tensor(targets), torch.tensor(weights)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(x, t, weight=w, reduction="none").sum((1, 2)) / w.sum((1, 2))
    p = torch.sigmoid(x)
    dice = 1 - (2 * (p * t * w * w).sum((1, 2)) + 1) / ((p * w).sum((1, 2)) + (t * w).sum((1, 2)) + 1)
    expected = (bce + dice).mean()
    expected.backward()
    assert loss == pytest.approx(float(expected.detach()))
    assert np.allclose(gradient, x.grad.numpy())


def test_loss_of_extreme_logits_is_finite():
    logits = np.full((1, 4, 4), 1e4, dtype="float32")
    loss, gradient = mask_loss(logits, np.zeros_like(logits), np.ones_like(logits))
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert mask_loss(*[np.zeros((0, 4, 4), dtype="float32")] * 3)[0] == 0.0


@given(edges, edges, st.floats(1, 90), st.floats(1, 90))
def test_a_crop_knows_where_the_picture_ends(x, y, wide, high):
    picture = Image.new("L", (100, 80), 255)
    crop, inside = cut(picture, box_window([x, y, x + wide, y + high]), 24, fill=0)
    assert crop.shape == inside.shape == (24, 24)
    # Where there is picture it is white, elsewhere filled.
    assert np.array_equal(crop > 0, inside)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_mask_cut_out_and_pasted_back_is_itself(seed):
    image, box, mask = disc_picture(90, 120, seed)
    window = box_window(box)
    truth, _ = cut(Image.fromarray(mask.astype("uint8") * 255), window, 112, fill=0)
    back, score = paste(truth.astype("float32") / 255, window, box, height=90, width=120)
    assert (back & mask).sum() / (back | mask).sum() > 0.93
    assert 0.5 < score <= 1


@given(edges, edges, st.floats(1, 90), st.floats(1, 90))
def test_masks_stay_near_their_box(x, y, wide, high):
    box = [x, y, x + wide, y + high]
    mask, score = paste(np.ones((16, 16), dtype="float32"), box_window(box), box, height=80, width=100)
    rows, columns = np.nonzero(mask)
    if len(rows):
        assert columns.min() >= x - 0.1 * wide - 1 and columns.max() <= x + 1.1 * wide + 1
        assert rows.min() >= y - 0.1 * high - 1 and rows.max() <= y + 1.1 * high + 1
        assert score == pytest.approx(1.0)


def test_where_nothing_is_likely_the_likeliest_pixels_are_taken():
    probabilities = np.full((16, 16), 0.01, dtype="float32")
    probabilities[6:10, 6:10] = 0.3
    mask, score = paste(probabilities, box_window([10, 10, 40, 40]), [10, 10, 40, 40], height=50, width=50)
    assert 0 < mask.sum() < 300 and mask[25, 25] and score < 0.5


def test_colour_odds_tell_the_object_from_its_surroundings():
    image, box, mask = disc_picture(96, 96, 5)
    window = box_window(box)
    crop, inside = cut(Image.fromarray(image), window, 32)
    truth, _ = cut(Image.fromarray(mask.astype("uint8") * 255), window, 32, fill=0)
    prompt = torch.zeros(32, 32)
    prompt[5:27, 5:27] = 1
    colours = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
    odds = colour_odds(colours, torch.from_numpy(inside)[None], prompt)[0].numpy()
    assert odds[truth == 255].mean() > 0.5
    assert odds[(truth == 0) & inside].mean() < 0.1


def test_prediction_does_not_depend_on_the_batch():
    model = build_seeing_segmenter(**SEEING, batch_size=2)
    prompts = [(image, np.array([box, [0, 0, 20, 30]])) for image, box, _ in (disc_picture(48, 64, s) for s in range(3))]
    together = model.predict([*prompts, (prompts[0][0], np.zeros((0, 4)))])
    assert together[-1] == []
    for prompt, found in zip(prompts, together):
        [alone] = model.predict([prompt])
        for (mask, score), (other, other_score) in zip(found, alone):
            assert mask.dtype == bool and mask.shape == (48, 64)
            assert (mask != other).mean() < 0.001
            assert score == pytest.approx(other_score, abs=1e-3)
    assert model.predict([]) == []


def test_mirroring_makes_prediction_symmetric():
    model = build_seeing_segmenter(**SEEING)
    image, box, _ = disc_picture(48, 64, 7)
    # A network knows left from right only through the x coordinate, which carries no weight here.
    network = model.shims[0].module
    with torch.no_grad():
        network.detail[0].weight.view(8, 9, 4, 3, 3)[:, X_PLANE] = 0
    [[(mask, _)]] = model.predict([(image, np.array([box]))])
    mirrored = [64 - box[2], box[1], 64 - box[0], box[3]]
    [[(other, _)]] = model.predict([(np.ascontiguousarray(image[:, ::-1]), np.array([mirrored]))])
    assert (mask != other[:, ::-1]).mean() < 0.02


def test_training_crops_are_repeatable_and_varied():
    image, box, mask = disc_picture(48, 64, 2)
    prompts = [(image, np.array([box]), [mask])] * 3
    draw = [training_crops(prompts, size=32, jitter=0.1, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draw[0][0], draw[1][0]) and np.array_equal(draw[0][1], draw[1][1])
    assert not torch.equal(draw[0][0], draw[2][0])
    threaded = training_crops(prompts, size=32, jitter=0.1, rng=np.random.default_rng(0), threads=3)
    assert torch.equal(threaded[0], draw[0][0]) and np.array_equal(threaded[1], draw[0][1])
    assert draw[0][1].shape == (3, 32, 32) and draw[0][1].min() >= 0 and draw[0][1].max() <= 1


def test_turned_pictures_keep_mask_and_box_together():
    image, box, mask = disc_picture(48, 64, 2)
    picture, turned_box, turned_mask = turned(Image.fromarray(image), box, mask, 90.0)
    # A disc stays where it is when it turns about its own middle.
    assert (turned_mask != mask).mean() < 0.02 and np.abs(turned_box - box).max() <= 1.5
    inside = np.asarray(picture)[turned_mask].astype(float).mean(0)
    assert np.abs(inside - image[mask].astype(float).mean(0)).max() < 12
    beyond = np.zeros_like(mask)
    assert turned(Image.fromarray(image), box, beyond, 30.0)[2] is beyond
    prompts = [(image, np.array([box]), [mask])] * 3
    plain = training_crops(prompts, size=32, jitter=0.0, rng=np.random.default_rng(0))
    turning = training_crops(prompts, size=32, jitter=0.0, rotation=30.0, rng=np.random.default_rng(0))
    assert not torch.equal(plain[0], turning[0])


@pytest.mark.slow
def test_bfloat16_draws_nearly_the_same_masks():
    exact = build_seeing_segmenter(**SEEING)
    fast = build_seeing_segmenter(bf16=True, **SEEING).from_bytes(exact.to_bytes())
    image, box, _ = disc_picture(48, 64, 2)
    [[(mask, score)]], [[(near, close)]] = (model.predict([(image, np.array([box]))]) for model in (exact, fast))
    assert (mask != near).mean() < 0.05 and abs(score - close) < 0.05


def test_weights_round_trip_and_say_what_does_not_fit():
    model = build_seeing_segmenter(**SEEING)
    data = model.to_bytes()
    assert b"pickle" not in data and len(data) < 450_000
    other = build_seeing_segmenter(**{**SEEING, "size": 96}, seed=5).from_bytes(data)
    assert (other.shims[0].cfg["size"], other.attrs["run"].seed) == (96, 5), "how to run is the config's to say"
    with pytest.raises(RivegaError, match=r"widths = \[8, 8, 8, 8\]"):
        build_seeing_segmenter(**{**SEEING, "widths": [8, 8, 8, 8]}).from_bytes(data)
    with pytest.raises(RivegaError):
        model.shims[0].from_bytes(b"broken")


def test_the_network_before_it_is_gone():
    # What a config of rivega_twitter 0.1 holds.
    old = {
        "@architectures": "rivega.SmallSegmenter.v1",
        "size": 112,
        "widths": [16, 48, 96, 160],
        "depths": [1, 2, 2, 2],
        "flip": True,
    }
    with pytest.raises(SetupError, match=r"E963.*current rivega_twitter"):
        blank_nlp().add_pipe("rivega_segmenter", config={"model": old})


def test_the_encoder_of_the_vision_network_is_taken_over(tmp_path):
    torch.manual_seed(3)
    vision = SmallVision(**VISION)
    save_network(vision, tmp_path / "vision.safetensors")
    model = build_seeing_segmenter(**SEEING)
    network = model.shims[0].module
    model.attrs["load_encoder"](model, tmp_path / "vision.safetensors")
    own = network.encoder.state_dict()
    assert all(torch.allclose(value.float(), vision.image.state_dict()[name].float(), atol=1e-3) for name, value in own.items())
    # The prompt enters at zero: before training the encoder sees what the vision network would see.
    crop = torch.rand(1, 9, 64, 64)
    other = crop.clone()
    other[:, 3:] = 0
    seen = []
    network.encoder.stages[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.eval()(crop), network(other)
    assert torch.equal(*seen)


def test_an_encoder_that_does_not_fit_is_named(tmp_path):
    save_network(SmallVision(**{**VISION, "image_widths": [8, 8, 12, 16]}), tmp_path / "vision.safetensors")
    model = build_seeing_segmenter(**SEEING)
    with pytest.raises(RivegaError, match="does not fit.*stages.3"):
        model.attrs["load_encoder"](model, tmp_path / "vision.safetensors")
    with pytest.raises(RivegaError, match="do not exist"):
        model.attrs["load_encoder"](model, tmp_path / "nothing.safetensors")


def test_crops_grow_with_the_steps():
    model = build_seeing_segmenter(**SEEING, growth=[[0, 32], [1, 64]])
    image, box, mask = disc_picture(48, 64, 2)
    optimizer, sizes = Adam(0.001), []
    for _ in range(2):
        outputs, backprop = model.begin_update([(image, np.array([box]), [mask])] * 2)
        backprop(np.ones_like(outputs[:, 0]))
        model.finish_update(optimizer)
        sizes.append(outputs.shape[2:])
    assert sizes == [(32, 32), (64, 64)]


def test_the_encoder_learns_at_its_own_rate():
    model = build_seeing_segmenter(**SEEING, encoder_rate=0.25)
    groups = model.shims[0]._make_optimizer().param_groups
    counts = {group["rivega_lr_scale"]: 0 for group in groups}
    for group in groups:
        counts[group["rivega_lr_scale"]] += len(group["params"])
    assert counts[0.25] == len(list(model.shims[0].module.encoder.parameters())) and counts[1.0] > 0


@pytest.mark.slow
def test_the_seeing_network_is_small_and_comes_back_from_its_bytes():
    model = build_seeing_segmenter()
    data = model.to_bytes()
    assert len(data) < 11_500_000
    other = build_seeing_segmenter(size=64, margin=0.3).from_bytes(data)
    assert other.shims[0].cfg["size"] == 64 and other.shims[0].cfg["margin"] == 0.3
    other = build_seeing_segmenter().from_bytes(data)
    image, box, _ = disc_picture(48, 64, 1)
    found = [copy.predict([(image, np.array([box]))])[0][0][0] for copy in (other, build_seeing_segmenter().from_bytes(data))]
    assert found[0].any() and np.array_equal(*found)
