"""The photograph archives of a folder, unpacked."""

from pathlib import Path

from tqdm import tqdm

from ..post.archives import unpack_tar


def unpack_photos(archives: Path, out: Path) -> int:
    """Unpack every .tar.gz of a folder, each into a folder of its own name.

    archives (Path): The folder.
    out (Path): Where to.
    RETURNS (int): How many there were.
    RAISES (RivegaError): E957 if one is damaged, or holds what would get outside.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(archives.glob("*.tar.gz"))
    for path in tqdm(paths, unit=" archives", disable=None):
        unpack_tar(path, out)
    return len(paths)
