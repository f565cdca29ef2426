"""What several benchmarks share: intervals over photographs, the processor's name, a report in a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rivega_spacy.jobs.machine import read_machine


def interval(
    values: Sequence[float] | np.ndarray, photos: Sequence[Any], *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean and 95 % interval in percent (percentile bootstrap), resampling photographs.

    values (Sequence[float]): A value for each question or mask, 0 to 1.
    photos (Sequence[Any]): The photograph that each belongs to.
    """
    values = np.asarray(values, dtype=float)
    _, place = np.unique(np.asarray(photos), return_inverse=True)
    total, count = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(seed).integers(len(count), size=(rounds, len(count)))
    low, high = np.percentile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), [2.5, 97.5])
    return 100 * values.mean(), 100 * float(low), 100 * float(high)


def processor() -> str:
    """The processor's name."""
    return read_machine().processor


def write_report(path: Path | None, title: str, table: str, numbers: dict[str, Any]) -> None:
    """Print the table, and write it as Markdown, or the numbers if the file's name ends in .json."""
    print(table)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(numbers, indent=1) if path.suffix == ".json" else f"# {title}\n\n{table}\n"
        path.write_text(text, encoding="utf8")
