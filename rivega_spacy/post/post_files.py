"""Files of posts in whatever form they are kept: JSON lines, a JSON array, CSV, Parquet, a folder of pictures with their texts, a pipe."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .csv_posts import has_text_column, read_csv
from .errors import Errors, PostError, RivegaError
from .files import check_input, is_pipe, open_input
from .json_array import read_array
from .jsonl import Unpacked, object_lines
from .parquet_posts import PARQUET, read_parquet
from .picture_posts import read_pictures
from .textfiles import BYTE_ORDER_MARK, encoding_of

Post = dict[str, Any]
FORMS = ("auto", "jsonl", "json", "csv", "parquet", "folder")
# What the end of a name says, .gz left away. Other names say nothing, and .json is used for lines and arrays alike.
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}


def read_posts(path: str | Path, *, form: str = "auto", columns: Mapping[str, str] | None = None) -> Iterator[Post | PostError]:
    """Posts of a file or folder, one at a time.

    path (Union[str, Path]): JSON lines, a JSON array, CSV (commas, semicolons, tabs or bars; a head line names the columns), each
        gzipped or not; Parquet; a folder of pictures with sidecar texts; "-" for what is piped in.
    form (str): One of FORMS; "auto" goes by the name, and where that says nothing by what the file begins with.
    columns (Optional[Mapping[str, str]]): Field of a post -> what the file calls it: {"text": "tweet", "image": "photo_path"}.
    YIELDS (Union[Post, PostError]): A post, or in its place what is wrong with it: E011 a line that is no object, E820 the same in an
        array, E823 and E824 a broken row, E828 a picture without text.
    RAISES (RivegaError): E020 if there is no such file, E822 if a table has no such column, E825 if it is no Parquet file,
        E827 where a folder has no pictures.
    RAISES (SetupError): E622 for Parquet without pyarrow.
    """
    if form not in FORMS:
        raise RivegaError(Errors.E738.format(option="form", allowed=f"one of {', '.join(FORMS)}", value=form))
    if form == "folder" or (form == "auto" and Path(path).is_dir()):
        posts = read_pictures(path)
    else:
        posts = _read_file(path, form, columns or {})
    for post in posts:
        yield post if isinstance(post, PostError) else _renamed(post, columns or {})


def check_posts(path: str | Path) -> None:
    """Tell before anything is loaded that there is nothing to read. RAISES (RivegaError): E020 if there is no such file or folder."""
    if not Path(path).is_dir():
        check_input(path)


def picture_root(path: str | Path) -> Path:
    """Where relative paths of pictures start from: a folder of pictures itself, a file's folder, the working folder for a pipe."""
    if is_pipe(path):
        return Path()
    path = Path(path).resolve()
    return path if path.is_dir() else path.parent


def _read_file(path: str | Path, form: str, columns: Mapping[str, str]) -> Iterator[Post | PostError]:
    with open_input(path) as file:
        source = Unpacked(file)
        form = _form_of(path, source, columns.get("text", "text")) if form == "auto" else form
        if form == "parquet":
            # A pipe cannot be read from its end, where Parquet says what is in it.
            yield from read_parquet(path, source if source.packed or not file.seekable() else file, columns)
        elif form == "csv":
            yield from read_csv(path, source, columns)
        elif form == "json":
            yield from read_array(path, source)
        else:
            for number, post in object_lines(source, repair=False):
                if isinstance(post, dict):
                    yield post
                else:
                    yield PostError(Errors.E011.format(post=f"on line {number}", reason=post))


def file_form(path: str | Path) -> str:
    """Which of `FORMS` a file of posts or entities has, by its name or by how it begins. path (Union[str, Path]): The file."""
    with open_input(path) as file:
        return _form_of(path, Unpacked(file), "text")


def _form_of(path: str | Path, source: Unpacked, text_column: str) -> str:
    stem = str(path).lower().removesuffix(".gz")
    form = _ENDINGS.get(os.path.splitext(stem)[1])
    if form is not None:
        return form
    head = source.head
    if head.startswith(PARQUET):
        return "parquet"
    begin = head.decode(encoding_of(head[:4]), errors="replace").lstrip(f"{BYTE_ORDER_MARK} \t\r\n")
    if begin.startswith("["):
        return "json"
    return "csv" if not begin.startswith("{") and has_text_column(begin, text_column) else "jsonl"


def _renamed(post: Post, columns: Mapping[str, str]) -> Post:
    """The post with its fields called as they are here."""
    found = {field: name for field, name in columns.items() if name in post and name != field}
    if not found:
        return post
    taken = set(found.values())
    rest = {name: value for name, value in post.items() if name not in taken and name not in found}
    return {**{field: post[name] for field, name in found.items()}, **rest}


__all__ = ["FORMS", "Post", "check_posts", "file_form", "picture_root", "read_posts"]
