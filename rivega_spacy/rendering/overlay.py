"""Pictures with the masks, boxes and names of their entities drawn on them, by Pillow alone."""

import math
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from spacy.tokens import Doc

from ..post.errors import Errors, ImageError
from ..post.extensions import post_name
from ..post.images import doc_image
from .labels import place_labels
from .shapes import Shape, anchor_box, doc_shapes, rgb

# Letters that Unicode does not decompose, for fonts that have ASCII only.
_PLAIN = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "æ": "ae", "Æ": "AE", "đ": "d", "’": "'", "–": "-"})


def make_overlay(
    *, min_side: int = 512, max_side: int = 1600, opacity: float = 0.45, boxes: bool = True, masks: bool = True, labels: bool = True
) -> Callable[[Doc], Image.Image]:
    """`rivega.Overlay.v1`: `render_overlay` with its settings; they are explained there."""

    def render(doc: Doc) -> Image.Image:
        return render_overlay(doc, min_side=min_side, max_side=max_side, opacity=opacity, boxes=boxes, masks=masks, labels=labels)

    return render


def render_overlay(
    doc: Doc,
    *,
    min_side: int = 512,
    max_side: int = 1600,
    opacity: float = 0.45,
    boxes: bool = True,
    masks: bool = True,
    labels: bool = True,
) -> Image.Image:
    """The post's picture with what it shows drawn on it.

    doc (Doc): A processed post.
    min_side (int), max_side (int): The longer side of the result in pixels: smaller pictures are enlarged to `min_side` so that
        names can be read on them, larger ones scaled down to `max_side`.
    opacity (float): Of the masks' colour, 0..1; their outline is always opaque.
    boxes (bool), masks (bool), labels (bool): What to draw.
    RETURNS (Image): RGB. Colours are those of `render_posts`.
    RAISES (ImageError): E600 if the post has no picture that can be read.
    """
    image = doc_image(doc, "rendering")
    if image is None:
        raise ImageError(Errors.E600.format(post=post_name(doc)))
    shapes = [shape for shape in doc_shapes(doc) if shape.colour is not None]
    picture = fit_picture(image, min_side, max_side)
    scale = (picture.width / image.shape[1], picture.height / image.shape[0])
    if masks:
        # Large ones first: what lies within them stays visible.
        masked = [(shape.mask, shape.colour) for shape in shapes if shape.mask is not None]
        for mask, colour in sorted(masked, key=lambda pair: -int(pair[0].sum())):
            layer = mask_layer(mask, picture.size, rgb(colour), opacity)
            picture.paste(layer.convert("RGB"), mask=layer.getchannel("A"))
    draw = ImageDraw.Draw(picture)
    if boxes:
        _draw_boxes(draw, shapes, scale, stroke_width(picture.size))
    if labels:
        _draw_labels(draw, shapes, scale, picture.size)
    return picture


def fit_picture(image: np.ndarray, min_side: int, max_side: int) -> Image.Image:
    """A copy whose longer side is between `min_side` and `max_side` pixels (HxWx3 uint8 in, RGB out)."""
    picture = Image.fromarray(image)
    longer = max(picture.size)
    target = min(max(longer, min_side), max_side)
    if target == longer:
        return picture.copy()
    size = (max(1, round(picture.width * target / longer)), max(1, round(picture.height * target / longer)))
    resample = Image.Resampling.LANCZOS if target < longer else Image.Resampling.BICUBIC
    return picture.resize(size, resample, reducing_gap=3.0 if target < longer else None)


def mask_layer(mask: np.ndarray, size: tuple[int, int], colour: tuple[int, int, int], opacity: float) -> Image.Image:
    """A mask as a translucent sheet of colour with an opaque outline.

    mask (ndarray): HxW bool.
    size (Tuple[int, int]): Width and height of the sheet in pixels.
    colour (Tuple[int, int, int]): RGB.
    opacity (float): Of the inside, 0..1.
    RETURNS (Image): RGBA of that size.
    """
    grey = Image.fromarray(np.ascontiguousarray(mask).astype(np.uint8) * 255)
    if grey.size != size:
        grey = grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0 if size[0] < grey.width else None)
    # A margin of background, or masks that touch the picture's edge would have no outline there.
    line = stroke_width(size)
    padded = Image.new("L", (size[0] + 2 * line, size[1] + 2 * line))
    padded.paste(grey, (line, line))
    inner = padded
    for _ in range(line):
        inner = inner.filter(ImageFilter.MinFilter(3))
    inside = np.asarray(inner.crop((line, line, line + size[0], line + size[1])), dtype="float32")
    alpha = np.asarray(grey, dtype="float32")
    alpha = np.clip(alpha - inside, 0, 255) + np.minimum(inside, alpha) * opacity
    sheet = np.empty((size[1], size[0], 4), dtype=np.uint8)
    sheet[:, :, :3] = colour
    sheet[:, :, 3] = np.clip(alpha + 0.5, 0, 255)
    return Image.fromarray(sheet)


