"""The tiny network of the vision tests, and photos for it."""

import json
from pathlib import Path

import pytest
from PIL import Image
from vision_tiny import squares, tiny_weights  # noqa: F401


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
