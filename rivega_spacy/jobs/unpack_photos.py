"""The photograph archives of a folder, unpacked."""

import tarfile
from pathlib import Path

from tqdm import tqdm


def unpack_photos(archives: Path, out: Path) -> int:
    """Unpack every .tar.gz of a folder, each into a folder of its own name.

    archives (Path): The folder.
    out (Path): Where to.
    RETURNS (int): How many there were.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(archives.glob("*.tar.gz"))
    for path in tqdm(paths, unit=" archives", disable=None):
        with tarfile.open(path) as archive:
            archive.extractall(out, filter="data")
    return len(paths)
