"""A job: a stream of posts to a folder of shards, which goes on where it stopped, whatever stopped it."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ...post.errors import Errors, RivegaError
from ...post.files import check_output_folder
from .local import LOCKS
from .manifest import NAME, Manifest, Shard, read_manifest
from .scheduling import Engine, Scheduler
from .shards import FORMS, JSONL, check_form, shard_name, shard_pattern, write_shard
from .tally import Tally
from .work import Digest, Given, Outcome, Work

SHARD_SIZE = 1000
CHUNK_SIZE = 64
_LOCK = ".lock"


@dataclass(frozen=True)
class JobOptions:
    """How a job runs.

    form (str): Of the shards, one of `shards.FORMS`.
    shard_size (int): Posts a shard: the work of so many is lost at most where the job is killed.
    chunk_size (int): Posts that a worker gets at once; the networks work on them together.
    resume (bool): Go on with a job that is there.
    restart (bool): Throw its results away and begin anew.
    failed_again (bool): Where a job goes on, do shards with failed posts again.
    inputs (Sequence[str]): Names of the inputs, for the manifest.
    """

    form: str = JSONL
    shard_size: int = SHARD_SIZE
    chunk_size: int = CHUNK_SIZE
    resume: bool = False
    restart: bool = False
    failed_again: bool = False
    inputs: Sequence[str] = ()

    def check(self) -> None:
        """RAISES (RivegaError): E209 for sizes below 1, E622 if the form needs a package that is missing."""
        for option, value in (("shard_size", self.shard_size), ("chunk_size", self.chunk_size)):
            if value < 1:
                raise RivegaError(Errors.E209.format(option=option, least=1, value=value))
        check_form(self.form)


class Job:
    """A job in its folder.

    folder (Path): Holds the shards and the manifest; made if there is none.
    work (Work): What is done.
    options (JobOptions): How.
    RAISES (RivegaError): E842 if there is a job and neither `resume` nor `restart` is set, E843 if it was begun otherwise, E844 if its
        manifest is damaged, E847 where the folder holds other files; what `JobOptions.check` raises.
    RAISES (OutputError): E052 if nothing can be written there.
    """

    def __init__(self, folder: Path, work: Work, options: JobOptions) -> None:
        options.check()
        check_output_folder(folder)
        self.folder = folder
        self.work = work
        self.options = options
        wanted = Manifest(work.identity(), options.form, options.shard_size, options.chunk_size, list(options.inputs))
        found = None if options.restart else read_manifest(folder)
        if found is None:
            check_folder(folder)
            self.manifest = wanted
        else:
            if not options.resume:
                raise RivegaError(Errors.E842.format(folder=folder, posts=found.total().posts))
            found.check_same(wanted, folder)
            self.manifest = found
            self.manifest.inputs, self.manifest.chunk_size = wanted.inputs, wanted.chunk_size
        # Those done before this run.
        self.before = sum(shard.posts for shard in self.manifest.shards if not self._is_to_do(shard))

    def run(self, posts: Iterable[Given], engine: Engine, *, report: Callable[[str], None] | None = None) -> Iterator[Tally]:
        """Do what is not done yet.

        posts (Iterable[Given]): All posts of the job, from the first on; those done are read and compared, no more.
        engine (Engine): Where the work is done.
        report (Optional[Callable[[str], None]]): Called with a line about every worker that died.
        YIELDS (Tally): Counts of further posts: of those done before, a shard at a time, then of new ones as they are done. Whoever stops
            reading stops the job.
        RAISES (RivegaError): E846 if the input has changed, E848 if another process is at work on this job.
        RAISES (OutputError): E052 if a shard cannot be written; the job can go on later.
        """
        with _locked(self.folder):
            if self.options.restart:
                remove_results(self.folder)
            remove_parts(self.folder)
            yield from self._run(iter(posts), Scheduler(engine, self.work, report), engine)

    def _run(self, posts: Iterator[Given], scheduler: Scheduler, engine: Engine) -> Iterator[Tally]:
        manifest = self.manifest
        # A file of results that is gone or cut short is made again, and comes out as it was.
        again = {number for number, shard in enumerate(manifest.shards) if self._is_to_do(shard)}
        yield from (Tally.from_json(shard.tally) for number, shard in enumerate(manifest.shards) if number not in again)
        manifest.complete = False
        manifest.write(self.folder)
        plan = _Plan(posts, self.options, manifest.shards, again, self.folder)
        whole = Outcome()
        try:
            for outcome in scheduler.run(plan.chunks()):
                whole.add(outcome)
                yield outcome.tally
                if whole.tally.posts == plan.open[0].posts:
                    self._commit(whole, plan.open.popleft())
                    whole = Outcome()
        finally:
            # Also if nobody reads on: the workers end.
            engine.close()
        manifest.complete = True
        manifest.write(self.folder)

    def _is_to_do(self, shard: Shard) -> bool:
        return not shard.is_whole(self.folder) or (self.options.failed_again and shard.tally["failed"] > 0)

    def _commit(self, whole: Outcome, planned: "_Planned") -> None:
        name = shard_name(planned.number, self.options.form)
        size = write_shard(self.folder / name, self.options.form, whole.payloads)
        shard = Shard(name, planned.start, planned.posts, planned.digest.hexdigest(), size, whole.tally.to_json())
        self.manifest.shards[planned.number : planned.number + 1] = [shard]
        self.manifest.write(self.folder)


@dataclass
class _Planned:
    """A shard that is to be made: its number, its first post, how many posts it has as far as they were read, and their digest."""

    number: int
    start: int
    posts: int = 0
    digest: Digest = field(default_factory=Digest)


class _Plan:
    """Cuts a stream into chunks, none of which crosses the border of a shard; posts of shards that are done are read and compared.

    open (Deque[_Planned]): The shards that chunks were cut for, in their order. Of the first one all posts were read before the results of its
        last chunk can come, but those of a last shard that ends with the input: it grows no more.
    """

    def __init__(self, posts: Iterator[Given], options: JobOptions, shards: Sequence[Shard], again: set[int], folder: Path) -> None:
        self._posts = posts
        self._options = options
        self._shards = list(shards)
        self._again = again
        self._folder = folder
        self.open: deque[_Planned] = deque()

    def chunks(self) -> Iterator[list[Given]]:
        """The chunks. RAISES (RivegaError): E846 if posts that were done before have changed."""
        for number, shard in enumerate(self._shards):
            planned = _Planned(number, shard.start)
            if number in self._again:
                yield from self._cut(planned, shard.posts)
            else:
                for post in islice(self._posts, shard.posts):
                    planned.digest.add(post)
                    planned.posts += 1
            if planned.posts < shard.posts or planned.digest.hexdigest() != shard.digest:
                raise RivegaError(Errors.E846.format(folder=self._folder, start=shard.start + 1, end=shard.start + shard.posts))
        number = len(self._shards)
        start = sum(shard.posts for shard in self._shards)
        while True:
            planned = _Planned(number, start)
            yield from self._cut(planned, self._options.shard_size)
            if planned.posts < self._options.shard_size:
                return
            number, start = number + 1, start + planned.posts

    def _cut(self, planned: _Planned, count: int) -> Iterator[list[Given]]:
        """The chunks of a shard of so many posts."""
        # One chunk is read ahead, so that the last one goes out when the shard is known to have no more.
        chunk = self._next(planned, count)
        if chunk:
            self.open.append(planned)
        while chunk:
            following = self._next(planned, count - planned.posts)
            yield chunk
            chunk = following

    def _next(self, planned: _Planned, left: int) -> list[Given]:
        chunk = list(islice(self._posts, min(left, self._options.chunk_size)))
        for post in chunk:
            planned.digest.add(post)
        planned.posts += len(chunk)
        return chunk


def check_folder(folder: Path) -> None:
    """That a folder can be a new job's. RAISES (RivegaError): E847 if it holds files that no job wrote."""
    if folder.is_dir():
        ours = {path for pattern in _ours() for path in folder.glob(pattern)}
        other = next((path for path in sorted(folder.iterdir()) if path not in ours), None)
        if other is not None:
            raise RivegaError(Errors.E847.format(folder=folder, file=other.name))


def remove_results(folder: Path) -> None:
    """Remove the shards and the manifest of a job, the manifest first: without it they are nothing."""
    (folder / NAME).unlink(missing_ok=True)
    for form in FORMS:
        for path in folder.glob(shard_pattern(form)):
            path.unlink()


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left of files that it had not finished."""
    for path in folder.glob(".*.part"):
        path.unlink()


def _ours() -> list[str]:
    return [NAME, _LOCK, ".*.part", *(shard_pattern(form) for form in FORMS)]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """That no other process works in the folder. The lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            import fcntl

            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: who starts a job twice there is not told
            pass
        except OSError as error:
            raise RivegaError(Errors.E848.format(folder=folder)) from error
        LOCKS.add(number)
        yield
    finally:
        LOCKS.discard(number)
        with suppress(OSError):
            os.close(number)


__all__ = ["CHUNK_SIZE", "SHARD_SIZE", "Job", "JobOptions", "check_folder", "remove_parts", "remove_results"]
