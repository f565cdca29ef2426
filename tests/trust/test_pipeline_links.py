"""Links, pipes and devices in the folder of a pipeline, as an archive of a stranger's or a model hub's cache may have them."""

import os
import shutil
import socket
from pathlib import Path

import pytest
import spacy
from blank import blank_nlp
from in_process import call

from rivega_spacy.jobs.bulk.annotating import pipeline_identity
from rivega_spacy.jobs.finishing import finish
from rivega_spacy.jobs.packaging import package
from rivega_spacy.pipes.loading import load_pipeline
from rivega_spacy.post import pipeline_files
from rivega_spacy.post.digests import DIGESTS
from rivega_spacy.post.errors import RivegaError, SetupError
from rivega_spacy.post.pipeline_files import check_given_out, check_pipeline_files

MINE = "not the pipeline's\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    nlp = blank_nlp()
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def pipeline(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "pipeline")


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine"
    path.write_text(MINE)
    return path


def hub_snapshot(pipeline: Path, cache: Path) -> Path:
    """The same pipeline as the hub's client keeps it: files named by their digests, and a folder of links to them."""
    snapshot = cache / "snapshots" / "abc"
    (cache / "blobs").mkdir(parents=True)
    for number, file in enumerate(sorted(path for path in pipeline.rglob("*") if path.is_file())):
        shutil.copyfile(file, cache / "blobs" / str(number))
        place = snapshot / file.relative_to(pipeline)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(cache / "blobs" / str(number), place.parent))
    return snapshot


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_hubs_cache_loads_and_saving_over_it_leaves_its_files(pipeline, tmp_path):
    snapshot = hub_snapshot(pipeline, tmp_path / "cache")
    blobs = contents(tmp_path / "cache" / "blobs")
    (tmp_path / "latest").symlink_to(snapshot)
    for folder in (snapshot, tmp_path / "latest"):
        for load in (spacy.load, lambda path: load_pipeline(str(path))):
            assert [ent.text for ent in load(folder)("Ada sang").ents] == ["Ada"]
    assert pipeline_identity(str(snapshot))["files"] == pipeline_identity(str(pipeline))["files"]
    nlp = spacy.load(snapshot)
    nlp.meta["description"] = "changed"
    nlp.get_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Rome"}])
    nlp.to_disk(tmp_path / "latest")
    assert contents(tmp_path / "cache" / "blobs") == blobs
    assert (tmp_path / "latest").is_symlink()
    assert not [path for path in snapshot.rglob("*") if path.is_symlink()]
    assert [ent.text for ent in spacy.load(snapshot)("Ada in Rome").ents] == ["Ada", "Rome"]


def test_folders_that_are_links_are_read_and_not_written_through(pipeline, tmp_path):
    shutil.move(pipeline / "vocab", tmp_path / "vocab")
    (pipeline / "vocab").symlink_to(tmp_path / "vocab")
    before = contents(tmp_path / "vocab")
    nlp = spacy.load(pipeline)
    nlp.vocab.strings.add("Zyxwvut")
    nlp.to_disk(pipeline)
    assert contents(tmp_path / "vocab") == before and not (pipeline / "vocab").is_symlink()
    assert "Zyxwvut" in spacy.load(pipeline).vocab.strings


WRITTEN = [
    "meta.json",
    "config.cfg",
    "tokenizer",
    "vocab/strings.json",
    "sentencizer.json",
    "sentencizer",
    "entity_ruler/patterns.jsonl",
    DIGESTS,
]


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_saving_writes_through_no_link(name, tmp_path, mine, pipeline):
    """Also where nothing is yet: a file would be made at the other end."""
    nlp = spacy.load(pipeline)
    for target in (mine, tmp_path / "nothing"):
        folder = tmp_path / f"over_{target.name}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).symlink_to(target)
        nlp.to_disk(folder)
        assert spacy.load(folder).pipe_names == nlp.pipe_names
    assert mine.read_text() == MINE and not (tmp_path / "nothing").exists()


