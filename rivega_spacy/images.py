"""The image door: every picture enters here, whatever form it has, and leaves as HxWx3 uint8 RGB as a person sees it."""
import hashlib
import io
import os
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from .errors import Errors, ImageError

if TYPE_CHECKING:
    from PIL import Image
    from spacy.tokens import Doc

# A decoded picture of this many pixels takes 300 MB as RGB; larger ones are refused, not loaded.
DEFAULT_MAX_PIXELS = 100_000_000
# Decoded pictures kept so that the vision stages of one batch decode each picture once.
CACHE_BYTES = 256 * 1024 * 1024


def image_for_storage(value: Any) -> Union[str, bytes]:
    """Turn a picture into a form that survives `to_bytes`, DocBin and worker processes.

    value (Union[str, Path, bytes, PIL.Image.Image, ndarray]): The picture. Paths stay paths and bytes stay bytes (neither
        is opened here: what is wrong with them is found, and recorded, when a component reads them); PIL images and arrays
        become lossless PNG bytes.
    RETURNS (Union[str, bytes]): A path or an encoded picture.
    RAISES (ImageError): E005 for anything else, for example a float array.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    from PIL import Image, ImageOps

    if isinstance(value, Image.Image):
        # EXIF orientation does not survive PNG encoding of pixels, so it is applied now.
        picture = _to_rgb(ImageOps.exif_transpose(value))
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        if value.shape[0] == 0 or value.shape[1] == 0:
            raise ImageError(Errors.E005.format(kind=f"an empty array of shape {value.shape}"))
        picture = Image.fromarray(np.ascontiguousarray(value))
    else:
        kind = type(value).__name__
        if isinstance(value, np.ndarray):
            kind = f"an array of shape {value.shape} and type {value.dtype}"
        raise ImageError(Errors.E005.format(kind=kind))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def read_image(source: Any) -> np.ndarray:
    """Decode a picture.

    source (Union[str, Path, bytes, PIL.Image.Image, ndarray]): The picture. Of an animation the first frame is taken, 16-bit
        and CMYK pictures are converted, transparency is laid over white, EXIF orientation is applied.
    RETURNS (ndarray): HxWx3 uint8, RGB.
    RAISES (ImageError): E001 missing, E002 empty, E003 undecodable or truncated, E004 too large, E005 not a picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if isinstance(source, np.ndarray) or isinstance(source, Image.Image):
        source = image_for_storage(source)
    stored = image_for_storage(source)
    name = describe_source(stored)
    if isinstance(stored, str):
        if not Path(stored).exists():
            raise ImageError(Errors.E001.format(source=name))
        try:
            stored = Path(stored).read_bytes()
        except OSError as error:
            raise ImageError(Errors.E003.format(source=name, reason=error.strerror or error)) from error
    if not stored:
        raise ImageError(Errors.E002.format(source=name))
    try:
        with warnings.catch_warnings():
            # Our own limit, checked below before any pixel is decoded, takes the place of Pillow's warning.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(stored)) as picture:
                _check_size(picture, name)
                picture.load()
                return np.array(_to_rgb(ImageOps.exif_transpose(picture)))
    except Image.DecompressionBombError as error:
        size = {"width": "?", "height": "?", "pixels": "too many", "limit": max_pixels()}
        raise ImageError(Errors.E004.format(source=name, **size)) from error
    except UnidentifiedImageError as error:
        raise ImageError(Errors.E003.format(source=name, reason="no known image format")) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, MemoryError) as error:
        # What Pillow's decoders raise for damaged files, besides their own errors.
        if isinstance(error, ImageError):
            raise
        raise ImageError(Errors.E003.format(source=name, reason=error)) from error


def max_pixels() -> int:
    """The largest picture that is decoded, in pixels (environment variable RIVEGA_MAX_PIXELS)."""
    value = os.environ.get("RIVEGA_MAX_PIXELS", "")
    return int(value) if value.isdigit() else DEFAULT_MAX_PIXELS


def describe_source(stored: Union[str, bytes]) -> str:
    """How errors name a picture: its path, or how many bytes it has."""
    return repr(stored) if isinstance(stored, str) else f"({len(stored)} bytes)"


def image_digest(stored: Union[str, bytes]) -> str:
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
            mark = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            mark = "missing"
        hasher.update(f"path:{os.path.abspath(stored)}:{mark}".encode("utf8", "surrogateescape"))
    return hasher.hexdigest()


def doc_image(doc: "Doc", component: str) -> Optional[np.ndarray]:
    """The post's picture, decoded once for all stages.

    doc (Doc): The post.
    component (str): Who asks, for the note on `doc._.rivega_errors` where the picture cannot be read.
    RETURNS (Optional[ndarray]): HxWx3 uint8 RGB (read-only), or None where there is none or it cannot be read.
    """
    from .extensions import record_error

    stored = doc._.image
    if stored is None:
        return None
    key = image_digest(stored)
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


def clear_cache() -> None:
    """Forget all decoded pictures."""
    _CACHE.clear()


def _check_size(picture: "Image.Image", name: str) -> None:
    width, height = picture.size
    limit = max_pixels()
    if width * height > limit:
        values = {"width": width, "height": height, "pixels": width * height, "limit": limit}
        raise ImageError(Errors.E004.format(source=name, **values))


def _to_rgb(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips 16 and 32 bit to 255 on conversion, which turns most such pictures white: scale instead.
        values = np.asarray(picture, dtype="float64")
        values = np.nan_to_num(values, nan=0.0, posinf=65535.0, neginf=0.0)
        top = 65535.0 if picture.mode.startswith("I") else max(float(values.max(initial=0.0)), 1e-9)
        grey = np.clip(values / top * 255.0 + 0.5, 0, 255).astype("uint8")
        return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, picture).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


class _DecodedCache:
    """Least recently used decoded pictures, bounded in bytes; a failed one is remembered by its message."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.items: "OrderedDict[str, Union[np.ndarray, str]]" = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: str) -> Optional[Union[np.ndarray, str]]:
        with self.lock:
            if key in self.items:
                self.items.move_to_end(key)
                return self.items[key]
        return None

    def put(self, key: str, value: Union[np.ndarray, str]) -> None:
        with self.lock:
            if key in self.items:
                return
            self.items[key] = value
            self.size += self._bytes(value)
            while self.size > self.limit and len(self.items) > 1:
                _, old = self.items.popitem(last=False)
                self.size -= self._bytes(old)

    def clear(self) -> None:
        with self.lock:
            self.items.clear()
            self.size = 0

    @staticmethod
    def _bytes(value: Union[np.ndarray, str]) -> int:
        return value.nbytes if isinstance(value, np.ndarray) else len(value)


_CACHE = _DecodedCache(CACHE_BYTES)
if hasattr(os, "register_at_fork"):
    # A forked worker may inherit the lock in locked state.
    os.register_at_fork(after_in_child=lambda: setattr(_CACHE, "lock", threading.Lock()))
