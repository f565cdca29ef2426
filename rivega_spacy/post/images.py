"""The image door: every picture enters here, whatever form it has, and leaves as HxWx3 uint8 RGB as a person sees it.

Nothing else in the package opens a picture. Pillow knows some fifty formats, of which one starts another program (EPS: Ghostscript)
and many are read by code that few use; here it may try those of FORMATS, which are what posts and photographs come in.
"""

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .bitmap_runs import MAX_RUN_PIXELS, too_many_runs
from .cache import RecentCache
from .decoder_process import decoder_process
from .errors import Errors, ImageError
from .image_sources import describe_source, is_data_uri, max_bytes, max_pixels, read_data_uri, read_source
from .jpeg_scans import MAX_SCANS, too_many_scans
from .picture_heads import overlong_head

if TYPE_CHECKING:
    from PIL import Image
    from spacy.tokens import Doc

# What Pillow may take a picture for. MPO, the form of many telephones' JPEGs, comes with JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# Endings of such files, in lower case: where pictures are looked for in folders.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
# Decoded pictures kept so that the vision stages of one batch decode each picture once.
CACHE_BYTES = 256 * 1024 * 1024
# Of decoded pictures, and of masks of their size, a stage holds so many bytes at a time, or one picture that has more: as many posts of
# a batch as that takes are worked on together, so the batch size has no say in it.
PART_BYTES = 256 * 1024 * 1024
# Pillow keeps eight bytes for each row, however short; what has longer sides than this is no picture that anybody looks at.
MAX_SIDE = 1_000_000
# A picture is converted in strips of so many pixels, so that only one of them is held in several forms at a time.
_STRIP = 4_000_000
_ORIENTATION = 0x0112
Decoded: TypeAlias = "tuple[np.ndarray | None, list[int]]"


def image_for_storage(value: Any) -> str | bytes:
    """Turn a picture into a form that survives `to_bytes`, DocBin and worker processes.

    value (Union[str, Path, bytes, PIL.Image.Image, ndarray]): The picture. Paths stay paths and bytes stay bytes (neither
        is opened here: what is wrong with them is found, and recorded, when a component reads them); data: URIs become the bytes
        they hold, PIL images and arrays lossless PNG bytes.
    RETURNS (Union[str, bytes]): A path or an encoded picture.
    RAISES (ImageError): E005 for anything else, for example a float array; E034 for a damaged data: URI; E003, E004, E035 for a
        PIL image whose pixels cannot be had.
    """
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return read_data_uri(path) if is_data_uri(path) else path
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from PIL import Image

    # Made from the pixels alone: what else a file holds, such as a colour profile, is not carried along.
    picture = Image.fromarray(_given_pixels(value))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def read_image(source: Any) -> np.ndarray:
    """Decode a picture.

    source (Union[str, Path, bytes, PIL.Image.Image, ndarray]): The picture. Of an animation the first frame is taken, 16-bit
        and CMYK pictures are converted, transparency is laid over white, EXIF orientation is applied.
    RETURNS (ndarray): HxWx3 uint8, RGB.
    RAISES (ImageError): E001 missing, E002 empty, E003 undecodable or truncated, E004 too many pixels, E005 not a picture, E030 of
        another format, E031 no regular file, E032 too many bytes, E033 an address, E034 a damaged data: URI, E037 cannot be opened, E953 and E954 of a decoder in
        a process of its own, E955 outside of RIVEGA_IMAGE_ROOT.
    """
    if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        return _given_pixels(source)
    pixels, _ = _decode("rgb", source)
    assert pixels is not None
    return pixels


def read_thumbnail(source: Any, side: int) -> "Image.Image":
    """Decode a picture for sending it, or for a model that wants it small. One at a time, however many threads ask.

    source (Union[str, Path, bytes, PIL.Image.Image, ndarray]): The picture.
    side (int): Its longer side at most, in pixels; smaller pictures stay as they are.
    RETURNS (PIL.Image.Image): RGB.
    RAISES (ImageError): As `read_image`.
    """
    from PIL import Image

    with _THUMBNAILS:
        picture = Image.fromarray(read_image(source))
        picture.thumbnail((side, side))
        return picture


