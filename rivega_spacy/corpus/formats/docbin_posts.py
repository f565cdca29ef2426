"""Posts of spaCy's binary format as compact posts, so that they can be joined with other sources again."""

from collections.abc import Iterator
from pathlib import Path

from spacy.tokens import Doc, Span

from ...ner.schemes import UNSAID
from ...ner.targets import missing_labels
from ...post.extensions import ID_KEY, TEXT_FIELDS, all_masks
from ...post.language import reading_vocab
from ...post.post_files import Post
from ..docbin import read_docbin
from .dirt import Dirt


def read_docbin_posts(path: str | Path, dirt: Dirt, *, lang: str = "rivega") -> Iterator[Post]:
    """Posts of a .spacy file.

    path (Union[str, Path]): What `rivega convert`, `rivega export --to docbin` or a program wrote, with user data.
    dirt (Dirt): Takes nothing here: a doc has no entities that do not fit.
    lang (str): Language class whose vocabulary is used.
    YIELDS (Dict[str, Any]): `id`, `tokens`, `spaces`, `tags`, `ents` as `read_annotated` has them, `image` and the texts of a post.
    RAISES (RivegaError): E059 if the file is damaged.
    """
    for number, doc in enumerate(read_docbin(path, reading_vocab(lang)), start=1):
        post: Post = {
            "id": str(doc.user_data.get(ID_KEY, number)),
            "tokens": [token.text for token in doc],
            "spaces": [bool(token.whitespace_) for token in doc],
            "tags": _tags(doc),
            "ents": [_entity(ent) for ent in doc.ents],
            **{field: doc._.get(field) for field in TEXT_FIELDS if doc._.get(field) is not None},
        }
        if doc._.image is not None:
            post["image"] = doc._.image
        if missing_labels(doc):
            post["missing_labels"] = missing_labels(doc)
        yield post


def _tags(doc: Doc) -> list[str]:
    return [UNSAID if token.ent_iob == 0 else "O" if token.ent_iob == 2 else f"{token.ent_iob_}-{token.ent_type_}" for token in doc]


def _entity(ent: Span) -> Post:
    masks = all_masks(ent)
    fields: Post = {"start": ent.start_char, "end": ent.end_char, "label": ent.label_}
    for name in ("expansion", "groundable"):
        if ent._.get(name) is not None:
            fields[name] = ent._.get(name)
    if ent._.boxes:
        fields["boxes"] = ent._.boxes
    if masks:
        fields["mask_rle"] = ent._.mask_rle
    return {**fields, "masks": masks} if len(masks) > 1 else fields


__all__ = ["read_docbin_posts"]
