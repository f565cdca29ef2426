"""Pascal-VOC XML: boxes of Twitter-GMNER v1 and v2.0, one file a post, named after it."""
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Optional, Union

from ...boxes import box_area, check_box
from ...errors import Errors, RivegaError
from .dirt import Dirt
from .regions import Picture, Pictures, Region, post_id


def read_voc(folder: Union[str, Path], dirt: Dirt) -> Pictures:
    """Boxes of all files of a folder.

    folder (Union[str, Path]): With ID.xml for every post that has boxes.
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, Picture]): By post id. The file's own name is the id: in 765 published files <filename> names another
        picture. Coordinates are kept as published, 1-based with the upper bound inclusive; names are kept to the letter.
    RAISES (RivegaError): E131 where the folder holds no XML.
    """
    files = sorted(Path(folder).glob("*.xml"))
    if not files:
        raise RivegaError(Errors.E131.format(folder=folder, kind="XML"))
    pictures: Pictures = {}
    for file in files:
        try:
            root = ElementTree.fromstring(file.read_bytes())
        except ElementTree.ParseError as error:
            dirt.note("bad_file", f"{file.name} ({error})")
            continue
        name = root.findtext("filename")
        if name is not None and post_id(name.strip()) != file.stem:
            dirt.note("filename", f"{file.name} says {name.strip()!r}")
        picture = Picture(_number(root, "size/width"), _number(root, "size/height"))
        for item in root.iter("object"):
            region = _region(item)
            if region is None:
                dirt.note("bad_region", f"{file.stem} {item.findtext('name')!r}")
            else:
                picture.regions.append(region)
        pictures[file.stem] = picture
    return pictures


def _region(item: ElementTree.Element) -> Optional[Region]:
    name = item.findtext("name")
    try:
        box = check_box([item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")])
    except RivegaError:
        return None
    return Region(name, box) if name and box_area(box) > 0 else None


def _number(root: ElementTree.Element, path: str) -> Optional[int]:
    text = root.findtext(path)
    return int(float(text)) if text and text.strip() else None
