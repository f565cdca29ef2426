"""What a picture may be given as, and what is refused before anything is read."""

import base64
import io
import os
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image
from spacy.language import Language
from thinc.api import Model

from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.llm.base import image_ref
from rivega_spacy.post.errors import ImageError
from rivega_spacy.post.image_sources import describe_source, locate_image, read_data_uri, read_source, url_scheme
from rivega_spacy.post.images import doc_image, image_digest, image_for_storage, read_image
from rivega_spacy.post.posts import annotate, doc_to_post, post_to_doc


def whole_picture(model, queries, is_train):
    """A grounder that finds everything everywhere."""
    found = [np.array([[0, 0, *query.image.shape[1::-1], 1.0]] * len(query.expressions), dtype="f") for query in queries]
    return found, lambda gradient: []


@Language.factory("tests_whole_picture")
def make_whole_picture(nlp, name):
    return VisualGrounder(nlp.vocab, Model("whole_picture", whole_picture), name)


@pytest.fixture(scope="module")
def nlp():
    return blank_nlp()


@pytest.fixture
def png(picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def odd_paths(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "to_pipe.jpg").symlink_to(tmp_path / "pipe.jpg")
    (tmp_path / "to_kernel.jpg").symlink_to("/proc/kmsg")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    yield {
        "a NUL": ("a\0b.jpg", "null (byte|character)"),
        "long": ("a" * 5000, "too long"),
        "long folders": ("/".join(["folder"] * 1000) + ".jpg", "too long|does not exist"),
        "a surrogate": ("a\ud83d.jpg", "no file name can hold|does not exist"),
        "of the kernel": ("/proc/self/environ", "made up by the kernel"),
        "a link to the kernel": (str(tmp_path / "to_kernel.jpg"), "made up by the kernel"),
        "a named pipe": (str(tmp_path / "pipe.jpg"), "a named pipe"),
        "a link to a pipe": (str(tmp_path / "to_pipe.jpg"), "a named pipe"),
        "a socket": (str(tmp_path / "s"), "a socket"),
        "a folder": (str(tmp_path / "folder.jpg"), "a folder"),
        "endless": ("/dev/zero", "a device"),
        "a terminal": ("/dev/null", "a device"),
        "a link to itself": (str(tmp_path / "round.jpg"), "cannot be opened"),
        "below a file": (str(Path(__file__) / "a.jpg"), "does not exist"),
        "http": ("https://example.org/a.jpg?x=1", r"an address \(https:\), and nothing is downloaded"),
        "ftp": ("FTP://example.org/a.jpg", r"an address \(ftp:\)"),
        "a bucket": ("s3://bucket/a.jpg", r"an address \(s3:\)"),
        "of a scheme that nobody listed": ("gopher+x.1://example.org/a.jpg", r"an address \(gopher\+x\.1:\)"),
        "a share": ("smb://host/share/a.jpg", r"an address \(smb:\)"),
        "file": ("file:///etc/hostname", r"an address \(file:\).*give the path of the file"),
        "file, short": ("file:/etc/hostname", r"an address \(file:\)"),
        "a path made of a URL": (Path("https://example.org/a.jpg"), r"an address \(https:\)"),
    }
    listener.close()


def test_only_regular_files_are_opened(odd_paths, nlp):
    for name, (source, words) in odd_paths.items():
        for use in (read_image, read_source, image_ref):
            with pytest.raises(ImageError, match=words):
                use(source if use is not read_source else str(source))
                pytest.fail(f"{name} {use}")
        doc = nlp.make_doc("x")
        doc._.image = source
        assert len(image_digest(doc._.image)) == 32
        assert doc_image(doc, "entailment") is None and doc_image(doc, "grounder") is None
        assert len(doc._.rivega_errors) == 1, name
        assert len(doc._.rivega_errors[0]["message"]) < 500


def test_a_file_that_becomes_a_pipe_meanwhile_is_not_waited_for(tmp_path, monkeypatch):
    """It is looked at before it is opened, as which it was another file, and afterwards."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "file.jpg").write_bytes(b"x")
    before, waited = os.stat(tmp_path / "file.jpg"), []
    looked = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: before if str(path).endswith("pipe.jpg") else looked(path, **options))

    def let_go():
        waited.append(True)
        os.close(os.open(tmp_path / "pipe.jpg", os.O_RDWR | os.O_NONBLOCK))

    timer = threading.Timer(30, let_go)
    timer.start()
    try:
        with pytest.raises(ImageError, match="E031.*a named pipe"):
            read_source(str(tmp_path / "pipe.jpg"))
    finally:
        timer.cancel()
    assert not waited


def test_of_a_file_that_grows_no_more_than_allowed_is_read(tmp_path, monkeypatch):
    """Or of one that says it is shorter than it is."""
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(10_000))
    monkeypatch.setenv("RIVEGA_MAX_BYTES", "100")
    monkeypatch.setattr("rivega_spacy.post.image_sources._check_regular", lambda *found: None)
    with pytest.raises(ImageError, match="E032.* 101 bytes, more than the limit of 100"):
        read_source(str(path))


def test_an_odd_path_in_a_stream_leaves_the_other_posts_alone(odd_paths, tmp_path, png):
    nlp = blank_nlp()
    (tmp_path / "good.png").write_bytes(png)
    nlp.add_pipe("tests_whole_picture")
    posts = [{"id": name, "text": "Ada", "image": str(source), "ents": [[0, 3, "PER"]]} for name, (source, _) in odd_paths.items()]
    posts = [post for bad in posts for post in ({"text": "Ada", "image": str(tmp_path / "good.png"), "ents": [[0, 3, "PER"]]}, bad)]
    docs = list(annotate(nlp, posts, batch_size=5))
    assert len(docs) == len(posts)
    assert all(doc._.rivega_errors == [] and doc.ents[0]._.boxes for doc in docs[::2])
    # Half a character is replaced, with a note of its own.
    counts = {doc.user_data["id"]: len(doc._.rivega_errors) for doc in docs[1::2]}
    assert counts == {**dict.fromkeys(odd_paths, 1), "a surrogate": 2}


def test_the_byte_limit_holds_for_files_and_for_bytes(tmp_path, png, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(png)
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(10**12)
    with pytest.raises(ImageError, match="1000000000000 bytes, more than the limit of 400000000 bytes.*RIVEGA_MAX_BYTES"):
        read_image(tmp_path / "sparse.png")
    monkeypatch.setenv("RIVEGA_MAX_BYTES", str(len(png)))
    assert read_image(path).shape == read_image(png).shape
    monkeypatch.setenv("RIVEGA_MAX_BYTES", str(len(png) - 1))
    for source in (path, png):
        with pytest.raises(ImageError, match="RIVEGA_MAX_BYTES"):
            read_image(source)


def test_a_limit_that_changes_is_seen_though_the_picture_was_read_before(tmp_path, png, monkeypatch, nlp):
    doc = nlp.make_doc("x")
    doc._.image = png
    monkeypatch.setenv("RIVEGA_MAX_BYTES", "10")
    assert doc_image(doc, "test") is None
    monkeypatch.delenv("RIVEGA_MAX_BYTES")
    assert doc_image(doc, "test") is not None


@pytest.mark.parametrize("name", ["RIVEGA_MAX_BYTES", "RIVEGA_MAX_PIXELS"])
def test_a_limit_that_is_no_number_is_said(name, png, monkeypatch):
    monkeypatch.setenv(name, "200MB")
    with pytest.raises(ImageError, match=f"{name} is '200MB'"):
        read_image(png)


def test_a_file_that_is_longer_than_it_says_is_cut_off(tmp_path, png, monkeypatch):
    """Files of /proc, and those that somebody writes to, have no size to go by."""
    path = tmp_path / "a.png"
    path.write_bytes(png + bytes(5000))
    monkeypatch.setenv("RIVEGA_MAX_BYTES", str(len(png)))
    monkeypatch.setattr("rivega_spacy.post.image_sources._check_regular", lambda *arguments: None)
    with pytest.raises(ImageError, match="RIVEGA_MAX_BYTES"):
        read_image(path)


def data_uris(png: bytes):
    plain = base64.b64encode(png).decode()
    return {
        "base64": "data:image/png;base64," + plain,
        "upper case, parameters": "DATA:Image/PNG;charset=utf-8;BASE64," + plain,
        "no type": "data:;base64," + plain,
        "lines": "data:image/png;base64,\n" + "\n".join(plain[n : n + 76] for n in range(0, len(plain), 76)),
        "no padding": "data:image/png;base64," + plain.rstrip("="),
        "for addresses": "data:image/png;base64," + base64.urlsafe_b64encode(png).decode(),
        "base64, escaped": "data:image/png;base64," + quote(plain, safe=""),
        "percent": "data:image/png," + quote(png),
        "blanks before": "  data:image/png;base64," + plain,
    }


def test_data_uris_are_pictures(png, picture, nlp, tmp_path):
    for name, uri in data_uris(png).items():
        assert np.array_equal(read_image(uri), picture), name
        for images in (None, tmp_path):
            doc = post_to_doc(nlp, {"text": "x", "image": uri}, images=images)
            assert doc._.image == png and np.array_equal(doc_image(doc, "test"), picture), name
            assert doc._.rivega_errors == []
            assert uri[-50:] not in str(doc_to_post(doc))


def test_what_is_wrong_with_a_data_uri_is_said_once_and_shortly(png, nlp, monkeypatch):
    whole = data_uris(png)["base64"]
    broken = {
        "no comma": "data:image/png;base64" + "A" * 100_000,
        "no base64": "data:image/png;base64," + "!" * 100_000,
        "not ASCII": "data:image/png;base64," + "é" * 1000,
        "a surrogate": "data:image/png;base64," + "\ud83d" * 1000,
        "one character": "data:image/png;base64,A",
    }
    for name, uri in broken.items():
        doc = post_to_doc(nlp, {"text": "x", "image": uri})
        assert doc._.image is None and doc_image(doc, "test") is None
        [note] = [entry for entry in doc._.rivega_errors if "halves" not in entry["message"]]
        assert "data: URI" in note["message"] and len(note["message"]) < 300, name
        assert len(str(doc_to_post(doc))) < 1000
    assert read_data_uri("data:,") == b""
    for uri in ("data:,", "data:text/html,hello", whole[:200]):
        doc = post_to_doc(nlp, {"text": "x", "image": uri})
        assert doc_image(doc, "test") is None and doc_image(doc, "other") is None
        assert len(doc._.rivega_errors) == 1
    monkeypatch.setenv("RIVEGA_MAX_BYTES", "100")
    with pytest.raises(ImageError, match="of a data: URI has .*RIVEGA_MAX_BYTES"):
        image_for_storage(whole)
    with pytest.raises(ImageError, match="1000[0-9]+ characters.*RIVEGA_MAX_BYTES"):
        image_for_storage("data:image/png," + "a" * 1_000_000)


def test_long_names_are_shortened_in_messages():
    assert describe_source("a.jpg") == "'a.jpg'"
    assert len(describe_source("a" * 100_000)) < 150 and "100000 characters" in describe_source("a" * 100_000)
    assert "\ud83d" not in describe_source("a\ud83d.jpg")
    assert describe_source(b"abc") == "(3 bytes)"


@pytest.mark.parametrize(
    "text", ["a.jpg", "/tmp/a.jpg", "C:\\a.jpg", "c:/a.jpg", "a:b.jpg", "12:30.jpg", "./http/a.jpg", "data:image/png,x", ""]
)
def test_paths_are_no_addresses(text):
    assert url_scheme(text) is None


def test_what_is_looked_for_below_a_root():
    assert locate_image("a.jpg", "pictures") == "pictures/a.jpg"
    for same in ("data:image/png;base64,AAAA", "https://example.org/a.jpg", "", " ", "file:///a.jpg"):
        assert locate_image(same, "pictures") == same
    assert locate_image("a.jpg", None) == "a.jpg"


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_image_means_none(value, nlp, tmp_path):
    for images in (None, tmp_path):
        doc = post_to_doc(nlp, {"text": "x", "image": value}, images=images)
        assert doc._.image is None and doc._.rivega_errors == []
    doc._.image = "a.jpg"
    doc._.image = value
    assert doc._.image is None
    [(doc, _)] = nlp.pipe([("x", {"image": value})], as_tuples=True)
    assert doc._.image is None


@pytest.mark.parametrize(
    "key", ["images", "img", "picture", "image_path", "Image", "imagePath", "image_url", "imgae", "photo", "pictures"]
)
def test_a_misspelt_key_is_named(key, nlp):
    doc = post_to_doc(nlp, {"id": "7", "text": "x", key: "a.jpg"})
    [note] = doc._.rivega_errors
    assert repr(key) in note["message"] and "7" in note["message"] and "`image`" in note["message"]
    # Beside a picture it is the post's own affair.
    assert post_to_doc(nlp, {"text": "x", "image": "a.jpg", key: "b"})._.rivega_errors == []


@pytest.mark.parametrize("key", ["id", "text", "page", "message", "image_id", "language", "lang", "stage", "damage", "image_width"])
def test_other_keys_are_the_posts_own(key, nlp):
    assert post_to_doc(nlp, {"text": "x", key: "y"})._.rivega_errors == []
