"""Posts of a Parquet file, one a row, some rows at a time."""

import datetime
import decimal
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .errors import Errors, PostError, RivegaError, SetupError
from .jsonl import Unpacked
from .text import brief

# What such a file begins and ends with.
PARQUET = b"PAR1"
# Rows may hold pictures: so many of them are held at a time.
_ROWS = 32


def read_parquet(path: str | Path, file: IO[bytes] | Unpacked, columns: Mapping[str, str]) -> Iterator[dict[str, Any] | PostError]:
    """Rows of a Parquet file as posts.

    path (Union[str, Path]): Of the file, for messages.
    file (Union[IO[bytes], Unpacked]): The file; one that cannot be read from its end is taken into memory.
    columns (Mapping[str, str]): Field -> column.
    YIELDS (Union[Dict[str, Any], PostError]): The columns of a row that are not null, times as ISO 8601; E825 last where the file breaks off.
    RAISES (SetupError): E622 without pyarrow.
    RAISES (RivegaError): E822 if there is no column for a field, E825 if it is no Parquet file.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SetupError(Errors.E622.format(form="Parquet", package="pyarrow", extra="export")) from error
    try:
        table = parquet.ParquetFile(io.BytesIO(file.all()) if isinstance(file, Unpacked) else file)
    except (pyarrow.ArrowException, OSError) as error:
        raise RivegaError(Errors.E825.format(path=path, place="at its end", reason=_first_line(error))) from error
    names = table.schema_arrow.names
    # A corpus of words and tags has no text.
    wanted = {**({} if "tokens" in names else {"text": "text"}), **columns}
    for field, name in wanted.items():
        if name not in names:
            raise RivegaError(Errors.E822.format(path=path, column=name, columns=brief(names, 300), field=field))
    number = 0
    rows = table.iter_batches(batch_size=_ROWS)
    while True:
        try:
            batch = next(rows, None)
            posts = [] if batch is None else batch.to_pylist()
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            yield PostError(Errors.E825.format(path=path, place=f"after row {number}", reason=_first_line(error)))
            return
        if batch is None:
            return
        number += len(posts)
        for post in posts:
            yield {name: _plain(value) for name, value in post.items() if not _is_null(value)}


def _plain(value: Any) -> Any:
    """A value as JSON has it; bytes stay, since pictures are kept as such."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value


def _is_null(value: Any) -> bool:
    # pandas writes NaN if there is nothing.
    return value is None or (isinstance(value, float) and math.isnan(value))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


__all__ = ["PARQUET", "read_parquet"]
