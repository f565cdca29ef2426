"""What stands before the pixels of a picture: Pillow reads it in Python, a part at a time, so that a few megabytes of parts of a few bytes each
take minutes, EXIF in many parts hours, and a list of a million tiles a gigabyte."""

import re
import struct

# Of a JPEG the segments before its first scan, of a PNG all chunks, of a GIF the blocks of its extensions: read in a third of a second. Encoders
# write a chunk for each 8 KB of a PNG, and a segment for each 64 KB of a colour profile.
MAX_PARTS = 100_000
# EXIF that needs more than a segment of 64 KB is joined anew with each further one.
MAX_EXIF_PARTS = 100
# Bytes between a JPEG's segments or a GIF's blocks, which belong to none and are passed over one by one.
MAX_STRAY = 1_000_000
# Pieces that a TIFF's pixels are stored in: read in a second. Of a picture of a hundred million pixels tiles of 64 x 64 are 24,000.
MAX_PIECES = 200_000
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_NO_LENGTH = (0x01, 0xD8, 0xD9)
_SCAN = 0xDA
# Of a GIF: an extension, a frame, the end.
_BLOCK = re.compile(rb"[!,;]")
# Where the strips and tiles of a TIFF begin.
_PLACES = (273, 324)


def overlong_head(data: bytes) -> str | None:
    """What makes a picture take long before any of its pixels is read.

    data (bytes): The encoded picture, of any format; damaged ones are read as far as they go.
    RETURNS (Optional[str]): In words; None where nothing does.
    """
    if data.startswith(b"\xff\xd8"):
        return _overlong_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _overlong_png(data)
    if data.startswith(b"GIF8"):
        return _overlong_gif(data)
    if data.startswith((b"II", b"MM")):
        return _overlong_tiff(data)
    return None


def _overlong_jpeg(data: bytes) -> str | None:
    place, exif, stray = 2, 0, 0
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, place)
        if found is None:
            stray += len(data) - place
            return f"it has more than {MAX_STRAY} bytes between its segments" if stray > MAX_STRAY else None
        stray += found.start() - place
        if stray > MAX_STRAY:
            return f"it has more than {MAX_STRAY} bytes between its segments"
        marker, place = data[found.start() + 1], found.end()
        if marker == _SCAN:
            return None
        if marker in _NO_LENGTH:
            continue
        exif += marker == 0xE1 and data[place + 2 : place + 8] == b"Exif\0\0"
        if exif > MAX_EXIF_PARTS:
            return f"it has EXIF in more than {MAX_EXIF_PARTS} segments"
        place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return f"it has more than {MAX_PARTS} segments"


def _overlong_png(data: bytes) -> str | None:
    place = 8
    for _ in range(MAX_PARTS):
        if place + 8 > len(data):
            return None
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return f"it has more than {MAX_PARTS} chunks"


def _overlong_gif(data: bytes) -> str | None:
    if len(data) < 13:
        return None
    place = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    blocks, stray = 0, 0
    while blocks <= MAX_PARTS:
        found = _BLOCK.search(data, place)
        stray += (len(data) if found is None else found.start()) - place
        if stray > MAX_STRAY:
            return f"it has more than {MAX_STRAY} bytes between its blocks"
        if found is None or found.group() != b"!":
            return None
        place, blocks = found.end() + 1, blocks + 1
        while place < len(data) and data[place] and blocks <= MAX_PARTS:
            place, blocks = place + 1 + data[place], blocks + 1
        # The empty block at the end of an extension.
        place += 1
    return f"it has more than {MAX_PARTS} blocks before its first frame"


def _overlong_tiff(data: bytes) -> str | None:
    order, large = "<" if data[:1] == b"I" else ">", data[2:3] == b"+"
    entry = struct.Struct(order + ("HHQ8s" if large else "HHI4s"))
    try:
        (place,) = struct.unpack_from(order + ("Q" if large else "I"), data, 8 if large else 4)
        (count,) = struct.unpack_from(order + ("Q" if large else "H"), data, place)
        place += 8 if large else 2
        for number in range(min(count, MAX_PARTS)):
            tag, _, pieces, _ = entry.unpack_from(data, place + number * entry.size)
            if tag in _PLACES and pieces > MAX_PIECES:
                return f"its pixels are stored in more than {MAX_PIECES} pieces"
    except struct.error:
        return None
    return None


__all__ = ["overlong_head"]
