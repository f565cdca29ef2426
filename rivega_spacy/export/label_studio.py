"""Label Studio: tasks with predictions in which a text label and its rectangle and brush are linked by relations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

from spacy.tokens import Doc

from ..post.brush import brush_rle
from .sheets import DrawnRegion, Item, Sheet, sheets

SHOWN, NOT_SHOWN = "shown", "not shown"
RELATION = "shows"
DEFAULT_LABELS = ("PER", "LOC", "ORG", "OTHER")
# Characters that XML cannot hold, not even spelled out (Extensible Markup Language 1.0, section 2.2).
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_COLOURS = ("#ff5c7a", "#34cf82", "#3fa7ff", "#ffb91f", "#b583ff", "#16c7d6", "#ff8a3d", "#ee6ecb")


def to_label_studio(docs: Iterable[Doc], *, image_prefix: str = "", model_version: str = "rivega") -> list[dict[str, Any]]:
    """Posts as Label Studio tasks.

    docs (Iterable[Doc]): Posts.
    image_prefix (str): Put before each picture's path, for example "/data/local-files/?d=".
    model_version (str): Under which name the predictions are shown.
    RETURNS (List[Dict[str, Any]]): Tasks to import into a project whose labelling config is `label_studio_config`. Rectangles are in percent of
        the picture, masks in Label Studio's own run lengths; a text label's expansion and whether it is shown hang on it.
    """
    return [_task(sheet, image_prefix, model_version) for sheet in sheets(docs)]


def label_studio_config(labels: Iterable[str] = DEFAULT_LABELS) -> str:
    """The labelling config of a project that the tasks fit into.

    labels (Iterable[str]): Types of entities; characters that XML cannot hold become U+FFFD.
    RETURNS (str): XML.
    """
    colours = [(_NOT_XML.sub("\ufffd", label), _COLOURS[place % len(_COLOURS)]) for place, label in enumerate(labels)]

    def choices(tag: str) -> str:
        return "".join(f"\n    <{tag} value={quoteattr(label)} background={quoteattr(colour)}/>" for label, colour in colours)

    return f"""<View>
  <Labels name="entity" toName="text">{choices("Label")}
  </Labels>
  <Text name="text" value="$text"/>
  <TextArea name="expansion" toName="text" perRegion="true" editable="true" maxSubmissions="1" placeholder="what to look for"/>
  <Choices name="shown" toName="text" perRegion="true" choice="single-radio">
    <Choice value="{SHOWN}"/>
    <Choice value="{NOT_SHOWN}"/>
  </Choices>
  <Relations>
    <Relation value="{RELATION}"/>
  </Relations>
  <Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image">{choices("Label")}
  </RectangleLabels>
  <BrushLabels name="mask" toName="image">{choices("Label")}
  </BrushLabels>
</View>
"""


def _task(sheet: Sheet, image_prefix: str, model_version: str) -> dict[str, Any]:
    results = [result for item in sheet.items for result in _results(sheet, item)]
    data: dict[str, Any] = {"id": sheet.id, "text": sheet.text, **sheet.fields}
    if sheet.image is not None:
        data["image"] = image_prefix + sheet.image
    score = min((item.score for item in sheet.items), default=1.0)
    return {"data": data, "predictions": [{"model_version": model_version, "score": score, "result": results}]}


def _results(sheet: Sheet, item: Item) -> list[dict[str, Any]]:
    key = f"e{item.number}"
    place = {"start": item.start, "end": item.end, "text": item.text}
    hung = {"id": key, "to_name": "text"}
    found: list[dict[str, Any]] = [
        {**hung, "from_name": "entity", "type": "labels", "value": {**place, "labels": [item.label]}, "score": item.score}
    ]
    if item.expansion:
        found.append({**hung, "from_name": "expansion", "type": "textarea", "value": {**place, "text": [item.expansion]}})
    if item.groundable is not None:
        shown = SHOWN if item.groundable else NOT_SHOWN
        found.append({**hung, "from_name": "shown", "type": "choices", "value": {**place, "choices": [shown]}})
    if sheet.width is not None and sheet.height is not None:
        for number, region in enumerate(item.regions):
            found += _region(sheet, item, region, f"{key}r{number}")
    return found


def _region(sheet: Sheet, item: Item, region: DrawnRegion, key: str) -> list[dict[str, Any]]:
    width, height = float(sheet.width or 0), float(sheet.height or 0)
    x1, y1, x2, y2 = region.box
    shared = {"to_name": "image", "original_width": sheet.width, "original_height": sheet.height, "image_rotation": 0}
    percent = {"x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
    value: dict[str, Any] = {**percent, "rotation": 0, "rectanglelabels": [item.label]}
    found = [{**shared, "id": f"{key}b", "from_name": "box", "type": "rectanglelabels", "value": value}]
    if region.mask is not None:
        value = {"format": "rle", "rle": brush_rle(region.mask), "brushlabels": [item.label]}
        found.append({**shared, "id": f"{key}m", "from_name": "mask", "type": "brushlabels", "value": value})
    links = [
        {"type": "relation", "from_id": f"e{item.number}", "to_id": part["id"], "direction": "right", "labels": [RELATION]}
        for part in found
    ]
    return found + links
