"""`rivega assemble-open`: which networks, what is asked before a download, and a pipeline from small folders, without a network connection."""

import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from backends.sam.test_segmenter import tiny_hf
from blank import blank_nlp
from tiny_networks import DEMO, tiny_owlv2

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.jobs import open_models
from rivega_spacy.jobs.open_models import GROUNDERS, PROFILES, SEGMENTERS, fetch, make_plan
from rivega_spacy.post.errors import RivegaError


@pytest.fixture
def base(tmp_path):
    """A pipeline that finds Eileen Collins, without networks."""
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Eileen Collins"}, {"label": "ORG", "pattern": "NASA"}])
    nlp.add_pipe("rivega_expander")
    nlp.to_disk(tmp_path / "base")
    return str(tmp_path / "base")


@pytest.fixture
def networks(tmp_path):
    detector = tiny_owlv2(tmp_path / "owlv2")
    tiny_hf(False).save_pretrained(tmp_path / "sam")
    return detector, str(tmp_path / "sam")


def posts(nlp):
    doc = nlp.make_doc("Astronaut Eileen Collins before her flight for NASA")
    doc._.image = str(DEMO / "images" / "astronaut.jpg")
    return doc


@pytest.mark.slow
def test_a_pipeline_from_folders_is_saved_runs_and_needs_the_detector_no_more(base, networks, tmp_path, capsys):
    detector, sam = networks
    nlp = blank_nlp()
    dev = posts(nlp)
    dev.ents = [dev.char_span(10, 24, label="PER"), dev.char_span(47, 51, label="ORG")]
    dev.ents[0]._.groundable, dev.ents[1]._.groundable = True, False
    write_docbin([dev], tmp_path / "dev.spacy")
    out = tmp_path / "open"
    call = ["assemble-open", str(out), "--base", base, "--grounder", f"OWLv2={detector}", "--segmenter", f"HFSam={sam}"]
    assert main([*call, "--dev", str(tmp_path / "dev.spacy")]) == 0
    said = capsys.readouterr().out
    assert f"rivega.OWLv2.v1             {detector} (a folder of this machine)" in said and "on 2 entities" in said
    shutil.rmtree(detector)
    shutil.rmtree(sam)
    # Each network is there once, and goes with the folder.
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.safetensors")) == [
        "networks/0/model.safetensors",
        "networks/1/model.safetensors",
    ]
    assert all((out / name / "model").stat().st_size < 10_000 for name in ("rivega_entailment", "rivega_grounder"))
    (tmp_path / "elsewhere").mkdir()
    out = out.rename(tmp_path / "elsewhere" / "moved")
    nlp = spacy.load(out)
    assert nlp.pipe_names[-3:] == ["rivega_entailment", "rivega_grounder", "rivega_segmenter"]
    doc = nlp(posts(nlp))
    assert doc._.rivega_errors == [] and [ent.text for ent in doc.ents] == ["Eileen Collins", "NASA"]
    assert all(ent._.groundable_score is not None for ent in doc.ents)
    nlp.get_pipe("rivega_entailment").cfg["threshold"] = 0.0
    shown = nlp(posts(nlp)).ents[0]
    assert shown._.groundable and shown._.box is not None and shown._.mask_score is not None
    [grounder, segmenter] = srsly.read_json(out / "open_models.json")
    assert grounder["function"] == "rivega.OWLv2.v1" and segmenter["name"] == sam and grounder["revision"] == ""


@pytest.mark.slow
def test_both_components_hold_one_network_and_keep_it_when_saved_again(base, networks, tmp_path):
    detector, sam = networks
    out = tmp_path / "open"
    assert main(["assemble-open", str(out), "--base", base, "--grounder", f"OWLv2={detector}", "--segmenter", f"HFSam={sam}"]) == 0
    nlp = spacy.load(out)
    judge, grounder = nlp.get_pipe("rivega_entailment").model.layers[0], nlp.get_pipe("rivega_grounder").model
    assert judge.shims[0].ready() is grounder.shims[0].ready()
    with pytest.raises(RivegaError, match="E906"):
        grounder.attrs["train_step"](grounder, [], [], dropout=0.0)
    with pytest.raises(RivegaError, match="E906"):
        grounder.attrs["load"](grounder, detector)
    nlp.to_disk(out)
    text = (out / "config.cfg").read_text(encoding="utf8")
    assert text.count('"{pipeline}/networks/0"') == 2 and text.count('"{pipeline}/networks/1"') == 1 and str(tmp_path) not in text
    boxes = [[ent._.box for ent in pipeline(posts(pipeline)).ents] for pipeline in (nlp, spacy.load(out))]
    assert boxes[0] == boxes[1]


REVISION = "0123456789abcdef0123456789abcdef01234567"


def in_cache(cache, name, folder):
    """Lay a folder out as the hub's client keeps downloads: blobs by digest, links to them by revision, what `main` is."""
    root = cache / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / REVISION
    for place in (snapshot, root / "blobs", root / "refs"):
        place.mkdir(parents=True)
    (root / "refs" / "main").write_text(REVISION)
    for number, file in enumerate(sorted(Path(folder).iterdir())):
        blob = root / "blobs" / f"{number:040d}"
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(blob)


