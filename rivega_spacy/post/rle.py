"""Masks as COCO run-length encoding, in numpy alone.

A mask is stored as ``{"size": [H, W], "counts": str}``: the lengths of the alternating runs of
background and foreground, read down the columns and starting with background, written in COCO's
compact text form (Lin et al., "Microsoft COCO", 2014; five bits a character, from the third run on
the difference to the run two before it). A 720p mask of 922 KB becomes about 2 KB of plain text that
survives JSON, msgpack and DocBin. Area, overlap and union are computed on the runs themselves: they
cost as much as the outline is long, not as the picture is large.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import Errors, RivegaError
from .images import max_pixels

RLE = dict[str, Any]
# The text form keeps five bits a character, shifted into printable ASCII by 48.
_BITS = 5
_OFFSET = 48
_MORE = 0x20
_SIGN = 0x10


def encode_mask(mask: np.ndarray) -> RLE:
    """Write a mask as compressed COCO RLE.

    mask (ndarray): the mask, HxW bool (or anything where non-zero means foreground).
    RETURNS (Dict[str, Any]): {"size": [H, W], "counts": str}.
    RAISES (RivegaError): E300 if the array is not two-dimensional.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise RivegaError(Errors.E300.format(shape=mask.shape))
    height, width = mask.shape
    counts = mask_to_counts(mask)
    return {"size": [int(height), int(width)], "counts": compress_counts(counts)}


def decode_mask(rle: RLE) -> np.ndarray:
    """Read a mask from COCO RLE.

    rle (Dict[str, Any]): compressed ("counts" is str or bytes) or uncompressed ("counts" is a list).
    RETURNS (ndarray): HxW bool, column-major in memory as COCO stores it.
    RAISES (RivegaError): E301-E303 if it is not RLE or the runs do not fill the stated size; E460 if that is larger than any
        picture that is opened.
    """
    height, width, counts = parse_rle(rle)
    if height * width > max_pixels():
        raise RivegaError(Errors.E460.format(height=height, width=width, limit=max_pixels()))
    values = np.zeros(len(counts), dtype=bool)
    values[1::2] = True
    return np.repeat(values, counts).reshape((height, width), order="F")


def rle_area(rle: RLE) -> int:
    """Count the foreground pixels of a mask without decoding it."""
    return int(parse_rle(rle)[2][1::2].sum())


def rle_intersection(first: RLE, second: RLE) -> int:
    """Count the pixels that two masks of one size share, without decoding them.

    RAISES (RivegaError): E304 if the two masks differ in size.
    """
    return _shared(*(_edges(rle) for rle in _same_size([first, second])))


def rle_iou(first: RLE, second: RLE) -> float:
    """Intersection over union of two masks of one size, without decoding them.

    RETURNS (float): 0..1; 0.0 if both masks are empty.
    RAISES (RivegaError): E304 if the two masks differ in size.
    """
    a, b = (_edges(rle) for rle in _same_size([first, second]))
    shared = _shared(a, b)
    total = int((a[1::2] - a[0::2]).sum() + (b[1::2] - b[0::2]).sum()) - shared
    return shared / total if total else 0.0


def rle_union(rles: Sequence[RLE]) -> RLE:
    """Lay masks of one size over each other, without decoding them.

    rles (Sequence[Dict[str, Any]]): at least one mask.
    RETURNS (Dict[str, Any]): the pixels that any of them has, compressed.
    RAISES (RivegaError): E304 if they differ in size or there are none.
    """
    rles = _same_size(rles)
    height, width, _ = parse_rle(rles[0])
    points, depth = _depths([_edges(rle) for rle in rles])
    inside = depth > 0
    # A run begins wherever coverage starts or stops; the rest of the points changes nothing.
    changes = points[np.flatnonzero(np.diff(np.concatenate([[False], inside])))]
    bounds = np.concatenate([[0], changes, [height * width]])
    counts = np.diff(bounds)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return {"size": [height, width], "counts": compress_counts(counts)}


