"""Chunks of posts to workers and their results back in order, whatever becomes of the workers.

A chunk whose worker dies is done again. Where that one dies too, its posts are done again one by one, so that the one at fault is found:
it gets a note in place of a result, the others their results. No post is begun more than three times.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ...post.errors import Errors, SetupError
from .work import Given, Outcome, Work

# A worker has one chunk in hand and one waiting, so that it is never idle.
QUEUED = 2
# So many chunks a worker are under way: one that takes long does not stop the others at once, and memory stays bounded.
WINDOW = 4
# So many workers in a row that die before they are ready mean that none ever will be; more of them where others were ready before, since
# nodes of a cluster may go for reasons of their own.
HOPELESS = 3
HOPELESS_LATER = 30


class Event(NamedTuple):
    """What an engine tells of a worker.

    kind (str): "ready"; "done", with the Outcome of its oldest posts; "failed", with the reason; "dead", with the reason; "refused", with the
        RivegaError that says why no worker can work at all.
    """

    worker: Hashable
    kind: str
    value: Any = None


class Engine(Protocol):
    """Where workers run. They take posts in the order in which they are sent."""

    workers: int

    def start(self) -> Hashable:
        """Begin one more worker."""

    def send(self, worker: Hashable, posts: Sequence[Given]) -> None:
        """Give posts to a worker that is ready; where it has died, an event will say so."""

    def wait(self) -> list[Event]:
        """What has happened; waits until something has."""

    def close(self) -> None:
        """End all workers."""


@dataclass
class _Chunk:
    posts: Sequence[Given]
    # Number of the first post of a part -> what became of it, and of how many posts it was.
    done: dict[int, tuple[int, Outcome]] = field(default_factory=dict)

    def is_done(self) -> bool:
        return sum(count for count, _ in self.done.values()) == len(self.posts)

    def outcome(self) -> Outcome:
        whole = Outcome()
        for place in sorted(self.done):
            whole.add(self.done[place][1])
        return whole


class _Unit(NamedTuple):
    """Posts that a worker gets at once: a chunk, or one post of it."""

    chunk: int
    start: int
    count: int  # type: ignore[assignment] # what `tuple.count` does, nobody asks a unit
    losses: int = 0


class Scheduler:
    """Runs chunks on an engine.

    engine (Engine): Where.
    work (Work): Says what is written for a post that no worker survives.
    report (Optional[Callable[[str], None]]): Called with a line about every worker that died.
    """

    def __init__(self, engine: Engine, work: Work, report: Callable[[str], None] | None = None) -> None:
        self.engine = engine
        self.work = work
        self.report = report or _quiet
        self._chunks: dict[int, _Chunk] = {}
        self._waiting: deque[_Unit] = deque()
        self._at: dict[Hashable, deque[_Unit]] = {}
        self._starting: set[Hashable] = set()
        self._stillborn = 0
        self._patience = HOPELESS

    def run(self, chunks: Iterable[Sequence[Given]]) -> Iterator[Outcome]:
        """Work through a stream.

        chunks (Iterable[Sequence[Given]]): Read a bounded way ahead.
        YIELDS (Outcome): One a chunk, in order.
        RAISES (SetupError): What a worker raises that cannot work at all; E845 if workers die before they begin.
        """
        stream = enumerate(chunks)
        last = False
        ready = 0
        try:
            while True:
                while not last and len(self._chunks) < WINDOW * self.engine.workers:
                    item = next(stream, None)
                    if item is None:
                        last = True
                        break
                    number, posts = item
                    self._chunks[number] = _Chunk(posts)
                    if len(posts):
                        self._waiting.append(_Unit(number, 0, len(posts)))
                if not self._chunks:
                    return
                if self._waiting:
                    self._man()
                while ready in self._chunks and self._chunks[ready].is_done():
                    yield self._chunks.pop(ready).outcome()
                    ready += 1
                if self._chunks and not (last is False and len(self._chunks) < WINDOW * self.engine.workers):
                    for event in self.engine.wait():
                        self._take(event)
        finally:
            self.engine.close()

    def _man(self) -> None:
        """Give out what waits, to those with the least to do, and see that there are workers."""
        while len(self._at) + len(self._starting) < min(self.engine.workers, len(self._chunks)):
            self._starting.add(self.engine.start())
        for depth in range(QUEUED):
            for worker, queue in self._at.items():
                if self._waiting and len(queue) <= depth and not any(unit.losses for unit in queue):
                    # What was lost before is given to an idle worker, and nothing behind it: who dies then, dies of it.
                    if queue and self._waiting[0].losses:
                        continue
                    unit = self._waiting.popleft()
                    queue.append(unit)
                    self.engine.send(worker, self._posts(unit))

    def _posts(self, unit: _Unit) -> Sequence[Given]:
        return self._chunks[unit.chunk].posts[unit.start : unit.start + unit.count]

    def _take(self, event: Event) -> None:
        if event.kind == "ready":
            self._starting.discard(event.worker)
            self._at[event.worker] = deque()
            self._stillborn, self._patience = 0, HOPELESS_LATER
        elif event.kind == "done":
            unit = self._at[event.worker].popleft()
            self._chunks[unit.chunk].done[unit.start] = (unit.count, event.value)
        elif event.kind == "failed":
            self._again(self._at[event.worker].popleft(), event.value)
        elif event.kind == "refused":
            raise event.value
        else:
            self._bury(event)

    def _bury(self, event: Event) -> None:
        if event.worker in self._starting:
            self._starting.discard(event.worker)
            self._stillborn += 1
            if self._stillborn >= self._patience:
                raise SetupError(Errors.E845.format(count=self._stillborn, reason=event.value))
            return
        queue = self._at.pop(event.worker)
        self.report(f"a worker died ({event.value}); its posts are done again")
        # The oldest was in its hand; what waited behind that is not to blame.
        for unit in reversed(list(queue)[1:]):
            self._waiting.appendleft(unit)
        if queue:
            self._again(queue[0], f"its worker died ({event.value})")

    def _again(self, unit: _Unit, reason: str) -> None:
        losses = unit.losses + 1
        if losses == 1:
            self._waiting.appendleft(unit._replace(losses=losses))
        elif losses == 2:
            for place in reversed(range(unit.start, unit.start + unit.count)):
                self._waiting.appendleft(_Unit(unit.chunk, place, 1, losses))
        else:
            post = self._posts(unit)[0]
            self._chunks[unit.chunk].done[unit.start] = (1, self.work.lost(post, reason))


def _quiet(message: str) -> None:
    """Nobody is to be told."""


__all__ = ["Engine", "Event", "Scheduler"]
