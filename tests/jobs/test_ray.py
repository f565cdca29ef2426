"""The same job on a Ray cluster: equal bytes, with a worker, a node or the driver killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rivega_spacy.jobs.annotate import EngineOptions, annotate_job
from rivega_spacy.jobs.bulk.annotating import AnnotateWork
from rivega_spacy.jobs.bulk.job import JobOptions
from rivega_spacy.post.errors import SetupError
from rivega_spacy.post.post_files import read_posts

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'rivega_spacy[cluster]'")
pytestmark = pytest.mark.slow
TESTS = Path(__file__).resolve().parents[1]


class TroubleWork(AnnotateWork):
    """With the component that makes trouble, which the workers of a cluster do not know by themselves."""

    def load(self) -> Any:
        from . import conftest  # noqa: F401

        return super().load()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two cores on this machine beside the driver's own, which has none."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(PYTHONPATH=os.pathsep.join([str(TESTS.parent), str(TESTS)]), RAY_worker_niceness="0", OMP_NUM_THREADS="1")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_health_check_period_ms="500", RAY_health_check_failure_threshold="20")
    store = {"object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.2", **store})
    for _ in range(2):
        cluster.add_node(num_cpus=2, node_ip_address="127.0.0.2", object_store_memory=store["object_store_memory"])
    ray.init(address=cluster.address, log_to_driver=False, _node_ip_address="127.0.0.2")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)


def begin(model: str, posts: Path, folder: Path, *, engine: str = "ray", workers: int = 2, **options: Any) -> Iterator[Any]:
    settings = JobOptions(shard_size=20, chunk_size=4, inputs=["posts"], **options)
    _, tallies = annotate_job(
        read_posts(posts), folder, TroubleWork(model), settings, EngineOptions(engine, workers, "auto" if engine == "ray" else None)
    )
    return tallies


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def workers_of_ray() -> list[int]:
    """Process ids of the actors."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::Actor" in (folder / "cmdline").read_bytes() and os.stat(folder).st_uid == os.getuid():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def slow_posts(write_posts: Callable[..., Path]) -> Path:
    return write_posts(120, {number: f"Ada SLOW {number}" for number in range(120)})


@pytest.fixture
def wanted(pipeline: str, slow_posts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the local engine writes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    list(begin(pipeline, slow_posts, tmp_path / "local", engine="local"))
    return bytes_of(tmp_path / "local")


def test_a_killed_worker_and_a_killed_node_lose_nothing(
    cluster: Any, pipeline: str, slow_posts: Path, wanted: dict[str, bytes], tmp_path: Path
) -> None:
    tallies = begin(pipeline, slow_posts, tmp_path / "job", workers=3)
    done = 0
    for number, tally in enumerate(tallies):
        done += tally.posts
        if number == 3:
            os.kill(workers_of_ray()[0], signal.SIGKILL)
        if number == 12:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert done == 120 and bytes_of(tmp_path / "job") == wanted
    cluster.add_node(num_cpus=2, node_ip_address="127.0.0.2", object_store_memory=80 * 1024 * 1024)


def test_a_post_that_kills_is_found(cluster: Any, pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    posts = write_posts(12, {5: "Ada KILL"})
    assert sum(tally.failed for tally in begin(pipeline, posts, tmp_path / "job", workers=2)) == 1
    rows = [json.loads(line) for line in (tmp_path / "job" / "part-00000.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows if row["errors"]] == ["5"] and "E841" in rows[5]["errors"][0]["message"]
    assert [row["id"] for row in rows] == [str(number) for number in range(12)]


def test_a_killed_driver_goes_on(cluster: Any, pipeline: str, write_posts: Callable[..., Path], tmp_path: Path) -> None:
    # Held in the fourth shard of six.
    posts = write_posts(120, {65: "Ada WAIT 65"}, knowledge=str(tmp_path / "go"))
    folder = tmp_path / "job"
    code = (
        "import sys; from pathlib import Path; from jobs.test_ray import begin, ray; ray.init(address=sys.argv[4], log_to_driver=False, _node_ip_address='127.0.0.2'); "
        "list(begin(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), resume=True))"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, pipeline, str(posts), str(folder), cluster.address])
    while not list(folder.glob("part-*")) and driver.poll() is None:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert 0 < len(list(folder.glob("part-*"))) < 6
    (tmp_path / "go-65").touch()
    list(begin(pipeline, posts, folder, resume=True))
    list(begin(pipeline, posts, tmp_path / "local", engine="local"))
    assert bytes_of(folder) == bytes_of(tmp_path / "local")


def test_pipelines_and_clusters_that_are_not_there(cluster: Any, pipeline: str, slow_posts: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="E853.*no room"):
        begin_with_gpu(pipeline, slow_posts, tmp_path / "job")
    (tmp_path / "broken").mkdir()
    with pytest.raises(ValueError, match="E058"):
        list(begin(str(tmp_path / "broken"), slow_posts, tmp_path / "job"))


def begin_with_gpu(pipeline: str, posts: Path, folder: Path) -> None:
    options = EngineOptions("ray", 1, "auto", gpus=1.0)
    annotate_job(read_posts(posts), folder, AnnotateWork(pipeline), JobOptions(), options)