def rle_to_box(rle: RLE) -> list[float]:
    """The tight box around a mask.

    RETURNS (List[float]): [x1, y1, x2, y2] in pixels, half-open; four zeros for an empty mask.
    """
    height, _, _ = parse_rle(rle)
    edges = _edges(rle)
    starts, ends = edges[0::2], edges[1::2]
    if not len(starts):
        return [0.0, 0.0, 0.0, 0.0]
    x1, x2 = starts[0] // height, (ends[-1] - 1) // height
    if np.any(starts // height != (ends - 1) // height):
        # A run that crosses into the next column covers the bottom and the top pixel.
        y1, y2 = 0, height - 1
    else:
        y1, y2 = (starts % height).min(), ((ends - 1) % height).max()
    return [float(x1), float(y1), float(x2 + 1), float(y2 + 1)]


def mask_to_counts(mask: np.ndarray) -> np.ndarray:
    """Run lengths of a mask down its columns, background first (int64, sums to H*W)."""
    flat = np.asarray(mask).astype(bool, copy=False).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = [0, 0] if len(flat) and flat[0] else [0]
    return np.diff(np.concatenate([start, changes, [len(flat)]])).astype(np.int64)


def compress_counts(counts: Sequence[int] | np.ndarray) -> str:
    """Write run lengths in COCO's text form.

    counts (Sequence[int]): run lengths, background first.
    RETURNS (str): printable ASCII.
    """
    values = np.asarray(counts, dtype=np.int64).copy()
    values[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    planes, used = [], []
    alive = np.ones(len(values), dtype=bool)
    while alive.any():
        chunk = values & 0x1F
        values = values >> _BITS
        more = np.where(chunk & _SIGN, values != -1, values != 0)
        planes.append(chunk + np.where(more, _MORE, 0) + _OFFSET)
        used.append(alive)
        alive = alive & more
    if not planes:
        return ""
    text = np.stack(planes, axis=1)[np.stack(used, axis=1)]
    return text.astype(np.uint8).tobytes().decode("ascii")


def decompress_counts(text: str | bytes | bytearray | memoryview) -> np.ndarray:
    """Read run lengths from COCO's text form.

    text (Union[str, bytes, bytearray, memoryview]): what `compress_counts` or pycocotools wrote.
    RETURNS (ndarray): run lengths, int64.
    RAISES (RivegaError): E301 if the text holds other characters or ends inside a number.
    """
    raw = text.encode("utf8", "surrogatepass") if isinstance(text, str) else bytes(text)
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - _OFFSET
    if not len(codes):
        return np.zeros(0, dtype=np.int64)
    if codes.min() < 0 or codes.max() > 0x3F or codes[-1] & _MORE:
        raise RivegaError(Errors.E301.format(counts=repr(text)[:60]))
    last = (codes & _MORE) == 0
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff(np.concatenate([starts, [len(codes)]]))
    if lengths.max() > 12:
        raise RivegaError(Errors.E301.format(counts=repr(text)[:60]))
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 0x1F) << (_BITS * place), starts)
    negative = (codes[last] & _SIGN) != 0
    values = np.where(negative, values - (np.int64(1) << (_BITS * lengths)), values)
    # From the fourth number on each is a difference to the one two before it: two running sums.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def parse_rle(rle: RLE) -> tuple[int, int, np.ndarray]:
    """Check an RLE and read its runs.

    rle (Dict[str, Any]): compressed or uncompressed COCO RLE.
    RETURNS (Tuple[int, int, ndarray]): height, width, run lengths.
    RAISES (RivegaError): E301-E303 if a key is missing or the runs do not fill the stated size.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if height < 0 or width < 0:
            raise ValueError("a side is negative")
        counts = decompress_counts(counts) if isinstance(counts, (str, bytes, bytearray, memoryview)) else _whole(counts)
    except RivegaError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError):
        raise RivegaError(Errors.E007.format(value=repr(rle)[:80])) from None
    # A single run that is too long would let the sum run over.
    outside = bool(len(counts)) and (counts.min() < 0 or counts.max() > height * width)
    if outside or int(counts.sum()) != height * width:
        raise RivegaError(Errors.E303.format(total=int(counts.max() if outside else counts.sum()), height=height, width=width))
    return height, width, counts


def _whole(counts: Any) -> np.ndarray:
    """Run lengths as int64; ValueError where they are no list of whole numbers."""
    found = np.asarray(counts)
    fits = found.dtype.kind in "iu" or (found.dtype.kind == "f" and bool(np.all(np.abs(found) < 2**62)))
    whole = found.astype(np.int64) if fits else None
    if whole is None or whole.ndim != 1 or not np.array_equal(whole, found):
        if not found.size and found.ndim == 1:
            return np.zeros(0, dtype=np.int64)
        raise ValueError("run lengths are no list of whole numbers")
    return whole


def _same_size(rles: Sequence[RLE]) -> list[RLE]:
    sizes = sorted({tuple(int(side) for side in rle["size"]) for rle in rles})
    if len(sizes) != 1:
        raise RivegaError(Errors.E304.format(sizes=sizes))
    return list(rles)


def _edges(rle: RLE) -> np.ndarray:
    """Start and end of each foreground run, alternating, without the empty ones."""
    bounds = np.cumsum(parse_rle(rle)[2])
    starts, ends = bounds[0::2], bounds[1::2]
    starts = starts[: len(ends)]
    full = ends > starts
    return np.stack([starts[full], ends[full]], axis=1).ravel()


def _depths(edges: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How many of the masks cover the stretch after each edge (edges sorted, each once)."""
    steps = [np.where(np.arange(len(e)) % 2 == 0, 1, -1) for e in edges]
    points, where = np.unique(np.concatenate(edges), return_inverse=True)
    change = np.zeros(len(points), dtype=np.int64)
    np.add.at(change, where.ravel(), np.concatenate(steps))
    return points, np.cumsum(change)


def _shared(first: np.ndarray, second: np.ndarray) -> int:
    """Pixels that the runs between two lists of edges share.

    How much of the first mask lies before a pixel grows along its runs and stands still between them: a broken line through
    its edges. Read at the ends of the second mask's runs it says what of the first lies within each.
    """
    if not len(first) or not len(second):
        return 0
    covered = np.zeros(len(first), dtype=np.int64)
    covered[1::2] = np.cumsum(first[1::2] - first[0::2])
    covered[2::2] = covered[1:-1:2]
    # Pixel counts stay far below 2^53, so the floats are exact.
    before = np.interp(second, first, covered)
    return int((before[1::2] - before[0::2]).sum())
