"""Pictures as a browser takes them: stored upright, of a format that all of them know."""

import io

from PIL import Image

from ..post.image_sources import read_source
from ..post.images import image_frame, read_image

_SHOWN = ((b"\xff\xd8", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"))


def for_browser(source: str | bytes, *, pixels: int) -> tuple[bytes, str]:
    """A picture for a page.

    source (Union[str, bytes]): Path or encoded picture.
    pixels (int): How many it may have.
    RETURNS (Tuple[bytes, str]): The file as it is where a browser shows it as it is seen here, else a JPEG of it; and its media type.
    RAISES (ImageError): As `read_image`.
    """
    data = read_source(source)
    turn = image_frame(data, pixels=pixels)[2]
    kind = next((kind for start, kind in _SHOWN if data.startswith(start)), None)
    if kind is not None and turn == 1:
        return data, kind
    buffer = io.BytesIO()
    Image.fromarray(read_image(data)).save(buffer, format="JPEG", quality=92)
    return buffer.getvalue(), "image/jpeg"
