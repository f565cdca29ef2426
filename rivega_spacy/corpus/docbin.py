"""Posts in spaCy's binary format, with everything that hangs on them."""
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Union

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from ..errors import Errors, RivegaError
from ..image_sources import locate_image


def write_docbin(docs: Iterable[Doc], path: Union[str, Path]) -> int:
    """Write posts, user data included: knowledge, captions, picture references, boxes.

    docs (Iterable[Doc]): The posts.
    path (Union[str, Path]): The file; folders on the way are made.
    RETURNS (int): How many were written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    store = DocBin(store_user_data=True)
    for doc in docs:
        store.add(doc)
    store.to_disk(path)
    return len(store)


def docbin_files(path: Union[str, Path]) -> List[Path]:
    """The .spacy files at a path.

    path (Union[str, Path]): A file, or a folder that is searched with its subfolders.
    RETURNS (List[Path]): Sorted, hidden ones left out.
    RAISES (RivegaError): E112 where there are none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*.spacy") if not any(part.startswith(".") for part in file.relative_to(path).parts))
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise RivegaError(Errors.E112.format(path=path))
    return found


def read_docbin(
    path: Union[str, Path], vocab: Vocab, *, images: Optional[Path] = None, limit: int = 0
) -> Iterator[Doc]:
    """Posts of a file or folder.

    path (Union[str, Path]): What `write_docbin` wrote, or a folder of such files.
    vocab (Vocab): Of the pipeline.
    images (Optional[Path]): Folder that relative image paths start from.
    limit (int): Posts at most; 0 for all.
    YIELDS (Doc): The posts.
    """
    number = 0
    for file in docbin_files(path):
        for doc in DocBin(store_user_data=True).from_disk(file).get_docs(vocab):
            if limit and number >= limit:
                return
            number += 1
            if images is not None and isinstance(doc._.image, str):
                doc._.image = locate_image(doc._.image, images)
            yield doc
