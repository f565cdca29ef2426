"""What a server remembers has a bound: no post, good or bad, leaves more behind than what is kept of decoded pictures."""

import base64
import gc
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from rivega_spacy.post.images import kept_bytes

from .conftest import BOX

KEPT = 300_000


def posts(start, count):
    """Posts with words and pictures that were not there before, a third of the pictures damaged."""
    for number in range(start, start + count):
        buffer = io.BytesIO()
        pixels = np.full((96, 128, 3), number % 256, "uint8")
        pixels[:4, :4] = np.frombuffer(number.to_bytes(48, "big"), "uint8").reshape(4, 4, 3)
        Image.fromarray(pixels).save(buffer, "PNG")
        data = buffer.getvalue()
        yield {"text": f"Ann{number:x} met Ann", "image": base64.b64encode(data[:60] if number % 3 == 0 else data).decode()}


def ask(client, start, count):
    for post in posts(start, count):
        client.post("/annotate", json=post)
        client.post("/masks", json={"image": post["image"], "boxes": [BOX]})
        client.post("/export/csv", json={"post": {"text": post["text"], "ents": []}, "image": post["image"]})
    gc.collect()
    # What counts the lines that tests run rewrites code as it goes.
    counted = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(False, "*/slipcover/*"), tracemalloc.Filter(False, tracemalloc.__file__)]
    )
    return sum(trace.size for trace in counted.traces)


@pytest.mark.slow
def test_memory_stays_where_it_is_once_the_cache_is_full(client_with):
    client = client_with(cache_bytes=KEPT)
    tracemalloc.start()
    try:
        before = ask(client, 0, 40)
        after = ask(client, 40, 80)
    finally:
        tracemalloc.stop()
    # The pictures alone would be 2 MB, and a kilobyte a request would be 240 kB.
    assert after - before < 120_000
    assert 0 < kept_bytes() <= KEPT
    assert f"rivega_picture_cache_bytes {kept_bytes():g}" in client.get("/metrics").text
