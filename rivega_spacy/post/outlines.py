"""The outline of a mask, exact to the pixel: closed rings of corner points, filled by the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Point = tuple[int, int]


def mask_outline(mask: np.ndarray) -> list[list[Point]]:
    """Rings around the pixels of a mask, and around the holes in it.

    mask (ndarray): HxW bool.
    RETURNS (List[List[Tuple[int, int]]]): Each ring its corners (x, y) on the pixel grid, 0..W and 0..H, without the first one again. What lies
        within an odd number of rings is the mask. Outer rings run clockwise on the screen, holes against it.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    following: dict[Point, list[Point]] = {}
    # Edges between pixels, directed so that the mask lies to their right: along tops, down right sides, back along bottoms, up left sides.
    for edge, (dx, dy) in (
        (padded[1:] & ~padded[:-1], (1, 0)),
        (padded[:-1] & ~padded[1:], (-1, 0)),
        (padded[:, :-1] & ~padded[:, 1:], (0, 1)),
        (padded[:, 1:] & ~padded[:, :-1], (0, -1)),
    ):
        rows, columns = np.nonzero(edge)
        # The start of an edge, in the grid of the unpadded mask.
        xs = columns - 1 + (1 if dx < 0 else 0) if dx else columns
        ys = rows if dx else rows - 1 + (1 if dy < 0 else 0)
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            following.setdefault((x, y), []).append((x + dx, y + dy))
    rings: list[list[Point]] = []
    while following:
        start = next(iter(following))
        ring, point, before = [start], start, None
        while True:
            after = _turn(following[point], point, before)
            following[point].remove(after)
            if not following[point]:
                del following[point]
            before, point = point, after
            if point == start:
                break
            ring.append(point)
        rings.append(_corners(ring))
    return rings


def svg_path(rings: list[list[Point]]) -> str:
    """Rings as the `d` of an SVG path; fill it with `fill-rule="evenodd"`."""
    return "".join("M" + "L".join(f"{x} {y}" for x, y in ring) + "Z" for ring in rings)


def _turn(choices: list[Point], point: Point, before: Point | None) -> Point:
    """Where two pixels touch at a corner, the way that turns right stays with its own pixel."""
    if len(choices) == 1 or before is None:
        return choices[0]
    dx, dy = point[0] - before[0], point[1] - before[1]
    right = (point[0] - dy, point[1] + dx)
    return right if right in choices else choices[0]


def _corners(ring: list[Point]) -> list[Point]:
    points = np.array(ring)
    along = np.sign(np.roll(points, -1, axis=0) - points)
    turned = (along != np.roll(along, 1, axis=0)).any(axis=1)
    return [tuple(point) for point in points[turned].tolist()]


def fill_rings(rings: Sequence[Sequence[Sequence[float]]], height: int, width: int) -> np.ndarray:
    """The pixels whose middles lie within an odd number of rings: what `mask_outline` made comes back exactly.

    rings (Sequence[Sequence[Sequence[float]]]): Each a list of corners [x, y] in pixels, closed by itself.
    height (int), width (int): Size of the picture.
    RETURNS (ndarray): HxW bool.
    """
    turns = np.zeros((height, width + 1), dtype=bool)
    for ring in rings:
        for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], *ring[:1]]):
            (x1, y1), (x2, y2) = sorted([(x1, y1), (x2, y2)], key=lambda point: point[1])
            # Rows whose middle the edge crosses; where it ends on a middle, the next edge crosses it.
            rows = np.arange(max(0, int(np.ceil(y1 - 0.5))), min(height, int(np.ceil(y2 - 0.5))))
            if len(rows):
                crossings = x1 + (rows + 0.5 - y1) * (x2 - x1) / (y2 - y1)
                turns[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(turns, axis=1)[:, :width]
