"""What there is to see of a post: its entities, told apart by colour, with the boxes and masks that lie within the picture."""

from dataclasses import dataclass

import numpy as np
from spacy.tokens import Doc, Span

from ..post.boxes import box_area, clip_boxes, mask_box
from ..post.errors import Errors
from ..post.extensions import post_name
from ..post.images import doc_image
from ..post.rle import decode_mask

# Told apart on dark and on light photographs, neighbours far from each other in hue; black text is readable on all of them.
PALETTE = (
    "#3fa7ff",
    "#ff5c7a",
    "#ffb91f",
    "#34cf82",
    "#b583ff",
    "#16c7d6",
    "#ff8a3d",
    "#ee6ecb",
    "#a3c41f",
    "#8b9bff",
)

SHOWN = "shown"
ABSENT = "absent"
UNJUDGED = "unjudged"


@dataclass(frozen=True)
class Shape:
    """One entity as it is drawn.

    ent (Span): The entity.
    state (str): "shown" (it has a box or a mask, or was judged groundable), "absent" (judged not to be in the picture) or
        "unjudged".
    number (Optional[int]): Counts the shown entities of the post from 1; the others have none.
    colour (Optional[str]): "#rrggbb", the same in text and picture; only the shown entities have one.
    boxes (List[List[float]]): XYXY pixels, cut to the picture; those wholly outside it are left out.
    mask (Optional[ndarray]): HxW bool.
    problem (Optional[str]): Why a box or the mask is not drawn.
    """

    ent: Span
    state: str
    number: int | None
    colour: str | None
    boxes: list[list[float]]
    mask: np.ndarray | None
    problem: str | None


def doc_shapes(doc: Doc) -> list[Shape]:
    """The entities of a post as they are drawn, in the order of `doc.ents`.

    doc (Doc): A processed post; it is not changed, but for a note on `doc._.rivega_errors` where its picture cannot be read.
    RETURNS (List[Shape]): One for each entity; without a picture none of them has boxes or a mask.
    """
    image = doc_image(doc, "rendering")
    shapes: list[Shape] = []
    count = 0
    for ent in doc.ents:
        boxes: list[list[float]] = []
        mask: np.ndarray | None = None
        problem: str | None = None
        if image is not None:
            height, width = image.shape[:2]
            boxes, outside = _boxes_within(ent._.boxes, height, width)
            if outside:
                problem = Errors.E601.format(post=post_name(doc), ent=ent.text, width=width, height=height)
            mask, reason = _mask_that_fits(ent, height, width)
            problem = reason or problem
        state = _state(ent, bool(boxes) or mask is not None)
        colour = None
        if state == SHOWN:
            colour = PALETTE[count % len(PALETTE)]
            count += 1
        shapes.append(Shape(ent, state, count if state == SHOWN else None, colour, boxes, mask, problem))
    return shapes


def anchor_box(shape: Shape) -> list[float] | None:
    """Where a shape's label belongs: its largest box, else the box around its mask, else None."""
    if shape.boxes:
        return max(shape.boxes, key=box_area)
    return None if shape.mask is None else mask_box(shape.mask)


def rgb(colour: str | None) -> tuple[int, int, int]:
    """ "#rrggbb" as three numbers of 0..255; black for what is not drawn and has no colour."""
    if colour is None:
        return 0, 0, 0
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _state(ent: Span, has_place: bool) -> str:
    if has_place or ent._.groundable:
        return SHOWN
    return UNJUDGED if ent._.groundable is None else ABSENT


def _boxes_within(boxes: list[list[float]], height: int, width: int) -> tuple[list[list[float]], bool]:
    """The boxes cut to the picture, and whether any lies wholly outside it."""
    kept = []
    for box in boxes:
        x1, x2 = sorted((box[0], box[2]))
        y1, y2 = sorted((box[1], box[3]))
        if x1 < width and y1 < height and x2 > 0 and y2 > 0:
            kept.append(clip_boxes(np.array(box), height, width)[0].tolist())
    return kept, len(kept) < len(boxes)


def _mask_that_fits(ent: Span, height: int, width: int) -> tuple[np.ndarray | None, str | None]:
    name, rle = post_name(ent.doc), ent._.mask_rle
    if rle is None:
        return None, None
    try:
        # The size first: decoding allocates what it says.
        size = [int(side) for side in rle["size"]]
        if size != [height, width]:
            reason = f"its [height, width] is {size}, that of the picture [{height}, {width}]"
            return None, Errors.E602.format(post=name, ent=ent.text, reason=reason)
        return decode_mask(rle), None
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # RivegaError is a ValueError
        return None, Errors.E602.format(post=name, ent=ent.text, reason=error)