def image_size(source: Any) -> tuple[int, int]:
    """Width and height of a picture as a person sees it (EXIF orientation applied), in pixels: the first two of `image_frame`."""
    return image_frame(source)[:2]


def image_frame(source: Any, *, pixels: int | None = None) -> tuple[int, int, int]:
    """How large a picture is and how it is stored. Pixels are decoded for PNG and TIFF alone, which may say it behind them.

    source (Union[str, Path, bytes]): The picture.
    pixels (Optional[int]): How many it may have, where that is less than `max_pixels()`.
    RETURNS (Tuple[int, int, int]): Width and height as a person sees it, in pixels, and the EXIF orientation (1 to 8) that turns the
        stored picture so.
    RAISES (ImageError): As `read_image`, but for damage that only the pixels show.
    """
    width, height, turn = _decode("frame", source, limit=pixels)[1]
    return width, height, turn


def read_bitmap(source: Any) -> np.ndarray:
    """Decode a picture of one channel, such as the bitmap of a mask: stored as it is seen, so nothing is turned or laid over white.

    source (Union[str, Path, bytes]): The picture.
    RETURNS (ndarray): HxW uint8, grey.
    RAISES (ImageError): As `read_image`.
    """
    pixels, _ = _decode("bitmap", source)
    assert pixels is not None
    return pixels


def _decode(way: str, source: Any, *given: Any, limit: int | None = None) -> Decoded:
    """What one of WAYS makes of a picture, here or in a process of its own."""
    stored = image_for_storage(source)
    data = read_source(stored)
    limit = max_pixels() if limit is None else min(limit, max_pixels())
    process = decoder_process()
    if process is not None:
        return process.decode(way, stored, data, limit, list(given))
    return decode_here(way, describe_source(stored), data, limit, given)


def decode_here(way: str, name: str, data: bytes, limit: int, given: Sequence[Any]) -> Decoded:
    """Decode an encoded picture in this process.

    way (str): Of WAYS.
    name (str): What messages call it. data (bytes): The encoded picture. limit (int): Pixels it may have.
    given (Sequence[Any]): What that way is told beside.
    RETURNS (Tuple[Optional[ndarray], List[int]]): Pixels, uint8, and numbers, as the way has them.
    RAISES (ImageError): As `read_image`.
    """
    with _opened(name, data, limit) as picture:
        return WAYS[way](picture, *given)


def _decode_rgb(picture: "Image.Image") -> Decoded:
    picture.load()
    return _upright_rgb(picture), []


def _decode_frame(picture: "Image.Image") -> Decoded:
    turn = _orientation(picture)
    if picture.format == "TIFF":
        # Of these Pillow turns the pixels by itself.
        picture.load()
    width, height = picture.size
    turned = turn >= 5 and picture.format != "TIFF"
    return None, [height, width, turn] if turned else [width, height, turn]


def _decode_bitmap(picture: "Image.Image") -> Decoded:
    picture.load()
    return np.array(picture.convert("L")), []


def _decode_view(picture: "Image.Image", side: int) -> Decoded:
    """The picture reduced where that is possible; its own height and width, and whether it was reduced."""
    width, height = picture.size
    reduced = picture.format in ("JPEG", "MPO") and min(width, height) >= 2 * side
    if reduced:
        picture.draft(None, (side, side))
    picture.load()
    pixels = _upright_rgb(picture)
    if not reduced:
        height, width = pixels.shape[:2]
    elif _orientation(picture) >= 5:
        height, width = width, height
    return pixels, [height, width, int(reduced)]


# Pixels (or None) and numbers.
WAYS: dict[str, Callable[..., Decoded]] = {
    "rgb": _decode_rgb,
    "frame": _decode_frame,
    "bitmap": _decode_bitmap,
    "view": _decode_view,
}


