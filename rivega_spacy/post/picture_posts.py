"""Posts of a folder of pictures: what belongs to `a.jpg` is in `a.txt` (its text) or `a.json` (a post) beside it."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Errors, PostError, RivegaError
from .files import is_plain_file
from .images import SUFFIXES
from .jsonl import parse_object
from .textfiles import read_text


def read_pictures(folder: str | Path) -> Iterator[dict[str, Any] | PostError]:
    """Pictures of a folder and those below it, in the order of their paths, with their sidecar texts.

    folder (Union[str, Path]): The folder. Names that begin with a dot are left alone.
    YIELDS (Union[Dict[str, Any], PostError]): `id` (the path without ending), `image` (the path from the folder on) and `text`, and
        whatever else a JSON sidecar says; a text without a picture is a post of its own. E828 for a picture without text.
    RAISES (RivegaError): E018 if it is no folder, E827 if it has neither pictures nor texts.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RivegaError(Errors.E018.format(root=folder))
    files = set(_files(folder))
    pictures = [name for name in files if _ending(name) in SUFFIXES]
    used = {sidecar for name in pictures for sidecar in _sidecars(name, files)}
    texts = [name for name in files if _ending(name) == ".txt" and name not in used]
    if not pictures and not texts:
        raise RivegaError(Errors.E827.format(folder=folder))
    doubled = _doubled([os.path.splitext(name)[0] for name in (*pictures, *texts)])
    for name in sorted((*pictures, *texts)):
        stem = os.path.splitext(name)[0]
        post: dict[str, Any] = {"id": name if stem in doubled else stem}
        is_picture = _ending(name) in SUFFIXES
        try:
            for sidecar in _sidecars(name, files) if is_picture else [name]:
                post.update(_read(folder, sidecar))
        except (OSError, ValueError) as error:
            yield error if isinstance(error, PostError) else PostError(Errors.E829.format(name=sidecar, reason=error))
            continue
        if "text" not in post:
            yield PostError(Errors.E828.format(name=name, stem=os.path.basename(stem)))
        else:
            yield {**post, "image": name} if is_picture else post


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _sidecars(picture: str, files: set[str]) -> list[str]:
    """Texts beside a picture; of what several say, that of the last one counts."""
    stem = os.path.splitext(picture)[0]
    return [name for name in (f"{stem}.txt", f"{picture}.txt", f"{stem}.json", f"{picture}.json") if name in files]


def _read(folder: Path, name: str) -> dict[str, Any]:
    if not is_plain_file(folder / name):
        raise PostError(Errors.E829.format(name=name, reason="not a file"))
    text = read_text(folder / name, errors="surrogateescape")
    if _ending(name) == ".txt":
        return {"text": text.removesuffix("\n")}
    post = parse_object(text, repair=False)
    if isinstance(post, str):
        raise PostError(Errors.E829.format(name=name, reason=post))
    return post


def _doubled(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


__all__ = ["read_pictures"]
