"""Digests of the files of a saved pipeline: what was damaged on the way is named before anything is made of it."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from .errors import Errors, SetupError
from .files import write_text

DIGESTS = "digests.json"
# What people may well change by hand, and what nothing is computed from.
_LEFT_OUT = ("config.cfg", "meta.json", "LICENSE", "LICENSES_SOURCES", DIGESTS)
# Answer stores in the folder grow with use.
_LEFT_OUT_ENDS = (".md", ".txt", ".rst", ".pyc", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".sqlite-journal")


def write_digests(pipeline: Path) -> None:
    """Write digests.json: the SHA-256 of each file of a pipeline's components, vocabulary and tokenizer, by its path in the folder."""
    write_text(pipeline / DIGESTS, json.dumps({name: digest_of(pipeline / name) for name in _files(pipeline)}, indent=1) + "\n")


def check_digests(pipeline: Path, *, exclude: Collection[str] = ()) -> None:
    """Compare the files with digests.json, if there is one.

    pipeline (Path): The folder. exclude (Collection[str]): Components that are not read.
    RAISES (SetupError): E950 names the first file that is missing or not what was saved, E951 if digests.json itself is damaged.
    """
    path = pipeline / DIGESTS
    if not path.is_file():
        return
    try:
        wanted = json.loads(path.read_text(encoding="utf8"))
        pairs = [(str(name), str(digest)) for name, digest in wanted.items()]
        for name, _ in pairs:
            parts = PurePosixPath(name).parts
            if not parts or "\0" in name or ".." in parts or Path(name).is_absolute():
                raise ValueError(f"{name[:80]!r} is no file of the folder")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise SetupError(Errors.E951.format(path=path, reason=error)) from error
    for name, digest in pairs:
        if name.split("/")[0] in exclude:
            continue
        file = pipeline / name
        if not file.is_file():
            raise SetupError(Errors.E950.format(path=file, reason="is missing"))
        if digest_of(file) != digest:
            raise SetupError(Errors.E950.format(path=file, reason="is not what was saved"))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def find_unreadable(pipeline: Path) -> Path | None:
    """The first file of a pipeline that is no JSON, msgpack or array though it should be; for pipelines saved without digests."""
    return next((pipeline / name for name in _files(pipeline) if not _is_readable(pipeline / name)), None)


def _is_readable(path: Path) -> bool:
    import numpy as np
    import srsly

    try:
        if path.name == "vectors":
            np.load(path, allow_pickle=False)
            return True
        if path.suffix in (".json", ".jsonl", ".cfg") or path.name == "cfg":
            text = path.read_text(encoding="utf8")
            for part in text.splitlines() if path.suffix == ".jsonl" else [text]:
                json.loads(part)
            return True
        return isinstance(srsly.msgpack_loads(path.read_bytes()), dict)
    except Exception:  # whatever a parser raises
        return False


def _files(pipeline: Path) -> list[str]:
    found = (path.relative_to(pipeline).as_posix() for path in pipeline.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in _LEFT_OUT and not name.endswith(_LEFT_OUT_ENDS))


__all__ = ["DIGESTS", "check_digests", "digest_of", "find_unreadable", "write_digests"]