@contextmanager
def _opened(name: str, data: bytes, limit: int) -> Iterator["Image.Image"]:
    """The one place where a picture is opened. What its decoder raises, also while it is used within, becomes an ImageError."""
    from PIL import Image

    if Image.MAX_IMAGE_PIXELS is not None and limit > 2 * Image.MAX_IMAGE_PIXELS:
        # Who raises our limit beyond what Pillow refuses by itself means both.
        Image.MAX_IMAGE_PIXELS = limit
    with _decoding(name):
        long = overlong_head(data)
        if long is not None:
            raise ImageError(Errors.E003.format(source=name, reason=long))
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
        except Image.UnidentifiedImageError as error:
            if _is_known(data):
                raise ImageError(Errors.E003.format(source=name, reason="its header is damaged or cut short")) from error
            raise ImageError(Errors.E030.format(source=name, formats=_formats())) from error
        with picture:
            _check_size(picture.size, name, limit)
            _check_shape(picture, name)
            if too_many_scans(data):
                raise ImageError(Errors.E003.format(source=name, reason=f"it has more than {MAX_SCANS} scans"))
            yield picture


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Where Pillow is at work on what somebody else wrote: whatever it raises means that the picture cannot be decoded."""
    from PIL import Image

    with warnings.catch_warnings():
        # Of damaged EXIF or of large pictures: our own limit, checked before any pixel is decoded, takes the place of Pillow's.
        warnings.simplefilter("ignore")
        try:
            yield
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            size = {"width": "?", "height": "?", "pixels": "too many", "limit": max_pixels()}
            raise ImageError(Errors.E004.format(source=name, **size)) from error
        except Exception as error:  # decoders raise nearly everything: zlib.error, struct.error, RuntimeError, RecursionError ...
            reason = f"{error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            raise ImageError(Errors.E003.format(source=name, reason=_short(reason))) from error


def _given_pixels(value: Any) -> np.ndarray:
    """The pixels of a PIL image or an array, HxWx3 uint8, as a copy."""
    from PIL import Image

    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        if value.shape[0] == 0 or value.shape[1] == 0:
            raise ImageError(Errors.E005.format(kind=f"an empty array of shape {value.shape}"))
        _check_size((value.shape[1], value.shape[0]), "given as array", max_pixels())
        return np.array(value, order="C")
    if not isinstance(value, Image.Image):
        kind = type(value).__name__
        if isinstance(value, np.ndarray):
            kind = f"an array of shape {value.shape} and type {value.dtype}"
        raise ImageError(Errors.E005.format(kind=kind))
    if 0 in value.size:
        raise ImageError(Errors.E005.format(kind=f"an empty picture of {value.width}x{value.height}"))
    name = "given as PIL image"
    limit = max_pixels()
    with _decoding(name):
        waiting = _is_waiting(value)
        if waiting and value.format not in (*FORMATS, "MPO"):
            raise ImageError(Errors.E035.format(format=value.format, formats=_formats()))
        _check_size(value.size, name, limit)
        if waiting:
            _check_shape(value, name)
        value.load()
        return _upright_rgb(value)


def _is_waiting(picture: "Image.Image") -> bool:
    """Whether a PIL image is an opened file whose pixels are decoded only when they are first used."""
    from PIL import ImageFile

    return isinstance(picture, ImageFile.ImageFile) and (bool(picture.tile) or getattr(picture, "_im", None) is None)


def _orientation(picture: "Image.Image") -> int:
    """EXIF orientation, 1 to 8. EXIF that cannot be read says nothing, and the picture stays as it is stored."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a parser raises on damaged EXIF; the pixels are none the worse for it
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright_rgb(picture: "Image.Image") -> np.ndarray:
    """HxWx3 uint8 of a loaded picture. Beside it and the picture itself (up to four bytes a pixel) little is held."""
    width, height = picture.size
    turn = _orientation(picture)
    upright = np.empty((width, height, 3) if turn >= 5 else (height, width, 3), dtype="uint8")
    # The same memory with the stored picture's rows and columns (JEITA CP-3451, table 7).
    stored = upright.transpose(1, 0, 2) if turn >= 5 else upright
    stored = stored[:: -1 if turn in (3, 4, 6, 7) else 1, :: -1 if turn in (2, 3, 7, 8) else 1]
    top = _brightest(picture)
    rows = max(1, _STRIP // width)
    for start in range(0, height, rows):
        end = min(height, start + rows)
        strip = picture if rows >= height else picture.crop((0, start, width, end))
        stored[start:end] = _rgb(strip, top)
    return upright


def _brightest(picture: "Image.Image") -> float:
    """What becomes white in a picture of more than 8 bits: of integers always 65535, of floats the greatest."""
    if picture.mode != "F":
        return 65535.0
    return max(float(np.nan_to_num(np.asarray(picture), nan=0.0, posinf=65535.0, neginf=0.0).max(initial=0.0)), 1e-9)


def _rgb(picture: "Image.Image", top: float) -> np.ndarray:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips 16 and 32 bit to 255 on conversion, which turns most such pictures white: scale instead.
        values = np.nan_to_num(np.asarray(picture, dtype="float64"), nan=0.0, posinf=65535.0, neginf=0.0)
        return np.clip(values / top * 255.0 + 0.5, 0, 255).astype("uint8")[:, :, None]
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        # Pillow knows no way from "La" to anything but "LA".
        picture = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, picture)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _is_known(data: bytes) -> bool:
    """Whether a picture begins like one of FORMATS."""
    from PIL import Image

    # An answer in words says that this Pillow was built without the format.
    return any(bool(accept(data[:16])) for accept in (Image.OPEN[name][1] for name in FORMATS) if accept is not None)


