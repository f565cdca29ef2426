"""No command writes over what it reads, whichever it is; one that is new and has no entry here fails a test."""

import json
import shutil

import pytest
import spacy

from rivega_spacy.cli import main
from rivega_spacy.cli.commands import COMMANDS
from rivega_spacy.jobs.pages import page_name
from rivega_spacy.llm.store import AnswerStore, Record

# Words of a command -> what it is called with, output last or as an option; the output is what it reads.
REFUSED = {
    "annotate": ["posts.jsonl posts.jsonl --model pipeline"],
    "convert": ["compact.jsonl compact.jsonl", "compact.jsonl gold.spacy --boxes gold.spacy"],
    "export": [f"annotated.jsonl annotated.jsonl --to {form}" for form in ("coco", "csv", "parquet", "docbin", "web-annotation")]
    + ["tool/tasks.json tool --to label-studio", "tool/text.jsonl tool --to prodigy", "tool/a.json tool --to labelme"],
    "render": [f"pages/{page_name(1)} pages"],
    "score": ["--predictions annotated.jsonl --gold gold.spacy --sweep --plot annotated.jsonl"],
    "report": ["annotated.jsonl --gold gold.spacy --output annotated.jsonl"],
    "evaluate": ["pipeline gold.spacy --output gold.spacy"],
    "fit-threshold": ["pipeline gold.spacy --output pipeline"],
    "retrieve": ["passages.sqlite posts.jsonl posts.jsonl", "passages.sqlite posts.jsonl passages.sqlite"],
    "index": ["posts.jsonl posts.jsonl", "posts.jsonl posts.jsonl --restart"],
    "store export": ["answers.sqlite answers.sqlite"],
    "store import": ["posts.jsonl posts.jsonl"],
    "examples build": ["annotated.jsonl annotated.jsonl"],
    "convert-checkpoint": ["network.safetensors network.safetensors"],
    "vision grow": ["network.safetensors network.safetensors --depths 1 1 1 1"],
    "vision export": ["out/network.safetensors out", "out/pipeline out", "out out"],
    "pipeline average": ["pipeline pipeline other"],
    "pipeline to-bioes": ["pipeline pipeline"],
    "data more-posts": ["folder folder/a.jsonl"],
    "data more-texts": ["folder folder"],
    "data swap-mentions": ["posts.jsonl posts.jsonl"],
    "candidates": ["detector gold.spacy gold.spacy"],
    "stats": ["corpus --output corpus/train.spacy"],
    "enrich": ["posts.jsonl posts.jsonl --config enrich.cfg", "posts.jsonl enrich.cfg --config enrich.cfg"],
    "serve": ["pipeline --queue posts.jsonl --save posts.jsonl"],
}
# What writes nothing, or only beside what it reads, in a folder that it is given for that.
ELSEWHERE = {
    "demo", "store stats", "data check", "data convert", "data unpack-photos", "train", "init-config", "tables", "pipeline finish", "pipeline package", "vision keep",
    "vision measure", "vision draw-masks", "info", "doctor", "benchmark", "assemble-open", "parity",
}  # fmt: skip


def test_every_command_is_known():
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    assert set(COMMANDS) - groups == set(REFUSED) | ELSEWHERE


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """All that the commands read, as far as they look at it before they refuse it."""
    folder = tmp_path_factory.mktemp("written")
    nlp = spacy.blank("rivega")
    nlp.to_disk(folder / "pipeline")
    row = {"id": "1", "text": "Ada sang", "ents": [{"start": 0, "end": 3, "label": "PER", "text": "Ada"}]}
    for name in (
        "posts.jsonl",
        "annotated.jsonl",
        "tool/tasks.json",
        "tool/text.jsonl",
        "tool/a.json",
        "folder/a.jsonl",
        "passages.sqlite",
        "enrich.cfg",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(row) + "\n")
    (folder / "pages").mkdir()
    (folder / "pages" / page_name(1)).write_text(json.dumps(row) + "\n")
    (folder / "compact.jsonl").write_text('{"id": "1", "tokens": ["Ada", "sang"], "tags": ["B-PER", "O"]}\n')
    assert main(["convert", str(folder / "compact.jsonl"), str(folder / "gold.spacy")]) == 0
    for name in ("network.safetensors", "out/network.safetensors", "corpus/train.spacy", "out/pipeline/meta.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"weights")
    store = AnswerStore(folder / "answers.sqlite")
    store.put(Record("0" * 64, "1" * 64, "m", "{}", "p", "v", "1", "", 0, "text", "stop", 1, 1, 1.0))
    store.close()
    return folder


@pytest.mark.parametrize("command", [f"{name} {words}" for name, calls in REFUSED.items() for words in calls])
def test_what_is_read_stays(command, written, tmp_path, monkeypatch, capsys):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert main(command.split()) == 2
    assert "[E050]" in capsys.readouterr().err or command.startswith(("store import", "index posts.jsonl posts.jsonl --restart"))
    assert before == {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
