"""One worker in this process: for work that waits for servers most of the time, so that one pace and one budget hold for all of it."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence

from ...post.errors import RivegaError
from .scheduling import Event
from .work import Given, Outcome, Work


class HereEngine:
    """Does the work itself, whenever it is waited for.

    work (Work): What is done.
    """

    workers = 1

    def __init__(self, work: Work) -> None:
        self._work = work
        self._call: Callable[[Sequence[Given]], Outcome] | None = None
        self._waiting: deque[Sequence[Given]] = deque()

    def start(self) -> Hashable:
        return "here"

    def send(self, worker: Hashable, posts: Sequence[Given]) -> None:
        self._waiting.append(posts)

    def wait(self) -> list[Event]:
        try:
            if self._call is None:
                self._call = self._work.load()
                return [Event("here", "ready")]
            return [Event("here", "done", self._call(self._waiting.popleft()))]
        except RivegaError as error:  # there is nobody else who could do it
            return [Event("here", "refused", error)]

    def close(self) -> None:
        self._waiting.clear()


__all__ = ["HereEngine"]
