"""Annotated in-context examples: the format of the published ones, and which of them may be shown for which post."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from ..post.image_sources import locate_image
from ..post.jsonl import read_lines
from .published import is_published, read_published

SHIPPED = Path(__file__).with_name("examples.jsonl")
_URL = re.compile(r"(?i)\bhttps?\s*:\s*//\s*\S+(?:\s*\.?\s*co\s*/\s*\S+)?")
_WORD = re.compile(r"[^\W_]+")
# A shorter text ("Happy birthday!") may well be two posts.
_LEAST_WORDS = 4


@dataclass(frozen=True)
class Example:
    """A post with the answer that somebody wrote for it.

    text (str), caption (str): The post, and its picture in words.
    answer (str): Named entities, their types and the reasons, as the model is to write them.
    id (str): The post's id, "" if it has none.
    image (Optional[str]): Path of its picture.
    """

    text: str
    caption: str
    answer: str
    id: str = ""
    image: str | None = None
    print: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "print", fingerprint(self.text))

    def to_json(self) -> dict[str, Any]:
        """As `read_examples` reads it."""
        return {"id": self.id, "text": self.text, "caption": self.caption, "annotation": self.answer, "image": self.image}


def fingerprint(text: str) -> str:
    """What two copies of one post have in common, however they were tokenized: its letters and digits, without addresses.

    text (str): The post.
    RETURNS (str): "" where that is too little to tell posts apart.
    """
    words = _WORD.findall(_URL.sub(" ", text).lower())
    return "".join(words) if len(words) >= _LEAST_WORDS else ""


def read_examples(
    path: str | Path, *, images: Path | None = None, posts: Iterable[str | Path] = ()
) -> tuple[list[Example], list[str]]:
    """Annotated examples of a file.

    path (Union[str, Path]): JSON lines, each with `tokens` or `text`, `caption_blip2` or `caption`, `annotation`; optional `id`, `image`. Or
        a .txt file as PGIM publishes them, see `published.read_published`.
    images (Optional[Path]): Folder that relative image paths start from; None takes that of the file.
    posts (Iterable[Union[str, Path]]): The posts that such a .txt file annotates, JSON lines.
    RETURNS (Tuple[List[Example], List[str]]): The examples in order, each post once, and what was wrong with lines left out.
    RAISES (RivegaError): E020 if there is no such file, E420 if none of its lines is one.
    """
    root = Path(path).resolve().parent if images is None else Path(images)
    examples: dict[tuple[str, str], Example] = {}
    wrong: list[str] = []
    rows: Iterable[tuple[int, dict[str, Any] | str]]
    rows = read_published(path, posts, wrong) if is_published(path) else read_lines(path)
    for number, row in rows:
        example = row if isinstance(row, str) else _example(row, root)
        if isinstance(example, str):
            wrong.append(Errors.E421.format(path=path, line=number, reason=example))
        else:
            examples.setdefault((example.id, example.text), example)
    if not examples:
        raise RivegaError(Errors.E420.format(path=path))
    return list(examples.values()), wrong


def _example(row: dict[str, Any], root: Path) -> Example | str:
    text = row.get("text")
    if text is None:
        tokens = row.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            return "it has neither `text` nor `tokens`"
        text = " ".join(tokens)
    caption = row.get("caption_blip2", row.get("caption"))
    answer = row.get("annotation")
    if not isinstance(text, str) or not text.strip():
        return "its text is empty"
    if not isinstance(answer, str) or not answer.strip():
        return "it has no `annotation`"
    if caption is not None and not isinstance(caption, str):
        return "its caption is not a string"
    image = row.get("image")
    path = locate_image(image, root) if isinstance(image, str) and image.strip() else None
    name = row.get("id")
    return Example(text, caption or "no picture", answer, "" if name is None else str(name), path)


class Exclusion:
    """Posts that may never be shown as an example: those of the splits that are measured.

    paths (Iterable[Union[str, Path]]): Files of posts, JSON lines with `id` and `text` or `tokens`.
    """

    def __init__(self, paths: Iterable[str | Path] = ()) -> None:
        ids, prints = set(), set()
        for path in paths:
            for _, row in read_lines(path):
                if isinstance(row, str):
                    continue
                if row.get("id") is not None:
                    ids.add(str(row["id"]))
                prints.add(fingerprint(_text(row)))
        self.ids: frozenset[str] = frozenset(ids)
        self.prints: frozenset[str] = frozenset(prints - {""})

    def keep(self, examples: Sequence[Example]) -> list[Example]:
        """The examples that may be shown."""
        return [example for example in examples if not (example.id and example.id in self.ids) and example.print not in self.prints]


def same_post(example: Example, post: str, text_print: str) -> bool:
    """Whether an example is this very post.

    post (str): The post's id, "" if it has none.
    text_print (str): `fingerprint` of its text.
    """
    return bool(post and example.id == post) or bool(text_print and example.print == text_print)


def _text(row: dict[str, Any]) -> str:
    if isinstance(row.get("text"), str):
        return row["text"]
    tokens = row.get("tokens")
    return " ".join(token for token in tokens if isinstance(token, str)) if isinstance(tokens, list) else ""
