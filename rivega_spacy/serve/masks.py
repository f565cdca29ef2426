"""Masks for boxes that a person drew or moved: the pipeline's own segmenter, asked about them alone."""

from collections.abc import Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..post.errors import Errors
from .problems import Problem

FACTORY = "rivega_segmenter"


def segmenter_of(nlp: Language) -> str | None:
    """Name of the component that turns boxes into masks; None if there is none."""
    return next((name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == FACTORY), None)


def masks_for(nlp: Language, image: str | bytes, boxes: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The mask of one entity with these boxes.

    nlp (Language): Its segmenter is used as the pipeline would use it.
    image (Union[str, bytes]): Path or encoded picture.
    boxes (Sequence[Sequence[float]]): XYXY pixels.
    RETURNS (Dict[str, Any]): `mask_rle` (COCO RLE, the union of the boxes' masks) and `mask_score`, both None if no box lies in the picture,
        and `errors`.
    RAISES (Problem): 501 if the pipeline has no segmenter.
    """
    name = segmenter_of(nlp)
    if name is None:
        raise Problem(501, Errors.E812)
    doc = Doc(nlp.vocab, words=["entity"])
    doc._.image = image
    ent = Span(doc, 0, 1, label="OTHER")
    doc.ents = [ent]
    ent._.groundable, ent._.boxes = True, boxes
    doc = nlp.get_pipe(name)(doc)
    ent = doc.ents[0]
    return {"mask_rle": ent._.mask_rle, "mask_score": ent._.mask_score, "errors": doc._.rivega_errors}
