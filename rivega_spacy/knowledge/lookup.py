"""Knowledge for the posts of a file: every line stays as it is, and gets a `knowledge`."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import Doc

from ..post.errors import Errors
from ..post.extensions import ID_KEY
from ..post.image_sources import locate_image
from ..post.jsonl import read_lines, write_lines
from ..post.language import reading_vocab
from .retrieval import Source

BATCH = 256


class TermCounts(NamedTuple):
    """Posts, those with new knowledge, and what was wrong with lines that were left out."""

    posts: int
    found: int
    wrong: list[str]


def add_knowledge(posts: str | Path, out: str | Path, source: Source, *, overwrite: bool = False) -> TermCounts:
    """Look up every post of a file.

    posts (Union[str, Path]): JSON lines with text or tokens, and anything else.
    out (Union[str, Path]): The same lines with `knowledge`.
    source (Source): For example `retrieval.RetrievedKnowledge`.
    overwrite (bool): Replace knowledge that posts have.
    """
    vocab = reading_vocab()
    root = Path(posts).resolve().parent
    wrong: list[str] = []
    count = found = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal count, found
        rows = read_lines(posts)
        while batch := list(islice(rows, BATCH)):
            kept = []
            for number, row in batch:
                if isinstance(row, str):
                    wrong.append(Errors.E889.format(path=posts, line=number, reason=row))
                elif not _words(row):
                    wrong.append(Errors.E889.format(path=posts, line=number, reason="it has neither `text` nor `tokens`"))
                else:
                    kept.append(row)
            asked = [row for row in kept if overwrite or not row.get("knowledge")]
            answers = source([_doc(vocab, row, root) for row in asked]) if asked else []
            for row, answer in zip(asked, answers):
                if answer:
                    row["knowledge"] = answer
                    found += 1
            count += len(kept)
            yield from kept

    write_lines(out, lines())
    return TermCounts(count, found, wrong)


def _words(row: dict[str, Any]) -> list[str]:
    tokens = row.get("tokens")
    if isinstance(tokens, list) and tokens and all(isinstance(token, str) and token for token in tokens):
        return tokens
    return row["text"].split() if isinstance(row.get("text"), str) else []


def _doc(vocab: Any, row: dict[str, Any], root: Path) -> Doc:
    doc = Doc(vocab, words=_words(row))
    if row.get("id") is not None:
        doc.user_data[ID_KEY] = str(row["id"])
    image = row.get("image")
    if isinstance(image, str) and image.strip():
        doc._.image = locate_image(image, root)
    doc._.caption = row.get("caption_blip2") or row.get("caption")
    return doc
