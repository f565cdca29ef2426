"""The config with all stages of Figure 5: assembled in one folder, moved, loaded from another."""

from pathlib import Path

import pytest
import spacy
from thinc.api import Config

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
    Path("config.cfg").write_text(text, encoding="utf8")
    keep_paths(Path("config.cfg"))
    config = Config().from_disk("config.cfg", interpolate=False)
    assert config["paths"] == {"train": "bio", "words": str(tmp_path / "words.json")}
    assert config["components"]["a"]["scheme"] == "bio" and config["components"]["a"]["model"]["words"] == "${paths.words}"
    assert config["components"]["a"]["path"] == [str(tmp_path / "bio"), "none.txt", "/absolute"]
