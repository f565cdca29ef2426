"""Archives that reach outside of their folder, lie about their size or are damaged."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from rivega_spacy.cli import main
from rivega_spacy.jobs.check_data import check_archive
from rivega_spacy.jobs.convert_data import unpack_knowledge
from rivega_spacy.post import archives
from rivega_spacy.post.errors import RivegaError


def pack(path: Path, *members: tarfile.TarInfo, data: bytes = b"x") -> None:
    with tarfile.open(path, "w:gz") as out:
        for member in members:
            member.size = len(data) if member.isfile() else 0
            out.addfile(member, io.BytesIO(data))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


ESCAPES = {
    "dots": [member("../outside")],
    "deep dots": [member("a/../../outside")],
    "a link to the outside": [member("a", tarfile.SYMTYPE, "../..")],
    "through a link": [member("a", tarfile.SYMTYPE, "."), member("b", tarfile.SYMTYPE, "a/.."), member("b/outside")],
    "a hard link": [member("a", tarfile.LNKTYPE, "../secret")],
    "a device": [member("a", tarfile.CHRTYPE)],
    "a pipe": [member("a", tarfile.FIFOTYPE)],
}


@pytest.mark.parametrize("kind", ESCAPES)
def test_nothing_is_unpacked_outside_of_the_folder(kind, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("mine")
    pack(tmp_path / "in" / "p.tar.gz", *ESCAPES[kind])
    assert main(["data", "unpack-photos", str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert "E957" in capsys.readouterr().err and not (tmp_path / "outside").exists() and (tmp_path / "secret").read_text() == "mine"


def test_absolute_paths_stay_within_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    pack(tmp_path / "in" / "p.tar.gz", member(str(tmp_path / "outside")))
    assert main(["data", "unpack-photos", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"x" * 600)[:-9], gzip.compress(b"\xff" * 1024)], ids=range(4))
def test_damaged_archives_are_named(data, tmp_path, capsys):
    (tmp_path / "p.tar.gz").write_bytes(data)
    assert main(["data", "unpack-photos", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "p.tar.gz" in capsys.readouterr().err


def test_archives_do_not_grow_without_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS", 1000)
    pack(tmp_path / "p.tar.gz", member("a"), data=bytes(1_000_000))
    with pytest.raises(RivegaError, match="E957.*more than"):
        archives.unpack_tar(tmp_path / "p.tar.gz", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("train.txt", bytes(1_000_000))
    for lie in (False, True):
        if lie:
            # Both heads say that the file has a hundred bytes.
            raw = (tmp_path / "p.zip").read_bytes().replace(struct.pack("<I", 1_000_000), struct.pack("<I", 100))
            (tmp_path / "p.zip").write_bytes(raw)
        with pytest.raises(RivegaError, match="E957"):
            unpack_knowledge(tmp_path / "p.zip", tmp_path / "out")


def test_names_in_a_zip_are_no_paths(tmp_path):
    names = ["../../outside.jpg", "/outside2.jpg", "..\\..\\outside3.jpg", "a/..", "b/", "a/b/c.jpg", "__MACOSX/x.jpg"]
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as out:
        for name in names:
            out.writestr(name, b"x")
    assert check_archive(tmp_path / "deep" / "images", tmp_path / "p.zip", unpack=True) is None
    found = sorted(
        path.relative_to(tmp_path / "deep" / "images").as_posix() for path in (tmp_path / "deep").rglob("*") if path.is_file()
    )
    assert found == ["c.jpg", "outside.jpg", "outside2.jpg", "outside3.jpg"]
    with zipfile.ZipFile(tmp_path / "k.zip", "w") as out:
        out.writestr("../../train_x.txt", b"k")
    assert unpack_knowledge(tmp_path / "k.zip", tmp_path / "k") == {"train": tmp_path / "k" / "train.txt"}


def test_a_damaged_zip_leaves_no_half_of_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as out:
        out.writestr("a.jpg", b"a" * 100)
        out.writestr("b.jpg", b"b" * 100)
    raw = (tmp_path / "p.zip").read_bytes()
    (tmp_path / "p.zip").write_bytes(raw.replace(b"b" * 100, b"c" * 100))
    assert "E957" in (check_archive(tmp_path / "images", tmp_path / "p.zip", unpack=True) or "")
    assert not (tmp_path / "images").exists()
