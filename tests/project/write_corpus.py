"""Write the small corpus of posts.txt and pictures.json in the published formats, into a data folder as project.yml wants it.

    python tests/project/write_corpus.py FOLDER
    spacy project run all . --vars.data FOLDER --vars.format published

posts/Twitter10000_v2.0: CoNLL text and Pascal VOC XML (Twitter-GMNER); smner.zip: labelme JSON, polygons and a bitmap (Twitter-SMNER);
posts/MNER: knowledge as a zip of token<TAB>tag files, posts/data_processing: BLIP-2 and mPLUG-Owl captions (RiVEG); images.zip; photos/:
archives of annotated photographs.
The pictures are those of assets/demo (public domain or CC0, assets/demo/ORIGINS.md), the polygons were drawn by hand over them, in percent
of width and height. The posts are written for this project; what stands as knowledge is made from a template.
"""

import io
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "corpus" / "formats"))

from published_files import bitmap, polygon, write_conll, write_knowledge, write_labelme, write_voc  # noqa: E402

from rivega_spacy.corpus.formats.regions import polygon_mask  # noqa: E402
from rivega_spacy.post.rle import encode_mask, rle_to_box  # noqa: E402

SPLITS = ("train", "dev", "test")
SIDE = 240
_ENTITY = re.compile(r"\[([^|\]]+)\|([A-Z]+)(?:\|([a-z,]+))?\]|(\S+)")
# Which picture stands under which id of which archive. Ids divisible by 5 of VOC and CCP are held out, 1 and 21 are dev. A training
# needs a batch of photographs at least, so the same few pictures stand there several times.
ARCHIVES: dict[str, list[tuple[int, str]]] = {
    "voc2007_test_a": [(1, "horses"), (21, "cow")] + [(number, name) for number, name in zip((2, 3, 4, 6, 7, 8, 9, 11, 12, 13), ["astronaut", "rex", "kitten", "horses", "cow"] * 2)],
    "voc2007_test_b": [(5, "hopper"), (10, "chelsea")] + [(number, name) for number, name in zip((14, 16, 17, 18, 19, 22, 23, 24, 26, 27), ["astronaut", "rex", "kitten", "horses", "cow"] * 2)],
    "ccp_pixel": [(5, "hopper"), (2, "astronaut"), (3, "orchestra"), (4, "astronaut")],
    "coco_train_258": [(2, "cow"), (3, "horses"), (4, "rex"), (6, "kitten")],
}  # fmt: skip


class Region(NamedTuple):
    """A hand-drawn region: parts of one thing, in pixels of the picture."""

    kind: str
    polygons: list[list[list[float]]]
    bitmap: bool

    def mask(self, height: int, width: int) -> np.ndarray:
        return polygon_mask(self.polygons, height, width)


def picture_path(name: str) -> Path:
    return ROOT / "assets" / "demo" / "images" / f"{name}.jpg"


def read_regions(scale: float = 1.0) -> dict[str, dict[str, Region]]:
    """Regions by picture and name; `scale` shrinks the pictures."""
    found: dict[str, dict[str, Region]] = {}
    for name, row in json.loads((HERE / "pictures.json").read_text(encoding="utf8")).items():
        width, height = sized(name, scale)
        found[name] = {
            key: Region(
                value["kind"],
                [[[x * width / 100, y * height / 100] for x, y in part] for part in value["polygons"]],
                value.get("bitmap", False),
            )
            for key, value in row["regions"].items()
        }
    return found


def sized(name: str, scale: float) -> tuple[int, int]:
    with Image.open(picture_path(name)) as image:
        return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def read_spec() -> dict[str, list[dict[str, Any]]]:
    """Posts by split: id, picture, tokens, tags, and `named`: (entity, names of its regions)."""
    posts: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for line in (HERE / "posts.txt").read_text(encoding="utf8").splitlines():
        if not line or line.startswith("#"):
            continue
        split, name, picture, text = (part.strip() for part in line.split(" | ", 3))
        post: dict[str, Any] = {"id": name, "picture": picture, "tokens": [], "tags": [], "named": []}
        for match in _ENTITY.finditer(text):
            words, label, regions, word = match.groups()
            if word is not None:
                post["tokens"].append(word)
                post["tags"].append("O")
                continue
            parts = words.split()
            post["tokens"] += parts
            post["tags"] += [f"B-{label}"] + [f"I-{label}"] * (len(parts) - 1)
            post["named"].append((words, label, regions.split(",") if regions else []))
        posts[split].append(post)
    return posts


