"""A second look at what is small: the part of the picture around the first box, enlarged."""

import numpy as np
import pytest
import torch
from expressions_of import expressions
from vision_tiny import SEEN_SIZES

from rivega_spacy.backends.small import second_look
from rivega_spacy.backends.small.answers import clear_store
from rivega_spacy.backends.small.grounder import build_seen_grounder
from rivega_spacy.backends.small.lite import Front
from rivega_spacy.backends.small.network import EncodedPictures, Questions
from rivega_spacy.backends.small.second_look import SIDE, Look, look_again, part_around
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError

ASKED = expressions(("Ada", "PER", "a person"), ("Rex", "OTHER", "a dog"))


@pytest.fixture
def sides(monkeypatch):
    """Sides of the inputs that went through the backbone."""
    clear_store()
    seen, forward = [], Front.forward
    monkeypatch.setattr(
        Front, "forward", lambda self, pixels: seen.extend([pixels.shape[3]] * len(pixels)) or forward(self, pixels)
    )
    return seen


def located(seen_weights, image, **settings):
    model = build_seen_grounder(size=96, **SEEN_SIZES, **settings)
    model.attrs["load"](model, seen_weights)
    return model.predict([ImageQueries(image, ASKED)])[0]


@pytest.mark.parametrize(
    "box, size, part",
    [
        ([100, 100, 120, 140], (400, 400), (76, 76, 144, 164)),
        ([0, 0, 20, 20], (400, 400), (0, 0, 44, 44)),
        ([390, 380, 400, 400], (400, 400), (366, 356, 400, 400)),
        ([100, 100, 200, 220], (400, 400), (50, 40, 250, 280)),
        ([20, 20, 380, 380], (400, 400), None),
        ([1, 1, 2, 2], (4, 4), None),
    ],
)
def test_the_part_is_the_box_and_as_much_again_within_the_picture(box, size, part):
    assert part_around(box, *size) == part


def test_a_wide_thing_gets_room_above_and_below():
    _, top, _, bottom = part_around([100, 200, 300, 210], 400, 400)
    assert top == 150 and bottom == 260


@pytest.mark.slow
def test_only_small_boxes_are_looked_at_again(seen_weights, sides):
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    first = located(seen_weights, image)
    assert sides == [96]
    share = ((first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1]) / (300 * 400)).max()
    clear_store()
    assert np.array_equal(located(seen_weights, image, second_look=float(share) / 1e3), first) and sides == [96, 96]
    clear_store()
    again = located(seen_weights, image, second_look=min(1.0, float(share) * 1.01))
    assert SIDE in sides and not np.allclose(again, first)
    assert (again[:, :2] >= 0).all() and (again[:, 2] <= 400).all() and (again[:, 3] <= 300).all()


class Enlarging(torch.nn.Module):
    """Finds the green in a picture, with a score that rises with how many pixels of the input it covers."""

    def pictures_a_pass(self, *, bf16):
        return 2

    def encode_images(self, pixels, *, bf16=False):
        return EncodedPictures(*[pixels.float()] * 4)


def find_green(network, encoded, asked):
    pixels = encoded.heat[0]
    rows, columns = torch.nonzero(pixels[1] > 200, as_tuple=True)
    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    count = len(asked.bias)
    return torch.zeros(count), box.expand(count, 4), torch.full((count,), len(rows) / 100.0)


def test_the_second_box_comes_back_in_pixels_of_the_picture(monkeypatch):
    monkeypatch.setattr(second_look, "answers", find_green)
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:60, 210:220, 1] = 255
    rough, big = [200.0, 30.0, 235.0, 70.0], [0.0, 0.0, 290.0, 190.0]
    asked = Questions(*[torch.zeros(2, 1)] * 6)._replace(bias=torch.zeros(2))
    look = Look(image, asked, np.array([rough, big]), torch.tensor([0.5, 0.5]))
    [(boxes, heat)] = look_again(Enlarging(), [look], below=0.3)
    # Both boxes mean other things: the surer one is taken; the big one was not looked at again.
    assert np.abs(boxes[0] - [210, 40, 220, 60]).max() < 1.0 and heat[0] > 0.5
    assert boxes[1].tolist() == big and heat[1] == 0.5
    near = [208.0, 39.0, 221.0, 61.0]
    closer = Look(image, asked, np.array([near, big]), torch.tensor([9.0, 0.5]))
    # The same thing: a mean of the two. Pictures looked at together do not change each other's answers.
    [(again, _), (boxes, _)] = look_again(Enlarging(), [look, closer], below=0.3)
    assert np.array_equal(again[1], big) and np.abs(again[0] - [210, 40, 220, 60]).max() < 1.0
    assert 208 < boxes[0, 0] < 210 and 60 < boxes[0, 3] < 61


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(RivegaError, match="E920"):
        build_seen_grounder(second_look=share)
