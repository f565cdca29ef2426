"""The image door: every kind of picture, and every kind of broken one."""

import io
import os
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.post import images
from rivega_spacy.post.errors import ImageError
from rivega_spacy.post.images import (
    FORMATS,
    SUFFIXES,
    clear_cache,
    doc_image,
    doc_view,
    image_digest,
    image_for_storage,
    image_frame,
    image_size,
    keeping,
    kept_bytes,
    read_bitmap,
    read_image,
)


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def nlp():
    return blank_nlp()


def test_path_bytes_pil_and_array_give_the_same_pixels(tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    for source in (path, str(path), path.read_bytes(), Image.fromarray(picture), picture):
        assert np.array_equal(read_image(source), picture)


def test_doc_keeps_a_path_as_path_and_pixels_as_png(nlp, tmp_path, picture):
    doc = nlp.make_doc("x")
    doc._.image = tmp_path / "a.png"
    assert doc._.image == str(tmp_path / "a.png")
    doc._.image = picture
    assert isinstance(doc._.image, bytes) and np.array_equal(read_image(doc._.image), picture)
    doc._.image = None
    assert doc._.image is None and doc_image(doc, "test") is None and doc._.rivega_errors == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    picture = Image.fromarray(np.zeros((20, 30, 3), dtype="uint8"))
    picture.paste((255, 0, 0), (0, 0, 10, 10))  # the stored top left corner is red
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = read_image(encoded(picture, "PNG", exif=exif))
    assert seen.shape[:2] == ((20, 30) if orientation <= 4 else (30, 20))
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[orientation]
    assert tuple(seen[corner]) == (255, 0, 0)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_size_and_orientation_are_told_without_reading_the_picture(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.new("RGB", (30, 20)), form, exif=exif)
    seen = read_image(data)
    assert image_frame(data) == (seen.shape[1], seen.shape[0], orientation)
    assert image_size(data) == ((30, 20) if orientation <= 4 else (20, 30))


def test_exif_orientation_of_a_pil_image_survives_the_doc(nlp):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(io.BytesIO(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)))
    doc = nlp.make_doc("x")
    doc._.image = picture
    assert doc_image(doc, "test").shape == (30, 20, 3)


def test_sixteen_bit_is_scaled_not_clipped():
    values = np.array([[0, 65535], [32768, 256]], dtype="uint16")
    seen = read_image(encoded(Image.fromarray(values), "PNG"))
    assert seen[:, :, 0].tolist() == [[0, 255], [128, 1]]


def test_cmyk_grey_palette_and_alpha_become_rgb():
    assert tuple(read_image(encoded(Image.new("CMYK", (4, 4), (0, 0, 0, 255)), "JPEG"))[0, 0]) == (0, 0, 0)
    assert tuple(read_image(encoded(Image.new("L", (4, 4), 77), "PNG"))[0, 0]) == (77, 77, 77)
    assert tuple(read_image(encoded(Image.new("1", (4, 4), 1), "PNG"))[0, 0]) == (255, 255, 255)
    palette = Image.new("RGB", (4, 4), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert tuple(read_image(encoded(palette, "PNG"))[0, 0]) == (10, 20, 30)
    # See-through lies over white.
    assert tuple(read_image(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0)), "PNG"))[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize("mode, value", [("P", 0), ("P", bytes([0, 255])), ("L", 0), ("RGB", (0, 0, 0))])
def test_a_see_through_colour_lies_over_white(mode, value):
    """One colour, or entry of a palette, that a file declares to be none."""
    picture = Image.new(mode, (2, 1))
    if mode == "P":
        picture.putpalette([0, 0, 0, 10, 20, 30])
        picture.putpixel((1, 0), 1)
    else:
        picture.putpixel((1, 0), 7 if mode == "L" else (7, 7, 7))
    dark = (10, 20, 30) if mode == "P" else (7, 7, 7)
    data = encoded(picture, "PNG", transparency=value)
    for source in (data, Image.open(io.BytesIO(data))):
        assert [tuple(pixel) for pixel in read_image(source)[0]] == [(255, 255, 255), dark]


def test_a_see_through_grey_is_white():
    assert read_image(Image.new("LA", (2, 2), (0, 0))).min() == 255


def test_wide_numbers_are_scaled_not_clipped():
    """Integers by 65535, as 16 bits are; floats by the greatest, what is no number being dark."""
    whole = np.array([[0, 65535, 32768], [-5, 2**31 - 1, 256]], dtype="int32")
    assert read_image(Image.fromarray(whole))[:, :, 0].tolist() == [[0, 255, 128], [0, 255, 1]]
    floats = np.array([[0.0, 0.5, 0.25], [np.nan, -np.inf, -1.0]], dtype="float32")
    assert read_image(Image.fromarray(floats))[:, :, 0].tolist() == [[0, 255, 128], [0, 0, 0]]
    assert read_image(Image.fromarray(np.array([[np.inf, 32768.0]], dtype="float32")))[0, :, 0].tolist() == [255, 128]
    assert read_image(Image.fromarray(np.full((2, 2), np.nan, dtype="float32"))).max() == 0


def test_an_array_is_copied(picture):
    """Whoever changes theirs later, or ours, changes no other."""
    given = picture.copy()
    seen = read_image(given)
    given[:] = 0
    assert np.array_equal(seen, picture) and seen.flags.writeable and seen.flags.c_contiguous
    turned = read_image(picture[::-1, ::-1])
    assert np.array_equal(turned, picture[::-1, ::-1]) and turned.flags.c_contiguous and not np.shares_memory(turned, picture)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (8, 6), color) for color in ((250, 0, 0), (0, 250, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    seen = read_image(data)
    assert seen.shape == (6, 8, 3) and seen[0, 0, 0] > 200 and seen[0, 0, 1] < 50


def huge_png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (100_000, 100_000)])
def test_gigantic_pictures_are_refused_before_decoding(size):
    with pytest.raises(ImageError, match="RIVEGA_MAX_PIXELS"):
        read_image(huge_png_header(*size))


