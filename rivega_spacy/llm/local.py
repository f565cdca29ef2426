"""Local weights: what is in a folder, and loading it without running anybody's code or unpickling anything."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.failures import setting_up
from .base import Answer, ChatRequest

# Of a large file so much is read at each of a few places: weights of one architecture differ everywhere.
_SAMPLE = 1 << 16
_SAMPLES = 16


def fingerprint_folder(path: str) -> str:
    """A short hash of a model's folder: whole small files, samples of large ones.

    path (str): The folder.
    RETURNS (str): 16 hexadecimal digits, equal for equal copies wherever they lie.
    RAISES (RivegaError): E417 if there is no config.json.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise RivegaError(Errors.E417.format(path=path, reason="it is not a folder with config.json and safetensors weights"))
    hasher = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix not in (".json", ".safetensors", ".txt", ".model", ".jinja") or not file.is_file():
            continue
        size = file.stat().st_size
        hasher.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as data:
            if size <= _SAMPLE * _SAMPLES:
                hasher.update(data.read())
            else:
                for step in range(_SAMPLES):
                    data.seek((size - _SAMPLE) * step // (_SAMPLES - 1))
                    hasher.update(data.read(_SAMPLE))
    return hasher.hexdigest()[:16]


def load_class(kind: str, path: str, **options: Any) -> Any:
    """`transformers.<kind>.from_pretrained` for a local folder.

    kind (str): For example "AutoTokenizer" or "AutoModelForCausalLM".
    path (str): The folder. Nothing is downloaded, code in it is not run, weights must be safetensors.
    RAISES (RivegaError): E417.
    """
    import transformers

    if "Model" in kind:
        options = {"use_safetensors": True, **options}
    try:
        return getattr(transformers, kind).from_pretrained(path, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
        raise RivegaError(Errors.E417.format(path=path, reason=f"{type(error).__name__}: {error}")) from error


class BatchWorker:
    """One thread that answers requests in batches, in the order they came.

    answer (Callable[[List[ChatRequest]], List[Answer]]): Answers a batch.
    batch_size (int): Requests a batch.
    """

    def __init__(self, answer: Callable[[list[ChatRequest]], list[Answer]], batch_size: int) -> None:
        self.answer = answer
        self.batch_size = batch_size
        self.pid = os.getpid()
        self.queue: SimpleQueue[list[tuple[ChatRequest, Future[Answer]]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="rivega-local-model", daemon=True)
        self.thread.start()

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        """Begin to answer."""
        futures: list[Future[Answer]] = [Future() for _ in requests]
        # Alike lengths share a batch: less padding.
        order = sorted(range(len(requests)), key=lambda index: requests[index].prompt_tokens())
        for start in range(0, len(order), self.batch_size):
            self.queue.put([(requests[index], futures[index]) for index in order[start : start + self.batch_size]])
        return futures

    def close(self) -> None:
        """Stop after what is queued."""
        self.queue.put(None)
        self.thread.join()

    def _run(self) -> None:
        while True:
            batch = self.queue.get()
            if batch is None:
                return
            live = [(request, future) for request, future in batch if future.set_running_or_notify_cancel()]
            if live:
                for (_, future), answer in zip(live, self._answers([request for request, _ in live])):
                    future.set_result(answer)

    def _answers(self, requests: list[ChatRequest]) -> list[Answer]:
        try:
            answers = self.answer(requests)
            if len(answers) == len(requests):
                return answers
            error: Exception = RuntimeError(f"{len(answers)} answers to {len(requests)} questions")
        except Exception as caught:  # a network may raise anything; every waiting question must get its answer
            error = caught
        if len(requests) == 1:
            return [Answer(None, error=f"{type(error).__name__}: {error}")]
        # One bad request must not cost the others theirs.
        return [answer for request in requests for answer in self._answers([request])]


class LocalModel:
    """What clients of local weights share: a folder, its fingerprint, and one thread that answers in batches.

    path (str): The folder.
    name (Optional[str]): What this source is called in the store; None takes the folder's name.
    batch_size (int): Requests a batch.
    device (str), dtype (str): For PyTorch.
    RAISES (RivegaError): E416 for a batch size below 1, E417 for a folder without a model.
    """

    recorded = False

    def __init__(self, path: str, *, name: str | None, batch_size: int, device: str, dtype: str) -> None:
        if batch_size < 1:
            raise RivegaError(Errors.E416.format(field="batch_size", value=batch_size, wanted="1 or more"))
        self.path = str(path)
        self.name = name or os.path.basename(os.path.normpath(self.path))
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.weights = fingerprint_folder(self.path)
        self._worker: BatchWorker | None = None
        self._loaded: Any = None

    def __getstate__(self) -> dict[str, Any]:
        # Threads and weights belong to the process that made them.
        return {**self.__dict__, "_worker": None, "_loaded": None}

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        """Begin to answer, in batches of alike lengths. RAISES (SetupError): If the weights cannot be loaded."""
        if self._loaded is None:
            # Here, not in the thread: what is wrong with the weights is no question's fault.
            with setting_up(self.name):
                self._loaded = self._load()
        if self._worker is None or self._worker.pid != os.getpid():
            self._worker = BatchWorker(self._answer, self.batch_size)
        return self._worker.submit(requests)

    def close(self) -> None:
        """Stop the thread and let go of the weights."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.pid == os.getpid():
            worker.close()
        self._loaded = None

    def _load(self) -> Any:
        raise NotImplementedError

    def _answer(self, requests: list[ChatRequest]) -> list[Answer]:
        raise NotImplementedError
