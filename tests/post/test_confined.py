"""Pictures confined to a folder: RIVEGA_IMAGE_ROOT."""

import os

import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.post.errors import ImageError
from rivega_spacy.post.image_sources import read_source
from rivega_spacy.post.images import doc_image
from rivega_spacy.post.posts import post_to_doc
from rivega_spacy.serve.correcting import CorrectionQueue


@pytest.fixture
def places(tmp_path, monkeypatch, picture):
    root, outside = tmp_path / "root", tmp_path / "root_not"
    (root / "in").mkdir(parents=True)
    outside.mkdir()
    for path in (root / "in" / "a.png", outside / "b.png"):
        Image.fromarray(picture).save(path)
    (root / "link.png").symlink_to(outside / "b.png")
    (root / "folder").symlink_to(outside)
    (root / "round.png").symlink_to(root / "round.png")
    (root / "own.png").symlink_to(root / "in" / "a.png")
    os.mkfifo(root / "pipe.png")
    monkeypatch.setenv("RIVEGA_IMAGE_ROOT", str(root))
    monkeypatch.chdir(root)
    return root


INSIDE = ["in/a.png", "./in/../in/a.png", "own.png", "../root/in/a.png", "{root}/in/a.png"]
OUTSIDE = [
    "../root_not/b.png",
    "in/../../root_not/b.png",
    "{root}/../root_not/b.png",
    "{root}_not/b.png",
    "link.png",
    "folder/b.png",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "/proc/self/root/etc/passwd",
    "/proc/self/fd/0",
    "../nothing.png",
    "..",
    "//etc/passwd",
]


@pytest.mark.parametrize("path", INSIDE)
def test_what_lies_inside_is_read(places, path):
    assert read_source(path.format(root=places)) == (places / "in" / "a.png").read_bytes()


@pytest.mark.parametrize("path", OUTSIDE)
def test_what_lies_outside_is_refused_whether_it_exists_or_not(places, path):
    with pytest.raises(ImageError, match="E955"):
        read_source(path.format(root=places))


@pytest.mark.parametrize(
    "path, code", [("in/none.png", "E001"), ("in", "E031"), ("pipe.png", "E031"), ("round.png", "E037"), ("a\0.png", "E037")]
)
def test_inside_the_other_rules_hold(places, path, code):
    with pytest.raises(ImageError, match=code):
        read_source(path)


def test_a_link_that_is_changed_meanwhile_is_noticed(places, monkeypatch):
    real, paths = os.path.realpath, []

    def swapped(path, **settings):
        found = real(path, **settings)
        if str(path).endswith("own.png"):
            paths.append(path)
            if len(paths) == 1:
                (places / "own.png").unlink()
                (places / "own.png").symlink_to(places.parent / "root_not" / "b.png")
            else:
                return str(places / "in" / "a.png")
        return found

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(ImageError, match="E955"):
        read_source("own.png")
    assert len(paths) == 2


def test_posts_and_the_queue(places, tmp_path):
    nlp = blank_nlp()
    for image in ("in/a.png", {"path": "in/a.png"}):
        doc = post_to_doc(nlp, {"text": "a", "image": image}, images=places)
        assert doc_image(doc, "test") is not None and not doc._.rivega_errors
    for image in ("../root_not/b.png", {"path": str(places.parent / "root_not" / "b.png")}, "link.png"):
        doc = post_to_doc(nlp, {"text": "a", "image": image}, images=places)
        assert doc_image(doc, "test") is None and "E955" in doc._.rivega_errors[0]["message"]
    posts = tmp_path / "posts.jsonl"
    posts.write_text('{"text": "a", "image": "../root_not/b.png"}\n', encoding="utf8")
    queue = CorrectionQueue(posts, tmp_path / "saved.jsonl", images=places)
    with pytest.raises(ImageError, match="E955"):
        read_source(queue.picture(1))
