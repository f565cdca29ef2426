"""The config with all stages of Figure 5: assembled in one folder, moved, loaded from another."""

from pathlib import Path

import pytest
import spacy
from blank import blank_nlp
from thinc.api import Config

from rivega_spacy.knowledge.collection import build
from rivega_spacy.post.errors import SetupError
from rivega_spacy.post.saved_paths import keep_paths

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
STAGES = [
    "rivega_captioner", "rivega_knowledge", "transformer", "rivega_ner", "rivega_expander", "rivega_entailment", "rivega_grounder", "rivega_segmenter",
]  # fmt: skip


def test_all_stages_are_there_and_every_one_names_a_function():
    config = Config().from_disk(CONFIGS / "rivega_full.cfg", interpolate=False)
    assert config["nlp"]["pipeline"] == STAGES and set(config["components"]) == set(STAGES)
    assert config["components"]["rivega_segmenter"]["model"] == {
        "@misc": "rivega.SAM.v1", "checkpoint": "${paths.sam}", "model_type": "vit_h", "device": None,
    }  # fmt: skip
    assert config["components"]["rivega_knowledge"]["examples"]["n"] == 5


@pytest.fixture
def assembled(tmp_path, monkeypatch):
    """The stages that need no trained part, with paths from the working folder, saved there."""
    (tmp_path / "work" / "weights").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    Path("weights/sam_vit_h.pth").write_bytes(b"not read before the first box")
    config = Config().from_disk(CONFIGS / "rivega_full.cfg", interpolate=False)
    config["paths"].update({"sam": "weights/sam_vit_h.pth", "store": "answers.sqlite"})
    for name in ("transformer", "rivega_ner", "rivega_entailment", "rivega_grounder"):
        del config["components"][name]
    config["nlp"]["pipeline"] = [name for name in STAGES if name in config["components"]]
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    nlp.to_disk("saved")
    return tmp_path


def test_a_moved_pipeline_loads_from_another_folder(assembled, monkeypatch):
    (assembled / "elsewhere").mkdir()
    (assembled / "work" / "saved").rename(assembled / "elsewhere" / "moved")
    monkeypatch.chdir("/")
    nlp = spacy.load(assembled / "elsewhere" / "moved")
    config = nlp.config.interpolate()["components"]
    sam, store = assembled / "work" / "weights" / "sam_vit_h.pth", assembled / "work" / "answers.sqlite"
    assert config["rivega_segmenter"]["model"]["checkpoint"] == str(sam)
    for place in (
        config["rivega_captioner"]["store"],
        config["rivega_knowledge"]["store"],
        config["rivega_expander"]["model"]["store"],
    ):
        assert place["path"] == str(store)
    assert config["rivega_expander"]["model"]["model"]["model"] == "gpt-4o-mini", "names that are no paths stay"
    # Saved once more from there it stays the same.
    nlp.to_disk(assembled / "again")
    assert spacy.util.load_config(assembled / "again" / "config.cfg").interpolate()["components"] == config


def retrieving(folder):
    """A pipeline whose collection of passages and answer store lie in the folder that it is saved in."""
    (folder / "files").mkdir(parents=True)
    (folder.parent / "passages.jsonl").write_text('{"text": "Ada Lovelace wrote the first program"}\n', encoding="utf8")
    build([folder.parent / "passages.jsonl"], folder / "files" / "passages.sqlite")
    nlp = blank_nlp()
    nlp.add_pipe("sentencizer")
    source = {"@misc": "rivega.RetrievedKnowledge.v1", "path": str(folder / "files" / "passages.sqlite")}
    nlp.add_pipe("rivega_retriever", config={"source": source})
    nlp.add_pipe("rivega_expander")
    nlp.to_disk(folder)
    return nlp


@pytest.mark.slow
def test_what_lies_in_the_folder_moves_with_it(tmp_path, monkeypatch):
    retrieving(tmp_path / "saved")
    text = (tmp_path / "saved" / "config.cfg").read_text(encoding="utf8")
    assert 'path = "{pipeline}/files/passages.sqlite"' in text and str(tmp_path) not in text
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "moved"
    (tmp_path / "saved").rename(moved)
    monkeypatch.chdir("/")
    nlp = spacy.load(moved)
    assert nlp.pipe_names == ["sentencizer", "rivega_retriever", "rivega_expander"]
    assert "Lovelace wrote" in nlp("Ada Lovelace rocks")._.knowledge
    path = str(moved / "files" / "passages.sqlite")
    assert nlp.config["components"]["rivega_retriever"]["source"]["path"] == path
    # Saved where it lies it stays movable; saved elsewhere it says where the file is.
    nlp.to_disk(moved)
    assert 'path = "{pipeline}/files/passages.sqlite"' in (moved / "config.cfg").read_text(encoding="utf8")
    nlp.to_disk(tmp_path / "other")
    again = spacy.load(tmp_path / "other")
    assert again.config["components"]["rivega_retriever"]["source"]["path"] == path
    sourced = blank_nlp()
    sourced.add_pipe("rivega_retriever", source=spacy.load(moved))
    assert "Lovelace wrote" in sourced("Ada Lovelace rocks")._.knowledge
    from_bytes = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert "Lovelace wrote" in from_bytes("Ada Lovelace rocks")._.knowledge