def test_the_limit_can_be_set(monkeypatch, picture):
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "100")
    with pytest.raises(ImageError, match="64x48"):
        read_image(picture)


def test_the_limit_is_exact(monkeypatch):
    given = [encoded(photo(), "PNG"), encoded(photo(), "JPEG"), photo(), np.asarray(photo())]
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "2400")
    assert [read_image(source).shape for source in given] == [(40, 60, 3)] * 4
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "2399")
    for source in given:
        with pytest.raises(ImageError, match="E004.*60x40 = 2400 pixels, more than the limit of 2399"):
            read_image(source)


def broken_sources(tmp_path, picture):
    whole = encoded(Image.fromarray(picture).resize((640, 480)), "JPEG")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is not a picture")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder").mkdir()
    return {
        "missing": (tmp_path / "missing.jpg", "does not exist"),
        "empty": (tmp_path / "empty.jpg", "0 bytes"),
        "text": (tmp_path / "text.jpg", "no known image format"),
        "cut": (tmp_path / "cut.jpg", "cannot be decoded"),
        "folder": (tmp_path / "folder", "cannot be decoded .*it is a folder"),
        "no bytes": (b"", "0 bytes"),
        "cut bytes": (whole[:200], "cannot be decoded"),
        "cut png": (encoded(Image.fromarray(picture), "PNG")[:100], "cannot be decoded"),
    }


def test_each_broken_picture_has_its_own_clear_error(tmp_path, picture):
    for name, (source, words) in broken_sources(tmp_path, picture).items():
        with pytest.raises(ImageError, match=words):
            read_image(source)
            pytest.fail(name)


def test_a_broken_picture_is_noted_once_on_the_doc(nlp, tmp_path, picture):
    for source, words in broken_sources(tmp_path, picture).values():
        doc = nlp.make_doc("x")
        doc._.image = source
        assert doc_image(doc, "rivega_entailment") is None
        assert doc_image(doc, "rivega_grounder") is None
        assert len(doc._.rivega_errors) == 1 and re.search(words, doc._.rivega_errors[0]["message"])


@pytest.mark.parametrize(
    "value", [1.5, np.zeros((4, 4, 3)), np.zeros((4, 4), dtype="uint8"), np.zeros((0, 4, 3), dtype="uint8"), ["a.png"]]
)
def test_what_is_no_picture_is_refused_at_once(nlp, value):
    doc = nlp.make_doc("x")
    with pytest.raises(ImageError, match="HxWx3 uint8"):
        doc._.image = value