def test_links_that_are_not_written_stay(pipeline, mine):
    """A checkpoint beside the components, say; and what is left out."""
    (pipeline / "files").mkdir()
    for name in ("files/sam.pth", "notes.md", "vocab.txt"):
        (pipeline / name).symlink_to(mine)
    for name in ("tokenizer", "meta.json"):
        (pipeline / name).unlink()
        (pipeline / name).symlink_to(mine)
    blank_nlp().to_disk(pipeline, exclude=["tokenizer", "meta"])
    for name in ("files/sam.pth", "notes.md", "vocab.txt", "tokenizer", "meta.json"):
        assert (pipeline / name).is_symlink() and (pipeline / name).read_text() == MINE


def make_pipe(path):
    os.mkfifo(path)


def link_to(target):
    def make(path):
        path.symlink_to(target)

    return make


def make_socket(path):
    # Their names may have a hundred characters.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def two_that_lead_into_each_other(path):
    other = path.parent / "other"
    other.mkdir()
    path.mkdir()
    (path / "one").symlink_to(other)
    (other / "two").symlink_to(path)


def pipe_in_a_linked_folder(path):
    folder = next(above for above in path.parents if above.name == "pipeline").parent / "elsewhere"
    folder.mkdir()
    os.mkfifo(folder / "model")
    path.symlink_to(folder)


ODD = {
    "pipe": (make_pipe, "a named pipe"),
    "socket": (make_socket, "a socket"),
    "device": (link_to("/dev/zero"), "leads to a device"),
    "itself": (lambda path: path.symlink_to(path.name), "round in a circle"),
    "parent": (link_to(".."), "round in a circle"),
    "own folder": (link_to("."), "round in a circle"),
    "everything": (link_to("/"), "round in a circle"),
    "kernel": (link_to("/proc/self/environ"), "is no file on a disk"),
    "kernel folder": (link_to("/proc/self"), "is no file on a disk"),
    "memory": (link_to("/proc/kcore"), "is no file on a disk"),
    "devices": (link_to("/dev"), "a device"),
    "each other": (two_that_lead_into_each_other, "round in a circle"),
    "far pipe": (pipe_in_a_linked_folder, "a named pipe"),
}
PLACES = [
    "meta.json",
    "config.cfg",
    "tokenizer",
    "vocab/vectors",
    "entity_ruler",
    "sentencizer.json",
    DIGESTS,
    "README.md",
    "files",
]


@pytest.mark.parametrize(
    "kind, place", [*((kind, "vocab/vectors") for kind in ODD), *(("pipe", place) for place in PLACES), ("parent", "meta.json")]
)
def test_what_is_no_file_is_named_and_nothing_waits_for_it(kind, place, pipeline, tmp_path):
    make, words = ODD[kind]
    path = pipeline / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)
    uses = [
        lambda: load_pipeline(str(pipeline)),
        lambda: blank_nlp().from_disk(pipeline),
        lambda: pipeline_identity(str(pipeline)),
    ]
    if place not in ("meta.json", "config.cfg"):
        uses.append(lambda: spacy.load(pipeline))
    for use in uses:
        with pytest.raises(SetupError, match=rf"E976.*{words}"):
            use()
    for use in (lambda: finish(pipeline, name="tiny", version="0.8.0"), lambda: package(pipeline, tmp_path)):
        with pytest.raises(RivegaError, match="E97[67]"):
            use()


def test_a_component_that_is_left_out_is_not_looked_at(pipeline):
    shutil.rmtree(pipeline / "entity_ruler")
    os.mkfifo(pipeline / "entity_ruler")
    assert spacy.load(pipeline, exclude=["entity_ruler"]).pipe_names == ["sentencizer"]


def test_saving_over_a_pipe_waits_for_nobody(pipeline, tmp_path):
    nlp = spacy.load(pipeline)
    (tmp_path / "over" / "vocab").mkdir(parents=True)
    os.mkfifo(tmp_path / "over" / "vocab" / "strings.json")
    with pytest.raises(SetupError, match=r"E976.*vocab/strings\.json is a named pipe"):
        nlp.to_disk(tmp_path / "over")


