"""What a picture may be given as: a file, bytes or a data: URI. Sockets, devices and addresses are refused before anything is read."""

import base64
import binascii
import errno
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from .errors import Errors, ImageError
from .files import is_of_kernel

# A decoded picture of this many pixels takes 300 MB as RGB; larger ones are refused, not loaded.
DEFAULT_MAX_PIXELS = 100_000_000
# As many bytes as the largest picture has with four bytes a pixel, uncompressed.
DEFAULT_MAX_BYTES = 4 * DEFAULT_MAX_PIXELS
# Of what names a picture so much is repeated in messages.
_SHOWN = 120
_URL = re.compile(r"(?i)\s*((?:https?|ftps?|sftp|file|s3|gs|gcs|hdfs|blob|ipfs)(?=:)|[a-z][a-z0-9+.-]+(?=://))")
_DATA = re.compile(r"(?i)\s*data:")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def max_pixels() -> int:
    """The largest picture that is decoded, in pixels (environment variable RIVEGA_MAX_PIXELS). RAISES (ImageError): E038."""
    return number_from_environment("RIVEGA_MAX_PIXELS", DEFAULT_MAX_PIXELS)


def max_bytes() -> int:
    """The largest file or encoded picture that is read, in bytes (environment variable RIVEGA_MAX_BYTES). RAISES (ImageError): E038."""
    return number_from_environment("RIVEGA_MAX_BYTES", DEFAULT_MAX_BYTES)


def number_from_environment(name: str, default: int) -> int:
    """A whole number that an environment variable holds; if it is not set, or empty, the default. RAISES (ImageError): E038."""
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return int(value)
    except ValueError as error:
        raise ImageError(Errors.E038.format(name=name, value=value[:60])) from error


def image_root() -> Path | None:
    """The folder that pictures may be read from (environment variable RIVEGA_IMAGE_ROOT), resolved; None: from everywhere."""
    value = os.environ.get("RIVEGA_IMAGE_ROOT", "")
    return Path(os.path.realpath(value)) if value else None


def describe_source(stored: str | bytes) -> str:
    """How messages name a picture: its path, or how many bytes it has. What is long is shortened."""
    if not isinstance(stored, str):
        return f"({len(stored)} bytes)"
    if len(stored) <= _SHOWN:
        return repr(stored)
    return f"{stored[: _SHOWN // 2]!r}...{stored[-20:]!r} ({len(stored)} characters)"


def url_scheme(text: str) -> str | None:
    """The scheme of an address such as "https://..." or "file:...", in lower case; None for a path and for a data: URI."""
    found = None if is_data_uri(text) else _URL.match(text)
    return found.group(1).lower() if found else None


def is_data_uri(text: str) -> bool:
    """Whether a string holds its picture in itself: "data:image/png;base64,..."."""
    return _DATA.match(text) is not None


def locate_image(image: str, root: str | Path | None) -> str:
    """The picture of a post, looked for where the pictures are.

    image (str): As the post has it.
    root (Optional[Union[str, Path]]): Folder that relative paths start from.
    RETURNS (str): The path below the root; addresses, data: URIs and an empty string ("none") stay as they are.
    """
    if root is None or not image.strip() or is_data_uri(image) or url_scheme(image) is not None:
        return image
    return str(Path(root) / image)


def read_data_uri(uri: str) -> bytes:
    """The encoded picture in a data: URI (RFC 2397), in base64 or percent-encoded.

    RETURNS (bytes): Not decoded further, so of whatever it is.
    RAISES (ImageError): E032 too large, E034 if it is damaged; the message does not repeat it.
    """
    # Base64 has four characters for three bytes, percent-encoding three for one.
    limit = max_bytes()
    if len(uri) > 3 * limit + 1000:
        raise ImageError(Errors.E032.format(source="of a data: URI", size=f"{len(uri)} characters", limit=limit))
    comma = uri.find(",", 0, 1000)
    head = uri[uri.find(":") + 1 : comma].strip()[:60]
    try:
        if comma < 0:
            raise ValueError("it has no comma before its data")
        data = unquote_to_bytes(uri[comma + 1 :])
        if head.lower().replace(" ", "").endswith(";base64"):
            data = b"".join(data.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        reason = "a character that is none" if isinstance(error, UnicodeError) else str(error)
        raise ImageError(Errors.E034.format(head=head, length=len(uri), reason=reason)) from error
    if len(data) > limit:
        raise ImageError(Errors.E032.format(source="of a data: URI", size=f"{len(data)} bytes", limit=limit))
    return data


def read_source(stored: str | bytes) -> bytes:
    """The encoded picture, from wherever it is.

    stored (Union[str, bytes]): What `doc._.image` returns: a path or an encoded picture.
    RETURNS (bytes): At least one byte.
    RAISES (ImageError): E001 missing, E002 empty, E031 no regular file, E032 too large, E033 an address, E037 cannot be opened, E955 outside
        of `image_root()`.
    """
    data = stored if isinstance(stored, bytes) else _read_file(stored)
    name = describe_source(stored)
    if not data:
        raise ImageError(Errors.E002.format(source=name))
    if len(data) > max_bytes():
        raise ImageError(Errors.E032.format(source=name, size=f"{len(data)} bytes", limit=max_bytes()))
    return data


def _read_file(path: str) -> bytes:
    name = describe_source(path)
    scheme = url_scheme(path)
    if scheme is not None:
        raise ImageError(Errors.E033.format(source=name, scheme=scheme))
    limit, root = max_bytes(), image_root()
    try:
        # Before anything else: nothing is told of files that lie outside, not even whether they exist.
        if is_of_kernel(os.path.realpath(path) if root is None else _check_within(path, root, name)):
            raise ImageError(Errors.E031.format(source=name, kind="made up by the kernel"))
        # Looked at before it is opened, since opening alone sets some devices in motion, and after: it may be another one by then.
        _check_regular(os.stat(path), name, limit)
        # A named pipe that nobody writes to would hold up a plain `open` for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            _check_regular(found, name, limit)
            # A link that was changed meanwhile leads to another file than the one whose place is known.
            if root is not None and not os.path.samestat(found, os.stat(_check_within(path, root, name))):
                raise ImageError(Errors.E955.format(source=name, root=root))
            # One byte more than allowed shows a file that is longer than it said.
            return file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(Errors.E001.format(source=name)) from error
    except OSError as error:
        reason = "its name is too long for a path" if error.errno == errno.ENAMETOOLONG else error.strerror or str(error)
        raise ImageError(Errors.E037.format(source=name, reason=reason)) from error
    except ImageError:
        raise
    except ValueError as error:  # a NUL, or a character that no file name can have
        reason = "no file name can hold its characters" if isinstance(error, UnicodeError) else str(error)
        raise ImageError(Errors.E037.format(source=name, reason=reason)) from error


def _check_within(path: str, root: Path, name: str) -> str:
    """RETURNS (str): The path without links and "..". RAISES (ImageError): E955 if that is not below the root."""
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(root):
        raise ImageError(Errors.E955.format(source=name, root=root))
    return real


def _check_regular(found: Any, name: str, limit: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "no regular file")
        raise ImageError(Errors.E031.format(source=name, kind=kind))
    if found.st_size > limit:
        raise ImageError(Errors.E032.format(source=name, size=f"{found.st_size} bytes", limit=limit))
