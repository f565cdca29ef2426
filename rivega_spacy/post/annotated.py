"""Annotated posts (the JSON lines that `rivega annotate` writes) back as docs, without the pipeline that made them."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from .errors import Errors, PostError, RivegaError
from .extensions import ERRORS_KEY, ID_KEY, TEXT_FIELDS, post_name, record_error
from .given_ents import Place, entity_fields, entity_place, set_fields
from .image_sources import locate_image
from .post_files import Post, picture_root, read_posts
from .posts import tidy_post
from .text import brief


def read_annotated(path: str | Path, *, images: Path | None = None, vocab: Vocab | None = None) -> Iterator[Doc]:
    """Docs of a file of annotated posts.

    path (Union[str, Path]): JSON lines as `rivega_spacy.post.posts.doc_to_post` makes them (.gz: gzipped; "-": piped in), or another form
        of the same fields.
    images (Optional[Path]): Folder that relative image paths start from; without it the working folder, then that of `path`.
    vocab (Optional[Vocab]): Of the docs.
    YIELDS (Doc): One a line, in order; what cannot be taken over is noted on `doc._.rivega_errors`.
    RAISES (RivegaError): E020 if there is no such file.
    """
    vocab = vocab if vocab is not None else Vocab()
    beside = picture_root(path)
    for post in read_posts(path):
        yield annotated_to_doc(post, vocab, images=images, beside=beside)


def annotated_to_doc(post: Post | PostError, vocab: Vocab, *, images: Path | None = None, beside: Path | None = None) -> Doc:
    """The doc of one annotated post.

    post (Union[Post, PostError]): What `doc_to_post` made, or what `read_posts` gives for a bad line.
    vocab (Vocab): Of the doc.
    images (Optional[Path]), beside (Optional[Path]): Folders that a relative image path is looked up in.
    RETURNS (Doc): Tokens are cut at the borders of entities and words, so that offsets come back whatever tokenizer was used.
    """
    if isinstance(post, PostError):
        doc = Doc(vocab)
        record_error(doc, "post", str(post))
        return doc
    post, notes = tidy_post(post)
    text = post.get("text")
    spans = [entity_place(ent, text) for ent in _list(post.get("ents"))] if isinstance(text, str) else []
    words = _cut(text, [border for span in spans if span for border in span[:2]]) if isinstance(text, str) else []
    doc = Doc(vocab, words=words, spaces=[False] * len(words))
    if post.get(ID_KEY) is not None:
        doc.user_data[ID_KEY] = str(post[ID_KEY])
    for note in notes:
        record_error(doc, "post", note)
    if not isinstance(text, str):
        record_error(doc, "post", Errors.E010.format(post=post_name(doc)))
    for entry in _list(post.get("errors")):
        if isinstance(entry, dict):
            doc.user_data.setdefault(ERRORS_KEY, []).append({key: str(value) for key, value in entry.items()})
    image = post.get("image")
    if isinstance(image, str):
        image = _find_image(image, images, beside)
    for field, value in (("image", image), *((name, post.get(name)) for name in TEXT_FIELDS)):
        if value is not None:
            try:
                doc._.set(field, value)
            except RivegaError as error:
                record_error(doc, "post", str(error))
    ents = post.get("ents")
    if isinstance(text, str) and ents is not None and not isinstance(ents, list):
        record_error(doc, "post", Errors.E012.format(post=post_name(doc), value=brief(ents), length=len(doc.text)))
    _set_ents(doc, list(zip(_list(ents), spans)))
    return doc


def _set_ents(doc: Doc, found: list[tuple[Any, Place | None]]) -> None:
    name = post_name(doc)
    kept: list[Span] = []
    taken = bytearray(len(doc))
    for value, place in found:
        if place is None:
            record_error(doc, "post", Errors.E012.format(post=name, value=brief(value), length=len(doc.text)))
            continue
        span = doc.char_span(place.start, place.end, label=place.label)
        # Words are cut at the places, so there is a span.
        assert span is not None
        if any(taken[span.start : span.end]):
            record_error(doc, "post", Errors.E014.format(post=name, value=list(place[:3])))
            continue
        kept.append(span)
        taken[span.start : span.end] = b"\x01" * len(span)
        set_fields(span, entity_fields(value, partial(_note_field, span, value)))
    doc.ents = kept


def _note_field(span: Span, value: dict[str, Any], key: str, wanted: str) -> None:
    message = Errors.E603.format(post=post_name(span.doc), what=f"`{key}`", kind=wanted, value=brief(value[key]))
    record_error(span.doc, "post", message)


def _cut(text: str, borders: list[int]) -> list[str]:
    """The text in pieces that end at every border and wherever words and spaces meet."""
    cuts = {0, len(text), *borders, *(found.start() for found in re.finditer(r"(?<=\s)\S|(?<=\S)\s", text))}
    places = sorted(cuts)
    return [text[a:b] for a, b in zip(places, places[1:])]


def _find_image(image: str, images: Path | None, beside: Path | None) -> str:
    if images is not None:
        return locate_image(image, images)
    # `os.path.exists` says no, where `Path.exists` raises, to what can be no path at all.
    near = image if beside is None else locate_image(image, beside)
    return near if near != image and not os.path.exists(image) and os.path.exists(near) else image


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
