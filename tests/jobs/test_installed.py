"""`rivega info`, `rivega doctor` and `rivega benchmark` say what is there, and what is not."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import spacy
import torch
from PIL import Image
from segmenter_tiny import TINY

from rivega_spacy.cli import main
from rivega_spacy.jobs import doctor
from rivega_spacy.jobs.benchmark import measure_speed, peak_memory
from rivega_spacy.jobs.doctor import examine
from rivega_spacy.jobs.machine import read_machine
from rivega_spacy.jobs.pipeline_info import describe_pipeline

ENT = {"start": 0, "end": 3, "label": "PER", "groundable": True, "boxes": [[2, 2, 20, 15]]}


@pytest.fixture(scope="module")
def machine():
    return read_machine()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pipeline with a rule, a network and a part without model, and posts."""
    folder = tmp_path_factory.mktemp("installed")
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler")
    nlp.add_pipe("rivega_expander")
    nlp.add_pipe("rivega_segmenter", config={"model": TINY})
    nlp.initialize()
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk(folder / "pipeline")
    Image.fromarray(np.zeros((20, 30, 3), dtype="uint8")).save(folder / "a.png")
    posts = [{"id": str(number), "text": f"Ada {number}", "image": "a.png", "ents": [ENT]} for number in range(5)]
    (folder / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    return folder


def test_versions_and_devices(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["machine"]
    assert found["versions"]["spacy"] == version("spacy") and found["versions"]["torch"] == torch.__version__
    assert found["cores"] >= 1 and found["threads"] == torch.get_num_threads()
    assert len(found["gpus"]) == torch.cuda.device_count()
    assert main(["info"]) == 0
    assert "--gpu-id 0" in (out := capsys.readouterr().out) or "no graphics card" in out


@pytest.mark.slow
def test_parts_of_a_pipeline(folder, capsys):
    assert main(["info", str(folder / "pipeline"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)["pipeline"]
    parts = {part["name"]: part for part in about["parts"]}
    assert list(parts) == ["entity_ruler", "rivega_expander", "rivega_segmenter"]
    network = spacy.load(folder / "pipeline").get_pipe("rivega_segmenter").model.shims[0]._model
    assert parts["rivega_segmenter"]["parameters"] == sum(weight.numel() for weight in network.parameters()) > 1000
    assert parts["rivega_segmenter"]["architecture"].startswith("rivega.SmallSegmenter")
    assert parts["rivega_segmenter"]["writes"] == ["span._.mask_rle", "span._.mask", "span._.mask_score", "span._.boxes"]
    assert parts["rivega_segmenter"]["disk_bytes"] == sum(
        file.stat().st_size for file in (folder / "pipeline/rivega_segmenter").rglob("*") if file.is_file()
    )
    assert parts["rivega_expander"]["parameters"] == 0
    assert main(["info", str(folder / "pipeline")]) == 0
    assert f"{parts['rivega_segmenter']['parameters']:,}" in capsys.readouterr().out
    assert main(["info", "no_such_pipeline"]) == 2


def test_weights_that_two_parts_share_are_counted_once(folder):
    nlp = spacy.load(folder / "pipeline")
    once = describe_pipeline(nlp)
    nlp.add_pipe("rivega_segmenter", name="again", config={"model": TINY})
    nlp.get_pipe("again").model = nlp.get_pipe("rivega_segmenter").model
    twice = describe_pipeline(nlp)
    assert twice.parts[-1].memory_bytes == 0 and twice.parts[-2] == once.parts[-1]


@pytest.mark.slow
def test_a_sound_installation(folder, capsys):
    assert main(["doctor", str(folder / "pipeline")]) == 0
    out = capsys.readouterr().out
    assert "0 problems" in out and "annotates a post (1 entities found)" in out and "--gpu-id N" in out and "CuPy" in out
    assert main(["doctor", "--no-pipeline", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {finding["state"] for finding in found} <= {"ok", "missing", "advice"}
    assert all(finding["remedy"] for finding in found if finding["state"] != "ok")


def test_a_pipeline_that_does_not_work(folder, capsys):
    assert main(["doctor", "no_such_pipeline"]) == 1
    assert "!!  no_such_pipeline" in (out := capsys.readouterr().out) and "E500" in out and "1 problems" in out


def test_packages_that_are_missing_or_do_not_fit(machine, monkeypatch):
    versions = {"pyarrow": None, "openai": "0.1", "torch": "1.0"}

    def found(name):
        if name in versions:
            if versions[name] is None:
                raise doctor.PackageNotFoundError(name)
            return versions[name]
        return version(name)

    monkeypatch.setattr(doctor, "version", found)
    findings = {finding.about: finding for finding in examine(machine, None)}
    assert findings["torch"].state == "problem" and "1.0" in findings["torch"].detail
    assert findings["Parquet, in and out"].state == "missing" and "rivega_spacy[export]" in findings["Parquet, in and out"].remedy
    (client,) = (finding for about, finding in findings.items() if about.startswith("language models"))
    assert client.state == "missing" and "openai is 0.1" in client.detail


def test_graphics_cards(machine):
    def finding(**values):
        with_card = replace(machine, **{"gpus": [], "cupy": False, "nvidia": False, "cuda": None, **values})
        (found,) = (each for each in examine(with_card, None) if each.about == "graphics card")
        return found

    card = [{"gpu_id": 0, "name": "H100", "memory_bytes": 1}]
    assert finding().state == "ok" and "CPU" in finding().detail
    assert finding(gpus=card, cuda="12.4", cupy=True, nvidia=True).state == "ok"
    assert "cupy-cuda12x" in finding(gpus=card, cuda="12.4", nvidia=True).remedy
    assert "pytorch.org" in finding(nvidia=True).remedy
    assert "nvidia-smi" in finding(nvidia=True, cuda="12.4").remedy


@pytest.mark.slow
def test_speed_by_stage(folder):
    posts = [json.loads(line) for line in (folder / "posts.jsonl").read_text(encoding="utf8").splitlines()]
    speed = measure_speed(str(folder / "pipeline"), [*posts, {"text": "Ada", "image": "none.png", "ents": [ENT]}], folder, 2)
    assert list(speed.stages_s) == ["reading", "entity_ruler", "rivega_expander", "rivega_segmenter", "writing"]
    assert all(seconds > 0 for seconds in speed.stages_s.values())
    assert (speed.posts, speed.entities, speed.failed) == (6, 6, 1)
    assert speed.posts_per_s == pytest.approx(6 / sum(speed.stages_s.values()))
    assert 0 < speed.loaded_bytes <= speed.memory_bytes <= peak_memory()


@pytest.mark.slow
def test_each_batch_size_in_a_process_of_its_own(folder, capsys, monkeypatch):
    command = ["benchmark", str(folder / "pipeline"), str(folder / "posts.jsonl"), "--batch-size", "2"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "5 posts, 5 entities" in out and "rivega_segmenter" in out and "peak memory" in out
    # The form of the output takes no second process.
    monkeypatch.setattr("rivega_spacy.jobs.benchmark.ProcessPoolExecutor", lambda count, mp_context: ThreadPoolExecutor(count))
    assert main([*command, "--limit", "3", "--json"]) == 0
    assert [(each["batch_size"], each["posts"]) for each in json.loads(capsys.readouterr().out)] == [(2, 3)]


def test_calls_that_measure_nothing(folder, capsys):
    (folder / "empty.jsonl").write_text("")
    pipeline, posts = str(folder / "pipeline"), str(folder / "posts.jsonl")
    for words, code in (
        ([str(folder / "empty.jsonl")], "E832"),
        ([posts, "--batch-size", "0"], "E209"),
        ([posts, "--limit", "-1"], "E209"),
        (["none.jsonl"], "E020"),
    ):
        assert main(["benchmark", pipeline, *words]) == 2
        assert code in capsys.readouterr().err
