"""One thread that owns the pipeline: posts of all requests that wait go through it together."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..post.errors import Errors, SetupError
from ..post.extensions import post_name, record_error
from ..post.post_files import Post
from ..post.posts import doc_to_post, post_to_doc
from .limits import Limits
from .metrics import Metrics
from .problems import Problem

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Job:
    """What is to be done, and who hears of it.

    work (Union[Post, Callable[[], Any]]): A post for the pipeline, or something else that needs its components.
    """

    work: Post | Callable[[], Any]
    done: "Future[Any]" = field(default_factory=Future)


class Batcher:
    """A micro-batcher: `nlp.pipe` is called once for all posts that wait, `limits.batch` at a time.

    nlp (Language): The pipeline; nobody else may use it meanwhile.
    limits (Limits): Posts a batch, how long the first waits for others, and how many may wait.
    metrics (Metrics): Counts posts and batches.
    """

    def __init__(self, nlp: Language, limits: Limits, metrics: Metrics) -> None:
        self.nlp = nlp
        self.limits = limits
        self.metrics = metrics
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._expected = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="rivega-batcher", daemon=True)
        metrics.gauge("rivega_posts_waiting", lambda: float(len(self._jobs)))

    def start(self) -> None:
        """Begin to work. Calling it again changes nothing."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """Finish what waits, take nothing more, and end. Behind `limits.seconds` nobody waits for it any more; what is still under way is then left."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(self.limits.seconds)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """A request is under way that may bring posts: others wait for them a little. Where it is the only one, it waits for nobody."""
        with self._changed:
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1
                self._changed.notify_all()

    def annotate(self, posts: Sequence[Post]) -> "list[Future[Post]]":
        """Hand posts over.

        posts (Sequence[Post]): As `post_to_doc` takes them.
        RETURNS (List[Future[Post]]): Their lines to be (`doc_to_post`), in order; what could not be done for a post is noted on its line. One
            that is cancelled is left out, unless it is being worked on.
        RAISES (Problem): 503 if too many posts wait or the server is about to stop.
        """
        return self._add([_Job(post) for post in posts])

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Hand over something else that needs the pipeline's components: `function` runs where the posts do. RAISES (Problem): 503."""
        return self._add([_Job(function)])[0]

    def _add(self, jobs: list[_Job]) -> "list[Future[Any]]":
        with self._changed:
            if self._stopping:
                raise Problem(503, Errors.E810.format(reason="it is about to stop"))
            if len(self._jobs) + len(jobs) > self.limits.waiting:
                raise Problem(503, Errors.E810.format(reason=f"{len(self._jobs)} posts wait already"))
            self._jobs.extend(jobs)
            self._changed.notify_all()
        return [job.done for job in jobs]

    def _work(self) -> None:
        while True:
            jobs = self._next()
            if not jobs:
                return
            try:
                self._finish(jobs)
            except Exception as error:  # the thread must not end while requests wait for it
                logger.exception("a batch failed")
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(error)

    def _next(self) -> list[_Job]:
        """The jobs to do next: one that is no post, or as many posts as belong together. Empty at the end."""
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            until = time.monotonic() + self.limits.wait
            while self._waits_for_more() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            jobs: list[_Job] = []
            while self._jobs and len(jobs) < self.limits.batch:
                if callable(self._jobs[0].work):
                    return jobs or [self._jobs.popleft()]
                jobs.append(self._jobs.popleft())
            return jobs

    def _waits_for_more(self) -> bool:
        posts = sum(not callable(job.work) for job in self._jobs)
        return posts == len(self._jobs) < min(self.limits.batch, self._expected) and not self._stopping

    def _finish(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        if not jobs:
            return
        if callable(jobs[0].work):
            try:
                with self.nlp.memory_zone():
                    value = jobs[0].work()
                jobs[0].done.set_result(value)
            except Exception as error:  # it is told to whoever asked
                jobs[0].done.set_exception(error)
            return
        posts = [job.work for job in jobs if isinstance(job.work, dict)]
        started = time.perf_counter()
        # The vocabulary forgets the words of a batch behind it, so its docs must not outlive it.
        with self.nlp.memory_zone():
            rows = [doc_to_post(doc) if isinstance(doc, Doc) else doc for doc in self._annotated(posts)]
        self.metrics.observe("rivega_batch_posts", len(posts))
        self.metrics.observe("rivega_batch_seconds", time.perf_counter() - started)
        for job, row in zip(jobs, rows):
            if isinstance(row, Exception):
                job.done.set_exception(row)
            else:
                self.metrics.count("rivega_posts_total")
                self.metrics.count("rivega_posts_with_errors_total", by=bool(row["errors"]))
                job.done.set_result(row)

    def _annotated(self, posts: Sequence[Post]) -> list[Doc | Exception]:
        """A doc for each post. Where a component fails on the batch as a whole, the posts go alone, and the one at fault says so."""
        try:
            docs = [post_to_doc(self.nlp, post) for post in posts]
            found: list[Doc | Exception] = list(self.nlp.pipe(docs, batch_size=max(1, len(docs))))
            if len(found) == len(posts):
                return found
            error: Exception = RuntimeError("its doc was left out by the pipeline")
        except SetupError as error_of_all:
            return [error_of_all] * len(posts)
        except Exception as failure:  # whatever a component raises stays with the post it belongs to
            error = failure
        if len(posts) > 1:
            return [doc for post in posts for doc in self._annotated([post])]
        logger.warning("a post failed", exc_info=error)
        try:
            doc = post_to_doc(self.nlp, posts[0])
        except Exception as worse:
            return [worse]
        reason = f"{type(error).__name__}: {error}"
        record_error(doc, "pipeline", Errors.E017.format(post=post_name(doc), component="the pipeline", reason=reason))
        return [doc]
