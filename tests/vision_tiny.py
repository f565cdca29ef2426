"""A network small enough to learn something within a test, and pictures it can learn from."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from PIL import Image

from rivega_spacy.backends.small.network import SmallVision
from rivega_spacy.backends.small.weights import LITE, build_network, save_network

SIZES: dict[str, object] = {
    "width": 16,
    "box_width": 16,
    "word_width": 8,
    "image_widths": [8, 16, 16, 16],
    "image_depths": [1, 1, 1, 1],
    "image_width": 16,
}
# Of a network on the pre-trained backbone.
SEEN_SIZES: dict[str, object] = {"width": 16, "box_width": 16, "word_width": 8, "middle": 16, "image_width": 16, "depth": 1}
WORDS = ["[UNK]", "a", "red", "green", "thing", "square", "league", "nobody", "person", "(", ")", "—", ",", "##s", "ada", "lea"]


def tiny_network(seed: int = 0, sizes: dict[str, object] = SIZES) -> SmallVision:
    torch.manual_seed(seed)
    network = build_network({**sizes, "vocab_size": len(WORDS), "vocab_bytes": len("\n".join(WORDS))})
    network.text.set_table(WORDS, np.random.default_rng(seed).normal(size=(len(WORDS), 8)))
    return network.eval()


def tiny_seen_network() -> SmallVision:
    return tiny_network(sizes={**SEEN_SIZES, "backbone": LITE})


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_network(tiny_network(), path)
    return path


@pytest.fixture(scope="session")
def seen_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "seen.safetensors"
    save_network(tiny_seen_network(), path)
    return path


@pytest.fixture
def tiny_vision(tiny_weights: Path) -> spacy.Language:
    """A pipeline of tiny networks in the places of the shipped vision networks; everything counts as shown."""
    nlp = blank_nlp()
    for name, network in (("rivega_entailment", "SmallEntailment"), ("rivega_grounder", "SmallGrounder")):
        pipe = nlp.add_pipe(name, config={"model": {"@architectures": f"rivega.{network}.v1", "size": 64, **SIZES}})
        pipe.model.attrs["load"](pipe.model, tiny_weights)
    nlp.get_pipe("rivega_entailment").cfg["threshold"] = 0.0
    nlp.add_pipe("rivega_segmenter", config={"model": {"@architectures": "rivega.SmallSegmenter.v2", "size": 32}})
    return nlp


def square_picture(rng: np.random.Generator, colour: str, height: int = 72, width: int = 96) -> tuple:
    """A grey picture with one coloured rectangle, and its box."""
    image = np.full((height, width, 3), 110, np.uint8) + rng.integers(0, 20, (height, width, 3)).astype(np.uint8)
    w, h = rng.integers(30, 50, 2)
    x, y = rng.integers(0, width - w), rng.integers(0, height - h)
    image[y : y + h, x : x + w] = (230, 20, 20) if colour == "red" else (20, 210, 20)
    return image, np.array([x, y, x + w, y + h], np.float32)


def squares(count: int, seed: int = 0) -> list[tuple]:
    rng = np.random.default_rng(seed)
    return [(colour, *square_picture(rng, colour)) for colour in ["red", "green"] * (count // 2)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of dogs (red squares) and cats (green squares)."""
    folder = tmp_path / "photos" / "voc_squares"
    (folder / "images").mkdir(parents=True)
    rows = []
    for number, (colour, image, box) in zip([1, 2, 3, 4, 6, 7, 8, 9, 21, 22, 41, 42], squares(12)):
        name = f"images/{number:06d}.png"
        Image.fromarray(image).save(folder / name)
        kind = {"red": "dog", "green": "cat"}[colour]
        rows.append({"id": f"{number:06d}", "file": name, "objects": [{"class": kind, "bbox": box.tolist(), "difficult": False}]})
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    return tmp_path / "photos"
