"""How large a BMP with run lengths may be: Pillow unpacks these pixel by pixel in Python, which takes seconds where a file of a kilobyte says
that it has a hundred million of them."""

from typing import Any

# Unpacked in well under a second; nearly no BMP has run lengths, and those that do are drawings.
MAX_RUN_PIXELS = 8_000_000
_RUN_LENGTHS = (1, 2)  # BI_RLE8, BI_RLE4


def too_many_runs(picture: Any) -> bool:
    """Whether an opened picture (PIL.Image.Image, not yet loaded) is a BMP of run lengths with more than MAX_RUN_PIXELS pixels."""
    width, height = picture.size
    return picture.format == "BMP" and picture.info.get("compression") in _RUN_LENGTHS and width * height > MAX_RUN_PIXELS


__all__ = ["MAX_RUN_PIXELS", "too_many_runs"]
