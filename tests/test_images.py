"""The image door: every kind of picture, and every kind of broken one."""
import io
import struct
import zlib

import numpy as np
import pytest
import spacy
from PIL import Image

from rivega_spacy.errors import ImageError
from rivega_spacy.images import doc_image, image_digest, image_for_storage, read_image


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.fixture()
def nlp():
    return spacy.blank("rivega")


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
        "folder": (tmp_path / "folder", "cannot be decoded"),
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
        assert len(doc._.rivega_errors) == 1 and words in doc._.rivega_errors[0]["message"]


@pytest.mark.parametrize("value", [1.5, np.zeros((4, 4, 3)), np.zeros((4, 4), dtype="uint8"), np.zeros((0, 4, 3), dtype="uint8"), ["a.png"]])
def test_what_is_no_picture_is_refused_at_once(nlp, value):
    doc = nlp.make_doc("x")
    with pytest.raises(ImageError, match="HxWx3 uint8"):
        doc._.image = value


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
