"""The joint loss and the targets it compares with."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from PIL import Image
from vision_tiny import squares, tiny_network

from rivega_spacy.backends.boxes import generalised_iou
from rivega_spacy.backends.small.loss import joint_loss, make_batch, make_targets
from rivega_spacy.backends.small.pictures import PreparedView
from rivega_spacy.backends.small.predict import answers


def prepared(boxes, owner, hard, status, size=64) -> PreparedView:
    pixels = np.zeros((size, size, 3), np.uint8)
    return PreparedView(
        pixels, np.array(boxes, np.float32).reshape(-1, 4), np.array(owner, int), np.array(hard, bool), np.array(status, np.int8)
    )


def test_generalised_iou_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    b = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [3, 0, 4, 1]])
    iou, giou = generalised_iou(a, b)
    assert torch.allclose(iou, torch.tensor([1.0, 2 / 6, 0.0]))
    assert torch.allclose(giou, torch.tensor([1.0, 2 / 6, -0.5]))


def test_targets_of_one_object():
    item = prepared([[16, 16, 48, 48]], [0], [False], [1, 0])
    batch = make_batch([item], expressions("x", "y", "never", "x again", "not asked"), np.array([[0, 1, -1, 0, -2]]))
    targets = make_targets(batch)
    assert targets.status.tolist() == [[1, 0, 0, 1, -1]]
    places = targets.place[targets.phrase == 0]
    rows, columns = places // 8, places % 8
    centres = torch.stack([columns, rows], dim=1) * 8.0 + 4
    assert len(places) and ((centres > 16) & (centres < 48)).all()
    assert torch.equal(places, targets.place[targets.phrase == 3])
    assert set(targets.phrase.tolist()) == {0, 3}
    assert torch.equal(targets.box[0], torch.tensor([16.0, 16, 48, 48]))
    assert float(targets.weight[0, 4].sum()) == 0 and float(targets.weight[0, 1].min()) == 1


def test_a_tiny_object_still_has_a_place():
    targets = make_targets(make_batch([prepared([[17, 33, 20, 36]], [0], [False], [1])], expressions("x"), np.array([[0]])))
    assert targets.place.tolist() == [4 * 8 + 2]


def test_a_small_thing_counts_more_at_its_place_than_a_large_one_at_each_of_its_own():
    item = prepared([[0, 0, 48, 64], [56, 56, 60, 60]], [0, 1], [False, False], [1, 1])
    targets = make_targets(make_batch([item], expressions("x", "y"), np.array([[0, 1]])))
    large, small = (targets.share[targets.phrase == phrase] for phrase in (0, 1))
    assert len(large) > len(small) == 1 and float(small[0]) > float(large[0]) > 0
    assert float(small.sum()) < float(large.sum())
    assert torch.equal(targets.weight[0, targets.phrase, targets.place], targets.share)


def test_hard_objects_are_no_background():
    item = prepared([[0, 0, 32, 64], [40, 8, 64, 56]], [0, 0], [True, False], [1])
    targets = make_targets(make_batch([item], expressions("x"), np.array([[0]])))
    weight = targets.weight[0, 0].view(8, 8)
    assert float(weight[:, :4].max()) == 0 and float(weight[0, 4:].min()) == 1


def test_nothing_shown_still_gives_a_finite_loss():
    batch = make_batch([prepared([], [], [], [0])], expressions("x", "never"), np.array([[0, -1]]))
    loss, parts = joint_loss(tiny_network().train(), batch)
    loss.backward()
    assert torch.isfinite(loss) and parts["box"] == 0.0


@pytest.mark.slow
def test_it_learns_which_square_and_where():
    torch.manual_seed(0)
    network = tiny_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    network.text.noise = network.text.dropout = 0.0
    phrases = expressions(("ada", "OTHER", "a red square"), ("ada", "OTHER", "a green square"), ("ada", "ORG", "a league"))
    scale = np.array([64 / 96, 64 / 72] * 2)

    def batch(seed):
        items = []
        for colour, image, box in squares(8, seed):
            small = np.asarray(Image.fromarray(image).resize((64, 64)))
            key = 0 if colour == "red" else 1
            status = [1, 0] if key == 0 else [0, 1]
            items.append(
                PreparedView(
                    small, (box * scale)[None].astype(np.float32), np.array([key]), np.zeros(1, bool), np.array(status, np.int8)
                )
            )
        return make_batch(items, phrases, np.tile([0, 1, -1], (8, 1)))

    network.train()
    for step in range(120):
        loss, _ = joint_loss(network, batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    right, judged = [], []
    fresh = batch(999)
    with torch.no_grad():
        asked = network.encode_phrases(phrases)
        for i, item in enumerate(fresh.prepared):
            shown, boxes, _ = answers(network, network.encode_images(fresh.pixels[i : i + 1]), asked)
            key = int(item.owner[0])
            right.append(float(generalised_iou(boxes[key : key + 1], torch.from_numpy(item.boxes))[0]) > 0.5)
            judged.append([(float(logit) > 0) for logit in shown] == [key == 0, key == 1, False])
    assert np.mean(right) >= 0.75 and np.mean(judged) >= 0.75
