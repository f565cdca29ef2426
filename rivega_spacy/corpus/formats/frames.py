"""Which way up regions were drawn: on the picture as it is stored, as a person sees it, or on a copy of another size.

A camera held upright stores a photograph on its side, with a note (EXIF orientation) of how to turn it. Some annotation tools heed the
note and others do not, and the size they write down need not be that of what they showed. The regions themselves tell: they lie within
what was shown. Where the picture is at hand everything is turned to the picture as a person sees it, which is what the pipeline works on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...post.errors import ImageError
from ...post.images import image_frame
from ...post.rle import RLE, decode_mask, encode_mask, parse_rle, rle_area, rle_to_box
from .coordinates import has_area
from .dirt import Dirt
from .regions import AnnotatedPicture, Region

# How far the hand of an annotator slips over the edge: in pixels, and as a share of the longer side.
SLIP_PIXELS, SLIP_SHARE = 2.0, 0.01

# EXIF orientation -> from the stored array to the upright one.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: stored[::-1].T,
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: stored.T[::-1],
}
# The same for a point; w and h are those of the stored picture.
_POINTS: dict[int, Callable[[float, float, float, float], tuple[float, float]]] = {
    1: lambda x, y, w, h: (x, y),
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}


class TrueSize(NamedTuple):
    """A picture that was looked at.

    width (int), height (int): As a person sees it.
    orientation (int): EXIF orientation of the file, 1 to 8.
    """

    width: int
    height: int
    orientation: int = 1


class Frame(NamedTuple):
    """What regions may have been drawn on.

    width (int), height (int): Its size.
    orientation (int): The EXIF orientation that turns it upright.
    """

    width: int
    height: int
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height once it is turned."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def look_at(path: str | Path) -> TrueSize | None:
    """The size of a picture, from the head of its file.

    path (Union[str, Path]): The picture.
    RETURNS (Optional[TrueSize]): None if it is not there, or could not be opened.
    """
    try:
        return TrueSize(*image_frame(path))
    except ImageError:
        return None


def fit_picture(picture: AnnotatedPicture, true: TrueSize | None, name: str, dirt: Dirt) -> AnnotatedPicture:
    """A picture's regions as they lie on the picture that a person sees.

    picture (AnnotatedPicture): As its file has it.
    true (Optional[TrueSize]): Its real size, where it is at hand.
    name (str): Its post.
    dirt (Dirt): Takes what does not fit.
    RETURNS (AnnotatedPicture): A new one, with the size of the upright picture: the true one, else what the file says unless its regions
        contradict it.
    """
    if true is not None:
        return _fit_true(picture, true, name, dirt)
    width, height, regions = picture.width, picture.height, picture.regions
    sideways = False
    if width and height:
        stated, turned = Frame(width, height), Frame(height, width)
        strange = [region for region in regions if not _within(region, stated, picture)]
        sideways = bool(strange) and all(_within(region, turned, picture) for region in regions)
        if sideways:
            dirt.note("sideways", f"{name} ({width}x{height})")
        else:
            for region in strange:
                dirt.note("outside", f"{name} {region.name!r}")
    kept = []
    for region in regions:
        mask = region.mask
        if region.drawing is not None and (sideways or not width):
            mask = None
            if not sideways:
                dirt.note("no_size", f"{name} {region.name!r}")
        elif region.drawing is not None and mask is None:
            dirt.note("bad_mask", f"{name} {region.name!r}")
        elif region.drawing is None and mask is not None and width and _mask_size(mask) != (height, width):
            dirt.note("mask_size", f"{name} {region.name!r}")
            mask = None
        kept.append(Region(region.name, region.xyxy, mask, own_box=region.own_box))
    return AnnotatedPicture(
        None if sideways else width, None if sideways else height, kept, picture.image, picture.file, lost=list(picture.lost)
    )


def _fit_true(picture: AnnotatedPicture, true: TrueSize, name: str, dirt: Dirt) -> AnnotatedPicture:
    frames = _frames(picture, true)
    frame = next((frame for frame in frames if all(_fits(region, frame, picture) for region in picture.regions)), frames[0])
    if picture.regions:
        if frame.orientation != 1:
            dirt.note("turned", f"{name} ({frame.width}x{frame.height})")
        if frame.upright != (true.width, true.height):
            dirt.note("scaled", f"{name} ({picture.width}x{picture.height}, not {true.width}x{true.height})")
        elif picture.width and {picture.width, picture.height} != {true.width, true.height}:
            dirt.note("other_size", f"{name} ({picture.width}x{picture.height}, not {true.width}x{true.height})")
    kept, lost = [], list(picture.lost)
    for region in picture.regions:
        placed = _place(region, frame, true, picture, name, dirt)
        if placed is None:
            dirt.note("bad_region", f"{name} {region.name!r}")
            lost.append(region.name)
        else:
            kept.append(placed)
    return AnnotatedPicture(true.width, true.height, kept, picture.image, picture.file, lost=lost)


def _frames(picture: AnnotatedPicture, true: TrueSize) -> list[Frame]:
    """What the regions may have been drawn on, the likeliest first.

    A picture that is only mirrored or stands on its head has one size either way; nothing can be read off its regions, and tools show it
    as a person sees it.
    """
    frames = [Frame(true.width, true.height)]
    if true.orientation >= 5 and true.width != true.height:
        frames.append(Frame(true.height, true.width, true.orientation))
    stated = (picture.width or 0, picture.height or 0)
    for frame in frames:
        if (frame.width, frame.height) == stated:
            return [frame, *(other for other in frames if other is not frame)]
    if all(stated):
        copies = [Frame(*stated, frame.orientation) for frame in frames if _same_shape(stated, (frame.width, frame.height))]
        return [*copies, *frames]
    return frames


def _same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one is the other scaled, but for the rounding of a side."""
    (a, b), (c, d) = first, second
    return abs(a * d / c - b) <= 1 or abs(b * c / d - a) <= 1


