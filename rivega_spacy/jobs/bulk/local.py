"""Workers as processes of this machine.

Where each has one thread on a processor, the pipeline is loaded once and the workers are forked from it, so that they share its weights
and begin at once. Where that is not safe (several threads, a GPU; macOS and Windows) each is started afresh and loads its own.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ...post.errors import Errors, RivegaError, SetupError
from .ahead import ReadAhead
from .scheduling import Event
from .work import Given, Outcome, Work

# How often a worker looks whether the process that it works for is still there.
_WATCH_SECONDS = 0.5


class LocalEngine:
    """Worker processes.

    work (Work): What they do.
    workers (int): How many.
    threads (Optional[int]): PyTorch threads of each; None takes OMP_NUM_THREADS, or else shares the cores out.
    """

    def __init__(self, work: Work, workers: int = 1, *, threads: int | None = None) -> None:
        self.work = work
        self.workers = workers
        self.threads = threads or threads_of_environment() or max(1, cores() // workers)
        self._forks = sys.platform == "linux" and work.device < 0 and self.threads == 1
        self._context: Any = multiprocessing.get_context("fork" if self._forks else "spawn")
        self._call: Callable[[Sequence[Given]], Outcome] | None = None
        self._processes: dict[Hashable, tuple[BaseProcess, Connection]] = {}
        self._started = 0

    def start(self) -> Hashable:
        """Begin one more worker. RAISES (RivegaError): What loading raises, if workers are forked."""
        if self._forks and self._call is None:
            import torch

            # A process with threads of its own cannot be forked safely.
            torch.set_num_threads(1)
            self._call = self.work.load()
        here, there = self._context.Pipe()
        others = [connection for _, connection in self._processes.values()]
        inherited = [here, *others] if self._forks else []
        process = self._context.Process(
            target=_serve, args=(there, self.work, self._call, self.threads, os.getpid(), inherited), daemon=True
        )
        process.start()
        there.close()
        self._started += 1
        self._processes[self._started] = (process, here)
        return self._started

    def send(self, worker: Hashable, posts: Sequence[Given]) -> None:
        _, connection = self._processes[worker]
        with suppress(OSError):  # a broken pipe: `wait` tells of the death
            connection.send(list(posts))

    def wait(self) -> list[Event]:
        connections: dict[Any, Hashable] = {connection: worker for worker, (_, connection) in self._processes.items()}
        events = []
        ready: list[Any] = wait(list(connections))
        for connection in ready:
            worker = connections[connection]
            try:
                kind, value = connection.recv()
            except Exception as error:  # a message that breaks off is unpickled in as many ways as there are bytes
                events.append(self._dead(worker, error))
            else:
                events.append(Event(worker, kind, value))
        return events

    def close(self) -> None:
        for process, connection in self._processes.values():
            connection.close()
            process.terminate()
        for process, _ in self._processes.values():
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes.clear()

    def pids(self) -> list[int]:
        """Process ids of the workers that there are."""
        return [process.pid for process, _ in self._processes.values() if process.pid is not None]

    def _dead(self, worker: Hashable, error: Exception) -> Event:
        process, connection = self._processes.pop(worker)
        connection.close()
        # It may still live, for example with a pipe that it broke itself.
        process.join(0.5)
        if process.is_alive():
            process.kill()
            process.join()
        code = process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
            reason = f"{name}, out of memory perhaps" if name == "SIGKILL" else name
        elif isinstance(error, EOFError):
            reason = f"exit status {code}"
        else:
            reason = f"{type(error).__name__}: {error}"
        return Event(worker, "dead", reason)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_environment() -> int:
    """OMP_NUM_THREADS; 0 if it says nothing."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else 0


def _serve(
    connection: Connection,
    work: Work,
    call: Callable[[Sequence[Given]], Outcome] | None,
    threads: int,
    parent: int,
    inherited: Sequence[Connection],
) -> None:
    """The life of a worker."""
    import torch

    # Ctrl-C goes to the whole group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        # Else a sibling's pipe would not end with its parent.
        other.close()
    close_locks()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        if call is None:
            call = work.load()
        connection.send(("ready", None))
        with ReadAhead(connection, getattr(work, "images", None)) as chunks:
            for posts in chunks:
                try:
                    message: tuple[str, Any] = ("done", call(posts))
                except SetupError as error:
                    message = ("refused", error)
                except Exception as error:  # the scheduler decides what becomes of its posts
                    message = ("failed", f"{type(error).__name__}: {error}")
                connection.send(message)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:  # loading failed, in as many ways as there are components
        known = error if isinstance(error, RivegaError) else SetupError(Errors.E089.format(what="worker", reason=error))
        with suppress(OSError):
            connection.send(("refused", known))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


# Descriptors of lock files of this process, which its workers must not hold on to.
LOCKS: set[int] = set()


def close_locks() -> None:
    """In a worker: let go of the locks of the process that it was forked from; that one keeps them."""
    while LOCKS:
        with suppress(OSError):
            os.close(LOCKS.pop())


__all__ = ["LOCKS", "LocalEngine", "close_locks", "cores"]
