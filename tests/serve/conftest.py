"""A small pipeline to serve: names by rule, a place in the picture for persons, masks that fill their boxes."""

import io
import json
import socket
import threading
import time
import warnings

import numpy as np
import pytest
import spacy
import uvicorn
from PIL import Image
from spacy.language import Language

from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.correcting import CorrectionQueue
from rivega_spacy.serve.limits import Limits

with warnings.catch_warnings():
    # Starlette would rather have the next version of httpx.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

WIDTH, HEIGHT = 320, 200
BOX = [32.0, 40.0, 160.0, 180.0]


@Language.component("test_seer", assigns=["span._.groundable", "span._.boxes"])
def seer(doc):
    if doc.text.startswith("FAIL"):
        raise RuntimeError("the seer is blind")
    for ent in doc.ents:
        ent._.ner_score = 0.75
        if doc._.image is not None:
            ent._.groundable = ent.label_ == "PER"
            ent._.groundable_score = 0.9 if ent.label_ == "PER" else 0.1
            ent._.boxes = [BOX] if ent.label_ == "PER" else []
    return doc


def filled(prompts):
    """Masks that fill their boxes but for a rim of two pixels."""
    answers = []
    for image, boxes in prompts:
        masks = []
        for box in boxes:
            mask = np.zeros(image.shape[:2], bool)
            x1, y1, x2, y2 = (round(float(side)) for side in box)
            mask[max(0, y1) + 2 : y2 - 2, max(0, x1) + 2 : x2 - 2] = True
            masks.append((mask, 0.5))
        answers.append(masks)
    return answers


@spacy.registry.misc("test.FilledBoxes.v1")
def make_filled():
    return filled


def make_pipeline(*, segmenter=True):
    nlp = spacy.blank("rivega")
    nlp.meta["name"], nlp.meta["version"] = "tiny", "1.0"
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PER", "pattern": "Ann"}, {"label": "LOC", "pattern": "Rio"}, {"label": "ORG", "pattern": "Zoo"}])
    nlp.add_pipe("test_seer")
    if segmenter:
        nlp.add_pipe("rivega_segmenter", config={"model": {"@misc": "test.FilledBoxes.v1"}})
    return nlp


def encoded(kind="PNG", size=(WIDTH, HEIGHT), **settings):
    rows = np.linspace(40, 220, size[1], dtype="uint8")[:, None, None]
    pixels = np.broadcast_to(rows, (size[1], size[0], 3)).copy()
    pixels[size[1] // 5 : size[1] // 2, size[0] // 4 : size[0] // 2] = (200, 60, 60)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind, **settings)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def png():
    return encoded()


@pytest.fixture
def client():
    with TestClient(create_app(make_pipeline()), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def client_with():
    """Clients of apps with limits, a queue or names of their own."""
    opened = []

    def make(*, pipeline=None, **settings):
        given = {key: settings.pop(key) for key in ("queue", "hosts", "labels") if key in settings}
        app = create_app(pipeline or make_pipeline(), limits=Limits(**settings), **given)
        opened.append(TestClient(app, base_url="http://localhost").__enter__())
        return opened[-1]

    yield make
    for each in opened:
        each.__exit__(None, None, None)


def wait_for(condition, what=""):
    """Until it is so: a minute at most, since the machine may have much else to do."""
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition(), what


POSTS = [
    {"id": "a", "text": "Ann met Rio at the Zoo 🚀 today", "image": "a.png", "source": "own"},
    {"id": "b", "text": "Nobody is here", "image": "b.jpg"},
    {"text": "Ann again, no picture"},
    {"id": "d", "text": "Ann has entities", "image": "a.png", "ents": [[0, 3, "ORG"]], "expansions": ["a club"], "knowledge": "z"},
]


@pytest.fixture
def posts_file(tmp_path, png):
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "b.jpg").write_bytes(encoded("JPEG"))
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in POSTS), encoding="utf8")
    return path


@pytest.fixture
def queue(posts_file, tmp_path):
    return CorrectionQueue(posts_file, tmp_path / "corrected.jsonl")


class Running:
    """A server in a thread, over a socket of its own."""

    def __init__(self, app):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.sock.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.sock]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server ended before it had begun"
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(60)
        self.sock.close()


@pytest.fixture
def serving():
    started = []

    def start(app):
        started.append(Running(app))
        return started[-1]

    yield start
    for each in started:
        each.stop()
