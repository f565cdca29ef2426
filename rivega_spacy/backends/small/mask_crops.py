"""Crops for a segmenter that is told which thing is meant: what is cut for it, and how training changes that."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFilter

from ...post.boxes import clip_boxes, mask_box
from ...post.expressions import Expression
from ..crops import CropWindow, box_window, cut, jitter_box, turned
from .segmenter import box_aspect, recoloured

# How often, in training, the sides of a box are moved by one, two and four times the jitter; else they stay.
MOVED = ((0.3, 1.0), (0.2, 2.0), (0.12, 4.0))
# Of a thing with another pasted in front so much has to be left.
LEFT = 0.4
# How often the thing in front is the one that is meant.
IN_FRONT = 0.3
# How often the boxes of other things are kept from the network: a post seldom names all that its picture shows.
UNTOLD = 0.5

Thing = tuple[Image.Image, np.ndarray, np.ndarray, Expression | None, np.ndarray]


@dataclass
class Crop:
    """One box's crop.

    colours (ndarray): SxSx3 uint8. inside (ndarray): SxS bool, where it shows the picture.
    box (ndarray): XYXY pixels of the picture. window (CropWindow): what the crop shows.
    others (ndarray): n x 4, boxes of other things.
    expression (Optional[Expression]): what is meant; None if nothing is said.
    truth (ndarray): in training, SxS float32, share of each pixel that is the thing. area (float): the thing's pixels, in those of the
        crop, the unseen ones too.
    mirrored (bool): whether colours, inside and truth are mirrored.
    """

    colours: np.ndarray
    inside: np.ndarray
    box: np.ndarray
    window: CropWindow
    others: np.ndarray
    expression: Expression | None
    truth: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    area: float = 0.0
    mirrored: bool = False

    @property
    def aspect(self) -> float:
        """Logarithm of the box's width over its height."""
        return box_aspect(self.box)

    def others_plane(self) -> np.ndarray:
        """SxS float32, 1 within the boxes of other things."""
        size = self.colours.shape[0]
        plane = np.zeros((size, size), np.float32)
        scale_x, scale_y = size / (self.window.x2 - self.window.x1), size / (self.window.y2 - self.window.y1)
        for x1, y1, x2, y2 in self.others:
            left, right = (int(np.clip(round((x - self.window.x1) * scale_x), 0, size)) for x in (x1, x2))
            top, bottom = (int(np.clip(round((y - self.window.y1) * scale_y), 0, size)) for y in (y1, y2))
            plane[top:bottom, left:right] = 1.0
        return plane[:, ::-1].copy() if self.mirrored else plane


def training_crop(
    picture: Image.Image,
    box: np.ndarray,
    mask: np.ndarray,
    expression: Expression | None,
    others: np.ndarray,
    *,
    donor: Thing | None,
    size: int,
    margin: float,
    jitter: float,
    rotation: float,
    rng: np.random.Generator,
) -> Crop:
    """A thing's crop, changed by chance: another thing in front, turned, box moved, mirrored, other light and colours, noise.

    picture (Image): RGB. box (ndarray): XYXY pixels. mask (ndarray): HxW bool.
    expression (Optional[Expression]): what the thing is called. others (ndarray): n x 4, boxes of other things.
    donor (Optional[Thing]): another thing, to be pasted in front.
    size (int), margin (float), jitter (float), rotation (float): as the architecture has them.
    rng (Generator): source of chance.
    RETURNS (Crop): with `truth` and `area`.
    """
    if donor is not None and donor[2] is not mask:
        picture, box, mask, expression, others = in_front((picture, box, mask, expression, others), donor, rng)
    if rotation and rng.random() < 1 / 3:
        picture, box, mask = turned(picture, box, mask, rng.uniform(-rotation, rotation))
    draw = rng.random()
    for chance, amount in MOVED:
        if draw < chance:
            box = clip_boxes(np.array([jitter_box(box, rng, amount=amount * jitter)]), picture.height, picture.width)[0]
            break
        draw -= chance
    window = box_window(box, margin=margin)
    colours, inside = cut(picture, window, size)
    truth, _ = cut(Image.fromarray(mask.astype(np.uint8) * 255), window, size, fill=0)
    mirrored = bool(rng.random() < 0.5)
    if mirrored:
        colours, inside, truth = colours[:, ::-1], inside[:, ::-1], truth[:, ::-1]
    if rng.random() < UNTOLD:
        others = others[:0]
    area = float(mask.sum()) * size * size / ((window.x2 - window.x1) * (window.y2 - window.y1))
    share = truth.astype("float32") / 255
    return Crop(recoloured(colours, rng), inside.copy(), box, window, others, expression, share, area, mirrored)


def in_front(thing: Thing, donor: Thing, rng: np.random.Generator) -> Thing:
    """A thing with another pasted over part of it (Ghiasi et al. 2021, "Simple Copy-Paste"); sometimes the other is then meant.

    thing (Thing): picture, box, mask, phrase, boxes of others. donor (Thing): the same of what is pasted.
    rng (Generator): source of chance.
    RETURNS (Thing): the thing as it was where too little of it would be left.
    """
    picture, box, mask, expression, others = thing
    source, _, shape, name, _ = donor
    tight = mask_box(shape)
    if tight is None:
        return thing
    x1, y1, x2, y2 = (int(side) for side in tight)
    scale = rng.uniform(0.4, 1.1) * max(box[2] - box[0], box[3] - box[1]) / max(x2 - x1, y2 - y1)
    wide, high = max(int((x2 - x1) * scale), 8), max(int((y2 - y1) * scale), 8)
    piece = source.resize((wide, high), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
    cover = Image.fromarray(shape[y1:y2, x1:x2].astype(np.uint8) * 255).resize((wide, high), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        piece, cover = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (piece, cover))
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.7)
    left = int((box[0] + box[2]) / 2 + np.cos(angle) * far * (box[2] - box[0]) - wide / 2)
    top = int((box[1] + box[3]) / 2 + np.sin(angle) * far * (box[3] - box[1]) - high / 2)
    canvas = Image.new("L", picture.size, 0)
    canvas.paste(cover.filter(ImageFilter.BoxBlur(0.5)), (left, top))
    front = np.asarray(canvas) > 127
    rest = mask & ~front
    seen, front_box = mask_box(rest), mask_box(front)
    if seen is None or front_box is None or rest.sum() < LEFT * mask.sum():
        return thing
    changed = picture.copy()
    changed.paste(piece, (left, top), canvas.crop((left, top, left + wide, top + high)))
    if rng.random() < IN_FRONT:
        return changed, np.array(front_box), front, name, np.concatenate([others, box[None]])
    return changed, np.array(seen), rest, expression, np.concatenate([others, np.array(front_box)[None]])
