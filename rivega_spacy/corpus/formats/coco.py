"""COCO JSON, as most annotation tools export it: regions whose category (or an attribute) is an entity's text."""

from pathlib import Path
from typing import Any

from ...post.errors import Errors, RivegaError
from .coordinates import has_area, picture_size, read_box
from .dirt import Dirt
from .json_files import read_json, reference
from .regions import AnnotatedPicture, Pictures, Region, add_picture, drawn_region, post_id, stored_region
from .segmentations import read_segmentation

# Where tools put a free text beside the category (CVAT, Label Studio, Roboflow).
_NAME_FIELDS = ("entity", "name", "text", "caption")


def read_coco(path: str | Path, dirt: Dirt) -> Pictures:
    """Regions of a COCO file.

    path (Union[str, Path]): JSON with images, annotations and categories. An annotation is named by its own `entity`, `name`,
        `text` or `caption` (or the same among its `attributes`), else by its category.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, AnnotatedPicture]): By the stem of the picture's file name. Regions whose picture or category cannot be told, because
        several bear its id, are left out.
    RAISES (RivegaError): E020 if there is no such file, E132 if it is not COCO JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        data = read_json(path)
        images, annotations, categories = data["images"], data["annotations"], data.get("categories") or []
        if not all(isinstance(items, list) for items in (images, annotations, categories)):
            raise TypeError("images, annotations and categories are lists")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RivegaError(Errors.E132.format(path=path, kind="COCO JSON", reason=repr(error))) from error
    pictures: Pictures = {}
    by_id = _pictures_by_id(images, pictures, path.parent, dirt)
    names = _category_names(categories, dirt)
    seen: dict[str, list[dict[str, Any]]] = {}
    for annotation in annotations:
        if not isinstance(annotation, dict):
            dirt.note("bad_region", f"annotation {annotation!r:.60}")
            continue
        where = f"annotation {annotation.get('id')!r:.40}"
        candidates = by_id.get(_key(annotation.get("image_id")), [])
        picture = candidates[0] if candidates else None
        name = _name(annotation, names)
        if len(candidates) > 1 or len(name) > 1:
            dirt.note("ambiguous", where)
            for possible in candidates:
                possible.lost += name
        elif annotation.get("id") is not None and annotation in seen.setdefault(_key(annotation["id"]), []):
            dirt.note("duplicate_region", where)
        else:
            seen.setdefault(_key(annotation.get("id")), []).append(annotation)
            region = None if picture is None or not name else _region(annotation, name[0], picture, where, dirt)
            if region is None or picture is None:
                dirt.note("bad_region", where)
                if picture is not None:
                    picture.lost += name
            else:
                picture.regions.append(region)
    return pictures


def _pictures_by_id(images: list[Any], pictures: Pictures, folder: Path, dirt: Dirt) -> dict[str, list[AnnotatedPicture]]:
    """Pictures by their ids; merging of files makes ids that several bear."""
    found: dict[str, list[AnnotatedPicture]] = {}
    for image in images:
        name = reference(image.get("file_name")) if isinstance(image, dict) else None
        if name is None or _key(image.get("id")) == "":
            dirt.note("bad_picture", f"{image!r:.60}")
            continue
        width, height, usable = picture_size(image.get("width"), image.get("height"))
        if not usable:
            dirt.note("bad_size", f"{name} ({image.get('width')!r:.20} x {image.get('height')!r:.20})")
        picture = add_picture(
            pictures, post_id(name), AnnotatedPicture(width, height, image=name, file=folder / name.replace("\\", "/"))
        )
        known = found.setdefault(_key(image["id"]), [])
        known += [] if any(picture is other for other in known) else [picture]
    return found


def _category_names(categories: list[Any], dirt: Dirt) -> dict[str, list[str]]:
    """Names by category id; merging of files makes ids that have several."""
    names: dict[str, list[str]] = {}
    for category in categories:
        name = _text(category.get("name")) if isinstance(category, dict) else None
        if name is None or _key(category.get("id")) == "":
            dirt.note("bad_picture", f"category {category!r:.60}")
        elif name not in names.setdefault(_key(category["id"]), []):
            names[_key(category["id"])].append(name)
    return names


def _key(value: Any) -> str:
    """An id as text, so that 5, 5.0 and "5" are one; "" for what is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or isinstance(value, (bool, list, dict)) else str(value).strip()


def _text(value: Any) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _name(annotation: dict[str, Any], categories: dict[str, list[str]]) -> list[str]:
    """What an annotation is called; nothing if nothing says it, several where its category has several names."""
    attributes = annotation.get("attributes")
    if isinstance(attributes, list):
        # [{"name": ..., "value": ...}], as some tools write them.
        pairs = [item for item in attributes if isinstance(item, dict) and isinstance(item.get("name"), str)]
        attributes = {item["name"]: item.get("value") for item in pairs}
    for source in (annotation, attributes if isinstance(attributes, dict) else {}):
        for key in _NAME_FIELDS:
            name = _text(source.get(key))
            if name is not None:
                return [name]
    return categories.get(_key(annotation.get("category_id")), [])


def _region(annotation: dict[str, Any], name: str, picture: AnnotatedPicture, where: str, dirt: Dirt) -> Region | None:
    drawing = mask = None
    try:
        drawing, mask = read_segmentation(annotation.get("segmentation"))
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
    box = None
    try:
        x, y, w, h = read_box(annotation.get("bbox"))
        box = [x, y, x + w, y + h] if w > 0 and h > 0 else None
    except ValueError:
        pass
    if drawing is not None:
        region = drawn_region(name, drawing, picture, box)
    elif mask is not None:
        region = stored_region(name, mask, box)
    else:
        region = None if box is None or not has_area(box) else Region(name, box)
    if region is not None and reason:
        dirt.note("bad_mask", f"{where} ({reason:.80})")
    if region is not None and box is None and annotation.get("bbox"):
        dirt.note("box_from_mask", where)
    return region