@pytest.mark.parametrize("size", [(0, 0), (6, 0), (0, 6)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "F"])
def test_a_pil_image_without_pixels_is_none(mode, size):
    """It was read as a picture of no rows, and raised an error of Pillow's where it was stored."""
    for use in (read_image, image_for_storage):
        with pytest.raises(ImageError, match=f"E005.*an empty picture of {size[0]}x{size[1]}"):
            use(Image.new(mode, size))


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I",
        "F",
        "LA",
        "PA",
        "RGBX",
        "RGBa",
        "La",
        "I;16",
        "I;16L",
        "I;16B",
        "I;16N",
    ],
)
def test_pil_images_of_every_mode_are_read_and_stored(mode):
    seen = read_image(Image.new(mode, (6, 4)))
    assert seen.shape == (4, 6, 3) and np.array_equal(read_image(image_for_storage(Image.new(mode, (6, 4)))), seen)


def test_random_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    whole = encoded(Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype="uint8")), "PNG")
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 8):
            data[place] = rng.integers(0, 256)
        try:
            assert read_image(bytes(data)).dtype == np.uint8
        except ImageError:
            pass


def test_digest_follows_the_content(tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    before = image_digest(str(path))
    assert image_digest(str(path)) == before
    Image.fromarray(picture[:20]).save(path)
    assert image_digest(str(path)) != before
    assert image_digest(b"a") == image_digest(b"a") != image_digest(b"b")
    assert image_for_storage(bytearray(b"a")) == b"a"


def test_digest_sees_each_change(tmp_path):
    """Of the same length at another time, and of another length at the same time."""
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 10**9))
    first = image_digest(str(path))
    os.utime(path, ns=(1, 2 * 10**9))
    second = image_digest(str(path))
    path.write_bytes(b"four")
    os.utime(path, ns=(1, 2 * 10**9))
    assert len({first, second, image_digest(str(path))}) == 3


def test_what_is_kept_of_a_picture_follows_the_limits(nlp, picture, monkeypatch):
    """Whoever raises a limit after a picture was refused has it read, and the other way round; nobody changes what others get."""
    doc = nlp.make_doc("x")
    doc._.image = encoded(Image.fromarray(picture), "PNG")
    clear_cache()
    for name in ("RIVEGA_MAX_PIXELS", "RIVEGA_MAX_BYTES"):
        seen = doc_image(doc, "test")
        assert seen is doc_image(doc, "test") and not seen.flags.writeable
        monkeypatch.setenv(name, "100")
        assert doc_image(doc, "test") is None
        monkeypatch.delenv(name)
        assert doc_image(doc, "test") is seen


@pytest.mark.parametrize("size", [(900, 700), (200, 150)])
def test_a_view_is_the_same_whatever_was_looked_at_before(size, nlp):
    """Another stage that wants the whole picture changes no answer of one that is content with less."""
    doc = nlp.make_doc("x")
    doc._.image = encoded(photo(*size), "JPEG")
    seen = []
    for before in ((), (doc_image,), (doc_image, doc_image)):
        clear_cache()
        for look in before:
            look(doc, "test")
        pixels, whole = doc_view(doc, "test", 100)
        again, _ = doc_view(doc, "test", 100)
        assert whole == (size[1], size[0]) and np.array_equal(pixels, again)
        seen.append(pixels)
    assert all(np.array_equal(pixels, seen[0]) for pixels in seen)
    assert doc_image(doc, "test").shape[:2] == (size[1], size[0])


def test_a_smaller_limit_can_be_asked_for_and_no_larger_one(monkeypatch):
    data = encoded(photo(), "PNG")
    assert image_frame(data, pixels=2400) == (60, 40, 1)
    with pytest.raises(ImageError, match="E004.*the limit of 2399"):
        image_frame(data, pixels=2399)
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "100")
    with pytest.raises(ImageError, match="E004.*the limit of 100"):
        image_frame(data, pixels=10**9)


def test_what_a_decoder_says_is_neither_long_nor_a_warning(monkeypatch):
    def fail(*arguments, **options):
        warnings.warn("Possibly corrupt EXIF data", stacklevel=2)
        raise ValueError("x\n" * 100_000)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(ImageError) as raised:
            read_image(encoded(photo(), "PNG"))
    assert not seen and len(str(raised.value)) < 400 and "\n" not in str(raised.value)