def test_folders_that_double_at_every_step_are_given_up(tmp_path, monkeypatch):
    """Twenty folders that are a million."""
    monkeypatch.setattr(pipeline_files, "MAX_ENTRIES", 1000)
    for number in range(20):
        (tmp_path / "pipeline" / f"{number:02}").mkdir(parents=True)
        for name in ("one", "two"):
            (tmp_path / "pipeline" / f"{number:02}" / name).symlink_to(f"../{number + 1:02}")
    with pytest.raises(SetupError, match="E976.*more than 1000"):
        check_pipeline_files(tmp_path / "pipeline")


def test_what_cannot_be_read_is_left_to_whoever_reads_it(tmp_path):
    check_pipeline_files(tmp_path / "none")
    (tmp_path / "file").touch()
    check_pipeline_files(tmp_path / "file")
    (tmp_path / "dangling").symlink_to("nowhere")
    check_pipeline_files(tmp_path)


@pytest.mark.parametrize("place", ["README.md", "LICENSE", "tokenizer", "vocab/strings.json", "vocab", "more/deep/notes.txt"])
def test_files_from_elsewhere_are_not_given_out(place, pipeline, mine, tmp_path):
    """Neither packed up, nor written over on the way."""
    path = pipeline / place
    path.parent.mkdir(parents=True, exist_ok=True)
    target = mine
    if path.is_dir():
        target = Path(shutil.move(path, tmp_path / "elsewhere"))
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    before = contents(tmp_path)
    for use in (lambda: finish(pipeline, name="tiny", version="0.8.0"), lambda: package(pipeline, tmp_path)):
        with pytest.raises(RivegaError, match=rf"E977.*{place}.*{target}"):
            use()
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_links_within_the_folder_are_given_out_as_files(pipeline, tmp_path):
    """Two components with the same weights, say."""
    (pipeline / "more").symlink_to("entity_ruler")
    (pipeline / "vocab" / "strings.json").rename(pipeline / "words.json")
    (pipeline / "vocab" / "strings.json").symlink_to("../words.json")
    check_given_out(pipeline)
    finish(pipeline, name="tiny", version="0.8.0")
    assert not (pipeline / "vocab" / "strings.json").is_symlink()
    target = package(pipeline, tmp_path)
    assert not [path for path in target.rglob("*") if path.is_symlink()]
    assert (target / "rivega_tiny" / "rivega_tiny-0.8.0" / "more" / "patterns.jsonl").is_file()


@pytest.mark.parametrize("name", ["{folder}/outside", "a/b", "vocab/../../x", "a\\b"])
def test_a_component_is_saved_within_the_folder_alone(name, pipeline, tmp_path):
    """spaCy takes the name for a path, so that a config from a stranger would say where files are written."""
    name = name.format(folder=tmp_path)
    nlp = blank_nlp()
    nlp.add_pipe("sentencizer", name=name)
    before = contents(tmp_path)
    with pytest.raises(SetupError, match="E978"):
        nlp.to_disk(tmp_path / "saved")
    assert contents(tmp_path) == before
    config = pipeline / "config.cfg"
    config.write_text(
        config.read_text(encoding="utf8").replace("sentencizer]", f"{name}]").replace('"sentencizer",', f"{name!r},"),
        encoding="utf8",
    )
    with pytest.raises(RivegaError):
        load_pipeline(str(pipeline))


def test_the_command_says_so(pipeline, mine, tmp_path, capsys):
    (pipeline / "notes.txt").symlink_to(mine)
    assert call(["rivega", "pipeline", "package", str(pipeline), str(tmp_path)]) != 0
    assert "E977" in capsys.readouterr().err and not (tmp_path / "rivega_pipeline").exists()


@pytest.mark.parametrize("part", ["config", "meta", "vocab", "tokenizer", "sentencizer"])
def test_whatever_is_left_out_the_others_are_saved(part, saved, tmp_path):
    nlp = blank_nlp()
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path, exclude=[part])
    names = {path.name for path in tmp_path.iterdir()}
    left = {name for name in ("config.cfg", "meta.json", "vocab", "tokenizer", "sentencizer.json") if name.split(".")[0] != part}
    assert names == left | {DIGESTS}
