"""Which picture is a post's, where tools have renamed it: a hash before or behind, another ending, another case, another form of accents."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import unquote

from .dirt import Dirt
from .regions import picture_stem, post_id

_ENDINGS = "avif|bmp|dib|gif|jfif|jpe|jpeg|jpg|mpo|png|tif|tiff|webp"
# Roboflow: "17_06_1.jpg" becomes "17_06_1_jpg.rf.1a2b3c....jpg".
_ROBOFLOW = re.compile(rf"(?i)(?:[._-](?:{_ENDINGS}))?\.rf\.[0-9a-z]{{6,}}$")
# Label Studio puts the first eight digits of a UUID and "-" before the name, others a whole UUID, MD5 or SHA.
_HASH = re.compile(r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}[-_]+|[0-9a-f]{8}-|[0-9a-f]{32,64}[-_]+)(?=.)")
_LETTER = re.compile(r"[a-f]")


def compose(name: str) -> str:
    """A name with its accents in one form (NFC), as people type them; some systems keep them apart (NFD)."""
    return unicodedata.normalize("NFC", name)


def plain_name(name: str) -> str:
    """A name without what the system it lay on makes of it: form of accents, case, ending of a picture, %20.

    name (str): Of a post or a picture.
    """
    return picture_stem(compose(unquote(name)).strip()).casefold()


def original_name(name: str, *, digits: bool = False) -> str:
    """A name as `plain_name`, without what annotation tools add: Roboflow's `_jpg.rf.HASH`, the hash that Label Studio puts before it.

    name (str): Of a picture.
    digits (bool): A hash may be of digits alone; else "20160502-1" is the name itself.
    """
    name = plain_name(_ROBOFLOW.sub("", picture_stem(name)))
    start = _HASH.match(name)
    return name[start.end() :] if start is not None and (digits or _LETTER.search(start[0])) else name


def match_pictures(posts: Sequence[tuple[str, str | None]], pictures: Iterable[str], dirt: Dirt) -> dict[str, str]:
    """The picture of every post that has one, by their names.

    posts (Sequence[Tuple[str, Optional[str]]]): Ids, with the posts' own references to their pictures.
    pictures (Iterable[str]): Names of pictures, without folder and ending.
    dirt (Dirt): Takes the pictures that go by another name, and those that are a second one of a post.
    RETURNS (Dict[str, str]): Picture by post id. The same name comes first; of what is left over, names that are the same without
        what tools put there, where only one post is meant. Of several pictures of one post the first is taken.
    """
    names = list(dict.fromkeys(pictures))
    known = set(names)
    found: dict[str, str] = {}
    taken = set()
    for post, reference in posts:
        for name in (post, post_id(reference) if reference else post):
            if name in known and post not in found:
                found[post] = name
                taken.add(name)
    hashed = sum(bool(_HASH.match(name)) for name in names) * 2 >= len(names)
    for level in _levels(hashed):
        meant: dict[str, list[str]] = {}
        for post, reference in posts:
            if post not in found:
                for key in {level[0](post), level[0](post_id(reference) if reference else post)}:
                    meant.setdefault(key, []).append(post)
        for name in names:
            owners = meant.get(level[1](name), []) if name not in taken else []
            if len(owners) != 1:
                continue
            taken.add(name)
            if owners[0] in found:
                dirt.note("duplicate_picture", f"{owners[0]} {name!r}")
            else:
                found[owners[0]] = name
                dirt.note("renamed", f"{owners[0]} {name!r}")
    return found


def _levels(hashed: bool) -> list[tuple[Callable[[str], str], Callable[[str], str]]]:
    """What posts and pictures are compared by, the surest first: as it is, without a tool's additions, letters and digits only.

    hashed (bool): Most pictures have a hash before their names; then one of digits alone is taken for one too.
    """

    def bare(name: str) -> str:
        return original_name(name, digits=hashed)

    def loose(name: str) -> str:
        return re.sub(r"[\W_]+", "_", name).strip("_")

    return [(plain_name, plain_name), (plain_name, bare), (lambda name: loose(plain_name(name)), lambda name: loose(bare(name)))]