def photo(width: int = 60, height: int = 40) -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype="uint8"))


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_every_format_of_the_list_is_read(kind):
    more = {"save_all": True, "append_images": [photo()]} if kind == "MPO" else {}
    data = encoded(photo(), kind, **more)
    assert Image.open(io.BytesIO(data)).format == kind
    assert read_image(data).shape == (40, 60, 3) and image_size(data) == (60, 40)
    # An opened file whose pixels wait to be decoded is the same.
    assert np.array_equal(read_image(Image.open(io.BytesIO(data))), read_image(data))


def test_every_ending_of_the_list_is_one_that_pillow_knows_for_these_formats():
    Image.init()
    assert {Image.EXTENSION[ending] for ending in SUFFIXES} == {*FORMATS, "MPO"}


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\n(x) run showpage\n%%EOF\n"


def other_formats():
    found = {"EPS": EPS, "EPS with preview": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + bytes(20) + EPS}
    for kind in ("PPM", "PCX", "TGA", "ICO", "JPEG2000", "IM", "PDF", "SGI"):
        found[kind] = encoded(photo(), kind)
    return found


@pytest.fixture
def no_programs(monkeypatch):
    """No picture may start another program."""
    started = []
    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(f"subprocess.{name}", lambda *arguments, **options: started.append(arguments) or pytest.fail("started"))
    monkeypatch.setattr(
        "PIL.EpsImagePlugin.Ghostscript", lambda *arguments: started.append(arguments) or pytest.fail("Ghostscript")
    )
    yield
    assert started == []


@pytest.mark.parametrize("kind", sorted(other_formats()))
def test_what_is_of_another_format_is_refused_with_its_reason(kind, nlp, tmp_path, no_programs):
    data = other_formats()[kind]
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ImageError, match="no known image format.*JPEG, PNG"):
            read_image(source)
        with pytest.raises(ImageError, match="no known image format"):
            read_bitmap(source)
        with pytest.raises(ImageError, match="no known image format"):
            image_size(source)


@pytest.mark.parametrize("kind", ["EPS", "EPS with preview", "PPM", "PCX", "TGA"])
def test_a_pil_image_opened_from_another_format_is_refused_undecoded(kind, nlp, no_programs):
    doc = nlp.make_doc("x")
    for use in (read_image, image_for_storage, lambda value: setattr(doc._, "image", value)):
        with pytest.raises(ImageError, match="opened (EPS|PPM|PCX|TGA) file"):
            use(Image.open(io.BytesIO(other_formats()[kind])))
    assert doc._.image is None


def test_a_pil_image_is_taken_from_any_format_once_its_pixels_are_read():
    given = Image.open(io.BytesIO(encoded(photo(), "PPM")))
    given.load()
    assert np.array_equal(read_image(given), np.asarray(photo()))
    assert np.array_equal(read_image(image_for_storage(given.convert("RGB"))), np.asarray(photo()))


def odd_exif():
    """EXIF that says which side is up, beside what no parser likes."""
    rows = [(0x0112, 3, 1, 6), (0x011A, 10, 1, 100), (0x829A, 5, 0xFFFFFFF, 0xFFFFFF), (0x8769, 4, 1, 8), (0xFFFF, 99, 1, 1)]
    head = b"II" + struct.pack("<HI", 42, 8) + struct.pack("<H", len(rows))
    body = b"".join(struct.pack("<HHII", *row) for row in rows) + struct.pack("<I", 8)
    whole = (head + body).ljust(100, b"\0") + struct.pack("<ii", -1, 0)
    return {"upright": whole, "garbage": b"\xff\xd8\x00garbage" * 9, "cut": whole[:20], "wide": b"II" + bytes(6)}


@pytest.mark.parametrize("kind", sorted(odd_exif()))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_never_loses_the_picture(kind, form, nlp):
    data = encoded(photo(), form, exif=b"Exif\0\0" + odd_exif()[kind])
    turned = kind == "upright"
    for source in (data, Image.open(io.BytesIO(data))):
        doc = nlp.make_doc("x")
        doc._.image = source
        assert doc_image(doc, "test").shape == ((60, 40, 3) if turned else (40, 60, 3))
        assert doc._.rivega_errors == []
    assert image_size(data) == ((40, 60) if turned else (60, 40))


