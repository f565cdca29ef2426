"""Chunks as they come through a pipe, received and their pictures read while the chunk before them is worked on."""

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from ...post.image_sources import is_data_uri, locate_image
from .work import Given

# Of a picture's file so much is read ahead, and of a chunk's files together.
_FILE_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 512 * 1024 * 1024


class ReadAhead:
    """A thread that receives chunks and reads their picture files once, so that they are in memory (the system's page cache) when the
    pipeline decodes them. Waiting for disks and file servers thus overlaps with the networks.

    connection (Connection): Where chunks come from.
    images (Optional[str]): Folder that relative image paths start from.
    """

    def __init__(self, connection: Connection, images: str | None) -> None:
        self._connection = connection
        self._images = images
        self._ready: queue.Queue[Sequence[Given] | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> Iterator[Sequence[Given]]:
        self._thread.start()
        return iter(self._next, None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The thread ends with the process."""

    def _next(self) -> Sequence[Given]:
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _receive(self) -> None:
        try:
            while True:
                posts = self._connection.recv()
                # At once: whoever has nothing else to do need not wait for files.
                self._ready.put(posts)
                read_ahead(posts, self._images)
        except BaseException as error:  # the other side has gone; the worker ends with that
            self._ready.put(error)


def read_ahead(posts: Sequence[Any], images: str | None) -> int:
    """Read the picture files of posts, for the system to keep.

    posts (Sequence[Any]): Posts; what else stands among them is passed over.
    images (Optional[str]): Folder that relative image paths start from.
    RETURNS (int): Bytes read.
    """
    total = 0
    for post in posts:
        image = post.get("image") if isinstance(post, dict) else None
        if not isinstance(image, str) or not image.strip() or is_data_uri(image) or total > _CHUNK_BYTES:
            continue
        try:
            path = locate_image(image, images)
            # Devices and pipes are no pictures, and reading one could wait for ever.
            if os.path.isfile(path) and os.path.getsize(path) <= _FILE_BYTES:
                with open(path, "rb") as file:
                    while block := file.read(1 << 18):
                        total += len(block)
        except (OSError, ValueError):  # whoever decodes it says what is wrong with it
            continue
    return total


__all__ = ["ReadAhead", "read_ahead"]
