"""What RiVEG and PGIM publish beside the posts: recorded knowledge, BLIP-2 captions, mPLUG-Owl descriptions."""

import re
from collections import Counter
from pathlib import Path

from ...post.errors import Errors, RivegaError
from ...post.files import is_plain_file
from ...post.post_files import Post
from ...post.textfiles import read_text
from ..sources import KNOWLEDGE_FIELD
from .conll import read_blocks
from .dirt import Dirt

EOS = "<EOS>"
_CAPTION = re.compile(r"^\s*(?P<id>.+?)\.(?:avif|bmp|gif|jpe?g|png|tiff?|webp)\s*:(?P<text>.*)$", re.IGNORECASE)
_OWL = re.compile(r"^imgid:(?P<id>.+?)###(?P<text>.*)$", re.IGNORECASE)


def add_knowledge(posts: list[Post], path: str | Path, dirt: Dirt) -> None:
    """Give posts the knowledge of a published file, which has no ids: entries stand in the order of the posts.

    posts (List[Post]): In the order of their file; `knowledge` is set where an entry is found.
    path (Union[str, Path]): Lines of token and tag (CRLF or LF), then `<EOS>` with tag X, then the words of z with tag X.
    dirt (Dirt): Takes what does not fit. An entry whose words are not those of the next post is looked for further on, so that
        a post left out on either side costs one entry and not all that follow.
    """
    place = 0
    words = [post["tokens"] for post in posts]
    entries = [_split(rows, dirt) for _, rows in read_blocks(path, dirt, by_blank=True)]
    if _augmented(entries, words):
        return _add_several(posts, entries, dirt)
    for tokens, z in entries:
        found = place
        while found < len(words) and words[found] != tokens:
            found += 1
        if found == len(words):
            dirt.note("knowledge_order", " ".join(tokens)[:60])
            continue
        posts[found]["knowledge"] = " ".join(z)
        place = found + 1
    for post in posts:
        if post.get("knowledge") is None:
            dirt.note("knowledge_gap", post["id"])


def _augmented(entries: list[tuple[list[str], list[str]]], words: list[list[str]]) -> bool:
    """Whether there are several pieces of knowledge a post (RiVEG's augmented training data): more than there are posts of these words."""
    given = Counter(tuple(tokens) for tokens, _ in entries)
    there = Counter(map(tuple, words))
    several = sum(count > there[tokens] > 0 for tokens, count in given.items())
    return 2 * several > len(given)


def _add_several(posts: list[Post], entries: list[tuple[list[str], list[str]]], dirt: Dirt) -> None:
    """Knowledge of several models by the words of the posts: "1", "2" and so on in the order in which a post's entries come.

    Whose each is the files do not say. Posts of the same words have entries of the same words; these are taken in turn.
    """
    places: dict[tuple[str, ...], list[int]] = {}
    for place, post in enumerate(posts):
        places.setdefault(tuple(post["tokens"]), []).append(place)
    times: Counter[tuple[str, ...]] = Counter()
    for tokens, z in entries:
        key = tuple(tokens)
        if key not in places:
            dirt.note("knowledge_order", " ".join(tokens)[:60])
            continue
        model, place = divmod(times[key], len(places[key]))
        times[key] += 1
        post = posts[places[key][place]]
        post.setdefault("knowledge", " ".join(z))
        post.setdefault(KNOWLEDGE_FIELD, {})[str(model + 1)] = " ".join(z)
    for post in posts:
        if post.get("knowledge") is None:
            dirt.note("knowledge_gap", post["id"])


def _split(rows: list[tuple[str, str]], dirt: Dirt) -> tuple[list[str], list[str]]:
    tokens: list[str] = []
    z: list[str] = []
    inside = False
    for token, tag in rows:
        if token == EOS and tag == "X":
            inside = True
        elif not inside:
            tokens.append(token)
        elif token:
            z.append(token)
        else:
            dirt.note("empty_token", " ".join(tokens)[:40])
    return tokens, z


def read_captions(path: str | Path, dirt: Dirt) -> dict[str, str]:
    """BLIP-2 captions: `ID.jpg :caption` a line; the caption may hold colons itself.

    path (Union[str, Path]): The file, or a folder of such (RiVEG has one for the posts of each source).
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, str]): Caption by post id; "" where it is empty.
    """
    captions: dict[str, str] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        match = _CAPTION.match(line.rstrip("\r"))
        if match is None:
            dirt.note("bad_line", f"{path}, line {number}: {line[:60]!r}")
            continue
        if match["id"].strip() in captions:
            dirt.note("duplicate_text", match["id"].strip())
            continue
        captions[match["id"].strip()] = match["text"].strip()
        if not match["text"].strip():
            dirt.note("empty_caption", match["id"].strip())
    return captions


def read_descriptions(path: str | Path, dirt: Dirt) -> dict[str, str]:
    """mPLUG-Owl descriptions: `imgid:ID###text`, the text going on over paragraphs until the next imgid.

    path (Union[str, Path]): The file, or a folder of such (RiVEG has one for each split).
    dirt (Dirt): Takes what does not fit.
    RETURNS (Dict[str, str]): Description by post id, paragraphs kept.
    """
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        line = line.rstrip("\r")
        match = _OWL.match(line)
        if match is not None:
            current = [match["text"]]
            if match["id"].strip() in parts:
                dirt.note("duplicate_text", match["id"].strip())
            parts.setdefault(match["id"].strip(), current)
        elif parts:
            current.append(line)
        elif line.strip():
            dirt.note("bad_line", f"{path}, line {number}: {line[:60]!r}")
    return {name: "\n".join(lines).strip() for name, lines in parts.items()}


def _text(path: str | Path) -> str:
    path = Path(path)
    files = sorted(filter(is_plain_file, path.glob("*.txt"))) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise RivegaError(Errors.E020.format(path=path / "*.txt" if path.is_dir() else path))
    return "\n".join(read_text(file, errors="replace") for file in files)
