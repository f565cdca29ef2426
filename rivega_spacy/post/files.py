"""Files that are written appear whole or not at all: a part file beside them takes their name once everything is in it."""

import errno
import gzip
import io
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import Errors, OutputError, RivegaError
from .text import replace_surrogates

PathLike = str | Path
# What a file system answers where a file that is open cannot be written on; such errors do not say which file it was.
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def check_output(path: PathLike, *, inputs: Iterable[PathLike | None] = ()) -> None:
    """Tell before anything is loaded or computed that a file cannot be written. Nothing is left behind, and nothing is changed.

    path (Union[str, Path]): The file.
    inputs (Iterable[Optional[Union[str, Path]]]): What is read meanwhile; the file may be none of them, by whatever name.
    RAISES (RivegaError): E050 if it is one of the inputs, E051 if it is a folder.
    RAISES (OutputError): E052 if the file system will not have it.
    """
    path = Path(path)
    if is_pipe(path):
        return
    for source in inputs:
        if source is not None and _same_file(path, Path(source)):
            raise RivegaError(Errors.E050.format(path=path))
    if path.is_dir():
        raise RivegaError(Errors.E051.format(path=path))
    if path.exists():
        if not os.access(path, os.W_OK):
            raise OutputError(Errors.E052.format(path=path, reason="it is write-protected"))
        if _is_stream(path):
            return
    _try_folder(path.resolve().parent, path)


def check_output_folder(path: PathLike, *, inputs: Iterable[PathLike | None] = ()) -> None:
    """The same for a folder that is to be filled: E050 where it is one of the inputs, E053 where it is a file, E052 where nothing can be written in it."""
    path = Path(path)
    for source in inputs:
        if source is not None and _same_file(path, Path(source)):
            raise RivegaError(Errors.E050.format(path=path))
    if path.exists() and not path.is_dir():
        raise RivegaError(Errors.E053.format(path=path))
    _try_folder(path.resolve(), path)


def check_input(path: PathLike) -> None:
    """Tell before anything is loaded that there is no file to read: RivegaError E020 if there is none, E051 for a folder."""
    path = Path(path)
    if is_pipe(path):
        return
    if path.is_dir():
        raise RivegaError(Errors.E051.format(path=path))
    if not (path.is_file() or path.is_fifo()):
        raise RivegaError(Errors.E020.format(path=path))


def is_of_kernel(real: str) -> bool:
    """Whether a path without links leads to what the kernel makes up when it is read (Linux: /proc, /sys), though it says that it is a regular
    file: it may have no end, and some is gone once it was read."""
    return real.startswith(("/proc/", "/sys/"))


def is_plain_file(path: PathLike) -> bool:
    """Whether what a folder lists is a file that can be read to its end, or a link to one: no pipe that is waited for, no device, nothing of the kernel's.

    Where somebody names the file, a pipe may well be meant (`check_input`); what a folder holds nobody has chosen.
    """
    return os.path.isfile(path) and not is_of_kernel(os.path.realpath(path))


def is_pipe(path: PathLike) -> bool:
    """Whether a name is "-": standard input where something is read, standard output where something is written."""
    return str(path) == "-"


@contextmanager
def open_input(path: PathLike) -> Iterator[IO[bytes]]:
    """A file to read bytes from, or what is piped in where its name is "-".

    path (Union[str, Path]): The file, or "-".
    YIELDS (IO[bytes]): It can be peeked into.
    RAISES (RivegaError): E020 if there is no such file, E051 if it is a folder.
    """
    check_input(path)
    if is_pipe(path):
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as file:
            yield file


