"""Archives that somebody else made: nothing in one is written outside of its folder, and none grows without bound."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import Errors, RivegaError

# What an archive of texts or pictures may unpack to, as a multiple of its own size; small ones may always have so many bytes.
MOST_LARGER = 100
ALWAYS = 256 * 1024 * 1024
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError, ValueError, IndexError)


def unpack_tar(archive: Path, folder: Path) -> None:
    """Unpack a .tar, compressed or not.

    archive (Path): The file. folder (Path): Where to; nothing gets outside, be it by "..", an absolute path or a link, and devices are refused
        (Python's filter "data", PEP 706).
    RAISES (RivegaError): E957 if it is damaged, holds such a thing, or would become too large.
    """
    left = _allowed(archive)

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        nonlocal left
        left -= member.size
        if left < 0:
            raise tarfile.TarError(_too_large(archive))
        return tarfile.data_filter(member, path)

    try:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter=checked)
    except _DAMAGED as error:
        raise RivegaError(Errors.E957.format(path=archive, reason=error or type(error).__name__)) from error


def zip_members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Files of a .zip, one at a time.

    archive (Path): The file. wanted (Callable[[str], bool]): Of which names.
    YIELDS (Tuple[str, bytes]): The name as it stands in the archive, to be taken as a name and not as a path, and what the file holds.
    RAISES (RivegaError): E957 if it is damaged, encrypted, or would become too large.
    """
    left = _allowed(archive)
    try:
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if info.is_dir() or not wanted(info.filename):
                    continue
                with packed.open(info) as file:
                    # What the head says of the size is not to be relied on.
                    data = file.read(left + 1)
                left -= len(data)
                if left < 0:
                    raise zipfile.BadZipFile(_too_large(archive))
                yield info.filename, data
    except (*_DAMAGED, NotImplementedError) as error:
        raise RivegaError(Errors.E957.format(path=archive, reason=error or type(error).__name__)) from error


def _allowed(archive: Path) -> int:
    return max(ALWAYS, MOST_LARGER * archive.stat().st_size)


def _too_large(archive: Path) -> str:
    return f"it unpacks to more than {_allowed(archive)} bytes"


__all__ = ["unpack_tar", "zip_members"]
