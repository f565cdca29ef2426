"""Small valid pictures to begin a fuzzer with, in every allowed format.

What Pillow writes, and, made by hand, what it does not: PNG as PngSuite has them (van Schaik: every colour type, bit depth and filter, interlaced or
not, odd sizes, all ancillary chunks, data in many chunks) and BMP as bmpsuite has them (Summers: every header, bit depth and compression, top-down,
short and long palettes).
"""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 32


def seeds() -> Iterator[tuple[str, bytes]]:
    """Format (as Pillow calls it; MPO for JPEG of several pictures) and bytes of small valid pictures."""
    for kind, mode, extra in _options():
        out = io.BytesIO()
        try:
            base = _base()
            picture = base.convert("L").point(lambda value: value * 257, "I") if mode in ("I", "I;16") else base.convert(mode)
            picture.save(out, kind, **extra)
        except (OSError, ValueError, KeyError):
            continue  # a combination that this Pillow does not write
        yield kind, out.getvalue()
    yield from (("PNG", data) for data in png_seeds())
    yield from (("BMP", data) for data in bmp_seeds())


def _base() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (24, 31, 4), dtype="uint8")
    noise[:12] = np.linspace(0, 255, 31, dtype="uint8")[None, :, None]
    return Image.fromarray(noise, "RGBA")


def _options() -> Iterator[tuple[str, str, dict]]:
    base = _base()
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I", "I;16"):
        yield from (("PNG", mode, {}), ("PNG", mode, {"optimize": True}), ("TIFF", mode, {}))
        yield "TIFF", mode, {"big_tiff": True}
    for mode in ("L", "RGB", "CMYK"):
        yield "JPEG", mode, {"quality": 30}
        yield "JPEG", mode, {"progressive": True}
        yield "JPEG", mode, {"restart_marker_blocks": 1}
        for kind in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "tiff_adobe_deflate", "zstd", "lzma", "webp"):
            yield "TIFF", mode, {"compression": kind}
    for sampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        yield "JPEG", "RGB", {"subsampling": sampling}
        yield "JPEG", "RGB", {"subsampling": sampling, "progressive": True, "optimize": True}
    for turn in (3, 6, 9):
        yield "JPEG", "RGB", {"exif": _exif(turn), "comment": "said", "icc_profile": b"\0" * 200}
    for kind in ("group3", "group4", "tiff_ccitt"):
        yield "TIFF", "1", {"compression": kind}
    yield "TIFF", "RGB", {"save_all": True, "append_images": [base.convert("L")] * 2}
    yield "TIFF", "RGB", {"exif": _exif(6)}
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield "BMP", mode, {}
    yield from (("GIF", "P", {}), ("GIF", "L", {}), ("GIF", "P", {"interlace": 0}), ("GIF", "1", {}), ("GIF", "RGBA", {}))
    frames = [base.convert("P"), base.transpose(Image.Transpose.ROTATE_180).convert("P"), base.convert("P")]
    for disposal in (0, 1, 2, 3):
        yield "GIF", "P", {"save_all": True, "append_images": frames, "disposal": disposal, "transparency": 3, "loop": 0}
    for mode, extra in itertools.product(("RGB", "RGBA"), ({}, {"lossless": True}, {"quality": 5}, {"exif": _exif(6)})):
        yield "WEBP", mode, extra
        yield "AVIF", mode, {name: value for name, value in extra.items() if name != "lossless"}
    yield "WEBP", "RGB", {"save_all": True, "append_images": [base.convert("RGB")] * 2}
    yield "AVIF", "RGB", {"save_all": True, "append_images": [base.convert("RGB")] * 2}
    yield "PNG", "RGB", {"save_all": True, "append_images": [base.convert("RGB")] * 2}
    yield "MPO", "RGB", {"save_all": True, "append_images": [base.convert("RGB")]}