@pytest.mark.parametrize("value", [(6, 6), "6", b"6", 6.0, 0, 9, -1, 2**40])
def test_an_orientation_that_is_none_leaves_the_picture_as_it_is(value, monkeypatch):
    monkeypatch.setattr(Image.Image, "getexif", lambda self: {0x0112: value})
    assert read_image(photo()).shape == (40, 60, 3)


DECODER_ERRORS = [
    RuntimeError("Failed to decode image"),
    zlib.error("bad"),
    struct.error("bad"),
    OverflowError("bad"),
    AttributeError("bad"),
    AssertionError(),
    RecursionError("too deep"),
    MemoryError(),
    NotImplementedError("later"),
    UnicodeDecodeError("utf8", b"x", 0, 1, "bad"),
    ZeroDivisionError("bad"),
]


@pytest.mark.parametrize("error", DECODER_ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["load", "open"])
def test_whatever_a_decoder_raises_becomes_a_note(error, place, nlp, monkeypatch):
    def fail(*arguments, **options):
        raise error

    data = encoded(photo(), "PNG")
    waiting = Image.open(io.BytesIO(data))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile." + {"load": "load_prepare", "open": "_open"}[place], fail)
    clear_cache()
    doc = nlp.make_doc("x")
    doc._.image = data
    assert doc_image(doc, "test") is None
    assert "cannot be decoded" in doc._.rivega_errors[0]["message"]
    if place == "load":
        with pytest.raises(ImageError, match="given as PIL image cannot be decoded"):
            doc._.image = waiting


def test_a_damaged_avif_is_an_image_error():
    data = encoded(photo(), "AVIF")
    start = data.index(b"mdat") + 4
    for broken in (data[:start] + b"\xff" * 100 + data[start + 100 :], data[:150], data[:40]):
        with pytest.raises(ImageError, match="cannot be decoded"):
            read_image(broken)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
@pytest.mark.slow
def test_compressed_chunks_that_grow_without_bound_are_not_unpacked(kind):
    """A few kilobytes that would be gigabytes: of such a text or profile no more than Pillow's limit is unpacked."""
    import tracemalloc

    bomb = zlib.compressobj(9)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(200)) + bomb.flush()
    body = b"a\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0") + packed
    data = encoded(photo(), "PNG")
    data = data[:33] + png_chunk(kind, body) + data[33:]
    tracemalloc.start()
    try:
        read_image(data)
    except ImageError:
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_a_tiff_with_absurd_tags_is_an_image_error():
    rows = [
        (256, 4, 1, 60),
        (257, 4, 1, 40),
        (258, 3, 0xFFFFFFF0, 8),
        (273, 4, 0xFFFFFFF0, 8),
        (279, 4, 0xFFFFFFF0, 8),
        (34675, 7, 0xFFFFFFF0, 8),
    ]
    data = (
        b"II" + struct.pack("<HIH", 42, 8, len(rows)) + b"".join(struct.pack("<HHII", *row) for row in rows) + struct.pack("<I", 8)
    )
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_image(data)


def test_of_many_frames_only_the_first_is_decoded(monkeypatch):
    frames = [Image.new("RGB", (8, 6), (number % 250, 0, 0)) for number in range(2000)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    loads = []
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda self: loads.append(self) or load(self))
    assert read_image(data).shape == (6, 8, 3)
    assert len(loads) < 20


