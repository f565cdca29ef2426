"""Pascal-VOC XML: boxes of Twitter-GMNER v1 and v2.0, one file a post, named after it."""

import codecs
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ...post.errors import Errors, RivegaError
from ...post.files import is_plain_file
from .coordinates import has_area, picture_size, read_box
from .dirt import Dirt
from .regions import AnnotatedPicture, Pictures, Region, post_id

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']""")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What editors declare for files of these two holds characters of the later, larger code as well.
_LARGER = {"gb2312": "gb18030", "gbk": "gb18030"}


def read_voc(folder: str | Path, dirt: Dirt) -> Pictures:
    """Boxes of all files of a folder.

    folder (Union[str, Path]): With ID.xml for every post that has boxes.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, AnnotatedPicture]): By post id. The file's own name is the id: in 765 published files <filename> names another
        picture. Coordinates are kept as published, 1-based with the upper bound inclusive; names are kept to the letter.
    RAISES (RivegaError): E131 if the folder holds no XML.
    """
    files = sorted(Path(folder).glob("*.xml"))
    if not files:
        raise RivegaError(Errors.E131.format(folder=folder, kind="XML"))
    pictures: Pictures = {}
    for file in files:
        try:
            root = read_xml(file)
            items = list(root.iter("object"))
            if not items and root.tag != "annotation":
                raise ValueError(f"no annotation, but {root.tag!r:.40}")
        except ValueError as error:
            dirt.note("bad_file", f"{file.name} ({error})")
            continue
        name = root.findtext("filename")
        if name is not None and post_id(name.strip()) != file.stem:
            dirt.note("filename", f"{file.name} says {name.strip()!r}")
        stated = [(root.findtext(f"size/{side}") or "").strip() or None for side in ("width", "height")]
        width, height, usable = picture_size(*stated)
        if not usable:
            dirt.note("bad_size", f"{file.name} ({stated[0]!r:.20} x {stated[1]!r:.20})")
        picture = AnnotatedPicture(width, height, counted_from_one=True)
        for item in items:
            region = _region(item)
            if region is None:
                dirt.note("bad_region", f"{file.stem} {item.findtext('name')!r}")
                picture.lost += [item.findtext("name") or ""]
            else:
                picture.regions.append(region)
        pictures[file.stem] = picture
    return pictures


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file, its tags without namespaces.

    path (Path): In any encoding that Python knows, declared or marked; UTF-8 where what is declared is unknown or cannot be.
    RETURNS (Element): The root.
    RAISES (ValueError): If the file cannot be read, is no XML or breaks off; if it declares entities, which are not expanded
        (a file of a few lines could fill the memory with them).
    """
    if not is_plain_file(path):
        raise ValueError("not a file")
    try:
        text = _decode(path.read_bytes())
        if "<!ENTITY" in text:
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(text)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _decode(data: bytes) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if data.startswith((b"<\0", b"\0<")):
        return data.decode("utf-16-le" if data[0] else "utf-16-be")
    declared = _DECLARED.match(data)
    encoding = declared.group(1).decode("ascii").lower() if declared else "utf-8"
    encoding = _LARGER.get(encoding, encoding)
    # A declaration that can be read byte by byte is in neither of these, whatever it says.
    if encoding.startswith(("utf-16", "utf-32", "utf16", "utf32", "ucs")):
        encoding = "utf-8"
    try:
        return data.decode(encoding)
    except LookupError:  # no encoding of text is called so
        return data.decode("utf-8")


def _region(item: ElementTree.Element) -> Region | None:
    name = item.findtext("name")
    try:
        box = read_box([item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")])
    except ValueError:
        return None
    return Region(name, box) if name and has_area(box) else None
