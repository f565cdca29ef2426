"""Outputs appear whole or not at all, and never in place of an input."""

import errno
import gzip
import os
from pathlib import Path

import pytest

from rivega_spacy.post.errors import OutputError, RivegaError
from rivega_spacy.post.files import check_output, check_output_folder, open_output, open_output_folder, write_json, write_text


def names(folder: Path) -> list:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
@pytest.mark.parametrize("error", [RuntimeError("stopped"), KeyboardInterrupt()])
def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path, name, error):
    path = tmp_path / name
    path.write_bytes(b"before")
    with pytest.raises(type(error)):
        with open_output(path) as out:
            out.write("half")
            raise error
    assert path.read_bytes() == b"before" and names(tmp_path) == [name]
    with open_output(path) as out:
        out.write("whole é\n")
        out.flush()
        assert path.read_bytes() == b"before"
    data = path.read_bytes()
    assert (gzip.decompress(data) if name.endswith(".gz") else data).decode() == "whole é\n" and names(tmp_path) == [name]


def test_a_new_file_has_the_mode_of_any_other_and_an_old_one_keeps_its_own(tmp_path):
    (tmp_path / "usual").write_text("")
    write_text(tmp_path / "deep" / "new", "x")
    assert (tmp_path / "deep" / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    (tmp_path / "usual").chmod(0o600)
    write_text(tmp_path / "usual", "y")
    assert (tmp_path / "usual").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not say which file a number stands for")
def test_what_is_durable_is_on_the_disk_before_it_has_its_name_and_its_name_before_it_is_told(tmp_path, monkeypatch):
    """A power failure the moment after leaves the old file or the new one, whole."""
    calls = []

    def noted(name, inner):
        def call(*arguments):
            what = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else arguments[1]
            calls.append((name, Path(what)))
            return inner(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    with open_output(tmp_path / "out", durable=True) as out:
        out.write("x" * 100_000)
        assert calls == []
    assert [name for name, _ in calls] == ["fsync", "replace", "fsync"]
    assert calls[0][1].name.endswith(".part") and [path for _, path in calls[1:]] == [tmp_path / "out", tmp_path]
    assert (tmp_path / "out").read_text() == "x" * 100_000


def test_a_link_keeps_pointing_to_its_file(tmp_path):
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "after"


def test_halves_of_characters_are_written_as_replacement_characters(tmp_path):
    write_json(tmp_path / "x.json", {"a": "half \ud83d"})
    assert "half \ufffd" in (tmp_path / "x.json").read_text(encoding="utf8")


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="/dev/full.*No space"):
        write_text("/dev/full", "x" * 100000)
    write_text(tmp_path / "out", "before")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space"):
        write_text(tmp_path / "out", "after")
    assert (tmp_path / "out").read_text() == "before" and names(tmp_path) == ["out"]


def test_inputs_are_recognised_by_whatever_name(tmp_path):
    (tmp_path / "in").write_text("x")
    (tmp_path / "symbolic").symlink_to("in")
    os.link(tmp_path / "in", tmp_path / "hard")
    for name in ("in", "symbolic", "hard", "../" + tmp_path.name + "/in"):
        with pytest.raises(RivegaError, match="E050"):
            check_output(tmp_path / name, inputs=[None, tmp_path / "other", tmp_path / "in"])
    check_output(tmp_path / "other", inputs=[tmp_path / "in"])
    check_output("/dev/null", inputs=["/dev/null"])
    assert names(tmp_path) == ["hard", "in", "symbolic"]


def test_places_that_cannot_be_written_are_told_and_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "x", "cannot be written"),
        ("/proc/none/x", "cannot be written"),
    ):
        with pytest.raises(RivegaError, match=reason):
            check_output(path)
        with pytest.raises(RivegaError, match=reason):
            write_text(path, "y")
    for path, reason in ((tmp_path / "file", "is a file"), ("/proc/none", "cannot be written")):
        with pytest.raises(RivegaError, match=reason):
            check_output_folder(path)
        with pytest.raises(RivegaError, match=reason):
            with open_output_folder(path):
                pass
    check_output(tmp_path / "a" / "b" / "c")
    check_output_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == ["file"]


def test_a_folder_is_filled_when_everything_is_there(tmp_path):
    target = tmp_path / "out"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine").write_text("kept")
    (target / "index").write_text("before")

    def fill(fail: bool) -> None:
        with open_output_folder(target) as part:
            (part / "index").write_text("after")
            (part / "sub").mkdir()
            (part / "sub" / "new").write_text("new")
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fill(True)
    assert (target / "index").read_text() == "before" and names(target / "sub") == ["mine"]
    fill(False)
    assert (target / "index").read_text() == "after" and names(target / "sub") == ["mine", "new"] and names(tmp_path) == ["out"]