def test_a_higher_limit_holds_beyond_that_of_pillow(monkeypatch):
    """Pillow refuses by itself what has more than twice its own limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setenv("RIVEGA_MAX_PIXELS", "5000")
    assert read_image(encoded(photo(), "PNG")).shape == (40, 60, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "YCbCr", "I;16", "I", "F", "PA"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_strips_give_the_same_pixels_as_the_whole(mode, orientation, monkeypatch):
    rng = np.random.default_rng(5)
    if mode in ("I;16", "I", "F"):
        values = rng.integers(0, 65535, (40, 60)).astype({"I;16": "uint16", "I": "int32", "F": "float32"}[mode])
        picture = Image.fromarray(values)
    else:
        picture = Image.fromarray(rng.integers(0, 255, (40, 60, 4), dtype="uint8"), "RGBA").convert(mode if mode != "PA" else "P")
        picture = picture.convert(mode)
    picture.getexif()[0x0112] = orientation
    whole = read_image(picture)
    monkeypatch.setattr("rivega_spacy.post.images._STRIP", 7 * 60)
    assert np.array_equal(read_image(picture), whole)


@pytest.mark.slow
def test_progressive_scans_without_end_are_refused():
    """Each scan of a progressive JPEG is a pass over the whole picture: a small file can hold thousands."""
    data = encoded(photo(640, 480), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:-2] + data[last:-2] * 3000 + data[-2:]
    assert read_image(data).shape == (480, 640, 3)
    with pytest.raises(ImageError, match="scans"):
        read_image(bomb)


def test_damaged_pictures_are_not_remembered_without_bound(nlp):
    def look(number):
        doc = nlp.make_doc("x")
        doc._.image = b"no picture" + number.to_bytes(4, "big")
        assert doc_image(doc, "test") is None

    clear_cache()
    with keeping(50_000):
        for number in range(200):
            look(number)
        # A message of ours is 100 to 200 characters; its key and its place in the cache are more than that.
        assert kept_bytes() <= 40_000 and len(images._CACHE) <= 40
        # Whole ones and reduced ones together.
        assert images._CACHE.limit + images._VIEWS.limit == 50_000
    before = images._CACHE.limit, images._VIEWS.limit
    assert before == (images.CACHE_BYTES, images.CACHE_BYTES // 4)


def test_a_bitmap_whose_runs_would_take_seconds_is_refused():
    """A kilobyte that says it has millions of pixels a row; Pillow fills each row byte by byte."""
    small, large = (make_run_lengths(width) for width in (32, 900_000))
    assert read_image(small).shape == (32, 32, 3)
    for source in (large, Image.open(io.BytesIO(large))):
        with pytest.raises(ImageError, match="E003.*run lengths"):
            read_image(source)


def make_run_lengths(width: int) -> bytes:
    """A BMP of 8 bits with BI_RLE8 whose rows end behind a few pixels each."""
    runs = b"\x04\x05\0\0" * 32 + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, width, 32, 1, 8, 1, len(runs), 2835, 2835, 0, 0)
    start = 14 + len(info) + 1024
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + info + bytes(1024) + runs


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif_part(size: int = 20) -> bytes:
    return segment(0xE1, b"Exif\0\0" + bytes(size))


def behind_start(kind: str, more: bytes) -> bytes:
    """A valid picture with more at the first place where there may be more."""
    data = encoded(photo(), kind)
    place = {"JPEG": 2, "PNG": 33, "GIF": 13 + (3 << ((data[10] & 7) + 1))}[kind]
    return data[:place] + more + data[place:]


@pytest.mark.parametrize(
    "kind, more, words",
    [
        # A second at 1.6 MB, four at twice as much: joined anew with each further one.
        ("JPEG", exif_part() * 101, "EXIF in more than 100 segments"),
        ("JPEG", b"\xff\xd9" + exif_part() * 101, "EXIF in more than 100 segments"),
        ("JPEG", segment(0xFE, b"") * 100_001, "more than 100000 segments"),
        ("JPEG", b"\xff" * 1_000_001, "more than 1000000 bytes between"),
        ("JPEG", bytes(1_000_001), "more than 1000000 bytes between"),
        ("JPEG", (bytes(60_000) + segment(0xFE, b"x")) * 17, "more than 1000000 bytes between"),
        ("PNG", png_chunk(b"ruSt", b"") * 100_000, "more than 100000 chunks"),
        ("GIF", b"!\xf9\x04\0\0\0\0\0" * 60_000, "more than 100000 blocks"),
        ("GIF", b"!\xfe" + b"\1x" * 100_001 + b"\0", "more than 100000 blocks"),
        ("GIF", bytes(1_000_001), "more than 1000000 bytes between"),
        ("GIF", (b"x" * 60_000 + b"!\xfe\1x\0") * 17, "more than 1000000 bytes between"),
    ],
    ids=range(11),
)
def test_what_stands_before_the_pixels_is_bounded(kind, more, words):
    """Pillow reads it in Python, part by part: a few hundred megabytes take minutes."""
    with pytest.raises(ImageError, match=f"E003.*{words}"):
        read_image(behind_start(kind, more))


@pytest.mark.parametrize(
    "kind, more",
    [
        ("JPEG", exif_part(65_000) * 100),
        ("JPEG", segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)) * 255),
        ("JPEG", b"\xff" * 900_000),
        ("PNG", png_chunk(b"tEXt", b"a\0b") * 20_000),
        ("GIF", b"!\xff\x0bXMP DataXMP" + b"\xff" + b"x" * 255 + b"\0" + b"!\xf9\x04\0\0\0\0\0" * 20_000),
        ("GIF", b"!\xfe" + (b"\xff" + b"," * 255) * 5_000 + b"\0"),
    ],
    ids=range(6),
)
def test_long_profiles_and_comments_are_read_over(kind, more):
    assert np.array_equal(read_image(behind_start(kind, more)), read_image(encoded(photo(), kind)))


def test_what_stands_among_the_pixels_is_not_counted():
    """A megabyte of them in one scan, and what looks like markers in it."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (1200, 1000, 3), dtype="uint8"))
    for more in ({}, {"progressive": True}, {"restart_marker_blocks": 1}):
        data = encoded(noise, "JPEG", quality=95, **more)
        assert len(data) > 1_200_000 and read_image(data).shape == (1200, 1000, 3)


