"""Label Studio's run lengths of brush strokes: not COCO's, but packed bits of an RGBA picture, row by row.

The form is that of `@thi.ng/rle-pack`: 32 bits that count the values, 5 bits of their width less one, four times 4 bits of the widths in
which run lengths may stand, less one; then, for each run, a bit that tells repeats from copies, 2 bits that choose the width of the length, the
length less one, and the value (or, of a copy, all values).
"""

from __future__ import annotations

import numpy as np

from .errors import Errors, RivegaError
from .rle import RLE, decode_mask, encode_mask

_WIDTHS = (3, 4, 8, 16)
_CHANNELS = 4


def brush_rle(rle: RLE) -> list[int]:
    """A mask in Label Studio's run lengths.

    rle (RLE): COCO RLE.
    RETURNS (List[int]): Bytes, 0..255.
    """
    flat = decode_mask(rle).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in _WIDTHS)]
    painted = bool(flat[0]) if flat.size else False
    for length in lengths.tolist():
        value = "11111111" if painted else "00000000"
        while length > 0:
            part = min(length, 1 << _WIDTHS[-1])
            choice = next(place for place, width in enumerate(_WIDTHS) if part <= 1 << width)
            bits.append(f"1{choice:02b}{part - 1:0{_WIDTHS[choice]}b}{value}")
            length -= part
        painted = not painted
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def read_brush_rle(data: list[int], *, width: int, height: int) -> RLE:
    """The mask of a brush stroke.

    data (List[int]): Bytes, as Label Studio exports them.
    width (int), height (int): `original_width` and `original_height` of the result.
    RETURNS (RLE): COCO RLE: the pixels that are not fully transparent.
    RAISES (RivegaError): E621 if the bytes are no such run lengths, or not those of a picture of this size.
    """
    wanted = width * height * _CHANNELS
    try:
        bits = np.unpackbits(np.array(data, dtype=np.uint8))
    except (ValueError, TypeError, OverflowError) as error:
        raise RivegaError(Errors.E621.format(reason=error)) from error
    reader = _Bits(bits)
    count, size = reader.take(32), reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    if count != wanted or size != 8:
        raise RivegaError(
            Errors.E621.format(reason=f"they hold {count} values of {size} bits, a picture of {width} x {height} has {wanted} of 8")
        )
    values = np.zeros(count, dtype=np.uint8)
    place = 0
    while place < count:
        repeated = reader.take(1)
        end = place + 1 + reader.take(widths[reader.take(2)])
        if end > count:
            raise RivegaError(Errors.E621.format(reason="a run goes beyond the last value"))
        values[place:end] = reader.take(8) if repeated else reader.take_bytes(end - place)
        place = end
    return encode_mask(values.reshape(height, width, _CHANNELS)[:, :, 3] > 0)


class _Bits:
    """Numbers of any width from a row of bits. RAISES (RivegaError): E621 beyond its end."""

    def __init__(self, bits: np.ndarray) -> None:
        self.bits = bits
        self.place = 0

    def take(self, width: int) -> int:
        return int(self._next(width).dot(1 << np.arange(width - 1, -1, -1, dtype=np.int64)))

    def take_bytes(self, count: int) -> np.ndarray:
        return np.packbits(self._next(8 * count))

    def _next(self, width: int) -> np.ndarray:
        found = self.bits[self.place : self.place + width]
        if len(found) < width:
            raise RivegaError(Errors.E621.format(reason="they end within a run"))
        self.place += width
        return found
