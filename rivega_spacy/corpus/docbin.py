"""Posts in spaCy's binary format, with everything that hangs on them."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..post.errors import Errors, RivegaError
from ..post.extensions import move_image
from ..post.files import is_plain_file, open_output
from ..post.image_sources import locate_image


def write_docbin(docs: Iterable[Doc], path: str | Path) -> int:
    """Write posts, user data included: knowledge, captions, picture references, boxes.

    docs (Iterable[Doc]): The posts.
    path (Union[str, Path]): The file; folders on the way are made.
    RETURNS (int): How many were written.
    """
    store = DocBin(store_user_data=True)
    for doc in docs:
        store.add(doc)
    with open_output(path, binary=True) as out:
        out.write(store.to_bytes())
    return len(store)


def docbin_files(path: str | Path) -> list[Path]:
    """The .spacy files at a path.

    path (Union[str, Path]): A file, or a folder that is searched with its subfolders.
    RETURNS (List[Path]): Sorted, hidden ones left out.
    RAISES (RivegaError): E112 if there are none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*.spacy")
            if is_plain_file(file) and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise RivegaError(Errors.E112.format(path=path))
    return found


def read_docbin(path: str | Path, vocab: Vocab, *, images: Path | None = None, limit: int = 0) -> Iterator[Doc]:
    """Posts of a file or folder.

    path (Union[str, Path]): What `write_docbin` wrote, or a folder of such files.
    vocab (Vocab): Of the pipeline.
    images (Optional[Path]): Folder that relative image paths start from.
    limit (int): Posts at most; 0 for all.
    YIELDS (Doc): The posts.
    RAISES (RivegaError): E112 if there are none, E059 if a file is damaged or no .spacy file.
    """
    number = 0
    for file in docbin_files(path):
        for doc in _docs(file, vocab):
            if limit and number >= limit:
                return
            number += 1
            if images is not None and isinstance(doc._.image, str):
                move_image(doc, locate_image(doc._.image, images))
            yield doc


def _docs(file: Path, vocab: Vocab) -> Iterator[Doc]:
    try:
        yield from DocBin(store_user_data=True).from_disk(file).get_docs(vocab)
    except (zlib.error, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError) as error:
        # zlib, msgpack and spaCy, each with its own words for bytes that are something else.
        raise RivegaError(Errors.E059.format(path=file, reason=f"{type(error).__name__}: {error}")) from error
