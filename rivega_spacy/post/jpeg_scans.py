"""How many passes over the picture a JPEG asks for: a progressive one may hold thousands of scans of a few bytes each."""

import re

# The scripts of encoders have some ten; libjpeg-turbo's own advice on files from strangers is to stop somewhere (its LJT-01-005).
MAX_SCANS = 100
# In entropy-coded data 0xFF is followed by 0 or stands for a restart; anything else is the next marker.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
# Baseline and extended sequential: where the first scan holds all components, it is the only one.
_SEQUENTIAL = (0xC0, 0xC1)


def too_many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than MAX_SCANS scans.

    data (bytes): The encoded picture; of another format, or damaged, it has none.
    """
    if data[:2] != b"\xff\xd8":
        return False
    scans, components, place = 0, 0, 2
    while scans <= MAX_SCANS:
        found = _MARKER.search(data, place)
        if found is None or data[found.start() + 1] == _END:
            return False
        marker, place = data[found.start() + 1], found.end()
        if marker in (0x01, _START):
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        if marker in _SEQUENTIAL:
            components = data[place + 7] if len(data) > place + 7 else 0
        elif marker == _SCAN:
            scans += 1
            if components and len(data) > place + 2 and data[place + 2] == components:
                return False
        place += max(2, length)
    return True
