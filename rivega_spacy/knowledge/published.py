"""The annotated examples as PGIM publishes them (Li et al. 2023, `ManualAnnotation/*.txt`): an id on one line, the answer on the next; the
posts themselves stand in the data sets."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.jsonl import read_lines
from ..post.textfiles import read_text

# "563049", "17_06_2932", "O_3127".
_ID = re.compile(r"[A-Za-z0-9]*(?:_?\d+)+")
# The files of the same folder that list the entities ("['Baltimore', 'LOC']", "None"), which no prompt shows.
_ENTITIES = re.compile(r"\s*(?:\[\s*['\"].*\]|None)\s*")


def is_published(path: str | Path) -> bool:
    """Whether a file is read by `read_published`, which its name says."""
    return Path(path).suffix.lower() == ".txt"


def read_published(path: str | Path, posts: Iterable[str | Path], wrong: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Examples with their posts, as `examples.read_examples` takes them.

    path (Union[str, Path]): The file.
    posts (Iterable[Union[str, Path]]): JSON lines with id, and text or tokens; optional caption and image.
    wrong (List[str]): Takes what was wrong with entries that are left out.
    YIELDS (Tuple[int, Dict[str, Any]]): The line of the id, and the post with its `annotation`.
    RAISES (RivegaError): E885 if no posts were named.
    """
    files = list(posts)
    if not files:
        raise RivegaError(Errors.E885.format(path=path))
    entries = list(_entries(path, wrong))
    wanted = {name for _, name, _ in entries}
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        for _, row in read_lines(file):
            if isinstance(row, dict) and str(row.get("id")) in wanted:
                found.setdefault(str(row["id"]), row)
    for line, name, answer in entries:
        if name not in found:
            wrong.append(Errors.E886.format(post=name))
            continue
        yield line, {**found[name], "annotation": answer}


def _entries(path: str | Path, wrong: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line, id and answer of every entry; an answer may have several lines."""
    number, name, answer = 0, "", []
    lines = [*enumerate(read_text(path, errors="replace").splitlines(), 1), (0, "0")]
    for line, text in lines:
        if not text.strip():
            continue
        if not _ID.fullmatch(text.strip()):
            answer.append(text.strip())
            if not name:
                wrong.append(Errors.E884.format(path=path, line=line, reason="no id stands before it"))
                answer = []
            continue
        if name:
            reason = "it has no annotation" if not answer else "it lists entities, without a word about why"
            if not answer or all(_ENTITIES.fullmatch(part) for part in answer):
                wrong.append(Errors.E884.format(path=path, line=number, reason=reason))
            else:
                yield number, name, "\n".join(answer)
        number, name, answer = line, text.strip(), []