def _formats() -> str:
    return ", ".join(FORMATS)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."


def image_digest(stored: str | bytes) -> str:
    """A key that is equal for equal pictures: of bytes their hash, of a path also the file's size and time of change.

    stored (Union[str, bytes]): What `doc._.image` returns.
    RETURNS (str): 32 hexadecimal digits.
    """
    hasher = hashlib.blake2b(digest_size=16)
    if isinstance(stored, bytes):
        hasher.update(b"bytes:" + stored)
    else:
        try:
            stat = os.stat(stored)
            where, mark = os.path.abspath(stored), f"{stat.st_size}:{stat.st_mtime_ns}"
        except (OSError, ValueError):  # a ValueError if no file can have such a name
            where, mark = stored, "missing"
        hasher.update(f"path:{where}:{mark}".encode("utf8", "surrogatepass"))
    return hasher.hexdigest()


def doc_image(doc: "Doc", component: str) -> np.ndarray | None:
    """The post's picture, decoded once for all stages.

    doc (Doc): The post.
    component (str): Who asks, for the note on `doc._.rivega_errors` where the picture cannot be read.
    RETURNS (Optional[ndarray]): HxWx3 uint8 RGB (read-only), or None if there is none or it cannot be read.
    """
    from .extensions import record_error

    stored = doc._.image
    if stored is None:
        return None
    key = f"{image_digest(stored)}:{max_pixels()}:{max_bytes()}"
    found = _CACHE.get(key)
    if found is None:
        try:
            found = read_image(stored)
            found.setflags(write=False)
        except ImageError as error:
            found = str(error)
        _CACHE.put(key, found)
    if isinstance(found, str):
        # Once a post, not once a stage.
        if not any(entry["message"] == found for entry in doc._.rivega_errors):
            record_error(doc, component, found)
        return None
    return found


