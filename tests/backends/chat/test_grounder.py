"""`rivega.ChatGrounder.v1`: coordinates of both conventions, and how strictly answers are read."""

import numpy as np
import pytest
from chat_client import Client
from expressions_of import expressions
from PIL import Image

from rivega_spacy.backends.chat.grounder import chat_grounder, read_boxes, sent_size, to_pixels
from rivega_spacy.llm.base import Answer, finished
from rivega_spacy.llm.safety import InvalidAnswer
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.images import read_image


def client_of(convention):
    """Answers with the box of the white rectangle in the picture it is shown, in one of the conventions."""

    def answer(request):
        if "Ann" not in request.messages[-1].text:
            return "[]"
        picture = read_image(request.messages[-1].images[0].source)
        rows, columns = np.nonzero(picture.min(axis=2) > 128)
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype="float64")
        if convention == "thousand":
            box = box / np.array([picture.shape[1], picture.shape[0]] * 2) * 1000
        return f'```json\n[{{"bbox_2d": {[round(float(x)) for x in box]}, "label": "entity"}}]\n```'

    return Client(answer)


@pytest.mark.parametrize("convention", ["absolute", "thousand"])
@pytest.mark.parametrize("height,width", [(300, 401), (1700, 900), (50, 60)])
def test_boxes_come_back_in_pixels_of_the_original(convention, height, width):
    image = np.zeros((height, width, 3), dtype="uint8")
    gold = np.array([width // 4, height // 5, width // 2, height // 2])
    image[gold[1] : gold[3], gold[0] : gold[2]] = 255
    client = client_of(convention)
    rows = chat_grounder(client=client, convention=convention).predict(
        [ImageQueries(image, expressions(("Ann", "PER"), ("Bob", "PER"))), ImageQueries(image, [])]
    )
    assert np.allclose(rows[0][0, :4], gold, atol=0.015 * max(height, width)) and rows[0][0, 4] == 1.0
    # Not shown: no box, and no confidence.
    assert np.isnan(rows[0][1, :4]).all() and rows[0][1, 4] == 0.0 and rows[1].shape == (0, 5)
    picture = Image.fromarray(read_image(client.requests[0].messages[-1].images[0].source))
    assert picture.size[::-1] == sent_size(height, width, 1008)
    if convention == "absolute":
        assert str(picture.width) in client.requests[0].messages[-1].text


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (28, 28), (3000, 4000)])
def test_pictures_are_sent_in_multiples_of_the_patch(size):
    height, width = sent_size(*size, 1008)
    assert height % 28 == width % 28 == 0 and min(height, width) >= 56 and max(height, width) <= 1008
    boxes = to_pixels(np.array([[0, 0, width, height]]), "absolute", (height, width), size)
    assert boxes.tolist() == [[0, 0, size[1], size[0]]]


@pytest.mark.parametrize(
    "value,boxes",
    [
        ([], []),
        ([{"bbox_2d": [1, 2, 3, 4], "label": "x"}], [[1, 2, 3, 4]]),
        ({"bbox_2d": [1, 2, 3, 4]}, [[1, 2, 3, 4]]),
        ([1, 2, 3, 4.5], [[1, 2, 3, 4.5]]),
        ([[1, 2, 3, 4], [0, 0, 9, 9]], [[1, 2, 3, 4], [0, 0, 9, 9]]),
    ],
)
def test_boxes_are_read(value, boxes):
    assert read_boxes(value) == boxes


@pytest.mark.parametrize(
    "value",
    [
        "none",
        None,
        3,
        [1, 2, 3],
        [{"box": [1, 2, 3, 4]}],
        [[1, 2, 3, "4"]],
        [[3, 2, 1, 4]],
        [[1, 1, 1, 4]],
        [[1, 2, 3, True]],
        [[1, 2, 3, 1e999]],
    ],
)
def test_anything_else_is_no_box(value):
    with pytest.raises(InvalidAnswer):
        read_boxes(value)


def test_wrong_settings_and_answers():
    with pytest.raises(RivegaError, match="`convention` must be 'absolute' or 'thousand'"):
        chat_grounder(client=client_of("absolute"), convention="percent")
    client = client_of("absolute")
    client.answer = lambda request: "It is on the left."
    with pytest.raises(RivegaError, match="no usable answer"):
        chat_grounder(client=client).predict([ImageQueries(np.zeros((9, 9, 3), dtype="uint8"), expressions("Ann"))])


class Named:
    """A client that has a name and answers one box in the middle."""

    recorded = False

    def __init__(self, model, text):
        self.name, self.text = model, text

    def identity(self):
        return {"client": "test", "model": self.name}

    def submit(self, requests):
        return [finished(Answer(self.text)) for _ in requests]

    def close(self):
        pass


@pytest.mark.parametrize(
    "model,answer",
    [
        # The box (20, 10, 60, 40) of a picture of 200 x 100, sent as 196 x 112.
        ("Qwen/Qwen2.5-VL-7B-Instruct", [20 * 196 / 200, 10 * 112 / 100, 60 * 196 / 200, 40 * 112 / 100]),
        ("Qwen/Qwen3-VL-8B-Instruct", [100, 100, 300, 400]),
        ("qwen2-vl-72b", [100, 100, 300, 400]),
        ("OpenGVLab/InternVL3-8B", [100, 100, 300, 400]),
        ("gemini-2.5-flash", [100, 100, 400, 300]),
        ("Qwen3.5-VL-8B", [100, 100, 300, 400]),
    ],
)
def test_coordinates_by_the_family_of_the_model(model, answer):
    key = "box_2d" if "gem" in model else "bbox_2d"
    client = Named(model, f'[{{"{key}": {answer}}}]')
    picture = np.zeros((100, 200, 3), dtype="uint8")
    assert sent_size(100, 200, 1008) == (112, 196)
    [found] = chat_grounder(client=client, convention="auto").predict([ImageQueries(picture, expressions("Ann"))])
    assert np.allclose(found, [[20, 10, 60, 40, 1]], atol=0.01)


@pytest.mark.parametrize("model", ["llava-1.6", "google/gemma-3-12b-it", "Qwen2.5-7B-Instruct"])
def test_a_model_of_no_known_family_needs_a_convention(model):
    with pytest.raises(RivegaError, match=f"E904.*'{model}'.*`convention`"):
        chat_grounder(client=Named(model, "[]"), convention="auto")
