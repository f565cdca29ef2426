"""Writes compact posts in the published formats, so that the readers can be held against what went in."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

Post = dict[str, Any]


def write_conll(path: Path, posts: Iterable[Post]) -> Path:
    """IMGID, token<TAB>tag lines, a blank line."""
    lines: list[str] = []
    for post in posts:
        lines.append(f"IMGID:{post['id']}")
        lines += [f"{token}\t{tag}" for token, tag in zip(post["tokens"], post["tags"])]
        lines.append("")
    path.write_bytes("\n".join(lines).encode("utf8"))
    return path


def write_voc(folder: Path, posts: Iterable[Post], *, other_name: Sequence[str] = ()) -> Path:
    """One XML a post with boxes: tabs, no declaration, depth 1, <filename> wrong where asked."""
    folder.mkdir(parents=True, exist_ok=True)
    for post in posts:
        if not post["boxes"]:
            continue
        name = "elsewhere.jpg" if post["id"] in other_name else f"{post['id']}.jpg"
        objects = ""
        for box in post["boxes"]:
            sides = "".join(
                f"\t\t\t<{side}>{value}</{side}>\n" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box["xyxy"])
            )
            objects += f"\t<object>\n\t\t<name>{escape(box['name'])}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<bndbox>\n{sides}\t\t</bndbox>\n\t</object>\n"
        size = f"\t<size>\n\t\t<width>{post['image_width']}</width>\n\t\t<height>{post['image_height']}</height>\n\t\t<depth>1</depth>\n\t</size>\n"
        text = f"<annotation>\n\t<folder>img</folder>\n\t<filename>{name}</filename>\n{size}{objects}</annotation>\n"
        (folder / f"{post['id']}.xml").write_bytes(text.encode("utf8"))
    return folder


def write_knowledge(path: Path, posts: Iterable[Post]) -> Path:
    """CRLF, no ids; `<EOS><TAB>X`, then the words of z with tag X."""
    lines: list[str] = []
    for post in posts:
        lines += [f"{token}\t{tag}" for token, tag in zip(post["tokens"], post["tags"])]
        lines.append("<EOS>\tX")
        lines += [f"{word}\tX" for word in post["knowledge"].split(" ")]
        lines.append("")
    path.write_bytes("\r\n".join(lines).encode("utf8"))
    return path


def write_labelme(
    folder: Path, name: str, shapes: list[dict[str, Any]], *, width: int, height: int, image: str | None = None
) -> Path:
    """One labelme file."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image or f"{name}.jpg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    (folder / f"{name}.json").write_text(json.dumps(row), encoding="utf8")
    return folder


def polygon(label: str, points: Sequence[Sequence[float]], group: int | None = None) -> dict[str, Any]:
    """A polygon shape."""
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": group,
        "shape_type": "polygon",
        "flags": {},
        "mask": None,
    }


def bitmap(label: str, mask: np.ndarray, left: int, top: int) -> dict[str, Any]:
    """A bitmap shape, as labelme's AI tools write it."""
    data = io.BytesIO()
    Image.fromarray(mask.astype("uint8") * 255).convert("1").save(data, format="PNG")
    height, width = mask.shape
    points = [[left, top], [left + width - 1, top + height - 1]]
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(data.getvalue()).decode("ascii"),
    }