def write_corpus(folder: Path) -> None:
    """The whole data folder; dirt as the published files have it: a wrong <filename>, a cut-off name, a box without mask, no last knowledge."""
    regions, spec = read_regions(), read_spec()
    texts = folder / "posts" / "Twitter10000_v2.0" / "txt"
    captions = folder / "posts" / "data_processing" / "VE_processing" / "Image caption"
    owl = folder / "posts" / "data_processing" / "MNER_processing" / "owl_image_caption"
    for path in (texts, captions, owl, folder / "posts" / "MNER"):
        path.mkdir(parents=True)
    pictures = json.loads((HERE / "pictures.json").read_text(encoding="utf8"))
    lines: list[str] = []
    with zipfile.ZipFile(folder / "posts" / "MNER" / "Twitter10000_noaugment.zip", "w") as knowledge:
        for split, posts in spec.items():
            rows = [{**post, "boxes": boxes(post, regions), **size_of(post), "knowledge": knowledge_of(post)} for post in posts]
            write_conll(texts / f"{split}.txt", rows)
            write_voc(texts.parent / "xml", rows, other_name=[rows[0]["id"]])
            for number, post in enumerate(rows):
                if post["boxes"] and number != 1:
                    shapes = labelme_shapes(post, regions)
                    write_labelme(folder / "smner", post["id"], shapes, width=post["image_width"], height=post["image_height"])
            entries = write_knowledge(folder / f"{split}.z", rows[:-1])
            knowledge.write(entries, f"Twitter10000_noaugment/{split}.txt")
            entries.unlink()
            lines += [f"{post['id']}.jpg :{pictures[post['picture']]['caption']}" for post in rows]
            described = "".join(f"imgid:{post['id']}###{pictures[post['picture']]['description']}\n" for post in rows)
            (owl / f"owl{split}caption_1.txt").write_text(described, encoding="utf8")
    half = len(lines) // 2
    for name, part in (("BLIP2_15.txt", lines[:half]), ("BLIP2_17.txt", lines[half:])):
        (captions / name).write_text("\n".join(part) + "\n", encoding="utf8")
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for posts in spec.values():
            for post in posts:
                archive.write(picture_path(post["picture"]), f"pictures_of_posts/{post['id']}.jpg")
    with zipfile.ZipFile(folder / "smner.zip", "w") as archive:
        for path in sorted((folder / "smner").iterdir()):
            archive.write(path, f"json/{path.name}")
            path.unlink()
    (folder / "smner").rmdir()
    write_photos(folder / "photos")


def size_of(post: dict[str, Any]) -> dict[str, int]:
    width, height = sized(post["picture"], 1.0)
    return {"image_width": width, "image_height": height}


def boxes(post: dict[str, Any], regions: dict[str, dict[str, Region]]) -> list[dict[str, Any]]:
    """The boxes around a post's regions, 1-based with the upper bound inclusive; each name once."""
    height, width = size_of(post)["image_height"], size_of(post)["image_width"]
    rows: list[dict[str, Any]] = []
    for words, _, names in {named[0] + str(named[2]): named for named in post["named"]}.values():
        for name in names:
            x1, y1, x2, y2 = rle_to_box(encode_mask(regions[post["picture"]][name].mask(height, width)))
            rows.append({"name": words, "xyxy": [int(x1) + 1, int(y1) + 1, int(x2), int(y2)]})
    if post["id"] == "1002":
        rows.append({"name": "Eileen Collin", "xyxy": rows[0]["xyxy"]})
    return rows


def labelme_shapes(post: dict[str, Any], regions: dict[str, dict[str, Region]]) -> list[dict[str, Any]]:
    """A shape a region, parts of one thing under one group; small things as bitmaps."""
    height, width = size_of(post)["image_height"], size_of(post)["image_width"]
    shapes: list[dict[str, Any]] = []
    for words, _, names in {named[0] + str(named[2]): named for named in post["named"]}.values():
        for group, name in enumerate(names):
            region = regions[post["picture"]][name]
            if post["id"] == "1003":
                mask = region.mask(height, width)
                x1, y1, x2, y2 = (int(value) for value in rle_to_box(encode_mask(mask)))
                shapes.append(bitmap(words, mask[y1:y2, x1:x2], x1, y1))
            else:
                many: int | None = group if len(region.polygons) > 1 else None
                shapes += [polygon(words, part, many) for part in region.polygons]
    return shapes


def knowledge_of(post: dict[str, Any]) -> str:
    names = " ".join(f"{number}. {words} ({label.lower()})" for number, (words, label, _) in enumerate(post["named"], start=1))
    return f"Named entities:{names or 'none'} Reasoning: these are the names that the post and its picture speak of ."


def write_photos(folder: Path) -> None:
    """Archives of photographs with boxes and masks, scaled down as the project's photographs are."""
    folder.mkdir(parents=True)
    for archive, members in ARCHIVES.items():
        with tarfile.open(folder / f"{archive}.tar.gz", "w:gz") as tar:
            rows: list[str] = []
            for name in sorted({picture for _, picture in members}):
                with Image.open(picture_path(name)) as image:
                    small = image.convert("RGB").resize(sized(name, SIDE / max(image.size)))
                data = io.BytesIO()
                small.save(data, format="JPEG", quality=85)
                _add(tar, f"{archive}/images/{name}.jpg", data.getvalue())
            for number, name in members:
                with Image.open(picture_path(name)) as image:
                    scale = SIDE / max(image.size)
                width, height = sized(name, scale)
                objects = []
                for region in read_regions(scale)[name].values():
                    rle = encode_mask(region.mask(height, width))
                    objects.append({"class": region.kind, "bbox": rle_to_box(rle), "segmentation": rle, "mask_box_iou": 1.0})
                rows.append(
                    json.dumps({"id": str(number), "file": f"images/{name}.jpg", "w": width, "h": height, "objects": objects})
                )
            _add(tar, f"{archive}/annotations.jsonl", ("\n".join(rows) + "\n").encode("utf8"))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