@contextmanager
def open_output(path: PathLike, *, binary: bool = False, durable: bool = False) -> Iterator[IO[Any]]:
    """A file that takes its name when the block ends well; otherwise what had that name before stays as it was.

    path (Union[str, Path]): The file; gzipped where its name ends in .gz. Folders on the way are made; where it is a link, what it
        points to is replaced. A device or pipe is written directly, standard output where the name is "-".
    binary (bool): Bytes instead of UTF-8 text.
    durable (bool): Wait until the disk has it, so that it outlives a power failure the moment after.
    YIELDS (IO): To write to.
    RAISES (OutputError): E052 if the file system will not have it: no room, no permission.
    RAISES (RivegaError): E051 if the path is a folder.
    """
    path = Path(path)
    if is_pipe(path):
        yield from _standard_output(binary)
        return
    if path.is_dir():
        raise RivegaError(Errors.E051.format(path=path))
    direct = _is_stream(path)
    target = path.resolve()
    part = path if direct else _part_beside(target)
    try:
        if not direct:
            target.parent.mkdir(parents=True, exist_ok=True)
        # "x": two programs that write the same file do not write the same part. The mode is that of any new file.
        raw = open(part, "wb" if direct else "xb")
    except OSError as error:
        raise OutputError(Errors.E052.format(path=path, reason=error.strerror or error)) from error
    try:
        with raw, _encoded(raw, path, binary) as out:
            yield out
        if not direct:
            if target.exists():
                shutil.copymode(target, part)
            if durable:
                _sync(part)
            os.replace(part, target)
            if durable:
                _sync(target.parent)
    except BaseException as error:
        if not direct:
            with suppress(OSError):
                part.unlink()
        if isinstance(error, OSError) and error.filename is None and error.errno in _WRITE_ERRORS:
            raise OutputError(Errors.E052.format(path=path, reason=error.strerror)) from error
        raise


@contextmanager
def open_output_folder(path: PathLike) -> Iterator[Path]:
    """A folder to fill, whose files go to their place when the block ends well; files there that have no new one stay.

    path (Union[str, Path]): The folder; made if there is none.
    YIELDS (Path): An empty folder beside it, to write to in its stead.
    RAISES (OutputError): E052 if the file system will not have it. RAISES (RivegaError): E053 if the path is a file.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RivegaError(Errors.E053.format(path=path))
    target = path.resolve()
    part = _part_beside(target)
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise OutputError(Errors.E052.format(path=path, reason=error.strerror or error)) from error
    try:
        yield part
        for file in sorted(part.rglob("*")):
            place = target / file.relative_to(part)
            if file.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, place)
        target.mkdir(exist_ok=True)
    except OSError as error:
        if error.errno in _WRITE_ERRORS:
            raise OutputError(Errors.E052.format(path=path, reason=error.strerror)) from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(path: PathLike, text: str) -> None:
    """Write a text file whole or not at all; halves of characters become U+FFFD."""
    with open_output(path) as out:
        out.write(replace_surrogates(text))


def write_json(path: PathLike, value: Any) -> None:
    """The same for a JSON file, indented for people."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False))


def _standard_output(binary: bool) -> Iterator[IO[Any]]:
    """Standard output, left open."""
    if binary:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # Whoever reads along gets each line when it is written.
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf8", newline="\n", line_buffering=True)
    try:
        yield out
    finally:
        out.detach()


def _encoded(raw: IO[bytes], path: Path, binary: bool) -> Any:
    # The name within the compressed file is the one it will have.
    stream: Any = gzip.GzipFile(filename=path.stem, fileobj=raw, mode="wb") if path.suffix == ".gz" else raw
    return stream if binary else io.TextIOWrapper(stream, encoding="utf8", newline="\n")


def _sync(path: Path) -> None:
    """Wait until the disk has a file, or what names a folder holds; where folders cannot be opened (Windows), the name is not waited for."""
    try:
        number = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _is_stream(path: Path) -> bool:
    """A device, a pipe, or what the shell opened: it is written on, there is no place beside it."""
    return path.exists() and (not path.is_file() or str(path).startswith(("/dev/std", "/dev/fd/", "/proc/")))


def _part_beside(target: Path) -> Path:
    # Names may have 255 bytes.
    name = target.name.encode("utf8", "surrogateescape")[:200].decode("utf8", "ignore")
    return target.with_name(f".{name}.{secrets.token_hex(4)}.part")


def _try_folder(folder: Path, path: Path) -> None:
    """Whether a file can be made in a folder, or in the nearest one above it that there is."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    trial = _part_beside(folder / path.name)
    try:
        # Asking for permissions is not enough: a file system may be read-only, or take no files, for whoever asks.
        with open(trial, "xb"):
            pass
        trial.unlink()
    except OSError as error:
        raise OutputError(Errors.E052.format(path=path, reason=error.strerror or error)) from error


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) and not stat.S_ISCHR(one.stat().st_mode)
    except OSError:
        return False