def _exif(turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif.tobytes()


# Colour types (grey, RGB, palette, grey and alpha, RGBA) with their channels and bit depths.
_COLOURS = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}
# Adam7: first column and row, steps between columns and rows.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png_seeds() -> Iterator[bytes]:
    """As PngSuite's: basic and interlaced, filters, sizes, background, transparency, gamma, other chunks, chunk order."""
    for colour, (_, depths) in _COLOURS.items():
        for depth, interlaced in itertools.product(depths, (False, True)):
            yield make_png(colour, depth, interlaced=interlaced)
    for kind in range(5):
        yield make_png(0, 8, filtered=kind)
        yield make_png(2, 8, filtered=kind)
    for side, interlaced in itertools.product((1, 2, 3, 5, 7, 9, 33, 39), (False, True)):
        yield make_png(3, 4, size=(side, side), interlaced=interlaced)
    for level in (0, 1, 9):
        yield make_png(2, 8, level=level)
    for pieces in (1, 7, 400):
        yield make_png(0, 16, piece=pieces)
    text = b"Title\0" + b"A picture of colours. " * 9
    packed = b"Title\0\0" + zlib.compress(text * 40)
    for colour, name, body in (
        (2, b"gAMA", struct.pack(">I", 45455)),
        (2, b"gAMA", struct.pack(">I", 250000)),
        (2, b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (2, b"pHYs", struct.pack(">IIB", 1, 4, 0)),
        (2, b"sBIT", b"\5\5\5"),
        (2, b"sRGB", b"\0"),
        (2, b"bKGD", struct.pack(">3H", 255, 255, 0)),
        (0, b"bKGD", struct.pack(">H", 3)),
        (2, b"tRNS", struct.pack(">3H", 0, 0, 0)),
        (0, b"tRNS", struct.pack(">H", 0)),
        (3, b"tRNS", bytes(range(8))),
        (3, b"hIST", struct.pack(">16H", *range(16))),
        (2, b"tIME", struct.pack(">H5B", 2000, 1, 1, 12, 34, 56)),
        (2, b"tEXt", text),
        (2, b"zTXt", packed),
        (2, b"iTXt", b"Title\0\1\0en\0Titel\0" + zlib.compress(text)),
        (2, b"iCCP", b"profile\0\0" + zlib.compress(bytes(300))),
        (2, b"eXIf", _exif(6)),
        (2, b"sPLT", b"six\0\x08" + bytes(range(60))),
    ):
        yield make_png(colour, 4 if colour == 3 else 8, extra=[(name, body)])


def make_png(
    colour: int,
    depth: int,
    *,
    size: tuple[int, int] = (SIDE, SIDE),
    interlaced: bool = False,
    filtered: int | None = None,
    level: int = 6,
    piece: int = 1 << 20,
    extra: list[tuple[bytes, bytes]] | None = None,
) -> bytes:
    """A PNG (ISO/IEC 15948) of any colour type and bit depth; without a filter of choice each row has another."""
    width, height = size
    channels, _ = _COLOURS[colour]
    bits = channels * depth
    rng = np.random.default_rng(depth + 16 * colour)
    packed = b""
    for x, y, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // right), -(-(height - y) // down)
        if columns > 0 and rows > 0:
            for row in range(rows):
                kind = row % 5 if filtered is None else filtered
                packed += bytes([kind]) + rng.integers(0, 256, -(-columns * bits // 8), dtype="uint8").tobytes()
    data = zlib.compress(packed, level)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced)))]
    before = [] if extra is None else extra
    chunks += [part for part in before if part[0] not in (b"tRNS", b"hIST", b"bKGD")]
    if colour == 3:
        chunks.append((b"PLTE", rng.integers(0, 256, 3 * 2**depth, dtype="uint8").tobytes()))
    chunks += [part for part in before if part[0] in (b"tRNS", b"hIST", b"bKGD")]
    chunks += [(b"IDAT", data[place : place + piece]) for place in range(0, len(data), piece)]
    whole = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + whole