def pieces(count: int, order: str, large: bool, *, strips: bool = False) -> bytes:
    """A TIFF of tiles, or strips, of one pixel."""
    one, head, start = ("Q", "HHQQ", 16) if large else ("I", "HHII", 8)
    many = 4 if not large else 16
    width, height = (1, count) if strips else (int(count**0.5), int(count**0.5))
    rows = [(256, many, 1, width), (257, many, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
    rows += [(278, many, 1, 1)] if strips else [(322, many, 1, 1), (323, many, 1, 1)]
    first = (
        start
        + struct.calcsize("<" + ("Q" if large else "H"))
        + (len(rows) + 2) * struct.calcsize("<" + head)
        + struct.calcsize("<" + one)
    )
    width = struct.calcsize("<" + one)
    rows += [(273 if strips else 324, many, count, first), (279 if strips else 325, many, count, first + count * width)]

    def entry(tag, kind, number, value):
        if kind == 3:
            value = value if order == "<" else value << (48 if large else 16)
        return struct.pack(order + head, tag, kind, number, value)

    magic = {("<", False): b"II*\0", (">", False): b"MM\0*", ("<", True): b"II+\0\x08\0\0\0"}[order, large]
    body = (
        struct.pack(order + ("Q" if large else "H"), len(rows))
        + b"".join(entry(*row) for row in rows)
        + struct.pack(order + one, 0)
    )
    return (
        magic + struct.pack(order + one, start) + body + struct.pack(order + one, 8) * count + struct.pack(order + one, 1) * count
    )


@pytest.mark.parametrize("order, large", [("<", False), (">", False), ("<", True)])
def test_a_tiff_in_a_million_pieces_is_refused(order, large):
    """A list of them takes Pillow two hundred bytes for each, and five microseconds."""
    assert read_image(pieces(400, order, large)).shape == (20, 20, 3)
    assert read_image(pieces(400, order, large, strips=True)).shape == (400, 1, 3)
    for strips in (False, True):
        with pytest.raises(ImageError, match="E003.*more than 200000 pieces"):
            read_image(pieces(200_001, order, large, strips=strips))


@pytest.mark.parametrize("size", [(1_000_001, 1), (1, 1_000_001)])
def test_a_side_has_a_limit(size, monkeypatch):
    """A picture one pixel wide takes twelve bytes a pixel instead of four."""
    data = encoded(Image.new("1", size), "PNG")
    for read in (read_image, read_bitmap, image_size):
        with pytest.raises(ImageError, match="E003.*a side may have 1000000 pixels"):
            read(data)
    with pytest.raises(ImageError, match="E003.*a side may have 1000000 pixels"):
        read_image(Image.open(io.BytesIO(data)))
    monkeypatch.setattr(images, "MAX_SIDE", 1_000_001)
    assert read_image(data).shape == (size[1], size[0], 3)


def test_a_head_that_is_cut_short_is_a_damaged_picture():
    """Wherever it ends: who looks at heads before Pillow does fails at none."""
    from rivega_spacy.post.picture_heads import overlong_head

    for data in (
        *(encoded(photo(), kind) for kind in ("JPEG", "PNG", "GIF", "TIFF")),
        pieces(400, "<", True),
        pieces(400, ">", False),
    ):
        assert overlong_head(data) is None
        for end in range(400):
            assert overlong_head(data[:end]) is None
