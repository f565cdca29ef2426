"""Pictures' files are read while the posts before them are worked on, and nothing that stands in a post stops it."""

import os
from multiprocessing import Pipe

import pytest

from rivega_spacy.jobs.bulk.ahead import ReadAhead, read_ahead


@pytest.fixture
def images(tmp_path):
    (tmp_path / "a.png").write_bytes(bytes(300_000))
    (tmp_path / "b.png").write_bytes(bytes(7))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_files_are_read_and_all_else_is_passed_over(images):
    assert read_ahead([{"image": "a.png"}, {"image": str(images / "b.png")}], str(images)) == 300_007
    others = ["gone.png", "folder", "pipe", "", " ", "data:image/png;base64,AAAA", "a\0b", None, 3, ["b.png"], "x" * 5000]
    assert (
        read_ahead([*({"image": image} for image in others), {"text": "Ann"}, "a post", None, {"image": "b.png"}], str(images)) == 7
    )


def test_one_chunk_does_not_fill_the_memory(images, monkeypatch):
    monkeypatch.setattr("rivega_spacy.jobs.bulk.ahead._FILE_BYTES", 1000)
    assert read_ahead([{"image": "a.png"}, {"image": "b.png"}], str(images)) == 7
    monkeypatch.setattr("rivega_spacy.jobs.bulk.ahead._CHUNK_BYTES", 6)
    assert read_ahead([{"image": "b.png"}] * 3, str(images)) == 7


def test_chunks_come_in_order_until_the_other_side_goes(images):
    ours, theirs = Pipe()
    chunks = [[{"image": "a.png"}], [{"image": "gone.png"}, None], []]
    with ReadAhead(theirs, str(images)) as found:
        for chunk in chunks:
            ours.send(chunk)
        assert [next(found) for _ in chunks] == chunks
        ours.close()
        with pytest.raises(EOFError):
            next(found)
