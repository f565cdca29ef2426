"""The manifest of a job: what it works on, with what, and which shards are done. It is replaced whole each time."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...post.errors import Errors, RivegaError
from ...post.files import open_output
from ...post.jsonl import MAX_DEPTH, nested_deeper
from ...post.text import brief
from .shards import FORMS, shard_name
from .tally import Tally

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """A file of results.

    file (str): Its name in the job's folder.
    start (int), posts (int): The number of its first post, from 0, and how many there are.
    digest (str): Of those posts as they came in (`work.Digest`).
    bytes (int): Size of the file.
    tally (Dict[str, Any]): Counts (`Tally.to_json`).
    """

    file: str
    start: int
    posts: int
    digest: str
    bytes: int
    tally: dict[str, Any]

    def is_whole(self, folder: Path) -> bool:
        """Whether the file is there, with its size."""
        path = folder / self.file
        return path.is_file() and path.stat().st_size == self.bytes


@dataclass
class Manifest:
    """A job's state.

    identity (Dict[str, Any]): See `work.Work.identity`.
    form (str), shard_size (int), chunk_size (int): How its results are cut.
    inputs (List[str]): Names of the inputs, for whoever reads the file.
    complete (bool): Whether the input was read to its end.
    shards (List[Shard]): Those done, in order.
    """

    identity: dict[str, Any]
    form: str
    shard_size: int
    chunk_size: int
    inputs: list[str] = field(default_factory=list)
    complete: bool = False
    shards: list[Shard] = field(default_factory=list)

    def total(self) -> Tally:
        """Counts of all shards."""
        total = Tally()
        for shard in self.shards:
            total.add(Tally.from_json(shard.tally))
        return total

    def write(self, folder: Path) -> None:
        """Replace the file. RAISES (OutputError): E052."""
        total = self.total().to_json()
        head = {key: value for key, value in asdict(self).items() if key != "shards"}
        value = {
            "rivega_job": FORMAT,
            **head,
            "counts": {key: total[key] for key in ("posts", "entities", "grounded", "failed")},
            "failures": total["failures"],
            "shards": [asdict(shard) for shard in self.shards],
        }
        with open_output(folder / NAME, durable=True) as out:
            out.write(json.dumps(value, indent=1, ensure_ascii=True) + "\n")

    def check_same(self, other: "Manifest", folder: Path) -> None:
        """That a job goes on with what it began with.

        other (Manifest): What it is asked to go on with.
        RAISES (RivegaError): E843 if something differs; it is named.
        """
        # Not the size of chunks, on which nothing depends but time and memory.
        settings = ("identity", "form", "shard_size")
        mine, theirs = ({key: asdict(one)[key] for key in settings} for one in (self, other))
        # As JSON gives it back: tuples are lists.
        theirs = json.loads(json.dumps(theirs))
        apart = list(_differences(mine, theirs))
        if apart:
            raise RivegaError(Errors.E843.format(folder=folder, differences="; ".join(apart)))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a job's folder.

    folder (Path): The folder.
    RETURNS (Optional[Manifest]): None if there is none yet.
    RAISES (RivegaError): E844 if the file is damaged or of a later version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf8"))
        if nested_deeper(value, MAX_DEPTH):
            raise ValueError("it is nested too deep")
        if value["rivega_job"] != FORMAT:
            raise ValueError(f"format {value['rivega_job']}")
        names = ("identity", "form", "shard_size", "chunk_size", "inputs", "complete")
        found = Manifest(**{name: value[name] for name in names}, shards=[Shard(**shard) for shard in value["shards"]])
        _check(found)
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RivegaError(Errors.E844.format(path=path, reason=f"{type(error).__name__}: {error}")) from error


def _check(found: Manifest) -> None:
    """RAISES (ValueError): If a value is none that a job writes: then shards would be taken for done that are not."""
    if not isinstance(found.identity, dict) or found.form not in FORMS:
        raise ValueError("`identity` or `form` is damaged")
    _whole("shard_size", found.shard_size, least=1)
    _whole("chunk_size", found.chunk_size, least=1)
    start = 0
    for number, shard in enumerate(found.shards):
        if shard.file != shard_name(number, found.form) or shard.start != start or not isinstance(shard.digest, str):
            raise ValueError(f"shard {number} is damaged")
        _whole("posts", shard.posts, least=1, most=found.shard_size)
        _whole("bytes", shard.bytes)
        tally = Tally.from_json(shard.tally)
        for name in ("posts", "entities", "grounded", "failed"):
            _whole(name, getattr(tally, name))
        for failures in tally.failures.values():
            _whole("posts", failures.posts)
            if not all(isinstance(example, str) for example in failures.examples):
                raise ValueError(f"the failures of shard {number} are damaged")
        start += shard.posts


def _whole(name: str, value: Any, *, least: int = 0, most: int = 2**53) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"`{name}` is {brief(value)}")


def _differences(one: Any, two: Any, name: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            yield from _differences(one.get(key), two.get(key), f"{name}.{key}" if name else key)
    elif one != two:
        yield f"{name.removeprefix('identity.')} was {json.dumps(one)}, is {json.dumps(two)}"


__all__ = ["NAME", "Manifest", "Shard", "read_manifest"]
