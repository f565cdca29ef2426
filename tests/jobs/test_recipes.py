"""The recipes of docs/jobs.md on their engines: every one says what `nlp.pipe` says."""

import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy

from rivega_spacy.jobs.bulk.rows import RowAnnotator

POSTS = [
    {"id": str(number), "text": f"Ada sang song {number}", "image": None if number % 2 else "gone.jpg"} for number in range(20)
]


@pytest.fixture(scope="module")
def annotator(tmp_path_factory: pytest.TempPathFactory) -> RowAnnotator:
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    folder = tmp_path_factory.mktemp("plain")
    nlp.to_disk(folder)
    return RowAnnotator(str(folder), batch_size=8)


@pytest.fixture(scope="module")
def wanted(annotator: RowAnnotator) -> list[dict[str, Any]]:
    rows = list(annotator(POSTS))
    assert [row["id"] for row in rows] == [post["id"] for post in POSTS] and all(row["ents"] for row in rows)
    return rows


def test_multiprocessing(annotator: RowAnnotator, wanted: list[dict[str, Any]]) -> None:
    parts = [POSTS[start : start + 5] for start in range(0, 20, 5)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert [row for part in pool.imap(annotator.list, parts) for row in part] == wanted


@pytest.mark.slow
def test_dask(annotator: RowAnnotator, wanted: list[dict[str, Any]]) -> None:
    bag = pytest.importorskip("dask.bag", reason="pip install dask")
    found = bag.from_sequence(POSTS, npartitions=4).map_partitions(annotator.list).compute(scheduler="processes", num_workers=2)
    assert found == wanted


@pytest.mark.slow
def test_spark(annotator: RowAnnotator, wanted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pip install pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java: apt install default-jre-headless")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
    }
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        posts = spark.createDataFrame(POSTS, "id string, text string, image string").repartitionByRange(2, "id")
        frame = posts.mapInPandas(annotator.frames, "id string, text string, image string, annotation string")
        found = {row["id"]: json.loads(row["annotation"]) for row in frame.collect()}
        assert found == {row["id"]: row for row in wanted}
        lines = posts.rdd.mapPartitions(lambda rows: annotator(row.asDict() for row in rows)).collect()
        assert sorted(lines, key=lambda row: int(row["id"])) == wanted
    finally:
        spark.stop()


@pytest.mark.slow
def test_ray_data(annotator: RowAnnotator, wanted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="pip install 'rivega_spacy[cluster]'")
    pytest.importorskip("pandas")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]))
    for name, value in {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 1024 * 1024,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    try:
        posts = ray.data.from_items(POSTS, override_num_blocks=4)
        frames = posts.map_batches(annotator.frame, batch_format="pandas", batch_size=8)
        assert {row["id"]: json.loads(row["annotation"]) for row in frames.take_all()} == {row["id"]: row for row in wanted}
    finally:
        ray.shutdown()
