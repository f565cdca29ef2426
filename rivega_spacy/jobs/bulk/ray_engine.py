"""Workers as actors of a Ray cluster, on this machine or many.

Each loads the pipeline by itself: what is put into Ray's object store arrives read-only, and a pipeline writes on its own arrays. What
travels is posts, and their results as JSON or DocBin bytes. Ray's own retries are off, since they know no post at fault: the scheduler
does the posts of a lost actor again, and begins another one wherever the cluster has room.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ...post.errors import Errors, RivegaError, SetupError
from .local import cores
from .scheduling import Event
from .work import Given, Outcome, Work

# Of an own small cluster: results pass through it one chunk at a time.
_STORE_BYTES = 200 * 1024 * 1024


class RayEngine:
    """Actors of a Ray cluster.

    work (Work): What they do; its pipeline has to be installed on all nodes, its pictures and folders to be seen from all of them.
    workers (int): How many; -1 for as many as the cluster has room for.
    address (Optional[str]): Of the cluster's head, "auto" for the one of this machine; None takes the one that RAY_ADDRESS names, or starts one
        of this machine, unless the process has called `ray.init` already.
    cpus (float), gpus (float): What each takes; a share of a GPU lets several have one together.
    RAISES (SetupError): E851 if Ray is not installed, E853 if the cluster cannot be reached or has no room for one worker.
    """

    def __init__(self, work: Work, workers: int = 1, *, address: str | None = None, cpus: float = 1.0, gpus: float = 0.0) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise SetupError(Errors.E851.format(reason=error)) from error
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            self._connect(address)
        room = ray.cluster_resources()
        fitting = [room.get("CPU", 0.0) / cpus] if cpus else []
        fitting += [room.get("GPU", 0.0) / gpus] if gpus else []
        most = int(min(fitting, default=1.0))
        if most < 1:
            self.close()
            raise SetupError(Errors.E853.format(address=address or "this machine", reason=f"no room for {cpus} CPU, {gpus} GPU"))
        self.workers = most if workers == -1 else workers
        self._make: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Actor)
        self._work = work
        self._threads = max(1, int(cpus))
        self._actors: dict[Hashable, Any] = {}
        # Of each actor what it is asked, oldest first; the first is whether it is ready.
        self._asked: dict[Hashable, deque[tuple[str, Any]]] = {}
        self._started = 0

    def start(self) -> Hashable:
        self._started += 1
        actor = self._make.remote(self._work, self._threads)
        self._actors[self._started] = actor
        self._asked[self._started] = deque([("ready", actor.load.remote())])
        return self._started

    def send(self, worker: Hashable, posts: Sequence[Given]) -> None:
        self._asked[worker].append(("done", self._actors[worker].do.remote(list(posts))))

    def wait(self) -> list[Event]:
        oldest = {queue[0][1]: worker for worker, queue in self._asked.items() if queue}
        found, _ = self._ray.wait(list(oldest), num_returns=1)
        return [self._event(oldest[ref], ref) for ref in found]

    def close(self) -> None:
        for actor in self.__dict__.get("_actors", {}).values():
            self._ray.kill(actor)
        self.__dict__.get("_actors", {}).clear()
        self.__dict__.get("_asked", {}).clear()
        if self._own and self._ray.is_initialized():
            self._ray.shutdown()

    def _event(self, worker: Hashable, ref: Any) -> Event:
        kind, _ = self._asked[worker].popleft()
        try:
            return Event(worker, kind, self._ray.get(ref))
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if kind == "ready" or isinstance(cause, SetupError):
                known = cause if isinstance(cause, RivegaError) else SetupError(Errors.E089.format(what="worker", reason=cause))
                return Event(worker, "refused", known)
            return Event(worker, "failed", f"{type(cause).__name__}: {cause}")
        except self._ray.exceptions.RayError as error:  # the actor, its node, or the result with it
            self._ray.kill(self._actors.pop(worker))
            del self._asked[worker]
            return Event(worker, "dead", f"{type(error).__name__}")

    def _connect(self, address: str | None) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        # Where `ray job submit` runs something, Ray says this way where its cluster is, and starts no other.
        address = address or os.environ.get("RAY_ADDRESS") or None
        if address is None:
            # Ray's workers give way to all others by default, and hardly begin on a machine that is busy.
            os.environ.setdefault("RAY_worker_niceness", "0")
            # Nobody else is to reach it. "local": one that somebody has started on this machine would refuse to be told how large it is.
            options.update(
                address="local",
                num_cpus=cores(),
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _node_ip_address="127.0.0.1",
            )
        else:
            options["address"] = address
        try:
            self._ray.init(**options)
        except Exception as error:  # Ray has many words for a cluster that is not there
            raise SetupError(Errors.E853.format(address=address or "this machine", reason=error)) from error


class Actor:
    """A worker of a Ray cluster.

    work (Work): What it does.
    threads (int): PyTorch threads.
    """

    def __init__(self, work: Work, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._work = work
        self._call: Callable[[Sequence[Given]], Outcome] | None = None

    def load(self) -> None:
        """Load the pipeline. RAISES (RivegaError): If that is not possible."""
        self._call = self._work.load()

    def do(self, posts: Sequence[Given]) -> Outcome:
        """The results of posts."""
        assert self._call is not None
        return self._call(posts)


__all__ = ["Actor", "RayEngine"]