def stroke_width(size: tuple[int, int]) -> int:
    """Width of lines in pixels for a picture of this size."""
    return max(2, round(max(size) / 320))


def _draw_boxes(draw: ImageDraw.ImageDraw, shapes: Sequence[Shape], scale: tuple[float, float], line: int) -> None:
    drawn: list[tuple[float, ...]] = []
    for shape in shapes:
        for box in shape.boxes:
            x1, y1, x2, y2 = box[0] * scale[0], box[1] * scale[1], box[2] * scale[0] - 1, box[3] * scale[1] - 1
            # Entities with the same box: each further frame goes inside the one before.
            same = sum(max(abs(a - b) for a, b in zip((x1, y1, x2, y2), other)) < 2 * line for other in drawn)
            drawn.append((x1, y1, x2, y2))
            step = min(float(2 * line * same), max(0.0, min(x2 - x1, y2 - y1) / 2 - line))
            frame = (x1 + step, y1 + step, max(x2, x1) - step, max(y2, y1) - step)
            draw.rectangle((frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1), outline=(0, 0, 0), width=1)
            draw.rectangle(frame, outline=rgb(shape.colour), width=line)


def _draw_labels(draw: ImageDraw.ImageDraw, shapes: Sequence[Shape], scale: tuple[float, float], size: tuple[int, int]) -> None:
    anchored = [(shape, anchor_box(shape)) for shape in shapes]
    placed = [(shape, box) for shape, box in anchored if box is not None]
    if not placed:
        return
    points = max(13, round(max(size) / 48))
    font = _font(points)
    pad = max(3, points // 4)
    texts = [_label_text(shape, font, size[0] - 2 * pad) for shape, _ in placed]
    high = points + 2 * pad
    sizes = [(math.ceil(font.getlength(text)) + 2 * pad, high) for text in texts]
    anchors = [[box[0] * scale[0], box[1] * scale[1], box[2] * scale[0], box[3] * scale[1]] for _, box in placed]
    places = place_labels(anchors, sizes, *size)
    for (shape, _), text, (left, top), (wide, _) in zip(placed, texts, places, sizes):
        area = (left, top, left + wide - 1, top + high - 1)
        draw.rounded_rectangle(area, radius=pad, fill=rgb(shape.colour), outline=(0, 0, 0), width=1)
        draw.text((left + pad, top + high / 2), text, fill=(0, 0, 0), font=font, anchor="lm")


def _label_text(shape: Shape, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Number and name, shortened to the room; the type where the font has not got the name's letters."""
    # No picture has room for more; measuring takes its time with each letter.
    whole = shape.ent.text[:200]
    name = readable(whole, font)
    label = readable(shape.ent.label_[:50], font)
    if len(name.replace(" ", "")) * 2 < len(whole.replace(" ", "")):
        name = label
    text = f"{shape.number} {name}".strip()
    if font.getlength(text) <= room:
        return text
    while name and font.getlength(f"{shape.number} {name}...") > room:
        name = name[:-1]
    return f"{shape.number} {name.rstrip()}..." if name else str(shape.number)


def readable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """What the font can write of a text: accents are dropped, and so are signs it has no shape for (emoji, other scripts).

    text (str): Any text.
    font (FreeTypeFont): The font.
    RETURNS (str): On one line; may be empty.
    """
    known = _known_signs(round(font.size))
    plain = "".join(" " if sign.isspace() else sign for sign in text)
    out: list[str] = []
    for sign in plain:
        if sign not in known:
            sign = unicodedata.normalize("NFKD", sign.translate(_PLAIN))
        out.extend(part for part in sign if part in known)
    return " ".join("".join(out).split())


@lru_cache(maxsize=8)
def _font(points: int) -> ImageFont.FreeTypeFont:
    # The font that comes with Pillow: no file of the system is needed, and every machine draws the same.
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=points))


@lru_cache(maxsize=8)
def _known_signs(points: int) -> frozenset:
    font = _font(points)
    missing = bytes(font.getmask("\U0010ffff"))
    signs = [chr(code) for code in range(0x20, 0x250) if chr(code).isprintable()] + ["€", "…", "“", "”", "‘", "–", "—"]
    return frozenset(sign for sign in signs if sign == " " or bytes(font.getmask(sign)) != missing)
