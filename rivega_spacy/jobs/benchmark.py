"""How fast a pipeline goes through posts: posts a second at several batch sizes, the time of each stage, peak memory.

Each batch size has a process of its own, so that none finds pictures that another has decoded, and its peak memory is its own.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import minibatch

from ..pipes.loading import load_pipeline
from ..post.errors import Errors, PostError, RivegaError
from ..post.jsonl import dump_line
from ..post.post_files import Post
from ..post.posts import check_batches, doc_to_post, post_to_doc

READING, WRITING = "reading", "writing"


@dataclass
class Speed:
    """batch_size (int), posts (int), entities (int), failed (int): What was run; `failed` posts carry errors.
    loading_s (float): Seconds until the pipeline was there.
    stages_s (Dict[str, float]): Seconds of each component over all posts, of making docs ("reading") and JSON lines ("writing").
    memory_bytes (int): Peak of the process; loaded_bytes (int): its size before the first post; gpu_bytes (int): peak on the card.
    """

    batch_size: int
    posts: int
    entities: int
    failed: int
    loading_s: float
    stages_s: dict[str, float]
    loaded_bytes: int
    memory_bytes: int
    gpu_bytes: int

    @property
    def posts_per_s(self) -> float:
        """Posts a second, loading left out."""
        return self.posts / max(sum(self.stages_s.values()), 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "posts_per_s": self.posts_per_s}


def run_benchmark(
    pipeline: str, posts: Sequence[Post | PostError], *, images: Path, batch_sizes: Sequence[int] = (1, 8, 32), gpu_id: int = -1
) -> Iterator[Speed]:
    """Measure a pipeline.

    pipeline (str): Installed pipeline or folder.
    posts (Sequence[Union[Post, PostError]]): What is run; each once, since pictures that are seen again cost next to nothing.
    images (Path): Folder that relative image paths start from.
    batch_sizes (Sequence[int]): Posts a batch.
    gpu_id (int): GPU to use; -1 for the CPU.
    YIELDS (Speed): One a batch size.
    RAISES (RivegaError): E209 for a batch without posts, E832 if there are no posts, and what loading raises.
    """
    for size in batch_sizes:
        check_batches(size)
    if not posts:
        raise RivegaError(Errors.E832)
    # What is forked has the memory of its parent, and threads that no longer run.
    context = multiprocessing.get_context("spawn")
    for size in batch_sizes:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            yield process.submit(measure_speed, pipeline, list(posts), images, size, gpu_id).result()


def measure_speed(pipeline: str, posts: Sequence[Post | PostError], images: Path, batch_size: int, gpu_id: int = -1) -> Speed:
    """The same for one batch size, in this process."""
    started = time.perf_counter()
    nlp = load_pipeline(pipeline, gpu_id=gpu_id)
    loading = time.perf_counter() - started
    loaded = peak_memory()
    # The first run of a network sets up more than it computes.
    _run(nlp, [_first_post(nlp)], 1, {})
    seconds = {READING: 0.0, **dict.fromkeys(nlp.pipe_names, 0.0), WRITING: 0.0}
    entities = failed = 0
    for batch in minibatch(posts, size=batch_size):
        clock = time.perf_counter()
        docs = [post_to_doc(nlp, post, images=images) for post in batch]
        seconds[READING] += time.perf_counter() - clock
        docs = _run(nlp, docs, batch_size, seconds, on_gpu=gpu_id >= 0)
        clock = time.perf_counter()
        for doc in docs:
            dump_line(doc_to_post(doc))
        seconds[WRITING] += time.perf_counter() - clock
        entities += sum(len(doc.ents) for doc in docs)
        failed += sum(bool(doc._.rivega_errors) for doc in docs)
    return Speed(batch_size, len(posts), entities, failed, loading, seconds, loaded, peak_memory(), _gpu_peak(gpu_id))


def peak_memory() -> int:
    """The most memory that this process has had, in bytes; 0 if the system does not say."""
    try:
        # Unlike `ru_maxrss` not that of the process which started this one.
        status = Path("/proc/self/status").read_text(encoding="utf8")
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def _run(nlp: Language, docs: list[Doc], batch_size: int, seconds: dict[str, float], *, on_gpu: bool = False) -> list[Doc]:
    """One batch through every component; what each takes is added to `seconds`."""
    for name, component in nlp.pipeline:
        clock = time.perf_counter()
        docs = list(component.pipe(docs, batch_size=batch_size)) if hasattr(component, "pipe") else [component(doc) for doc in docs]
        if on_gpu:
            import torch

            torch.cuda.synchronize()
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - clock
    return docs


def _first_post(nlp: Language) -> Doc:
    import numpy as np

    ent = {"start": 0, "end": 3, "label": "PER", "groundable": True, "boxes": [[1, 1, 7, 7]]}
    return post_to_doc(nlp, {"text": "Ada in Paris", "image": np.zeros((8, 8, 3), dtype="uint8"), "ents": [ent]})


def _gpu_peak(gpu_id: int) -> int:
    if gpu_id < 0:
        return 0
    import torch

    return int(torch.cuda.max_memory_allocated())


__all__ = ["READING", "WRITING", "Speed", "measure_speed", "peak_memory", "run_benchmark"]
