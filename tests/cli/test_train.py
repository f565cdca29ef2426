"""`rivega train`: a few corrected posts make a better pipeline, or leave it as it was."""

import json

import pytest
import spacy
from ner.conftest import make_pipeline, write_encoder
from spacy.training import Example

from rivega_spacy.cli import main
from rivega_spacy.jobs.tuning import parts_of
from rivega_spacy.post.errors import RivegaError

pytestmark = pytest.mark.slow

# The pipeline knows cities as places; its user's posts are about teams of their names.
LEARNED = [("lions of detroit play", [(9, 16, "LOC")]), ("new york rocks", [(0, 8, "LOC")]), ("nike rocks", [(0, 4, "ORG")])]
CITIES = ["detroit", "paris", "york", "oracle", "ford"]


def corrected(number, city):
    words = [city, "play", "at", "the", "field", *"abcdefgh"[number % 8]]
    return {"id": str(number), "tokens": words, "tags": ["B-ORG", *["O"] * (len(words) - 1)]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    nlp = make_pipeline(
        write_encoder(tmp_path_factory.mktemp("bert")), head={"learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0}
    )
    examples = [Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in LEARNED]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for _ in range(25):
        nlp.update(examples, sgd=optimizer)
    folder = tmp_path_factory.mktemp("start") / "pipeline"
    nlp.to_disk(folder)
    return folder


def test_corrected_posts_make_a_better_pipeline(start, tmp_path, capsys):
    train = write(tmp_path / "train.jsonl", [corrected(number, CITIES[number % 4]) for number in range(20)])
    dev = write(tmp_path / "dev.jsonl", [corrected(number, CITIES[number % 5]) for number in range(20, 30)])
    out = tmp_path / "out"
    arguments = ["train", "tagger", "--from", str(start), "--train", str(train), "--dev", str(dev), "--output", str(out)]
    assert main([*arguments, "--steps", "60", "--rate", "0.005"]) == 0
    shown = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf8"))
    (part,) = report["parts"]
    assert part["taken"]
    assert part["after"] > part["before"]
    assert report["after"]["MNER"]["f"] > report["before"]["MNER"]["f"]
    assert "MNER" in shown
    assert "taken" in shown
    doc = spacy.load(out / "pipeline")("detroit play at the field")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("detroit", "ORG")]
    # The pipeline that it began with is as it was.
    assert [ent.label_ for ent in spacy.load(start)("new york rocks").ents] == ["LOC"]
    # A second call does not write over the first.
    assert main(arguments) == 2
    assert "--force" in capsys.readouterr().err


def test_a_training_that_does_not_help_changes_nothing(start, tmp_path):
    train = write(tmp_path / "train.jsonl", [corrected(number, "paris") for number in range(6)])
    dev = write(tmp_path / "dev.jsonl", [{"id": "d", "tokens": ["nike", "rocks"], "tags": ["B-ORG", "O"]}])
    out = tmp_path / "out"
    arguments = ["train", "tagger", "--from", str(start), "--train", str(train), "--dev", str(dev), "--output", str(out)]
    assert main([*arguments, "--steps", "10"]) == 0
    assert json.loads((out / "report.json").read_text(encoding="utf8"))["parts"][0]["taken"] is False
    text = "the lions of detroit play at ford field"
    before, after = (spacy.load(path)(text) for path in (start, out / "pipeline"))
    assert [(ent.text, ent.label_, ent._.ner_score) for ent in before.ents] == [
        (ent.text, ent.label_, ent._.ner_score) for ent in after.ents
    ]


def test_posts_and_configs_alone(start, tmp_path, capsys):
    train = write(tmp_path / "train.jsonl", [corrected(number, CITIES[number % 4]) for number in range(30)])
    out = tmp_path / "out"
    arguments = ["train", "all", "--from", str(start), "--train", str(train), "--output", str(out), "--dry-run"]
    assert main(arguments) == 0
    first = {name: (out / "corpus" / name).read_bytes() for name in ("train.spacy", "dev.spacy")}
    assert "posts are kept from training" in capsys.readouterr().out
    assert sorted(path.stem for path in (out / "configs").iterdir()) == ["entailment", "grounder", "segmenter", "tagger"]
    assert main([*arguments, "--force"]) == 0
    # The same posts are kept each time.
    assert first == {name: (out / "corpus" / name).read_bytes() for name in first}


def test_what_cannot_be_trained_is_refused_with_the_remedy(start, tmp_path, capsys):
    assert parts_of(["vision", "tagger"]) == ["tagger", "entailment", "grounder"]
    with pytest.raises(RivegaError, match=r"E930.*'eyes'"):
        parts_of(["eyes"])
    new = {"id": "1", "tokens": ["nike", "rocks"], "tags": ["B-SHOE", "O"]}
    train = write(tmp_path / "train.jsonl", [{**new, "id": str(number)} for number in range(20)])
    arguments = ["train", "tagger", "--from", str(start), "--train", str(train), "--output"]
    assert main([*arguments, str(tmp_path / "a")]) == 2
    assert "SHOE (" in (error := capsys.readouterr().err)
    assert "init-config" in error
    few = write(tmp_path / "few.jsonl", [new])
    assert main(["train", "tagger", "--from", str(start), "--train", str(few), "--output", str(tmp_path / "b")]) == 2
    assert "E932" in capsys.readouterr().err
    assert main(["train", "grounder", "--from", str(start), "--train", str(train), "--output", str(tmp_path / "c")]) == 2
    assert "E934" in capsys.readouterr().err