@pytest.mark.slow
def test_parts_that_wait_for_the_folder_keep_place_and_state(tmp_path):
    retrieving(tmp_path / "saved")
    off = spacy.load(tmp_path / "saved", disable=["rivega_retriever"])
    assert off.component_names == ["sentencizer", "rivega_retriever", "rivega_expander"] and off.disabled == ["rivega_retriever"]
    assert spacy.load(tmp_path / "saved", enable=["sentencizer"]).pipe_names == ["sentencizer"]
    assert spacy.load(tmp_path / "saved", exclude=["rivega_retriever"]).component_names == ["sentencizer", "rivega_expander"]
    caption = {"components.rivega_retriever.source": {"@misc": "rivega.CaptionKnowledge.v1"}}
    assert "rivega_retriever" in spacy.load(tmp_path / "saved", config=caption).pipe_names
    config = spacy.util.load_config(tmp_path / "saved" / "config.cfg")
    for use in (
        lambda nlp: nlp("Ada"),
        lambda nlp: nlp.to_disk(tmp_path / "x"),
        lambda nlp: nlp.to_bytes(),
        lambda nlp: nlp.initialize(),
    ):
        with pytest.raises(SetupError, match="E870.*rivega_retriever"):
            use(spacy.util.load_model_from_config(config))


@pytest.mark.slow
def test_a_path_of_the_paths_section_moves_too(tmp_path, monkeypatch):
    """A store in the folder grows with use, which is no damage; [paths] is where configs name such files."""
    monkeypatch.chdir(tmp_path)
    config = Config().from_disk(CONFIGS / "rivega_full.cfg", interpolate=False)
    (tmp_path / "saved").mkdir()
    Path("saved/sam.pth").write_bytes(b"not read before the first box")
    config["paths"].update({"sam": "saved/sam.pth", "store": "saved/answers.sqlite"})
    config["nlp"]["pipeline"] = ["rivega_captioner", "rivega_segmenter"]
    config["components"] = {name: config["components"][name] for name in config["nlp"]["pipeline"]}
    spacy.util.load_model_from_config(config, auto_fill=True).to_disk("saved")
    Path("saved/answers.sqlite").touch()
    (tmp_path / "deep").mkdir()
    Path("saved").rename("deep/moved")
    monkeypatch.chdir("/")
    nlp = spacy.load(tmp_path / "deep" / "moved")
    (tmp_path / "deep" / "moved" / "answers.sqlite").write_bytes(b"more")
    components = spacy.load(tmp_path / "deep" / "moved").config["components"]
    assert components["rivega_segmenter"]["model"]["checkpoint"] == str(tmp_path / "deep" / "moved" / "sam.pth")
    assert components["rivega_captioner"]["store"]["path"] == str(tmp_path / "deep" / "moved" / "answers.sqlite")
    assert nlp.pipe_names == ["rivega_captioner", "rivega_segmenter"]


def test_only_paths_of_something_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bio").mkdir()
    Path("words.json").write_text("[]", encoding="utf8")
    text = """[paths]
train = "bio"
words = "words.json"
[components]
[components.a]
factory = "a"
scheme = "bio"
path = ["bio","none.txt","/absolute"]
[components.a.model]
words = ${paths.words}
prompt = null
"""
    Path("saved").mkdir()
    Path("saved/config.cfg").write_text(text, encoding="utf8")
    keep_paths(Path("saved/config.cfg"))
    config = Config().from_disk("saved/config.cfg", interpolate=False)
    assert config["paths"] == {"train": "bio", "words": str(tmp_path / "words.json")}
    assert config["components"]["a"]["scheme"] == "bio" and config["components"]["a"]["model"]["words"] == "${paths.words}"
    assert config["components"]["a"]["path"] == [str(tmp_path / "bio"), "none.txt", "/absolute"]
