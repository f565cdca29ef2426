"""The pictures of a folder, found by the names that posts give or by their ids."""

import os
import unicodedata
from pathlib import Path
from typing import Any

from ..post.images import SUFFIXES
from .formats.names import original_name


class PictureFolder:
    """Finds pictures of every format that is read, whatever the case of the name and its ending, and the form of its accents.

    folder (Union[str, Path]): The folder; it is listed once, with its subfolders, when a name is not found as it is.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._by_path: dict[str, str] | None = None
        self._by_name: dict[str, str] = {}
        # None if several pictures have the name.
        self._by_origin: dict[str, str | None] = {}

    def find(self, row: dict[str, Any]) -> str | None:
        """The picture of a post.

        row (Dict[str, Any]): The post; `image` is looked for before `{id}.jpg` and its kin.
        RETURNS (Optional[str]): Its path from the folder on; None if there is none.
        """
        image = row.get("image")
        given = [image.replace("\\", "/")] if isinstance(image, str) and image else []
        name = str(row.get("id"))
        for path in [*given, *(f"{name}{ending}" for ending in SUFFIXES)]:
            if self._is_file(path):
                return path
        by_path = self._listed()
        stems = [os.path.splitext(path)[0] for path in given]
        wanted = [*given, *stems, name, *(os.path.basename(path) for path in given), *(os.path.basename(stem) for stem in stems)]
        for path in wanted:
            found = by_path.get(_key(path)) or self._by_name.get(_key(path))
            if found is not None:
                return found
        # Names that tools gave to the pictures of posts, and the names that posts had before tools renamed them.
        origins = (self._by_origin.get(original_name(os.path.basename(path))) for path in (name, *given))
        return next((found for found in origins if found is not None), None)

    def _is_file(self, path: str) -> bool:
        try:
            return os.path.isfile(self.folder / path)
        except ValueError:  # a NUL
            return False

    def _listed(self) -> dict[str, str]:
        """The pictures by path, listed at the first call."""
        if self._by_path is None:
            self._by_path = self._list()
        return self._by_path

    def _list(self) -> dict[str, str]:
        """Index all pictures by path and by name, with and without ending; the endings' order decides between several."""
        by_path: dict[str, str] = {}
        files: list[str] = []
        for parent, folders, names in os.walk(self.folder):
            folders.sort()
            inner = os.path.relpath(parent, self.folder)
            files += [name if inner == "." else f"{inner}/{name}".replace(os.sep, "/") for name in sorted(names)]
        ranks = {ending: rank for rank, ending in enumerate(SUFFIXES)}
        pictures = [path for path in files if os.path.splitext(path)[1].lower() in ranks]
        for path in sorted(pictures, key=lambda path: (path.count("/"), ranks[os.path.splitext(path)[1].lower()], path)):
            for key in (path, os.path.splitext(path)[0]):
                by_path.setdefault(_key(key), path)
                self._by_name.setdefault(_key(os.path.basename(key)), path)
        for path in pictures:
            origin = original_name(os.path.basename(path))
            self._by_origin[origin] = path if origin not in self._by_origin else None
        for path in files:  # a picture may have no ending at all
            if not os.path.splitext(path)[1]:
                by_path.setdefault(_key(path), path)
        return by_path


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