# Length of the header, and whose it is: OS/2 1 and 2, Windows 3, with masks, with alpha, NT 4, 98.
_HEADERS = (12, 16, 64, 40, 52, 56, 108, 124)
_RGB, _RLE8, _RLE4, _MASKS, _ALPHA_MASKS = 0, 1, 2, 3, 6


def bmp_seeds() -> Iterator[bytes]:
    """As bmpsuite's: headers, bit depths, palettes, masks, run lengths, odd widths, top-down, gaps."""
    for header, bits in itertools.product(_HEADERS, (1, 4, 8, 16, 24, 32)):
        yield make_bmp(bits, header=header)
    for bits, width in itertools.product((1, 2, 4, 8, 16, 24, 32), (1, 31, 33)):
        yield make_bmp(bits, size=(width, 9))
    for bits in (1, 4, 8, 24, 32):
        yield make_bmp(bits, size=(31, -9))
        yield make_bmp(bits, gap=100)
    for bits, colours in ((1, 1), (4, 12), (8, 252), (8, 300), (8, 0)):
        yield make_bmp(bits, colours=colours)
    for masks in ((0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0), (0xF00, 0xF0, 0xF, 0xF000)):
        for header, compression in ((40, _MASKS), (56, _MASKS), (124, _MASKS), (40, _ALPHA_MASKS)):
            yield make_bmp(16, header=header, compression=compression, masks=masks)
    for masks in ((0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0), (0x3FF00000, 0xFFC00, 0x3FF, 0)):
        for header in (40, 108, 124):
            yield make_bmp(32, header=header, compression=_MASKS, masks=masks)
    for runs in _runs():
        yield make_bmp(8, compression=_RLE8, body=runs)
        yield make_bmp(4, compression=_RLE4, body=runs)


def _runs() -> Iterator[bytes]:
    """Encoded runs, absolute runs, ends of lines, jumps, the end missing."""
    lines = b"".join(bytes([SIDE, row % 16]) + b"\0\0" for row in range(SIDE))
    yield lines + b"\0\1"
    yield lines
    yield b"".join(b"\0\x08" + bytes(range(8)) + bytes([SIDE - 8, 7]) + b"\0\0" for _ in range(SIDE)) + b"\0\1"
    yield b"\x04\x05\0\2\3\2\x05\x06\0\2\x08\x08\x09\x09\0\1"


def make_bmp(
    bits: int,
    *,
    size: tuple[int, int] = (SIDE, SIDE),
    header: int = 40,
    compression: int = _RGB,
    masks: tuple[int, int, int, int] | None = None,
    colours: int | None = None,
    gap: int = 0,
    body: bytes | None = None,
) -> bytes:
    """A BMP with a header of so many bytes; its palette has four bytes a colour, three with OS/2 1's header."""
    width, height = size
    rng = np.random.default_rng(bits + header)
    stride = (width * bits + 31) // 32 * 4
    pixels = rng.integers(0, 256, stride * abs(height), dtype="uint8").tobytes() if body is None else body
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height & 0xFFFF, 1, bits)
    else:
        whole = struct.pack(
            "<IiiHHIIiiII",
            header,
            width,
            height,
            1,
            bits,
            compression,
            len(pixels),
            2835,
            2835,
            0 if colours is None else colours,
            0,
        )
        tail = struct.pack("<4I", *masks) if masks is not None else bytes(16)
        info = (whole + (tail if header > 40 else b"")).ljust(header, b"\0")[:header]
        if masks is not None and header == 40:
            info += tail[: 16 if compression == _ALPHA_MASKS else 12]
    count = (2**bits if colours in (None, 0) else colours) if bits <= 8 else 0
    palette = b"".join(
        rng.integers(0, 256, 3, dtype="uint8").tobytes() + (b"" if header == 12 else b"\0") for _ in range(count or 0)
    )
    start = 14 + len(info) + len(palette) + gap
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + palette + bytes(gap) + pixels


__all__ = ["bmp_seeds", "make_bmp", "make_png", "png_seeds", "seeds"]
