"""A disk that is full: it is said which file it was, nothing that was acknowledged is lost, no half of a file is left, and one can go on.

Twice: on a small file system where this process may mount one, and by the limit of a file's size, which everybody may set.
"""

import contextlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import spacy
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.export.writing import FORMS, export_posts
from rivega_spacy.jobs.annotate import EngineOptions, annotate_here, annotate_job
from rivega_spacy.jobs.bulk.annotating import AnnotateWork
from rivega_spacy.jobs.bulk.job import JobOptions
from rivega_spacy.knowledge.collection import Collection, build
from rivega_spacy.llm.store import AnswerStore, Record
from rivega_spacy.post.errors import OutputError, RivegaError
from rivega_spacy.post.post_files import read_posts
from rivega_spacy.post.posts import annotate, write_posts
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.serve.correcting import CorrectionQueue

COUNT = 40


class Limited:
    """A folder in which no file may become larger than a few bytes, where the disk is full."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        # Modules imported meanwhile: Python would keep 60 bytes of each beside its source, and fail on them from then on.
        kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield
        finally:
            sys.dont_write_bytecode = kept
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Mounted:
    """A file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filler = path / "filler"

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        with open(self.filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            self.filler.unlink()


@pytest.fixture(params=["limited", "mounted"])
def disk(request, tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "limited":
        yield Limited(place)
        return
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this process may not mount a file system")
    yield Mounted(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


def files(place: Path) -> dict[str, bytes]:
    """What is there, but for what fills the disk."""
    return {
        path.relative_to(place).as_posix(): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name != "filler"
    }


@pytest.fixture
def pipeline(tmp_path):
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk(tmp_path / "pipeline")
    return nlp


@pytest.fixture
def posts(tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png")
    rows = [{"id": str(number), "text": f"Ada {number} " + "words " * 20, "image": "a.png"} for number in range(COUNT)]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return tmp_path / "posts.jsonl"


@pytest.fixture
def docs(pipeline, posts):
    found = list(annotate(pipeline, read_posts(posts), images=posts.parent))
    mask = np.zeros((60, 80), bool)
    mask[10:20, 10:30] = True
    for doc in found:
        ada = doc.ents[0]
        ada._.groundable, ada._.boxes, ada._.mask_rle = True, [[10.0, 10.0, 30.0, 20.0]], encode_mask(mask)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_exports(disk, docs, form):
    out = disk.path / "deep" / "out"
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\].*out"):
        export_posts(docs, out, form)
    assert files(disk.path) == {}
    export_posts(docs, out, form)
    before = files(disk.path)
    assert before
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\]"):
        export_posts(docs[:1], out, form)
    assert files(disk.path) == before


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
@pytest.mark.slow
def test_posts(disk, docs, pipeline, posts, name):
    out = disk.path / name
    with disk.full():
        with pytest.raises(OutputError, match=rf"\[E052\].*{name}"):
            list(write_posts(docs, out))
        with pytest.raises(OutputError, match=rf"\[E052\].*{name}"):
            list(annotate_here(read_posts(posts), out, AnnotateWork(str(posts.with_name("pipeline")))))
    assert files(disk.path) == {}


@pytest.mark.slow
def test_commands(disk, docs, posts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    list(write_posts(docs, tmp_path / "annotated.jsonl"))
    out = disk.path / "out"
    with disk.full():
        for command in (
            f"annotate posts.jsonl {out}.jsonl --model pipeline",
            f"convert annotated.jsonl {out}.spacy",
            f"export annotated.jsonl {out}.csv --to csv",
            f"render annotated.jsonl {out}",
        ):
            capsys.readouterr()
            assert main(command.split()) == 3, (command, capsys.readouterr().err)
            assert "[E052]" in capsys.readouterr().err
            assert files(disk.path) == {}, command


def job(posts, folder):
    options = JobOptions(form="jsonl", shard_size=10, chunk_size=5, resume=True)
    return annotate_job(
        read_posts(posts), folder, AnnotateWork(str(posts.with_name("pipeline"))), options, EngineOptions(workers=1), report=print
    )[1]


@pytest.mark.slow
def test_a_job_goes_on_when_there_is_room(disk, pipeline, posts, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = disk.path / "job"
    done = 0
    with contextlib.ExitStack() as stack:
        with pytest.raises(OutputError, match=r"\[E052\]"):
            for tally in job(posts, folder):
                done += tally.posts
                if done == 15:
                    stack.enter_context(disk.full())
        kept = files(folder)
        assert {name for name in kept if name.endswith(".jsonl")} == {"part-00000.jsonl"} and not any(
            ".part" in name for name in kept
        )
    assert sum(tally.posts for tally in job(posts, folder)) == COUNT
    after = files(folder)
    assert after["part-00000.jsonl"] == kept["part-00000.jsonl"]
    rows = [json.loads(line) for name in sorted(after) if name.endswith(".jsonl") for line in after[name].splitlines()]
    assert [row["id"] for row in rows] == [str(number) for number in range(COUNT)]


def record(number: int) -> Record:
    text = f"answer {number} " + "x" * 5000
    return Record(f"k{number}", f"q{number}", "m", "{}", "p", "1", "post", "", 0, text, "stop", 1, 2, float(number))


def test_answers_of_language_models(disk):
    path = disk.path / "answers.sqlite"
    store = AnswerStore(path)
    kept = []
    with contextlib.ExitStack() as stack:
        for number in range(10):
            store.put(record(number))
            kept.append(number)
        stack.enter_context(disk.full())
        refused = []
        for number in range(10, 30):
            try:
                store.put(record(number))
                kept.append(number)
            except RivegaError as error:
                refused.append(number)
                said = str(error)
        assert refused and "[E410]" in said and "answers.sqlite" in said
        # What was acknowledged is there, for this process and for another one.
        keys = [record(number).key for number in kept]
        assert len(store.get_many(keys)) == len(keys)
        for call in (lambda: store.claim(["new"]), lambda: store.release(["new"])):
            with contextlib.suppress(RivegaError):
                call()
    assert {key: answer.text for key, answer in AnswerStore(path).get_many(keys).items()} == {
        record(number).key: record(number).text for number in kept
    }
    # With room again the very same store goes on.
    for number in refused:
        store.put(record(number))
    assert len(store.get_many([record(number).key for number in range(30)])) == 30
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\]"):
        store.export(disk.path / "answers.jsonl")
    store.close()
    assert not (disk.path / "answers.jsonl").exists() and len(list(AnswerStore(path).records())) == 30


def test_a_store_that_there_is_no_room_for(disk):
    with disk.full(), pytest.raises(RivegaError, match=r"\[E410\].*answers\.sqlite"):
        AnswerStore(disk.path / "answers.sqlite").put(record(1))
    store = AnswerStore(disk.path / "answers.sqlite")
    store.put(record(1))
    assert len(store.get_many(["k1"])) == 1


def test_collections_of_passages(disk, tmp_path):
    first, more, path = tmp_path / "first.jsonl", tmp_path / "more.jsonl", disk.path / "passages.sqlite"
    first.write_text('{"text": "the arena of Oakland"}\n', encoding="utf8")
    more.write_text(
        "".join(json.dumps({"text": f"bridge {number} " + "words " * 90}) + "\n" for number in range(2000)), encoding="utf8"
    )
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\].*passages\.sqlite"):
        build([first], path)
    assert files(disk.path) == {}
    build([first], path)
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\].*passages\.sqlite"):
        build([first, more], path)
    found = Collection(path)
    assert [[passage.text for passage in row] for row in found.by_text(["Oakland"], 2)] == [["the arena of Oakland"]]
    # With room again it is gone on with.
    assert build([first, more], path).added >= 1 and len(found.by_text(["bridge"], 9)[0]) == 9


def test_corrected_posts(disk, posts):
    queue = CorrectionQueue(posts, disk.path / "c.jsonl")
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\].*c\.jsonl"):
        queue.save(1, [[0, 3, "PER"]], 0)
    assert files(disk.path) == {}
    queue.save(1, [[0, 3, "PER"]], 0)
    before = files(disk.path)
    with disk.full(), pytest.raises(OutputError, match=r"\[E052\]"):
        queue.save(2, [[0, 3, "PER"]], 0)
    assert files(disk.path) == before and queue.summary()["saved"] == 1 and not queue.item(2)["saved"]
    queue.save(2, [[0, 3, "PER"]], 0)
    again = CorrectionQueue(posts, disk.path / "c.jsonl")
    assert again.summary()["saved"] == 2
