"""What the folder of a pipeline may hold: files, folders, and links to files and folders (a model hub's cache is made of such).

A folder from a stranger may hold anything that an archive can: a named pipe that keeps whoever reads it waiting, a link to a device without an
end, folders that lead into each other, links to files of whoever saves the pipeline again or packs it up.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from .errors import Errors, RivegaError, SetupError
from .files import is_of_kernel

# Many times what a pipeline of all components has; links to folders can make millions of a few.
MAX_ENTRIES = 100_000
_KINDS = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))


def check_pipeline_files(pipeline: Path, *, exclude: Collection[str] = ()) -> None:
    """Find what must not be opened, before anything is.

    pipeline (Path): The folder; if there is none, that is for others to say. exclude (Collection[str]): Components that are not read.
    RAISES (SetupError): E976 names the first file that is none, link that leads in a circle or to the kernel's files, or that there are
        more than MAX_ENTRIES.
    """
    for _ in _walk(pipeline, exclude):
        pass


def check_given_out(pipeline: Path) -> None:
    """The same before a pipeline is given out: what links lead to would be copied.

    RAISES (SetupError): As `check_pipeline_files`. RAISES (RivegaError): E977 names the first link that leads out of the folder.
    """
    root = os.path.realpath(pipeline)
    for path, real in _walk(pipeline, ()):
        if real is not None and not Path(real).is_relative_to(root):
            raise RivegaError(Errors.E977.format(path=path, target=real))


def remove_links(folder: Path, names: Iterable[str]) -> None:
    """Before a pipeline is saved over another: what is written takes the place of links, instead of what they lead to.

    folder (Path): Where it is saved; may be a link itself. names (Iterable[str]): Files and folders that are written, each with all that is in it.
    RAISES (SetupError): E976 names the first that is neither a file nor a folder.
    """
    for name in names:
        _remove_links(folder / name)


def _remove_links(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        for inner in path.iterdir():
            _remove_links(inner)
    elif path.exists():
        _check_kind(path, path.stat())


def _walk(pipeline: Path, exclude: Collection[str]) -> Iterator[tuple[Path, str | None]]:
    """YIELDS (Tuple[Path, Optional[str]]): All that is in the folder, each with where it leads to if it is a link."""
    # Each folder with those that it was reached through, without links.
    waiting: list[tuple[Path, tuple[str, ...]]] = [(pipeline, (os.path.realpath(pipeline),))]
    count = 0
    while waiting:
        folder, above = waiting.pop()
        entries: list[Path] = []
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            entries = sorted(folder.iterdir())
        for path in entries:
            if folder == pipeline and path.name in exclude:
                continue
            count += 1
            if count > MAX_ENTRIES:
                raise SetupError(Errors.E976.format(path=pipeline, reason=f"has more than {MAX_ENTRIES} files and folders"))
            real = os.path.realpath(path) if path.is_symlink() else None
            if real is not None and is_of_kernel(real):
                raise SetupError(Errors.E976.format(path=path, reason=f"is a link to {real}, which is no file on a disk"))
            yield path, real
            found = _status(path)
            if found is not None and stat.S_ISDIR(found.st_mode):
                full = os.path.realpath(path)
                if any(Path(one).is_relative_to(full) for one in above):
                    raise SetupError(Errors.E976.format(path=path, reason="is a link that leads round in a circle"))
                waiting.append((path, (*above, full)))


def _status(path: Path) -> os.stat_result | None:
    """Of what is there, behind links; None if nothing is or it cannot be known, which whoever reads it will say."""
    try:
        found = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SetupError(Errors.E976.format(path=path, reason="is a link that leads round in a circle")) from error
        return None
    _check_kind(path, found)
    return found


def _check_kind(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "no regular file")
        link = "leads to " if path.is_symlink() else "is "
        raise SetupError(Errors.E976.format(path=path, reason=f"{link}{kind}"))


__all__ = ["MAX_ENTRIES", "check_given_out", "check_pipeline_files", "remove_links"]
