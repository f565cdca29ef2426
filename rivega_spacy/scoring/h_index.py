"""The predictions that H-Index (Yu et al., ACL 2023) writes, so that it is scored by the same rules as everybody.

Its file has a block a post, in the order of the test posts: the words, a line `Pred: (Name , [3] , <<person>> ) (...)`, one of gold, a
blank line. The numbers are places among the candidate boxes it was given (VinVL's first 16); the number after the last means none.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from ..post.errors import Errors, RivegaError
from ..post.textfiles import open_text, read_text
from .candidates import Candidates
from .mentions import Annotations, Mention

_PRED = "Pred: "
_ENTRY = re.compile(r"\((?P<text>.*?) , \[(?P<regions>[\d, ]*)\] , <<(?P<type>\w+)>> \)")
_TYPES = {"location": "LOC", "person": "PER", "others": "OTHER", "organization": "ORG"}


def is_h_index(path: str | Path) -> bool:
    """Whether a file has the form: its second line begins with "Pred: "."""
    path = Path(path)
    if not path.is_file() or path.suffix != ".txt":
        return False
    with open_text(path, errors="replace") as lines:
        next(lines, "")
        return next(lines, "").startswith(_PRED)


def read_h_index(path: str | Path, posts: Sequence[str], *, candidates: Candidates | None = None, boxes: int = 16) -> Annotations:
    """Its predictions.

    path (Union[str, Path]): The file.
    posts (Sequence[str]): Ids of the test posts in the order of the data set, since the file has none.
    candidates (Optional[Candidates]): The boxes it chose from, in its order; without them only groundability is known.
    boxes (int): How many of them it was given (`--box_num`).
    RETURNS (Annotations): With texts, not offsets: they are scored with rule `text`.
    RAISES (RivegaError): E513 for a block that is none, E552 if the file has another number of posts.
    """
    result = Annotations(name=str(path), groundability=True, boxes=candidates is not None)
    lines = read_text(path, errors="replace").split("\n")
    found = [(number, line[len(_PRED) :]) for number, line in enumerate(lines, start=1) if line.startswith(_PRED)]
    if len(found) != len(posts):
        raise RivegaError(Errors.E552.format(path=path, found=len(found), posts=len(posts)))
    for post, (number, line) in zip(posts, found):
        result.add_post(post)
        for entry in _ENTRY.finditer(line):
            if entry["type"] not in _TYPES:
                raise RivegaError(Errors.E513.format(path=path, line=number, reason=f"the type {entry['type']!r} is not known"))
            places = [int(place) for place in entry["regions"].split(",") if place.strip()]
            shown = [place for place in places if place < boxes]
            result.add(
                Mention(
                    post,
                    entry["text"].strip(),
                    _TYPES[entry["type"]],
                    groundable=bool(shown),
                    boxes=tuple(_chosen(shown[:1], post, candidates)),
                )
            )
    return result


def _chosen(places: list[int], post: str, candidates: Candidates | None) -> list[list[float]]:
    known = candidates.get(post, ()) if candidates is not None else ()
    return [[float(side) for side in known[place]] for place in places if place < len(known)]
