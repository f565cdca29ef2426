"""Tables of entities, a row an entity (`rivega export --to csv`, `--to parquet`), back into posts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...post.cells import from_cell
from ...post.errors import PostError
from ...post.post_files import Post, file_form, read_posts
from .annotated import annotated_posts
from .dirt import Dirt

_BOX = ("x1", "y1", "x2", "y2")
_SAID = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# What is taken for one box: spreadsheets round.
_NEAR = 0.01


def read_entity_table(path: str | Path, dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """Posts of a table of entities, in whatever order its rows are.

    path (Union[str, Path]): CSV or Parquet with `post_id`, `text`, `start`, `end`, `label`; optional `image`, `entity`, `expansion`,
        `groundable`, `regions` (boxes and masks as JSON) and the box `x1` to `y2`: where that is none of the regions, it was corrected, and
        takes the place of the largest one. A row without `label` is a post without entities. Tables of another kind are read as posts, a
        row a post.
    dirt (Dirt): Takes what does not fit.
    lang (str): Language class whose tokenizer makes the tokens.
    YIELDS (Dict[str, Any]): As `read_annotated` does.
    """
    yield from annotated_posts(_posts(path, dirt), dirt, lang=lang)


def _posts(path: str | Path, dirt: Dirt) -> Iterator[tuple[str, str, Post]]:
    posts: dict[str, Post] = {}
    # Only cells of a CSV file are kept from being formulas; Parquet's are texts as they are.
    restored = from_cell if file_form(path) == "csv" else str
    for number, row in enumerate(read_posts(path), start=1):
        if isinstance(row, PostError):
            dirt.note("bad_post", f"{path}, {row}")
            continue
        if "post_id" not in row:
            yield f"{path}, row {number}", str(number), row
            continue
        row = {key: restored(value) if isinstance(value, str) else value for key, value in row.items()}
        name = str(row["post_id"])
        post = posts.setdefault(name, {"id": name, "text": row.get("text"), "ents": []})
        if isinstance(row.get("image"), str):
            post["image"] = row["image"]
        if row.get("label") not in (None, ""):
            post["ents"].append(_entity(row, name, dirt))
    yield from ((f"{path}, {name}", name, post) for name, post in posts.items())


def _entity(row: Post, name: str, dirt: Dirt) -> Post:
    entity: Post = {"start": _whole(row.get("start")), "end": _whole(row.get("end")), "label": row["label"]}
    what = f"{name} {row.get('entity')!r:.60}"
    for key, field in (("entity", "text"), ("expansion", "expansion")):
        if isinstance(row.get(key), str):
            entity[field] = row[key]
    shown = row.get("groundable")
    shown = _SAID.get(shown.strip().lower(), shown) if isinstance(shown, str) else shown
    if shown not in (None, ""):
        entity["groundable"] = shown
    regions = _regions(row.get("regions"), what, dirt)
    box = [_number(row.get(key)) for key in _BOX]
    if None not in box and not any(_same(box, region.get("box")) for region in regions):
        if regions:
            dirt.note("corrected_box", what)
            regions.pop(max(range(len(regions)), key=lambda place: _area(regions[place].get("box"))))
        regions.append({"box": box})
    for field, key in (("boxes", "box"), ("masks", "mask_rle")):
        found = [region[key] for region in regions if region.get(key)]
        if found:
            entity[field] = found
    return entity


def _regions(value: Any, what: str, dirt: Dirt) -> list[Post]:
    try:
        found = json.loads(value) if isinstance(value, str) else value or []
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(region, dict) and _is_box(region.get("box")) for region in found):
        dirt.note("bad_field", f"{what} `regions`: a list of objects with `box` and `mask_rle`")
        return []
    return found


def _is_box(box: Any) -> bool:
    if box is None:
        return True
    return isinstance(box, list) and len(box) == 4 and all(isinstance(side, (int, float)) and abs(side) < 1e9 for side in box)


def _same(box: list[Any], other: Any) -> bool:
    return isinstance(other, list) and len(other) == 4 and all(abs(a - b) <= _NEAR for a, b in zip(box, other))


def _area(box: Any) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1])) if isinstance(box, list) and len(box) == 4 else 0.0


def _number(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _whole(value: Any) -> Any:
    """Spreadsheets make 5.0 of 5."""
    number = _number(value)
    return int(number) if number is not None and number.is_integer() else value


__all__ = ["read_entity_table"]
