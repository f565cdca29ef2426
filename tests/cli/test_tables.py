"""`rivega tables`: from a list of experiments to tables, with what is missing, broken or failing beside what runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import srsly
from blank import blank_nlp
from in_process import call_into
from PIL import Image
from segmenter_tiny import TINY
from vision_tiny import SIZES, square_picture, tiny_network

from rivega_spacy.backends.small.weights import save_network
from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.posts import GIVEN_ENTS_KEY, post_to_doc

POSTS = [("Ada in red", "red"), ("Lea in green", "green"), ("Ada and Lea", "red")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A tiny pipeline, three posts with pictures, and a list of experiments over them."""
    root = tmp_path_factory.mktemp("bench")
    nlp = blank_nlp()
    ruler = nlp.add_pipe("entity_ruler")
    nlp.add_pipe("rivega_expander")
    for name, architecture in (("rivega_entailment", "SmallEntailment"), ("rivega_grounder", "SmallGrounder")):
        nlp.add_pipe(name, config={"model": {"@architectures": f"rivega.{architecture}.v1", "size": 64, **SIZES}})
    nlp.add_pipe("rivega_segmenter", config={"model": TINY})
    save_network(tiny_network(), root / "tiny.safetensors")
    nlp.config["initialize"]["components"] = {
        name: {"weights": str(root / "tiny.safetensors")} for name in ("rivega_entailment", "rivega_grounder")
    }
    nlp.initialize()
    ruler.add_patterns([{"label": "PER", "pattern": "Ada"}, {"label": "PER", "pattern": "Lea"}])
    nlp.to_disk(root / "tiny")
    rng = np.random.default_rng(0)
    docs = []
    for number, (text, colour) in enumerate(POSTS):
        image, box = square_picture(rng, colour)
        (root / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        ents = [[start, start + 3, "PER"] for start in (text.find("Ada"), text.find("Lea")) if start >= 0]
        doc = post_to_doc(nlp, {"id": str(number), "text": text, "image": f"{number}.png", "ents": ents})
        del doc.user_data[GIVEN_ENTS_KEY]
        for ent in doc.ents:
            ent._.groundable, ent._.boxes = True, [box.tolist()]
        docs.append(doc)
    write_docbin(docs, root / "data" / "test.spacy")
    (root / "empty").mkdir()
    (root / "rivega_twitter.cfg").write_text(
        (Path(__file__).parents[2] / "configs" / "rivega_twitter.cfg").read_text(encoding="utf8"), encoding="utf8"
    )
    own = {"pipeline": str(root / "tiny")}
    shipped = {axis: {"own": own} for axis in ("expander", "entailment", "grounder", "segmenter")}
    shipped["segmenter"]["sam"] = {
        "component": {"factory": "rivega_segmenter", "model": {"@misc": "rivega.SAM.v1"}},
        "weights": {"model.checkpoint": "sam"},
    }
    shipped["grounder"]["empty"] = {"pipeline": str(root / "empty")}
    plan = {
        "weights": {"sam": {"path": "sam.pth", "from": "its authors"}},
        "axes": {"tagger": {"own": own}, **shipped, "expression": {form: {"form": form} for form in ("both", "name")}},
        "groups": {
            "forms": {
                "title": "Forms",
                "columns": ["MNER", "EEG", "EEG, gold entities"],
                "evaluate": ["--propagation", "--fed", "gold entities"],
                "with": {"tagger": "own", **dict.fromkeys(shipped, "own")},
                "rows": [
                    {"expression": "both", "published": {"MNER": 85.94}},
                    {"expression": "name"},
                    {"name": "sam", "segmenter": "sam"},
                ],
            },
            "parts": {
                "columns": ["MNER", "EEG"],
                "with": {"expander": "own", "entailment": "own"},
                "rows": [{"grounder": "empty"}, {"grounder": "none-such"}, {"grounder": "own"}],
            },
        },
    }
    srsly.write_yaml(root / "plan.yml", plan)
    return root


def call(bench, verb, *words):
    places = ["--plan", bench / "plan.yml", "--data", bench / "data", "--output", bench / "out", "--images", bench / "images"]
    return main(["tables", verb, *map(str, [*places, *words])])


def record(bench, name):
    return json.loads((bench / "out" / "runs" / f"{name}.json").read_text(encoding="utf8"))


@pytest.mark.slow
def test_list_says_what_is_ready_missing_and_broken(bench, capsys):
    assert call(bench, "list") == 0
    out = capsys.readouterr().out
    assert f"weights missing ({bench / 'data' / 'weights' / 'sam.pth'})" in out and "from its authors" in out
    assert "broken: [E532] parts.none-such: there is no grounder 'none-such'. Use one of: own, empty." in out
    assert "6 variants, 4 of them ready" in out


def test_commands_and_configs(bench, capsys):
    assert call(bench, "commands", "--group", "forms") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# forms.both: ready"
    assert lines[1].startswith(f"rivega evaluate {bench / 'tiny'} {bench / 'data' / 'test.spacy'} --output")
    assert "--set" not in lines[1] and lines[3].count("expression=name") == 2 and "'gold entities'" in lines[3]
    assert call(bench, "configs") == 1, "one of the rows is broken"
    assert "none-such" in capsys.readouterr().out
    written = sorted(path.name for path in (bench / "out" / "configs").iterdir())
    assert written == ["forms.sam.cfg", "parts.empty.cfg", "parts.own.cfg"]


@pytest.mark.slow
def test_run_and_make(bench, capsys, monkeypatch):
    monkeypatch.setattr("rivega_spacy.tables.running.start", call_into)
    assert call(bench, "run") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "3 run, 1 not run, 1 failed, 1 broken", out
    assert [record(bench, name)["status"] for name in ("forms.both", "forms.name", "parts.own")] == ["run"] * 3
    failed = record(bench, "parts.empty")
    assert failed["status"] == "failed" and "assemble-parts.empty ended with status 1" in failed["reason"]
    assert (bench / "out" / "logs" / "assemble-parts.empty.log").read_text(encoding="utf8")
    assert record(bench, "forms.sam")["status"] == "not run" and "sam.pth" in record(bench, "forms.sam")["reason"]
    metrics = {
        form: json.loads((bench / "out" / "metrics" / f"forms.{form}.json").read_text(encoding="utf8")) for form in ("both", "name")
    }
    assert metrics["both"]["mner"]["f"] == metrics["name"]["mner"]["f"] == 1.0
    assert list(metrics["both"]["propagation"]) == ["pipeline", "gold entities"]

    assert call(bench, "make") == 0
    tables = json.loads((bench / "out" / "tables" / "tables.json").read_text(encoding="utf8"))
    rows = {row["variant"]: row for table in tables for row in table["rows"]}
    assert rows["forms.both"]["measured"]["MNER"] == 100.0 and rows["forms.both"]["published"] == {
        "MNER": 85.94,
        "EEG": None,
        "EEG, gold entities": None,
    }
    assert rows["forms.both"]["posts"] == 3 and rows["parts.own"]["measured"]["MNER"] == 0.0
    text = (bench / "out" / "tables" / "forms.md").read_text(encoding="utf8")
    assert "| both | 100.00 / 85.94 | " in text and "Measured on 3 posts." in text
    assert f"| sam | – / n/a | – / n/a | – / n/a | not run: weights missing ({bench / 'data' / 'weights' / 'sam.pth'}) |" in text
    assert "| none-such | – | – | broken: " in (bench / "out" / "tables" / "tables.md").read_text(encoding="utf8")


@pytest.mark.slow
def test_what_is_done_is_not_done_again(bench, capsys):
    # In a process of its own, as users have it.
    only = ["--group", "forms", "--variant", "forms.both", "--force"]
    assert call(bench, "run", *only) == 0
    assert "rivega evaluate" in capsys.readouterr().out
    before = (bench / "out" / "metrics" / "forms.both.json").stat().st_mtime_ns
    assert call(bench, "run", *only[:-1]) == 0
    assert "rivega evaluate" not in capsys.readouterr().out
    assert (bench / "out" / "metrics" / "forms.both.json").stat().st_mtime_ns == before


def test_damaged_metrics_are_a_row_s_own_trouble(bench, tmp_path, capsys):
    for name, text in (("forms.both", "{"), ("forms.name", '{"mner": {"f": 0.5}}')):
        path = tmp_path / "metrics" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf8")
    assert call(bench, "make", "--output", tmp_path, "--group", "forms") == 0
    [table] = json.loads((tmp_path / "tables" / "tables.json").read_text(encoding="utf8"))
    assert table["rows"][0]["status"] == "failed" and "--force" in table["rows"][0]["reason"]
    assert table["rows"][1]["measured"] == {"MNER": 50.0, "EEG": None, "EEG, gold entities": None}
    assert [row["status"] for row in table["rows"]] == ["failed", "run", "not run"]


@pytest.mark.parametrize(
    "words,message",
    [
        (["--group", "none"], "no group 'none'"),
        (["--variant", "forms.none"], "forms.none"),
        (["--plan", "none.yml"], "none.yml does not exist"),
    ],
)
def test_called_wrongly(bench, words, message, capsys):
    assert call(bench, "list", *words) == 2
    assert message in capsys.readouterr().err
