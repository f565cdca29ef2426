"""Folders of others' files: what a folder lists nobody has chosen, so a pipe, a device or a file of the kernel in one is passed over or named, not waited for."""

import os
from pathlib import Path

import pytest
from blank import NLP
from PIL import Image

from rivega_spacy.corpus.docbin import docbin_files, read_docbin, write_docbin
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.labelme import read_labelme
from rivega_spacy.corpus.formats.voc import read_voc
from rivega_spacy.post.errors import PostError, RivegaError
from rivega_spacy.post.post_files import read_posts


def make(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "kernel": "/proc/kmsg", "itself": path.name, "nothing": "nowhere"}[kind])


KINDS = ["pipe", "folder", "device", "kernel", "itself", "nothing"]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_beside_pictures(kind, tmp_path):
    """Neither as a picture's text nor as a post of its own; links to files are read."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("a.txt", "b.json", "c.txt"):
        make(kind, tmp_path / name)
    (tmp_path / "elsewhere").write_text("Ada")
    (tmp_path / "d.txt").symlink_to("elsewhere")
    posts = list(read_posts(tmp_path))
    assert [post for post in posts if isinstance(post, dict)] == [{"id": "d", "text": "Ada"}]
    # What is a folder holds no text, and is none.
    assert len(posts) == (3 if kind == "folder" else 4)
    assert all("E829" in str(post) or "E828" in str(post) for post in posts if isinstance(post, PostError))


@pytest.mark.parametrize("kind", KINDS)
def test_spacy_files(kind, tmp_path):
    make(kind, tmp_path / "a.spacy")
    with pytest.raises(RivegaError, match="E112"):
        docbin_files(tmp_path)
    write_docbin([NLP.make_doc("Ada")], tmp_path / "b.spacy")
    assert [doc.text for doc in read_docbin(tmp_path, NLP.vocab)] == ["Ada"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read, ending", [(read_labelme, "json"), (read_voc, "xml")], ids=["labelme", "voc"])
def test_annotations_of_pictures(read, ending, kind, tmp_path):
    make(kind, tmp_path / f"a.{ending}")
    dirt = Dirt()
    assert read(tmp_path, dirt) == {} and dirt.counts["bad_file"] == 1
