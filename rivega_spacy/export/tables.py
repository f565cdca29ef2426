"""A table of entities, a row an entity, as CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import srsly
from spacy.tokens import Doc

from ..post.cells import from_cell as from_cell
from ..post.cells import to_cell
from ..post.errors import Errors, RivegaError
from .sheets import Item, Sheet, sheets

COLUMNS = (
    "post_id", "text", "image", "start", "end", "entity", "label", "expansion", "groundable",
    "ner_score", "groundable_score", "box_score", "mask_score", "x1", "y1", "x2", "y2", "width", "height", "regions",
)  # fmt: skip
_NUMBERS = {"start", "end", "ner_score", "groundable_score", "box_score", "mask_score", "x1", "y1", "x2", "y2", "width", "height"}


def to_rows(docs: Iterable[Doc]) -> Iterator[dict[str, Any]]:
    """Entities as rows.

    docs (Iterable[Doc]): Posts.
    YIELDS (Dict[str, Any]): One row an entity, and one a post without any, with COLUMNS: `x1` to `y2` of its largest box, pixels; `regions` all its boxes and masks (COCO
        RLE) as JSON; `width` and `height` of the picture. What is not known is None.
    """
    for sheet in sheets(docs):
        for item in sheet.items:
            yield _row(sheet, item)
        if not sheet.items:
            yield {**dict.fromkeys(COLUMNS), "post_id": sheet.id, "text": sheet.text, "image": sheet.image}


def write_csv(docs: Iterable[Doc], out: Any) -> int:
    """Write a table of entities as CSV that spreadsheets open as text: a cell that would be a formula begins with an apostrophe.

    docs (Iterable[Doc]): Posts. out (IO[str]): Open for writing, with `newline=""` where it is a file of its own.
    RETURNS (int): Rows.
    """
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    count = 0
    for row in to_rows(docs):
        writer.writerow({key: value if key in _NUMBERS else to_cell(value) for key, value in row.items()})
        count += 1
    return count


def write_parquet(docs: Iterable[Doc], path: Path, *, group: int = 10_000) -> int:
    """Write a table of entities as Parquet, `group` rows at a time.

    docs (Iterable[Doc]): Posts. path (Path): The file. group (int): Rows held at once.
    RETURNS (int): Rows.
    RAISES (RivegaError): E622 without pyarrow.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise RivegaError(Errors.E622.format(form="Parquet", package="pyarrow", extra="export")) from error
    integers, texts = {"start", "end", "width", "height"}, set(COLUMNS) - _NUMBERS - {"groundable"}
    kinds = {key: pa.int64() if key in integers else pa.string() if key in texts else pa.float64() for key in COLUMNS}
    schema = pa.schema([(key, pa.bool_() if key == "groundable" else kind) for key, kind in kinds.items()])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        waiting: list[dict[str, Any]] = []
        for row in to_rows(docs):
            waiting.append(row)
            count += 1
            if len(waiting) == group:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
    return count


def _row(sheet: Sheet, item: Item) -> dict[str, Any]:
    boxes = [region.box for region in item.regions]
    x1, y1, x2, y2 = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=[None] * 4)
    regions = [{"box": region.box, "mask_rle": region.mask} for region in item.regions]
    return {
        "post_id": sheet.id,
        "text": sheet.text,
        "image": sheet.image,
        "start": item.start,
        "end": item.end,
        "entity": item.text,
        "label": item.label,
        "expansion": item.expansion,
        "groundable": item.groundable,
        **{name: item.scores.get(name) for name in ("ner_score", "groundable_score", "box_score", "mask_score")},
        "x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": sheet.width, "height": sheet.height,
        "regions": srsly.json_dumps(regions) if regions else None,
    }  # fmt: skip