def doc_view(doc: "Doc", component: str, side: int) -> tuple[np.ndarray, tuple[int, int]] | None:
    """The post's picture for a network that needs no more than so many pixels of it.

    A large JPEG is decoded at a half, a quarter or an eighth of its size, which takes a fraction of the time: its blocks of 8 x 8 pixels are
    stored as frequencies, of which the high ones are left out. Other pictures are decoded as `doc_image` does.

    doc (Doc): The post.
    component (str): Who asks, as for `doc_image`.
    side (int): So many pixels its shorter side has at least, where the picture has as many.
    RETURNS (Optional[Tuple[ndarray, Tuple[int, int]]]): HxWx3 uint8 RGB (read-only), and height and width of the picture itself; None as `doc_image`.
    """
    stored = doc._.image
    if stored is None:
        return None
    key = f"{image_digest(stored)}:{max_pixels()}:{max_bytes()}"
    view = _VIEWS.get((key, side))
    full = _CACHE.get(key)
    # What is not large enough to be reduced is the same either way.
    if view is None and (full is None or (isinstance(full, np.ndarray) and min(full.shape[:2]) >= 2 * side)):
        try:
            return _read_view(stored, key, side)
        except ImageError as error:
            _CACHE.put(key, str(error))
    if view is not None:
        return view
    image = doc_image(doc, component)
    return None if image is None else (image, (image.shape[0], image.shape[1]))


def _read_view(stored: str | bytes, key: str, side: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A picture reduced where that is possible, with its own size; kept, as a whole one is for `doc_image` too."""
    pixels, (height, width, reduced) = _decode("view", stored, side)
    assert pixels is not None
    pixels.setflags(write=False)
    if not reduced:
        _CACHE.put(key, pixels)
    view = (pixels, (height, width))
    _VIEWS.put((key, side), view)
    return view


def clear_cache() -> None:
    """Forget all decoded pictures."""
    _CACHE.clear()
    _VIEWS.clear()


def kept_bytes() -> int:
    """Bytes of the decoded pictures that are kept, whole and reduced ones."""
    return _CACHE.size + _VIEWS.size


@contextmanager
def keeping(limit: int) -> Iterator[None]:
    """For the whole process, keep decoded pictures of no more than so many bytes: four fifths for whole ones, one for reduced ones."""
    before = _CACHE.limit, _VIEWS.limit
    _CACHE.resize(limit - limit // 5)
    _VIEWS.resize(limit // 5)
    try:
        yield
    finally:
        _CACHE.resize(before[0])
        _VIEWS.resize(before[1])


def _check_size(size: tuple[int, int], name: str, limit: int) -> None:
    width, height = size
    if width * height > limit:
        values = {"width": width, "height": height, "pixels": width * height, "limit": limit}
        raise ImageError(Errors.E004.format(source=name, **values))


def _check_shape(picture: "Image.Image", name: str) -> None:
    """Refuse an opened file that would take far more time or memory than its number of pixels says."""
    reason = None
    if max(picture.size) > MAX_SIDE:
        reason = f"a side may have {MAX_SIDE} pixels"
    elif too_many_runs(picture):
        reason = f"a BMP of run lengths may have {MAX_RUN_PIXELS} pixels"
    if reason is not None:
        raise ImageError(Errors.E003.format(source=name, reason=reason))


def _kept_bytes(value: np.ndarray | str) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else len(value) + _ENTRY_BYTES


def _renew_lock() -> None:
    global _THUMBNAILS
    _THUMBNAILS = threading.Lock()


# A message is short beside its key and its place in the cache: without them, millions of damaged pictures would be remembered.
_ENTRY_BYTES = 1024
# Decoded pictures; one that cannot be decoded is remembered by its message.
_CACHE: RecentCache[np.ndarray | str] = RecentCache(CACHE_BYTES, _kept_bytes)
# Reduced ones, with the size of the picture itself.
_VIEWS: RecentCache[tuple[np.ndarray, tuple[int, int]]] = RecentCache(CACHE_BYTES // 4, lambda view: view[0].nbytes)
_THUMBNAILS = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A forked worker may inherit a lock in locked state.
    os.register_at_fork(after_in_child=_renew_lock)