@pytest.mark.slow
def test_the_hubs_cache_serves_without_a_connection_and_revisions_are_pinned(base, networks, tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    names = (GROUNDERS["owlv2"].name, SEGMENTERS["sam-base"].name)
    for name, folder in zip(names, networks):
        in_cache(cache, name, folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.delenv("RIVEGA_HUB", raising=False)
    call = ["--base", base, "--grounder", "owlv2", "--segmenter", "sam-base"]
    assert main(["assemble-open", str(tmp_path / "open"), *call]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} at revision {REVISION}" in said for name in names)
    shutil.rmtree(cache / f"models--{names[0].replace('/', '--')}" / "refs")
    record = tmp_path / "open" / "open_models.json"
    assert [row["revision"] for row in srsly.read_json(record)] == [REVISION, REVISION]
    # The record pins: `main` is not asked for, and need not be known.
    assert main(["assemble-open", str(tmp_path / "again"), *call, "--pins", str(record)]) == 0
    shutil.rmtree(cache)
    assert spacy.load(tmp_path / "again")(posts(spacy.load(tmp_path / "open"))).ents[0]._.groundable_score is not None
    # A download that was broken off is none, and a file of something else is no record.
    with pytest.raises(RivegaError, match="E911"):
        fetch(make_plan("laptop", grounder="owlv2", segmenter="sam-base"), agree=lambda lines: False)
    with pytest.raises(RivegaError, match="E912"):
        make_plan("laptop", pins=tmp_path / "open" / "meta.json")


def test_a_part_of_a_download_is_not_taken_for_the_network(networks, tmp_path, monkeypatch):
    from huggingface_hub import constants

    (Path(networks[0]) / "model.safetensors").unlink()
    in_cache(tmp_path / "cache", GROUNDERS["owlv2"].name, networks[0])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RivegaError, match="E911.*owlv2-base"):
        fetch(make_plan("laptop", grounder="owlv2", segmenter="base"), agree=lambda lines: False)


@pytest.mark.slow
def test_without_entailment_everything_is_looked_for(base, networks, tmp_path):
    detector, sam = networks
    call = [
        "assemble-open",
        str(tmp_path / "open"),
        "--base",
        base,
        "--grounder",
        f"OWLv2={detector}",
        "--segmenter",
        f"HFSam={sam}",
    ]
    assert main([*call, "--entailment", "none"]) == 0
    nlp = spacy.load(tmp_path / "open")
    assert "rivega_entailment" not in nlp.pipe_names
    assert all(np.isfinite(ent._.box).all() for ent in nlp(posts(nlp)).ents)


@pytest.mark.slow
def test_a_server_is_asked_in_the_conventions_of_its_model(base, tmp_path):
    pytest.importorskip("openai")
    call = ["assemble-open", str(tmp_path / "open"), "--base", base, "--profile", "server", "--chat-model", "gemini-2.5-flash"]
    assert main(call) == 0
    model = spacy.load(tmp_path / "open").config["components"]["rivega_grounder"]["model"]
    assert model["convention"] == "auto" and model["client"]["model"] == "gemini-2.5-flash"


def test_nothing_is_downloaded_without_a_yes(monkeypatch, tmp_path):
    asked, taken = [], []

    def snapshot(name, revision, *, local):
        if local:
            raise OSError("not in the cache")
        taken.append((name, revision))
        for file in ("config.json", "model.safetensors"):
            (tmp_path / file).touch()
        return str(tmp_path)

    monkeypatch.setattr(open_models, "_snapshot", snapshot)
    monkeypatch.delenv("RIVEGA_HUB", raising=False)
    plan = make_plan("gpu", grounder="OWLv2=google/owlv2-base-patch16-ensemble@abc123", segmenter="sam-huge")
    with pytest.raises(RivegaError, match="E911.*facebook/sam-vit-huge.*not agreed"):
        fetch(plan, agree=lambda lines: asked.extend(lines))
    assert taken == [] and len(asked) == 2
    assert "at abc123" in asked[0] and "2564 MB, Apache 2.0" in asked[1]
    folders = fetch(plan, agree=lambda lines: True)
    assert taken == [("google/owlv2-base-patch16-ensemble", "abc123"), ("facebook/sam-vit-huge", None)]
    assert set(folders) == {name for name, _ in taken}


def test_profiles_fit_the_installed_transformers(monkeypatch):
    monkeypatch.setattr(open_models, "installed", lambda package: (4, 53, 2))
    old = make_plan("laptop")
    assert (old.grounder, old.segmenter) == (GROUNDERS["owlv2"], SEGMENTERS["sam-base"])
    monkeypatch.setattr(open_models, "installed", lambda package: (4, 57, 6))
    new = make_plan("laptop")
    assert (new.grounder, new.segmenter) == (GROUNDERS["mm-grounding-dino"], SEGMENTERS["sam2-tiny"])
    assert make_plan("server") == (None, None, {})
    for grounders, segmenters in PROFILES.values():
        assert set(grounders) <= {*GROUNDERS, "chat"} and set(segmenters) <= {*SEGMENTERS, "base"}
    with pytest.raises(RivegaError, match="E910.*'yolo'.*owlv2"):
        make_plan("laptop", grounder="yolo")
    with pytest.raises(RivegaError, match="E910.*'tablet'"):
        make_plan("tablet")
