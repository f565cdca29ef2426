"""The posts of a data folder, counted split by split."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..corpus.docbin import read_docbin
from ..post.errors import Errors, RivegaError
from ..post.language import reading_vocab
from ..scoring.candidates import Candidates, read_candidates
from ..scoring.statistics import Counted, count, statistics

SPLITS = ("train", "dev", "test")
# Folder within the data folder -> column of Table III.
OTHERS = {"2015": "T15", "2017": "T17"}


def count_data(data: Path, *, test: Path | None = None, candidates: Sequence[Path] = (), iou: float = 0.5) -> dict[str, Any]:
    """Counts of all splits that are there.

    data (Path): Folder with .spacy files, or one such file, which is then counted alone.
    test (Optional[Path]): The test posts, where they are elsewhere.
    candidates (Sequence[Path]): Files of a detector's boxes; without them nothing is said of misses.
    iou (float): What covers a box.
    RETURNS (Dict[str, Any]): See `statistics`.
    RAISES (RivegaError): E112 if there are no posts, E863 if the candidates belong to other posts.
    """
    boxes: Candidates | None = None
    for path in candidates:
        boxes = {**(boxes or {}), **read_candidates(path)}
    vocab = reading_vocab()
    files = {split: data / f"{split}.spacy" for split in SPLITS} if data.is_dir() else {data.stem: data}
    files = {**files, "test": test} if test is not None else files
    splits = {name: count(read_docbin(path, vocab), boxes, iou) for name, path in files.items() if path.is_file()}
    if not splits:
        raise RivegaError(Errors.E112.format(path=data))
    if boxes is not None and all(counted.missed == counted.groundable for counted in splits.values()):
        raise RivegaError(Errors.E863.format(path=", ".join(map(str, candidates)), data=data))
    others: dict[str, dict[str, Counted]] = {}
    for folder, column in OTHERS.items():
        found = {split: data / folder / f"{split}.spacy" for split in SPLITS}
        there = {split: count(read_docbin(path, vocab)) for split, path in found.items() if path.is_file()}
        others.update({column: there} if there else {})
    return statistics(splits, others, detector=boxes is not None)
