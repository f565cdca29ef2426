"""Annotating inside other engines (Spark, Dask, Ray Data, multiprocessing): rows in, rows out, the pipeline loaded once a process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from spacy.util import minibatch

from ...post.jsonl import dump_line
from .annotating import AnnotateWork, Annotator
from .job import CHUNK_SIZE

if TYPE_CHECKING:
    import pandas

# The column that `frames` adds.
COLUMN = "annotation"


@dataclass(frozen=True)
class RowAnnotator:
    """Something small that travels to workers of any kind, and loads the pipeline where it is first called.

    model (str): Installed pipeline or folder, to be had on every machine.
    images (Optional[str]): Folder that relative image paths start from, the same on every machine.
    batch_size (int): Posts that the networks work on together.
    gpu_id (int): GPU; -1 for the CPU.
    """

    model: str
    images: str | None = None
    batch_size: int = CHUNK_SIZE
    gpu_id: int = -1

    def __call__(self, posts: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Annotated posts (`doc_to_post`), in order; what went wrong with one is in its `errors`."""
        annotator = _loaded(AnnotateWork(self.model, self.images, gpu_id=self.gpu_id))
        for batch in minibatch(posts, self.batch_size):
            yield from annotator.rows(batch)

    def line(self, post: dict[str, Any]) -> str:
        """One annotated post as a line of JSON."""
        return dump_line(next(self([post])))

    def list(self, posts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same as a list, for engines that cannot send an iterator back."""
        return list(self(posts))

    def frames(self, frames: Iterable["pandas.DataFrame"]) -> Iterator["pandas.DataFrame"]:
        """Data frames with a column more, `annotation`: the annotated post of each row as JSON. For Spark's `mapInPandas`.

        frames (Iterable[DataFrame]): With `text`, and what else a post may have.
        """
        for frame in frames:
            yield self.frame(frame)

    def frame(self, frame: "pandas.DataFrame") -> "pandas.DataFrame":
        """The same for one data frame. For Ray Data's `map_batches(..., batch_format="pandas")` and Dask's `map_partitions`."""
        # A missing value is None here, NaN there.
        posts = [{name: value for name, value in row.items() if value == value} for row in frame.to_dict("records")]
        return frame.assign(**{COLUMN: [dump_line(row).rstrip("\n") for row in self(posts)]})


@lru_cache(maxsize=2)
def _loaded(work: AnnotateWork) -> Annotator:
    annotator = work.load()
    assert isinstance(annotator, Annotator)
    return annotator


__all__ = ["COLUMN", "RowAnnotator"]
