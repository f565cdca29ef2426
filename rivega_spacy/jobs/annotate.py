"""`rivega annotate` over very many posts: as a job in a folder, or with several workers into one file."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spacy.util import minibatch

from ..pipes.loading import load_pipeline
from ..post.errors import Errors, RivegaError
from ..post.files import open_output
from ..post.posts import annotate, write_posts
from .bulk.annotating import AnnotateWork, tally_of
from .bulk.job import CHUNK_SIZE, Job, JobOptions
from .bulk.local import LocalEngine, cores
from .bulk.scheduling import Engine, Scheduler
from .bulk.tally import Tally
from .bulk.work import Given, Work


@dataclass(frozen=True)
class EngineOptions:
    """Where a job's work is done.

    engine (str): "local": processes of this machine; "ray": actors of a Ray cluster.
    workers (int): How many; -1 for one a core.
    address (Optional[str]): Of a Ray cluster; None starts one on this machine.
    cpus (float), gpus (float): Of a Ray worker.
    """

    engine: str = "local"
    workers: int = 1
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def make(self, work: Work) -> Engine:
        """The engine. RAISES (RivegaError): E209 for no worker, E851 if Ray is not installed."""
        if self.workers < 1 and self.workers != -1:
            raise RivegaError(Errors.E209.format(option="workers", least=1, value=self.workers))
        if self.engine == "ray":
            from .bulk.ray_engine import RayEngine

            return RayEngine(work, self.workers, address=self.address, cpus=self.cpus, gpus=self.gpus)
        return LocalEngine(work, cores() if self.workers == -1 else self.workers)


def annotate_job(
    posts: Iterable[Given],
    folder: Path,
    work: AnnotateWork,
    options: JobOptions,
    engine: EngineOptions,
    *,
    report: Callable[[str], None] | None = None,
) -> tuple[Job, Iterator[Tally]]:
    """Annotate posts into the shards of a folder.

    posts (Iterable[Given]): All posts, from the first on, also where the job goes on.
    folder (Path): The job's folder.
    work (AnnotateWork), options (JobOptions), engine (EngineOptions): With what, how, where.
    report (Optional[Callable[[str], None]]): Called with a line about every worker that died.
    RETURNS (Tuple[Job, Iterator[Tally]]): The job, and counts that come while it is done.
    RAISES (RivegaError): As `Job`.
    """
    job = Job(folder, work, options)
    return job, job.run(posts, engine.make(work), report=report)


def annotate_here(posts: Iterable[Given], path: Path, work: AnnotateWork) -> Iterator[Tally]:
    """Annotate posts in this process into one file of JSON lines, which appears once all are done.

    posts (Iterable[Given]), path (Path), work (AnnotateWork): As for `annotate_file`.
    YIELDS (Tally): Counts of each post.
    """
    nlp = load_pipeline(work.model, gpu_id=work.gpu_id)
    docs = annotate(nlp, posts, images=None if work.images is None else Path(work.images), batch_size=work.batch_size)
    for doc in write_posts(docs, path):
        yield tally_of([doc])


def annotate_file(
    posts: Iterable[Given],
    path: Path,
    work: AnnotateWork,
    engine: EngineOptions,
    *,
    report: Callable[[str], None] | None = None,
) -> Iterator[Tally]:
    """Annotate posts with several workers into one file of JSON lines, which appears once all are done.

    posts (Iterable[Given]): The posts.
    path (Path): The file; gzipped where its name ends in .gz.
    work (AnnotateWork), engine (EngineOptions): With what, where.
    report (Optional[Callable[[str], None]]): Called with a line about every worker that died.
    YIELDS (Tally): Counts of further posts.
    RAISES (OutputError): E052 if the file cannot be written.
    """
    scheduler = Scheduler(engine.make(work), work, report)
    with open_output(path, binary=True) as out:
        for outcome in scheduler.run(minibatch(posts, work.batch_size or CHUNK_SIZE)):
            for payload in outcome.payloads:
                out.write(payload)
            yield outcome.tally


__all__ = ["EngineOptions", "annotate_file", "annotate_here", "annotate_job"]
