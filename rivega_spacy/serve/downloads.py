"""One corrected post as a file to take away: a picture with its marks, or another tool's form."""

import csv
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from spacy.tokens import Doc

from ..export.web_annotation import picture_address
from ..export.writing import FORMS, export_posts
from ..post.cells import from_cell, to_cell
from ..post.extensions import ID_KEY, move_image
from ..post.images import image_digest
from ..post.text import printable
from ..rendering.overlay import render_overlay

# Form -> ending of its file, and media type. What is written as a folder goes out as one file if there is one in it, else as a zip.
ENDINGS = {
    "coco": (".json", "application/json"),
    "labelme": ("", ""),
    "label-studio": ("", ""),
    "prodigy": ("", ""),
    "web-annotation": (".jsonld", "application/ld+json"),
    "csv": (".csv", "text/csv; charset=utf-8"),
}
# All media types that there are.
KINDS = ("image/png", "application/json", "application/zip", *(kind for _, kind in ENDINGS.values() if kind))
DOWNLOADS = ("png", *(form for form in FORMS if form in ENDINGS))


class Download(NamedTuple):
    """A file: its bytes, its name and its media type."""

    data: bytes
    name: str
    kind: str


def download(doc: Doc, form: str, *, picture_name: str) -> Download:
    """A post in one of DOWNLOADS.

    doc (Doc): The post; its picture may be bytes.
    form (str): Of DOWNLOADS.
    picture_name (str): What the file calls the picture, without a folder.
    RETURNS (Download): The file.
    RAISES (ImageError): E600 for a PNG of a post without picture.
    """
    stem = _stem(doc)
    if form == "png":
        buffer = io.BytesIO()
        render_overlay(doc).save(buffer, format="PNG")
        return Download(buffer.getvalue(), f"{stem}.png", "image/png")
    with tempfile.TemporaryDirectory(prefix="rivega-") as folder:
        pictures, out = Path(folder, "pictures"), Path(folder, "out")
        pictures.mkdir()
        if isinstance(doc._.image, bytes):
            # Exports refer to a picture by its path, and measure it there.
            path = pictures / f"{image_digest(doc._.image)}.bin"
            path.write_bytes(doc._.image)
            move_image(doc, str(path))
        known = str(doc._.image) if isinstance(doc._.image, str) else None
        ending, kind = ENDINGS[form]
        export_posts([doc], out if not ending else out.with_suffix(ending), form)
        files = sorted(file for file in Path(folder).rglob("*") if file.is_file() and pictures not in file.parents)
        contents = {file.name: _renamed(file.name, file.read_bytes(), known, picture_name) for file in files}
    if ending:
        return Download(next(iter(contents.values())), f"{stem}.{form}{ending}", kind)
    if len(contents) == 1:
        return Download(next(iter(contents.values())), f"{stem}.{form}.json", "application/json")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in contents.items():
            packed.writestr(name, data)
    return Download(buffer.getvalue(), f"{stem}.{form}.zip", "application/zip")


def _renamed(file: str, data: bytes, path: str | None, name: str) -> bytes:
    """The file with the picture called by its name: where it lies on the server concerns nobody. The name is its user's: a cell or a string
    of the file's form, whatever it holds."""
    if path is None:
        return data
    text = data.decode("utf8")
    if file.endswith(".csv"):
        out = io.StringIO(newline="")
        # Of the module as a whole, and lower than what an expression in a cell takes.
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))
        rows = csv.reader(io.StringIO(text, newline=""))
        csv.writer(out, lineterminator="\r\n").writerows(
            [to_cell(name) if from_cell(cell) == path else cell for cell in row] for row in rows
        )
        return out.getvalue().encode("utf8")
    if file.endswith(".jsonld"):
        path, name = picture_address(path), picture_address(name)
    for ascii_only in (False, True):
        inner, wanted = (printable(json.dumps(value, ensure_ascii=ascii_only)[1:-1]) for value in (path, name))
        text = text.replace(inner, wanted)
    return text.encode("utf8")


def _stem(doc: Doc) -> str:
    """A file name of the post's id."""
    name = "".join(sign for sign in str(doc.user_data.get(ID_KEY) or "") if sign.isalnum() or sign in "-_.")[:80].strip(".")
    return name or "post"