def _fits(region: Region, frame: Frame, picture: AnnotatedPicture) -> bool:
    """Whether a region may have been drawn on a frame."""
    stored = region.mask if region.drawing is None else None
    return (stored is None or _mask_size(stored) == (frame.height, frame.width)) and _within(region, frame, picture)


def _within(region: Region, frame: Frame, picture: AnnotatedPicture) -> bool:
    slip = max(SLIP_PIXELS, SLIP_SHARE * max(frame.width, frame.height))
    boxes = [_from_zero(region.xyxy, picture)] if region.xyxy is not None and region.own_box else []
    boxes += [region.drawing.reach] if region.drawing is not None else []
    return all(-slip <= x1 and -slip <= y1 and x2 <= frame.width + slip and y2 <= frame.height + slip for x1, y1, x2, y2 in boxes)


def _place(region: Region, frame: Frame, true: TrueSize, picture: AnnotatedPicture, name: str, dirt: Dirt) -> Region | None:
    """A region on the upright picture; None if nothing of it is there."""
    mask = _placed_mask(region, frame, true, picture)
    box = None if region.xyxy is None or not region.own_box else _from_zero(region.xyxy, picture)
    if not _within(region, frame, picture):
        if box is not None:
            x1, y1, x2, y2 = box
            box = [max(x1, 0.0), max(y1, 0.0), min(x2, float(frame.width)), min(y2, float(frame.height))]
            box = box if has_area(box) else None
        if box is not None or mask is not None:
            dirt.note("outside", f"{name} {region.name!r}")
    if mask is None and box is not None and (region.drawing is not None or region.mask is not None):
        dirt.note("mask_size" if region.drawing is None else "bad_mask", f"{name} {region.name!r}")
    if box is None:
        return None if mask is None else Region(region.name, rle_to_box(mask), mask, own_box=False)
    placed = _placed_box(box, frame, true)
    if picture.counted_from_one:
        placed = [placed[0] + 1, placed[1] + 1, placed[2], placed[3]]
    return Region(region.name, placed, mask)


def _placed_box(box: list[float], frame: Frame, true: TrueSize) -> list[float]:
    if frame == Frame(true.width, true.height):
        return box
    corners = [_POINTS[frame.orientation](x, y, frame.width, frame.height) for x, y in ((box[0], box[1]), (box[2], box[3]))]
    across, down = true.width / frame.upright[0], true.height / frame.upright[1]
    xs, ys = sorted(x * across for x, _ in corners), sorted(y * down for _, y in corners)
    return [xs[0], ys[0], xs[1], ys[1]]


def _placed_mask(region: Region, frame: Frame, true: TrueSize, picture: AnnotatedPicture) -> RLE | None:
    if region.drawing is not None:
        known = region.mask is not None and (frame.width, frame.height) == (picture.width, picture.height)
        mask = region.mask if known else region.drawing.draw(frame.height, frame.width)
        return None if mask is None else _turned(mask, frame, true)
    if region.mask is None:
        return None
    height, width = _mask_size(region.mask)
    for own in (frame, *_frames(AnnotatedPicture(width, height), true)):
        if (own.width, own.height) == (width, height):
            return _turned(region.mask, own, true)
    return None


def _turned(rle: RLE, frame: Frame, true: TrueSize) -> RLE | None:
    """A mask that was drawn on a frame, on the upright picture; None if scaling leaves no pixel of it."""
    if frame == Frame(true.width, true.height):
        return rle
    mask = _TURNS[frame.orientation](decode_mask(rle))
    if mask.shape != (true.height, true.width):
        rows, columns = (
            np.minimum(((np.arange(size) + 0.5) * side / size).astype(int), side - 1)
            for size, side in zip((true.height, true.width), mask.shape)
        )
        mask = mask[rows][:, columns]
    placed = encode_mask(mask)
    return placed if rle_area(placed) else None


def _mask_size(rle: RLE) -> tuple[int, int]:
    height, width, _ = parse_rle(rle)
    return height, width


def _from_zero(box: list[float], picture: AnnotatedPicture) -> list[float]:
    return [box[0] - 1, box[1] - 1, box[2], box[3]] if picture.counted_from_one else box


__all__ = ["Frame", "TrueSize", "fit_picture", "look_at"]
