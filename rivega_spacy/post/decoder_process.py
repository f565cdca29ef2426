"""Decoding in a process of its own, which may take so much time and memory: for services whose pictures come from strangers.

A decoder is C code that reads what somebody else wrote. In a process of its own an endless loop, a crash or a hole in one costs that picture:
the process is ended, the picture is an ImageError, and the next picture gets a new process. It sees the encoded pictures and none of the
keys in the environment; it can write no file. Set RIVEGA_DECODE_SECONDS to have it; see docs/input.md.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np

if __name__ != "__main__":
    from .errors import Errors, ImageError
    from .image_sources import describe_source, number_from_environment

# As much as a picture of a hundred million pixels takes, encoded in 400 MB, while it is decoded.
DEFAULT_MEMORY = 2 * 1024**3
# For the process to start, on a machine that has much else to do.
_START_SECONDS = 60.0
# What the process inherits of the environment.
_INHERITED = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SYSTEMROOT",
    "RIVEGA_MAX_PIXELS",
    "RIVEGA_MAX_BYTES",
)
_LENGTH = 8


class DecoderProcess:
    """A process that decodes one picture at a time. It is started when it is first needed, and again after it was ended.

    seconds (float): A picture may take, by the clock.
    memory (int): Bytes of its address space (not held on Windows and macOS).
    """

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds = seconds
        self.memory = memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(
        self, way: str, stored: str | bytes, data: bytes, limit: int, given: list[Any]
    ) -> tuple[np.ndarray | None, list[int]]:
        """A picture, or numbers about it.

        way (str): Of `images.WAYS`.
        stored (Union[str, bytes]): What messages call the picture by.
        data (bytes): The encoded picture.
        limit (int): Pixels it may have.
        given (List[Any]): What that way is told beside.
        RETURNS (Tuple[Optional[ndarray], List[int]]): As the way returns them.
        RAISES (ImageError): What decoding it here would raise; E953 if it took too long, E954 if the process came to an end.
        """
        name = describe_source(stored)
        head = {"way": way, "name": name, "bytes": len(data), "limit": limit, "given": given}
        with self._lock:
            process = self._running(name)
            overdue = threading.Event()

            def end() -> None:
                overdue.set()
                process.kill()

            timer = threading.Timer(self.seconds, end)
            timer.daemon = True
            timer.start()
            try:
                _send(process.stdin, head, data)
                answer, pixels = _receive(process.stdout)
            except (OSError, EOFError, MemoryError) as error:
                reason = _ending(_put_down(process))
                if overdue.is_set():
                    raise ImageError(Errors.E953.format(source=name, seconds=f"{self.seconds:g}")) from error
                raise ImageError(Errors.E954.format(source=name, reason=reason)) from error
            finally:
                timer.cancel()
                timer.join()
                if overdue.is_set():
                    _put_down(process)
        if "error" in answer:
            raise ImageError(answer["error"])
        shape = answer["shape"]
        return (None if shape is None else np.frombuffer(pixels, dtype="uint8").reshape(shape)), answer["numbers"]

    def close(self) -> None:
        """End the process. It starts again where it is needed again."""
        process, self._process = self._process, None
        if process is not None:
            _put_down(process)

    def _running(self, name: str) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        # Each thread of a library for matrices would ask for address space.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, os.path.abspath(__file__), str(self.memory)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0
        )
        timer = threading.Timer(_START_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            _receive(process.stdout)
        except (OSError, EOFError) as error:
            raise ImageError(Errors.E954.format(source=name, reason=f"it did not start: {_ending(_put_down(process))}")) from error
        finally:
            timer.cancel()
        self._process = process
        return process


def _put_down(process: "subprocess.Popen[bytes]") -> int:
    """End a process, if it has not ended, and close its pipes.

    RETURNS (int): What it ended with.
    """
    process.kill()
    status = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    return status


def decoder_process() -> DecoderProcess | None:
    """The process that decodes for this one, as the environment variables RIVEGA_DECODE_SECONDS and RIVEGA_DECODE_MEMORY say now.

    RETURNS (Optional[DecoderProcess]): None: pictures are decoded in this process.
    RAISES (ImageError): E038 for a value that is no whole number.
    """
    global _CURRENT
    seconds = number_from_environment("RIVEGA_DECODE_SECONDS", 0)
    if seconds <= 0:
        return None
    memory = number_from_environment("RIVEGA_DECODE_MEMORY", DEFAULT_MEMORY)
    with _CHOICE:
        if _CURRENT is None or (_CURRENT.seconds, _CURRENT.memory) != (seconds, memory):
            if _CURRENT is not None:
                _CURRENT.close()
            _CURRENT = DecoderProcess(seconds, memory)
        return _CURRENT


def _send(file: IO[bytes] | None, head: dict[str, Any], data: Any = b"") -> None:
    assert file is not None
    text = json.dumps(head).encode()
    for part in (len(text).to_bytes(_LENGTH, "big"), text, data):
        left = memoryview(part).cast("B") if len(part) else memoryview(b"")
        while left:
            left = left[file.write(left) :]


def _receive(file: IO[bytes] | None) -> tuple[dict[str, Any], bytearray]:
    """RAISES (EOFError): If the other side has ended."""
    assert file is not None
    head = json.loads(_exactly(file, int.from_bytes(_exactly(file, _LENGTH), "big")))
    return head, _exactly(file, head["bytes"])


def _exactly(file: IO[bytes], count: int) -> bytearray:
    data = bytearray(count)
    left = memoryview(data)
    while left:
        got = file.readinto(left)  # type: ignore[attr-defined]  # of an unbuffered pipe
        if not got:
            raise EOFError
        left = left[got:]
    return data


def _ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _work(memory: int) -> None:
    """The process itself: a picture in, its pixels out, until nobody sends any more."""
    incoming, outgoing = os.fdopen(0, "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    # Whatever a library prints must not come between.
    os.dup2(2, 1)
    images, errors = _light_imports()
    _limit_self(memory)
    _send(outgoing, {"bytes": 0})
    while True:
        try:
            head, data = _receive(incoming)
        except EOFError:
            return
        except MemoryError:
            os._exit(3)
        pixels = None
        try:
            pixels, numbers = images.decode_here(head["way"], head["name"], bytes(data), head["limit"], head["given"])
            answer = {
                "shape": None if pixels is None else pixels.shape,
                "numbers": numbers,
                "bytes": 0 if pixels is None else pixels.size,
            }
        except errors.ImageError as error:
            answer = {"error": str(error), "bytes": 0}
        except MemoryError:
            answer = {"error": errors.Errors.E954.format(source=head["name"], reason="out of memory"), "bytes": 0}
        del data
        _send(outgoing, answer, b"" if answer["bytes"] == 0 else np.ascontiguousarray(pixels).reshape(-1))


def _light_imports() -> tuple[Any, Any]:
    """The image door and the errors, without the packages around them, which would import spaCy and PyTorch."""
    import importlib
    import types

    post = Path(__file__).resolve().parent
    for name, folder in (("rivega_spacy", post.parent), ("rivega_spacy.post", post)):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    images = importlib.import_module("rivega_spacy.post.images")
    errors = importlib.import_module("rivega_spacy.post.errors")
    # All decoders are loaded before the limits hold: for what is no picture, all are tried.
    with contextlib.suppress(errors.ImageError):
        images.decode_here("frame", "", bytes(20), 1, [])
    return images, errors


def _limit_self(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time alone is limited
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ValueError, OSError):  # macOS has no such limit
        return


def _forget() -> None:
    """A forked worker starts its own: two that write to one would mix their pictures."""
    global _CURRENT, _CHOICE
    _CURRENT, _CHOICE = None, threading.Lock()


def _end() -> None:
    if _CURRENT is not None:
        _CURRENT.close()


if __name__ == "__main__":
    # The folder of this file, whose modules are none to import by their bare names.
    sys.path.pop(0)
    _work(int(sys.argv[1]))
else:
    _CURRENT: DecoderProcess | None = None
    _CHOICE = threading.Lock()
    atexit.register(_end)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)
