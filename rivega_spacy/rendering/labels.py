"""Where labels go so that they lie by their box, within the picture, and not on each other."""

from collections.abc import Iterator, Sequence

Rect = tuple[float, float, float, float]


def place_labels(
    anchors: Sequence[Sequence[float]], sizes: Sequence[tuple[float, float]], width: float, height: float
) -> list[tuple[float, float]]:
    """Find a place for every label.

    anchors (Sequence[Sequence[float]]): The box that each label belongs to, XYXY.
    sizes (Sequence[Tuple[float, float]]): Width and height of each label, in the same unit.
    width (float), height (float): Size of the picture, in the same unit.
    RETURNS (List[Tuple[float, float]]): Left and top of each label. A label larger than the picture starts at its left or top
        edge; if no place is free the one that covers least of the other labels is taken.
    """
    taken: list[Rect] = []
    places: list[tuple[float, float]] = []
    for anchor, size in zip(anchors, sizes):
        best, least = (0.0, 0.0, *size), float("inf")
        for left, top in _candidates(anchor, size, height):
            left = max(0.0, min(left, width - size[0]))
            top = max(0.0, min(top, height - size[1]))
            rect = (left, top, left + size[0], top + size[1])
            covered = sum(_overlap(rect, other) for other in taken)
            if covered < least:
                best, least = rect, covered
            if covered == 0:
                break
        taken.append(best)
        places.append((best[0], best[1]))
    return places


def _candidates(anchor: Sequence[float], size: tuple[float, float], height: float) -> Iterator[tuple[float, float]]:
    """Places in the order of how well they read: on the box, in it, under it, then down and up the picture in steps."""
    x1, y1, x2, y2 = anchor
    wide, high = size
    if y1 >= high:
        yield x1, y1 - high
        yield x2 - wide, y1 - high
    yield x1, y1
    yield x2 - wide, y1
    if y2 + high <= height:
        yield x1, y2
        yield x2 - wide, y2
    yield x1, y2 - high
    yield x2 - wide, y2 - high
    for step in range(1, 25):
        yield x1, y1 + step * high
        yield x1, y1 - step * high


def _overlap(a: Rect, b: Rect) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return across * down if across > 0 and down > 0 else 0.0
