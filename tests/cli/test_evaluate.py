"""`rivega evaluate`."""

import json

import pytest
import spacy
from blank import NLP, blank_nlp
from spacy.language import Language

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.posts import GIVEN_ENTS_KEY, post_to_doc


@Language.component("evaluate_test_stages", assigns=["doc.ents", "span._.groundable", "span._.boxes", "span._.mask_rle"])
def stages(doc):
    """Finds "Ann", and boxes it where the post has a picture."""
    if not doc.user_data.get(GIVEN_ENTS_KEY):
        doc.ents = [doc.char_span(t.idx, t.idx + 3, label="PER") for t in doc if t.text == "Ann"]
    for ent in doc.ents:
        ent._.groundable = doc._.image is not None
        if ent._.groundable and not ent._.boxes:
            ent._.boxes = [[0, 0, 10, 10]]
    return doc


@pytest.fixture
def files(tmp_path, monkeypatch):
    nlp = blank_nlp()
    nlp.add_pipe("evaluate_test_stages")
    monkeypatch.setattr(spacy, "load", lambda name, **options: nlp)
    docs = []
    for number, (text, ents, image) in enumerate(
        [("Ann sings", [[0, 3, "PER"]], "a.jpg"), ("Bob and Ann", [[0, 3, "PER"], [8, 11, "PER"]], "b.jpg"), ("nothing", [], None)]
    ):
        doc = post_to_doc(nlp, {"id": str(number), "text": text, "ents": ents, "image": image})
        del doc.user_data[GIVEN_ENTS_KEY]
        for ent in doc.ents:
            ent._.groundable = ent.text == "Ann"
            ent._.boxes = [[0, 0, 10, 12]] if ent.text == "Ann" else []
        docs.append(doc)
    write_docbin(docs, tmp_path / "gold.spacy")
    return tmp_path


def test_evaluate_writes_scores_and_predictions(files, capsys):
    out = files / "metrics" / "scores.json"
    status = main(
        [
            "evaluate",
            "model",
            str(files / "gold.spacy"),
            "--output",
            str(out),
            "--predictions",
            str(files / "out.jsonl"),
            "--bootstrap",
            "20",
        ]
    )
    assert status == 0
    result = json.loads(out.read_text(encoding="utf8"))
    assert (result["mner"]["right"], result["mner"]["predicted"], result["mner"]["gold"]) == (2, 2, 3)
    assert result["gmner"]["right"] == 2 and result["grounding"]["prec"] == 1.0 and result["entailment"]["accuracy"] == 1.0
    assert "smner" not in result and result["errors"]["posts"] == 0 and len(result["mner"]["intervals"]["f"]) == 2
    assert "MNER" in capsys.readouterr().out
    lines = [json.loads(line) for line in (files / "out.jsonl").read_text(encoding="utf8").splitlines()]
    assert [len(line["ents"]) for line in lines] == [1, 1, 0]


def test_evaluate_with_gold_fed_in(files, capsys):
    out = files / "scores.json"
    assert main(["evaluate", "model", str(files / "gold.spacy"), "--propagation", "--output", str(out), "--json"]) == 0
    table = json.loads(out.read_text(encoding="utf8"))["propagation"]
    assert table["pipeline"]["MNER"] == pytest.approx(0.8)
    assert table["gold entities"]["MNER"] == 1.0 and table["gold entities"]["SMNER"] is None


def test_images_are_found_below_a_root(files, capsys):
    out = files / "out.jsonl"
    main(["evaluate", "model", str(files / "gold.spacy"), "--images", "/root", "--predictions", str(out), "--limit", "1", "--json"])
    lines = [json.loads(line) for line in out.read_text(encoding="utf8").splitlines()]
    assert [line["image"] for line in lines] == ["/root/a.jpg"]


def test_a_missing_corpus_is_told_before_the_pipeline_is_loaded(tmp_path, capsys):
    assert main(["evaluate", "no_such_model", str(tmp_path / "none.spacy")]) == 2
    assert "rivega convert" in capsys.readouterr().err


def test_only_the_rows_asked_for_are_fed(files, capsys):
    out = files / "scores.json"
    words = ["evaluate", "model", str(files / "gold.spacy"), "--output", str(out), "--json", "--propagation", "--fed"]
    assert main([*words, "gold entities"]) == 0
    assert list(json.loads(out.read_text(encoding="utf8"))["propagation"]) == ["pipeline", "gold entities"]
    assert main([*words, "gold"]) == 2 and "gold entities + groundability" in capsys.readouterr().err


def test_answers_of_one_model(files, capsys):
    """The pipeline sees the knowledge of the model that is named."""
    from rivega_spacy.corpus.docbin import read_docbin
    from rivega_spacy.corpus.sources import SOURCES_KEY

    docs = list(read_docbin(files / "gold.spacy", NLP.vocab))
    for doc in docs:
        doc.user_data[SOURCES_KEY] = {"knowledge": {"llama": "of llama", "qwen": "of qwen"}}
    write_docbin(docs, files / "gold.spacy")
    out = files / "out.jsonl"
    words = ["evaluate", "model", str(files / "gold.spacy"), "--predictions", str(out), "--json", "--source"]
    assert main([*words, "qwen"]) == 0
    assert {json.loads(line)["knowledge"] for line in out.read_text(encoding="utf8").splitlines()} == {"of qwen"}
    assert main([*words, "gpt"]) == 2 and "no answers of 'gpt', only llama, qwen" in capsys.readouterr().err


def test_captions_in_the_place_of_knowledge(files):
    """What a tagger of captions (`ner_caption.cfg`) is measured with."""
    from rivega_spacy.corpus.docbin import read_docbin

    docs = list(read_docbin(files / "gold.spacy", NLP.vocab))
    for doc in docs:
        doc._.knowledge, doc._.caption = "an answer", "two women on a stage"
    write_docbin(docs, files / "gold.spacy")
    out = files / "out.jsonl"
    words = ["evaluate", "model", str(files / "gold.spacy"), "--predictions", str(out), "--json", "--knowledge"]
    for knowledge, wanted in (("present", "an answer"), ("caption", "two women on a stage"), ("absent", None)):
        assert main([*words, knowledge]) == 0
        assert {json.loads(line).get("knowledge") for line in out.read_text(encoding="utf8").splitlines()} == {wanted}


def test_a_change_of_the_config_has_a_form(files, capsys):
    assert main(["evaluate", "model", str(files / "gold.spacy"), "--set", "threshold"]) == 2
    assert "SECTION.NAME=VALUE, not 'threshold'" in capsys.readouterr().err
