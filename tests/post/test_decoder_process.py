"""Decoding in a process of its own: the same pictures, and what goes wrong in it costs one picture."""

import io
import os
import signal
import threading
import time

import numpy as np
import pytest
import spacy
from blank import blank_nlp
from PIL import Image

from rivega_spacy.post import decoder_process, images
from rivega_spacy.post.decoder_process import DEFAULT_MEMORY, DecoderProcess
from rivega_spacy.post.errors import ImageError
from rivega_spacy.post.posts import annotate

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals end the process")


def encoded(kind="PNG", size=(61, 40), **settings):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype="uint8")).save(buffer, kind, **settings)
    return buffer.getvalue()


@pytest.fixture
def apart(monkeypatch):
    """Decode apart; the process is ended behind the test."""
    monkeypatch.setenv("RIVEGA_DECODE_SECONDS", "60")
    images.clear_cache()
    yield monkeypatch
    images.clear_cache()
    decoder_process._end()


@pytest.fixture
def process():
    process = DecoderProcess(60, DEFAULT_MEMORY)
    yield process
    process.close()


@pytest.mark.slow
def test_the_same_pixels_sizes_and_messages(apart):
    turned = Image.Exif()
    turned[0x0112] = 6
    given = [
        encoded(),
        encoded("JPEG", size=(900, 700), exif=turned.tobytes()),
        encoded("WEBP"),
        encoded("TIFF"),
        encoded()[:300],
        b"no picture",
        encoded("JPEG")[:200],
    ]

    def all_of_them():
        found = []
        for data in given:
            for read in (
                images.read_image,
                images.image_frame,
                images.read_bitmap,
                lambda data: images._read_view(data, "key", 100),
            ):
                try:
                    found.append(read(data))
                except ImageError as error:
                    found.append(str(error))
        return found

    there = all_of_them()
    assert decoder_process.decoder_process()._process.poll() is None
    apart.delenv("RIVEGA_DECODE_SECONDS")
    here = all_of_them()
    for one, two in zip(there, here):
        assert type(one) is type(two)
        if isinstance(one, tuple) and isinstance(one[0], np.ndarray):
            assert one[1] == two[1] and (one[0] == two[0]).all()
        else:
            assert np.array_equal(one, two)
    assert sum(isinstance(value, str) for value in here) == 11


@pytest.mark.slow
def test_a_process_that_hangs_is_ended_and_the_next_picture_is_read(process):
    process.decode("rgb", b"", encoded(), 10**6, [])
    process.seconds = 0.5
    former = process._process
    os.kill(former.pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"E953.*within 0\.5 seconds"):
        process.decode("rgb", b"", encoded(), 10**6, [])
    assert time.monotonic() - started < 20
    process.seconds = 60
    pixels, _ = process.decode("rgb", b"", encoded(), 10**6, [])
    assert pixels.shape == (40, 61, 3) and process._process is not former
    # Its pipes are not left to the garbage collector.
    assert former.stdin.closed and former.stdout.closed


@pytest.mark.slow
def test_a_process_that_dies_costs_one_picture(process):
    process.decode("rgb", b"", encoded(), 10**6, [])
    os.kill(process._process.pid, signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (process._process.pid, signal.SIGKILL)).start()
    with pytest.raises(ImageError, match="E954.*SIGKILL"):
        process.decode("rgb", "a.png", encoded(), 10**6, [])
    # One that was killed meanwhile is not missed.
    process.decode("rgb", b"", encoded(), 10**6, [])
    former = process._process
    os.kill(former.pid, signal.SIGKILL)
    former.wait()
    assert process.decode("frame", b"", encoded(), 10**6, []) == (None, [61, 40, 1])
    assert former.stdin.closed and former.stdout.closed


@pytest.mark.slow
def test_memory_is_limited_and_the_next_post_is_read(apart):
    apart.setenv("RIVEGA_DECODE_MEMORY", str(300 * 1024**2))
    large = encoded("PNG", size=(64, 64))
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(buffer, "PNG", compress_level=1)
    nlp = blank_nlp()

    @spacy.Language.component("test_looks")
    def looks(doc):
        doc.user_data["seen"] = images.doc_image(doc, "test_looks") is not None
        return doc

    nlp.add_pipe("test_looks")
    first, second = annotate(nlp, [{"text": "a", "image": buffer.getvalue()}, {"text": "b", "image": large}])
    assert not first.user_data["seen"] and second.user_data["seen"] and not second._.rivega_errors
    assert "MemoryError" in first._.rivega_errors[0]["message"] or "E954" in first._.rivega_errors[0]["message"]


def test_the_process_sees_no_keys_and_writes_no_files(apart):
    apart.setenv("OPENAI_API_KEY", "sk-abc123")
    images.read_image(encoded())
    pid = decoder_process.decoder_process()._process.pid
    with open(f"/proc/{pid}/environ", "rb") as file:
        assert b"sk-abc123" not in file.read()
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        limits = {line[:26].strip(): line[26:].split()[0] for line in file}
    assert limits["Max file size"] == "0" and limits["Max core file size"] == "0"
    assert limits["Max address space"] == str(DEFAULT_MEMORY)


@pytest.mark.slow
def test_threads_share_it_and_a_forked_worker_has_its_own(apart):
    results = []
    given = {kind: encoded(kind, lossless=True) if kind == "WEBP" else encoded(kind) for kind in ("PNG", "WEBP", "BMP")}
    threads = [
        threading.Thread(target=lambda: results.append(images.read_image(given[kind]).sum())) for kind in given for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 12 and len(set(results)) == 1
    mine = decoder_process.decoder_process()._process.pid
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        pixels = images.read_image(given["PNG"])
        other = decoder_process.decoder_process()
        os.write(write, f"{other._process.pid != mine} {pixels.sum() == results[0]}".encode())
        other.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"True True"
    assert images.read_image(given["BMP"]).sum() == results[0] and decoder_process.decoder_process()._process.pid == mine


@pytest.mark.slow
def test_what_a_library_prints_does_not_come_between(apart, tmp_path):
    """On the process's standard output, where the pixels go."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def noisy(event, arguments):\n"
        "    if event == 'import' and str(arguments[0]).startswith('PIL'):\n"
        "        os.write(1, b'a note')\n"
        "sys.addaudithook(noisy)\n"
    )
    apart.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert images.read_image(encoded()).shape == (40, 61, 3)


def test_values_that_are_no_numbers_are_told(apart):
    apart.setenv("RIVEGA_DECODE_SECONDS", "ten")
    with pytest.raises(ImageError, match="E038.*RIVEGA_DECODE_SECONDS"):
        images.read_image(encoded())
