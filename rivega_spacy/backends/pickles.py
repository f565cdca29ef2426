"""What `torch.save` writes, looked through before PyTorch reads it.

PyTorch runs nothing of such a file (`weights_only`), but does as it is told with memory: a few bytes can ask for room without end, be packed a
thousand to one, or be encoded over and over to twice their length.
"""

import codecs
import pickletools
import zipfile
from pathlib import Path
from typing import IO

# Encodings of bytes as longer bytes, and those that take the square of the time.
_SLOW = ("idna", "punycode")
# Files from before PyTorch 1.6 have five pickles behind each other, and then the numbers.
_PICKLES = 5


def check_no_bomb(path: Path) -> None:
    """To be called before `torch.load`.

    path (Path): The file.
    RAISES (ValueError): If reading it could take far more memory than the file has bytes. What else is raised, by the libraries that unpack
        it, says that it is damaged.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            for _ in range(_PICKLES):
                _check_pickle(file)
            return
        size = path.stat().st_size
        with zipfile.ZipFile(file) as archive:
            for item in archive.infolist():
                # `torch.save` packs nothing.
                if item.compress_type != zipfile.ZIP_STORED or item.file_size > size:
                    raise ValueError(f"{item.filename[:80]} in it is compressed")
            for item in archive.infolist():
                if item.filename.endswith(".pkl"):
                    with archive.open(item) as data:
                        _check_pickle(data)


def _check_pickle(file: IO[bytes]) -> None:
    encodings: list[str] = []
    encodes = False
    for _, value, _ in pickletools.genops(file):
        if not isinstance(value, str):
            continue
        # The name of a class stands with its module, in one string or in two.
        if value.split()[-1:] == ["bytearray"]:
            raise ValueError("it makes room for bytes of a length of its own choice")
        encodes |= value.startswith("_codecs")
        encodings += [value] if _lengthens(value) else []
    if encodes and encodings:
        raise ValueError(f"it encodes something as {encodings[0]!r}")


def _lengthens(name: str) -> bool:
    """Whether a string is the name of an encoding that makes bytes of bytes: weights have no use for one, and many rounds make a bomb."""
    if len(name) > 30 or not name.isascii() or "." in name:
        return False
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return found.name in _SLOW or not found._is_text_encoding


__all__ = ["check_no_bomb"]
