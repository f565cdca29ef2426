"""A damaged part of a pipeline's folder is refused with its file's name."""

import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.training import Example

from rivega_spacy.pipes.loading import load_pipeline
from rivega_spacy.post.digests import DIGESTS, check_digests
from rivega_spacy.post.errors import RivegaError, SetupError

TOK2VEC = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "width": 16,
    "depth": 1,
    "embed_size": 50,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
    "pretrained_vectors": None,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    nlp = spacy.blank("rivega")
    nlp.add_pipe("rivega_ner", config={"model": {"@architectures": "rivega.CRFTagger.v1", "tok2vec": TOK2VEC}})
    nlp.initialize(lambda: [Example.from_dict(nlp.make_doc("Ann in Rome"), {"entities": [(0, 3, "PER")]})])
    folder = tmp_path_factory.mktemp("saved") / "pipeline"
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def pipeline(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "pipeline")


# What people edit, and what spaCy reads before anything of ours has a say; see the tests below.
READ_FIRST = {"config.cfg", "meta.json", DIGESTS}
FORGIVING: set[str] = set()
FILES = ["rivega_ner/model", "vocab/vectors", "rivega_ner/cfg", "tokenizer", "vocab/strings.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_one_turned_bit_is_found(pipeline, name):
    file = pipeline / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    for load in (spacy.load, lambda path: load_pipeline(str(path))):
        with pytest.raises(SetupError, match=rf"E950.*{name}"):
            load(pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_without_digests_what_cannot_be_read_is_named(pipeline, name):
    (pipeline / DIGESTS).unlink()
    file = pipeline / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SetupError, match=rf"E952.*{name}"):
        spacy.load(pipeline)


class Runs:
    """What a pickle does when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def harmful(reached: Path):
    """What a file of a pipeline may be in place of itself, with the libraries that may read it in mind."""
    yield pickle.dumps(Runs(reached))
    for save in (
        lambda out: np.save(out, np.array([Runs(reached)], dtype=object), allow_pickle=True),
        lambda out: torch.save(Runs(reached), out),
    ):
        out = io.BytesIO()
        save(out)
        yield out.getvalue()
    # msgpack and JSON that are large, deep, or say that they are.
    yield from (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    )


def changed_files(pipeline, changes):
    """Each file of a pipeline and the number of the change that is written in its place; afterwards it is as it was."""
    files = [path for path in pipeline.rglob("*") if path.is_file() and path.name not in READ_FIRST]
    assert len(files) > 6
    for file in files:
        whole = file.read_bytes()
        for number, data in enumerate(changes(whole)):
            file.write_bytes(data)
            yield file, number
        file.write_bytes(whole)


@pytest.mark.slow
def test_no_file_of_a_pipeline_is_obeyed(pipeline, tmp_path):
    """Without its digests, which whoever makes such a pipeline would write for it."""
    (pipeline / DIGESTS).unlink()
    reached = tmp_path / "reached"
    for file, number in changed_files(pipeline, lambda whole: harmful(reached)):
        try:
            load_pipeline(str(pipeline))
        except RivegaError:
            pass
        else:
            # An empty part is none, which some readers take for all that they need.
            assert file.name in FORGIVING, (file, number)
    assert not reached.exists()
    load_pipeline(str(pipeline))


@pytest.mark.parametrize("name", ["../outside", "/dev/zero", "/proc/kcore", "..", "", "a/../../outside", "rivega_ner\0"])
def test_digests_are_of_files_within_the_folder(pipeline, tmp_path, name):
    (tmp_path / "outside").write_text("mine")
    (pipeline / DIGESTS).write_text(json.dumps({name: "0" * 64}), encoding="utf8")
    with pytest.raises(SetupError, match=r"E951.*digests\.json"):
        spacy.load(pipeline)


def damages(data: bytes):
    """A bit turned at the start, in the middle and at the end; cut short; emptied; with something behind it."""
    for place in {0, len(data) // 2, len(data) - 1} if data else ():
        changed = bytearray(data)
        changed[place] ^= 1
        yield bytes(changed)
    yield from ([data[: len(data) // 2], b""] if data else [])
    yield data + b"\0"


@pytest.mark.slow
def test_damage_of_any_file_is_found(pipeline):
    for file, number in changed_files(pipeline, damages):
        with pytest.raises(SetupError, match=rf"E950.*{file.relative_to(pipeline).as_posix()}"):
            # Which is the first thing that loading does.
            check_digests(pipeline) if number else spacy.load(pipeline)
    spacy.load(pipeline)


SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "rivega_twitter" / "rivega_twitter"


@pytest.mark.slow
def test_damage_of_any_file_of_the_shipped_pipeline_is_found(tmp_path):
    """Without loading it: the same check, as the first thing that loading does."""
    (folder,) = SHIPPED.glob("rivega_twitter-*")
    copy = tmp_path / "pipeline"
    wanted = json.loads((folder / DIGESTS).read_text(encoding="utf8"))
    assert {name.split("/")[0] for name in wanted} == {
        path.name for path in folder.iterdir() if path.suffix != ".md" and not path.name.startswith("LICENSE")
    } - READ_FIRST
    for name in [*wanted, DIGESTS]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).symlink_to(folder / name)
    check_digests(copy)
    for name in wanted:
        # The others are compared above, once.
        (copy / DIGESTS).unlink()
        (copy / DIGESTS).write_text(json.dumps({name: wanted[name]}))
        whole = (copy / name).read_bytes()
        for data in damages(whole):
            (copy / name).unlink()
            (copy / name).write_bytes(data)
            with pytest.raises(SetupError, match=rf"E950.*{name}"):
                check_digests(copy)
        (copy / name).unlink()


@pytest.mark.slow
def test_a_missing_file_and_damaged_digests(pipeline):
    (pipeline / "rivega_ner" / "model").unlink()
    with pytest.raises(SetupError, match=r"E950.*rivega_ner/model is missing"):
        spacy.load(pipeline)
    spacy.load(pipeline, exclude=["rivega_ner"])
    for text in ("{", "[]", '{"vocab', "[" * 100_000):
        (pipeline / DIGESTS).write_text(text, encoding="utf8")
        with pytest.raises(SetupError, match=r"E951.*digests\.json"):
            spacy.load(pipeline)


@pytest.mark.parametrize("name, text", [("meta.json", '{"lang": "riv'), ("config.cfg", "[nlp\n"), ("config.cfg", "")])
def test_meta_and_config(pipeline, name, text):
    (pipeline / name).write_text(text, encoding="utf8")
    with pytest.raises(RivegaError, match=rf"E058.*{name}"):
        load_pipeline(str(pipeline))


@pytest.mark.slow
def test_what_people_edit_may_be_edited(pipeline):
    config = pipeline / "config.cfg"
    config.write_text(config.read_text(encoding="utf8").replace("temperature = 1.0", "temperature = 2.0"), encoding="utf8")
    (pipeline / "README.md").write_text("mine", encoding="utf8")
    nlp = spacy.load(pipeline)
    assert nlp.get_pipe("rivega_ner").temperature == 2.0
    # Saved again, also over itself, it loads again.
    nlp.to_disk(pipeline)
    assert set(json.loads((pipeline / DIGESTS).read_text(encoding="utf8"))) >= set(FILES)
    spacy.load(pipeline)
