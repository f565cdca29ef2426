"""Shards: the files of a job's results, each of so many posts, which appear whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...post.errors import Errors, RivegaError
from ...post.files import open_output

JSONL, PARQUET, DOCBIN = "jsonl", "parquet", "docbin"


def shard_name(number: int, form: str) -> str:
    """File name of the shard with this number, from 0: "part-00000.jsonl"."""
    return f"part-{number:05d}.{SUFFIXES[form]}"


def shard_pattern(form: str) -> str:
    """What the names of a form's shards look like, for `glob`."""
    return f"part-*.{SUFFIXES[form]}"


def write_shard(path: Path, form: str, payloads: Sequence[bytes]) -> int:
    """Write a shard, so that it is there in full even if the power fails the moment after.

    path (Path): The file.
    form (str): One of FORMS.
    payloads (Sequence[bytes]): Results of its posts, in their order (`work.Outcome`).
    RETURNS (int): Its size in bytes.
    RAISES (OutputError): E052 if the file system will not have it.
    """
    data = FORMS[form](payloads)
    with open_output(path, binary=True, durable=True) as out:
        out.write(data)
    return len(data)


def check_form(form: str) -> None:
    """RAISES (RivegaError): E622 if a form needs a package that is missing."""
    if form == PARQUET:
        _arrow()


def arrow_schema() -> Any:
    """The Arrow schema of Parquet shards: a row a post, its entities as a list of structs. See docs/jobs.md.

    RETURNS (pyarrow.Schema): Boxes are XYXY pixels, masks COCO run lengths; fields of the user's own are JSON in `own`.
    """
    pa, _ = _arrow()
    box = pa.list_(pa.float64())
    mask = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())])
    entity = pa.struct(
        [
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("label", pa.string()),
            ("text", pa.string()),
            ("score", pa.float64()),
            ("expansion", pa.string()),
            ("groundable", pa.bool_()),
            ("groundable_score", pa.float64()),
            ("boxes", pa.list_(box)),
            ("box", box),
            ("box_score", pa.float64()),
            ("mask_rle", mask),
            ("mask_score", pa.float64()),
        ]
    )
    error = pa.struct([("component", pa.string()), ("message", pa.string())])
    texts = ("id", "text", "image", "caption", "description", "knowledge")
    return pa.schema(
        [
            *((name, pa.string()) for name in texts),
            ("ents", pa.list_(entity)),
            ("errors", pa.list_(error)),
            ("own", pa.string()),
        ]
    )


def to_table(rows: Sequence[dict[str, Any]]) -> Any:
    """Results as an Arrow table.

    rows (Sequence[Dict[str, Any]]): What `doc_to_post` makes.
    RETURNS (pyarrow.Table): With `arrow_schema`; a field that the results do not have there stands in `own`.
    """
    pa, _ = _arrow()
    schema = arrow_schema()
    names = [name for name in schema.names if name != "own"]
    shaped = []
    for row in rows:
        own = {name: value for name, value in row.items() if name not in names}
        shaped.append({**{name: row.get(name) for name in names}, "own": json.dumps(own, ensure_ascii=False) if own else None})
    return pa.Table.from_pylist(shaped, schema=schema)


def _jsonl(payloads: Sequence[bytes]) -> bytes:
    return b"".join(payloads)


def _parquet(payloads: Sequence[bytes]) -> bytes:
    _, pq = _arrow()
    buffer = io.BytesIO()
    # Split at line feeds alone: a line of JSON may hold U+2028, at which `splitlines` would cut.
    rows = [json.loads(line) for payload in payloads for line in payload.split(b"\n") if line]
    pq.write_table(to_table(rows), buffer, compression="zstd")
    return buffer.getvalue()


def _docbin(payloads: Sequence[bytes]) -> bytes:
    from spacy.tokens import DocBin

    merged = DocBin(store_user_data=True)
    for payload in payloads:
        merged.merge(DocBin(store_user_data=True).from_bytes(payload))
    return merged.to_bytes()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise RivegaError(Errors.E622.format(form="Parquet", package="pyarrow", extra="export")) from error
    return pa, pq


FORMS: dict[str, Callable[[Sequence[bytes]], bytes]] = {JSONL: _jsonl, PARQUET: _parquet, DOCBIN: _docbin}
SUFFIXES = {JSONL: "jsonl", PARQUET: "parquet", DOCBIN: "spacy"}

__all__ = [
    "DOCBIN",
    "FORMS",
    "JSONL",
    "PARQUET",
    "arrow_schema",
    "check_form",
    "shard_name",
    "shard_pattern",
    "to_table",
    "write_shard",
]
