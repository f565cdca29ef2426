"""A job's folder: shards in order, resumed without a post lost or doubled, refused where it would mix two jobs."""

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import DocBin

from rivega_spacy.jobs.annotate import EngineOptions, annotate_job
from rivega_spacy.jobs.bulk.annotating import AnnotateWork
from rivega_spacy.jobs.bulk.job import JobOptions
from rivega_spacy.jobs.bulk.local import LocalEngine
from rivega_spacy.jobs.bulk.tally import Tally
from rivega_spacy.post.errors import OutputError, RivegaError, SetupError
from rivega_spacy.post.post_files import read_posts

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers are then forked, and begin at once.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def do_job(model: str, posts: Path, folder: Path, *, workers: int = 2, form: str = "jsonl", **options: Any) -> Tally:
    options = {"shard_size": 10, "chunk_size": 4, **options}
    work = AnnotateWork(model, form=form)
    _, tallies = annotate_job(
        read_posts(posts), folder, work, JobOptions(form=form, **options), EngineOptions(workers=workers), report=print
    )
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


def rows_of(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("part-*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf8").split("\n") if line]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def wanted(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.slow
def test_shards_in_order_and_a_manifest(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(25, {3: "Ada SLOW", 24: "nobody"})
    total = do_job(pipeline, posts, tmp_path / "job", inputs=["posts.jsonl"])
    assert (total.posts, total.entities, total.failed) == (25, 24, 0)
    rows = rows_of(tmp_path / "job")
    assert ids(rows) == wanted(25) and rows[0]["ents"][0]["text"] == "Ada"
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert [shard["posts"] for shard in manifest["shards"]] == [10, 10, 5] and manifest["complete"]
    assert manifest["counts"] == {"posts": 25, "entities": 24, "grounded": 0, "failed": 0}
    assert manifest["inputs"] == ["posts.jsonl"] and manifest["identity"]["pipeline"]["name"] == "rivega_pipeline"
    # With another number of workers the bytes are the same.
    do_job(pipeline, posts, tmp_path / "one", workers=1, inputs=["posts.jsonl"])
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "job")


@pytest.mark.slow
def test_failures_are_counted_by_component(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(12, image="nowhere.jpg", ents=[[0, 99, "PER"]])
    with posts.open("a") as lines:
        lines.write("no json\n")
    total = do_job(pipeline, posts, tmp_path / "job")
    manifest = json.loads((tmp_path / "job" / "manifest.json").read_text())
    assert total.failed == manifest["counts"]["failed"] == 13
    assert manifest["failures"]["post"]["posts"] == 13 and len(manifest["failures"]["post"]["examples"]) == 3
    assert "E012" in manifest["failures"]["post"]["examples"][0] and "E011" in rows_of(tmp_path / "job")[12]["errors"][0]["message"]


@pytest.mark.slow
def test_appended_posts_follow(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "job"
    do_job(pipeline, write_posts(15), folder)
    before = bytes_of(folder)
    assert do_job(pipeline, write_posts(15), folder, resume=True).posts == 15
    assert bytes_of(folder) == before
    total = do_job(pipeline, write_posts(32), folder, resume=True)
    assert total.posts == 32 and ids(rows_of(folder)) == wanted(32)
    after = bytes_of(folder)
    assert all(after[name] == data for name, data in before.items() if name.startswith("part-"))


@pytest.mark.slow
def test_a_job_does_not_go_on_with_something_else(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "job"
    do_job(pipeline, write_posts(15), folder)
    before = bytes_of(folder)
    with pytest.raises(RivegaError, match="E842.*15 posts"):
        do_job(pipeline, write_posts(15), folder)
    for count, texts in ((15, {12: "other"}), (14, {})):
        with pytest.raises(RivegaError, match="E846.*11 to 15"):
            do_job(pipeline, write_posts(count, texts), folder, resume=True)
    with pytest.raises(RivegaError, match="E843.*shard_size was 10, is 5"):
        do_job(pipeline, write_posts(15), folder, resume=True, shard_size=5)
    nlp = spacy.load(pipeline)
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Bob"}])
    nlp.to_disk(tmp_path / "other")
    with pytest.raises(RivegaError, match=r"E843.*pipeline\.files was"):
        do_job(str(tmp_path / "other"), write_posts(15), folder, resume=True)
    assert {name: data for name, data in bytes_of(folder).items() if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    assert do_job(str(tmp_path / "other"), write_posts(12), folder, restart=True).posts == 12
    assert ids(rows_of(folder)) == wanted(12)


@pytest.mark.slow
def test_folders_that_are_no_jobs(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").touch()
    for options in ({}, {"resume": True}, {"restart": True}):
        with pytest.raises(RivegaError, match=r"E847.*holiday\.jpg"):
            do_job(pipeline, posts, tmp_path / "mine", **options)
    with pytest.raises(RivegaError, match="E053"):
        do_job(pipeline, posts, posts)
    with pytest.raises(RivegaError, match="E209"):
        do_job(pipeline, posts, tmp_path / "job", shard_size=0)
    do_job(pipeline, posts, tmp_path / "job")
    (tmp_path / "job" / "manifest.json").write_text("{")
    with pytest.raises(RivegaError, match="E844"):
        do_job(pipeline, posts, tmp_path / "job", resume=True)


@pytest.mark.slow
def test_a_lost_shard_is_made_again(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    folder, posts = tmp_path / "job", write_posts(35)
    do_job(pipeline, posts, folder)
    before = bytes_of(folder)
    (folder / "part-00001.jsonl").write_text("cut")
    (folder / "part-00003.jsonl").unlink()
    kept = (folder / "part-00002.jsonl").stat().st_ino
    assert do_job(pipeline, posts, folder, resume=True).posts == 35
    assert bytes_of(folder) == before and (folder / "part-00002.jsonl").stat().st_ino == kept


@pytest.mark.slow
def test_failed_posts_are_done_again_where_that_is_asked_for(
    pipeline: str, write_posts: Callable[..., Path], tmp_path: Path
) -> None:
    folder, posts = tmp_path / "job", write_posts(25, {12: "Ada ONCE"}, knowledge=str(tmp_path / "none" / "mark"))
    # The mark cannot be made, so the component raises.
    assert do_job(pipeline, posts, folder).failed == 1
    assert do_job(pipeline, posts, folder, resume=True).failed == 1
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "mark").touch()
    total = do_job(pipeline, posts, folder, resume=True, failed_again=True)
    assert (total.posts, total.failed) == (25, 0) and ids(rows_of(folder)) == wanted(25)


@pytest.mark.slow
def test_two_at_once_are_refused(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts, folder = write_posts(30), tmp_path / "job"
    _, first = annotate_job(read_posts(posts), folder, AnnotateWork(pipeline), JobOptions(shard_size=10), EngineOptions())
    next(first)
    with pytest.raises(RivegaError, match="E848"):
        do_job(pipeline, posts, folder, resume=True)
    first.close()  # type: ignore[attr-defined]
    assert do_job(pipeline, posts, folder, resume=True).posts == 30


@pytest.mark.slow
def test_the_post_that_kills_its_worker_is_found(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(30, {7: "Ada KILL", 8: "Ada KILL too"})
    total = do_job(pipeline, posts, tmp_path / "job", workers=2)
    rows = rows_of(tmp_path / "job")
    assert ids(rows) == wanted(30) and total.failed == 2
    for row in rows:
        if row["id"] in ("7", "8"):
            (error,) = row["errors"]
            assert error["component"] == "job" and "E841" in error["message"] and "SIGKILL" in error["message"]
            assert row["ents"] == [] and row["text"].startswith("Ada KILL")
        else:
            assert row["errors"] == [] and len(row["ents"]) == 1


@pytest.mark.slow
def test_a_worker_killed_once_leaves_no_trace(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(30, {7: "Ada ONCE"}, knowledge=str(tmp_path / "mark"))
    assert do_job(pipeline, posts, tmp_path / "killed").failed == 0
    assert (tmp_path / "mark").exists()
    do_job(pipeline, posts, tmp_path / "whole")
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_job_goes_on(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    # Held in the second, the fourth and the last shard.
    held = (15, 35, 55)
    posts = write_posts(60, {number: f"Ada WAIT {number}" for number in held}, knowledge=str(tmp_path / "go"))
    folder = tmp_path / "job"
    for number in held:
        job = FORK.Process(target=do_job, args=(pipeline, posts, folder), kwargs={"resume": True})
        job.start()
        done = len(list(folder.glob("part-*")))
        while len(list(folder.glob("part-*"))) == done:
            assert job.is_alive()
            time.sleep(0.01)
        os.kill(job.pid, signal.SIGKILL)  # type: ignore[arg-type]
        job.join()
        assert len(list(folder.glob("part-*"))) <= number // 10
        (tmp_path / f"go-{number}").touch()
    assert do_job(pipeline, posts, folder, resume=True).posts == 60
    do_job(pipeline, posts, tmp_path / "whole")
    assert bytes_of(folder) == bytes_of(tmp_path / "whole")


def _with_little_room(*args: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    # Of modules imported here Python would keep the first 2000 bytes.
    sys.dont_write_bytecode = True
    try:
        do_job(*args)
    except OutputError as error:
        os._exit(3 if "E052" in str(error) else 4)


@pytest.mark.slow
def test_no_room(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    # The third shard is larger than any file may be.
    posts = write_posts(40, {25: "Ada " * 2000})
    folder = tmp_path / "job"
    job = FORK.Process(target=_with_little_room, args=(pipeline, posts, folder))
    job.start()
    job.join()
    assert job.exitcode == 3
    assert do_job(pipeline, posts, folder, resume=True).posts == 40 and ids(rows_of(folder)) == wanted(40)
    assert not list(folder.glob(".*.part"))


@pytest.mark.slow
def test_other_forms(pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(25, {3: "Ada KILL"}, mine=[1, "two"], caption="a song")
    do_job(pipeline, posts, tmp_path / "jsonl")
    do_job(pipeline, posts, tmp_path / "docbin", form="docbin")
    nlp = spacy.load(pipeline)
    files = sorted((tmp_path / "docbin").glob("part-*.spacy"))
    docs = [doc for file in files for doc in DocBin(store_user_data=True).from_disk(file).get_docs(nlp.vocab)]
    rows = rows_of(tmp_path / "jsonl")
    assert [doc.user_data["id"] for doc in docs] == ids(rows) and [doc._.caption for doc in docs] == ["a song"] * 25
    assert [[ent.text for ent in doc.ents] for doc in docs] == [[ent["text"] for ent in row["ents"]] for row in rows]
    assert "E841" in docs[3]._.rivega_errors[0]["message"]
    parquet = pytest.importorskip("pyarrow.parquet")
    do_job(pipeline, posts, tmp_path / "parquet", form="parquet")
    tables = [parquet.read_table(file) for file in sorted((tmp_path / "parquet").glob("part-*.parquet"))]
    found = [row for table in tables for row in table.to_pylist()]
    for row, line in zip(found, rows):
        assert json.loads(row.pop("own")) == {"mine": line.pop("mine")}
        assert row == line


@pytest.mark.slow
def test_pipelines_that_cannot_begin(write_posts: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RivegaError, match="E500"):
        do_job("nowhere", write_posts(3), tmp_path / "job")

    class Dying(AnnotateWork):
        def load(self) -> Any:
            os._exit(7)

    engine = LocalEngine(Dying("x"), 1)
    # Loading in this process, to fork it, would end the tests.
    engine._forks = False
    engine._context = multiprocessing.get_context("fork")
    from rivega_spacy.jobs.bulk.scheduling import Scheduler

    with pytest.raises(SetupError, match="E845.*exit status 7"):
        list(Scheduler(engine, Dying("x")).run([[{"text": "Ada"}]]))


def test_posts_that_are_no_json(pipeline: str, tmp_path: Path) -> None:
    def posts() -> Iterator[dict[str, Any]]:
        yield {"id": "a", "text": "Ada", "image": b"bytes are taken"}
        yield {"id": "b", "text": "Ada", "image": object()}

    _, tallies = annotate_job(posts(), tmp_path / "job", AnnotateWork(pipeline), JobOptions(), EngineOptions())
    with pytest.raises(RivegaError, match="E840.*Post b"):
        list(tallies)
