"""A row that trains: the merged config goes through `spacy train`, on the answers of two models, and is measured on those of one."""

from pathlib import Path

import pytest
import spacy
import srsly
from blank import blank_nlp
from in_process import call_into
from ner.conftest import make_examples, write_encoder

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.sources import SOURCES_KEY

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.slow
def test_a_tagger_is_trained_on_mixed_knowledge_and_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rivega_spacy.tables.running.start", call_into)
    nlp = blank_nlp()
    docs = [example.reference for example in make_examples(nlp)]
    for doc in docs:
        doc.user_data[SOURCES_KEY] = {"knowledge": {"llama": "Named entities: 1. Kevin", "qwen": "Reasoning: a person"}}
    for split in ("train", "dev", "test"):
        write_docbin(docs, tmp_path / "data" / f"{split}.spacy")
    write_encoder(tmp_path / "data" / "weights" / "encoder")
    short = {
        "training.max_epochs": 0,
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "components.transformer.model.bf16": False,
    }
    (tmp_path / "ner_bert.cfg").write_text((CONFIGS / "ner_bert.cfg").read_text(encoding="utf8"), encoding="utf8")
    plan = {
        "weights": {"encoder": {"path": "encoder", "from": "here"}},
        "axes": {
            "tagger": {"bert": {"train": "ner_bert.cfg", "weights": {"paths.encoder": "encoder"}, "set": short}},
            "knowledge": {"mix": {"sources": ["llama", "qwen"], "measured_with": "qwen"}},
        },
        "groups": {
            "mine": {
                "columns": ["MNER P", "MNER R", "MNER F1", "deviation"],
                "seeds": [1, 2],
                "rows": [{"tagger": "bert", "knowledge": "mix", "published": {"MNER": [83.02, 85.40, 84.19]}}],
            }
        },
    }
    srsly.write_yaml(tmp_path / "plan.yml", plan)
    words = ["--plan", str(tmp_path / "plan.yml"), "--data", str(tmp_path / "data"), "--output", str(tmp_path / "out")]
    assert main(["tables", "run", *words]) == 0, capsys.readouterr().out
    trained = spacy.load(tmp_path / "out" / "parts" / "tagger-bert-mix-seed2" / "model-best")
    assert trained.config["corpora"]["train"]["sources"] == ["llama", "qwen"]
    assert trained.config["training"]["max_steps"] == 4, "two examples a post: twice the steps"
    assert trained.config["system"]["seed"] == 2
    assert "--source qwen" in capsys.readouterr().out
    [table] = srsly.read_json(tmp_path / "out" / "tables" / "tables.json")
    row = table["rows"][0]
    assert row["status"] == "run" and row["measured"]["MNER F1"] is not None and row["published"]["MNER P"] == 83.02
    runs = [srsly.read_json(tmp_path / "out" / "metrics" / f"mine.bert-mix-seed{seed}.json")["mner"]["f"] for seed in (1, 2)]
    assert row["measured"]["MNER F1"] == pytest.approx(50 * sum(runs))
    assert row["measured"]["deviation"] == pytest.approx(100 * abs(runs[0] - runs[1]) / 2**0.5)
