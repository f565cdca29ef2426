"""The list of experiments: read, refused, and the shipped one made into configs that are valid."""

import re
from pathlib import Path

import pytest
import spacy
from spacy.schemas import ConfigSchemaTraining
from spacy.util import load_model_from_config, registry
from thinc.api import Config

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.sources import SOURCES_KEY
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.tables.configs import expression, part_name
from rivega_spacy.tables.place import Place
from rivega_spacy.tables.plan import read_plan
from rivega_spacy.tables.steps import prepare

PLAN = Path(__file__).resolve().parents[2] / "configs" / "variants.yml"


@pytest.fixture
def place(tmp_path):
    return Place(data=tmp_path / "data", output=tmp_path / "out", weights=tmp_path / "weights")


@pytest.fixture(scope="module")
def plan():
    return read_plan(PLAN)


def prepared(plan, place, name):
    return prepare(plan, next(variant for variant in plan.variants() if variant.id == name), place)


def test_the_shipped_list_has_the_papers_tables(plan):
    variants = plan.variants("variants")
    assert len(variants) == 14 and len({tuple(variant.choices.items()) for variant in variants}) == 14
    assert [group.name for group in plan.tables("all_gpu")] == ["variants", "llms", "examples", "expressions", "segmentation"]
    assert sorted(variant.choices["expression"] for variant in plan.variants("expressions")) == ["both", "expansion", "name"]
    assert {variant.choices["segmenter"] for variant in plan.variants("segmentation")} == {"sam", "clipseg"}
    best = next(variant for variant in variants if variant.published.get("SMNER") == 63.92)
    assert best.choices == {
        "tagger": "xlmr", "expander": "chatgpt", "entailment": "ofa", "grounder": "ofa", "segmenter": "sam", "knowledge": "mix", "expression": "both",
    }  # fmt: skip


def test_every_variant_makes_valid_configs_and_says_what_it_lacks(plan, place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    built = set()
    for variant in plan.variants():
        found = prepare(plan, variant, place)
        assert found.problem is None, found.problem
        assert found.steps[-1].output == place.metrics(variant.id)
        assert any(thing.what.startswith(("data missing", "posts missing")) for thing in found.missing), "there is no data at all"
        for name, (_path, text) in found.configs.items():
            config = Config().from_str(text)
            if "training" in config and name not in built:
                built.add(name)
                # Weights are read when training begins: making the pipeline needs none.
                nlp = load_model_from_config(config, auto_fill=True)
                assert nlp.pipe_names == config["nlp"]["pipeline"]
                filled = nlp.config.interpolate()
                registry.resolve(filled["training"], schema=ConfigSchemaTraining)
                assert set(registry.resolve(filled["corpora"])) == {"train", "dev"}
    wanted = {part_name(plan, variant, axis) for variant in plan.variants() for axis in ("tagger", "entailment", "grounder")} - {
        None
    }
    assert built == wanted and {"tagger-xlmr-mix", "entailment-ofa-mix-name", "grounder-seqtr"} <= built


def test_choices_end_up_in_the_configs(plan, place):
    configs = {name: Config().from_str(text) for name, (_, text) in prepared(plan, place, "expressions.name").configs.items()}
    assert configs["entailment-ofa-mix-name"]["components"]["rivega_entailment"]["expression"] == "name"
    assert configs["grounder-ofa-mix-name"]["components"]["rivega_grounder"]["expression"] == "name"
    corpora = configs["tagger-xlmr-mix"]["corpora"]
    assert corpora["train"]["sources"] == ["chatgpt", "llama", "qwen"] and corpora["dev"]["sources"] == ["chatgpt"]
    base = Config().from_disk(PLAN.parent / "ner_xlmr.cfg")["training"]["optimizer"]["learn_rate"]
    rate = configs["tagger-xlmr-mix"]["training"]["optimizer"]["learn_rate"]
    assert rate["total_steps"] == 3 * base["total_steps"], "an epoch has three times the examples"
    whole = configs["expressions.name"]
    assert whole["nlp"]["pipeline"] == [
        "transformer",
        "rivega_ner",
        "rivega_expander",
        "rivega_entailment",
        "rivega_grounder",
        "rivega_segmenter",
    ]
    assert whole["components"]["rivega_entailment"] == {"source": str(place.part("entailment-ofa-mix-name"))}
    assert whole["components"]["rivega_segmenter"]["model"]["checkpoint"] == str(place.weights / "sam_vit_h_4b8939.pth")
    none = Config().from_str(prepared(plan, place, "llms.none").configs["tagger-xlmr-none"][1])
    assert none["corpora"]["train"]["knowledge"] == none["corpora"]["dev"]["knowledge"] == "absent"


def test_variants_share_what_is_equal(plan, place):
    names = [
        step.name
        for variant in plan.variants("variants")
        for step in prepare(plan, variant, place).steps
        if step.words[:2] == ["spacy", "train"]
    ]
    # 2 encoders x 3 sources of knowledge; VE: OFA and ALBEF, each with and without Mix; VG: OFA and SeqTR, the same.
    assert len(set(names)) == 6 + 4 + 4


def test_commands_in_order(plan, place):
    found = prepared(plan, place, "llms.llama")
    kinds = [step.words[1] for step in found.steps]
    assert kinds == ["enrich", "convert"] * 3 + ["train", "evaluate"]
    assert "--source llama" in str(found.steps[-1]) and str(place.output / "corpus" / "llama" / "test.spacy") in str(
        found.steps[-1]
    )
    mixed = prepared(plan, place, "llms.mix")
    assert [step.words[1] for step in mixed.steps][:4] == ["enrich", "enrich", "enrich", "convert"]
    assert mixed.steps[1].words[2] == str(mixed.steps[0].output), "each model writes beside what the one before it wrote"
    examples = Config().from_str(prepared(plan, place, "examples.no-examples").configs["enrich-chatgpt_plain"][1])
    assert examples["examples"] == {"@misc": "rivega.NoExamples.v1"} and list(examples["models"]) == ["chatgpt_plain"]


def test_answers_that_the_posts_carry_are_not_asked_for(plan, place):
    nlp = spacy.blank("rivega")
    doc = nlp.make_doc("Ada sings")
    doc.user_data[SOURCES_KEY] = {"knowledge": {"llama": "Ada is a person."}}
    for split in ("train", "dev", "test"):
        write_docbin([doc], place.data / f"{split}.spacy")
    (place.weights / "xlm-roberta-large").mkdir(parents=True)
    found = prepared(plan, place, "llms.llama")
    assert found.state() == "ready" and [step.words[1] for step in found.steps] == ["train", "evaluate"]
    assert "answers of qwen missing" in prepared(plan, place, "llms.qwen").state()


def test_a_part_that_is_there_needs_no_weights(plan, place):
    write_docbin([spacy.blank("rivega").make_doc("Ada sings")], place.data / "test.spacy")
    assert "weights missing" in prepared(plan, place, "llms.given").state()
    place.part("tagger-xlmr-given").mkdir(parents=True)
    assert prepared(plan, place, "llms.given").state() == "ready"


SMALL = """
axes:
  tagger:
    own: {{train: {train}, set: {change}}}
groups:
  one: {{columns: [MNER], rows: [{rows}]}}
"""


def written(tmp_path, *, train="base.cfg", change="{}", rows="{tagger: own}"):
    (tmp_path / "base.cfg").write_text((PLAN.parent / "ner_bert.cfg").read_text(encoding="utf8"), encoding="utf8")
    (tmp_path / "plan.yml").write_text(SMALL.format(train=train, change=change, rows=rows), encoding="utf8")
    return read_plan(tmp_path / "plan.yml")


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"train": "none.cfg"}, "none.cfg does not exist"),
        ({"change": "{training.optimiser.beta1: 0.5}"}, "no .training.optimiser., which `training.optimiser.beta1` would change"),
        ({"change": "{training.patience: often}"}, "is not valid: .*patience"),
        ({"change": "{components.rivega_ner.colour: red}"}, "has no option colour"),
        ({"change": "{corpora.train.@readers: rivega.None.v1}"}, "is not valid: there is no function .rivega.None.v1"),
        ({"rows": "{tagger: other}"}, "there is no tagger 'other'. Use one of: own"),
        ({"rows": "{tagger: own, colour: red}"}, "unknown colour"),
    ],
)
def test_a_broken_row_is_told_and_leaves_the_others(changes, message, tmp_path, place):
    plan = written(tmp_path, **changes)
    found = prepare(plan, plan.variants()[0], place)
    assert found.problem is not None and re.search(message, found.problem), found.problem
    assert found.state().startswith("broken: ")


@pytest.mark.parametrize(
    "text,message",
    [
        ("just text", "no `axes` and `groups`"),
        ("axes: [", "E530"),
        ("axes: {voice: {}}\ngroups: {}", "no axis 'voice'"),
        ("axes: {tagger: {a: {weights: {x.y: none}}}}\ngroups: {}", "does not list none"),
        ("axes: {tagger: {a: {wieghts: {}}}}\ngroups: {}", "unknown wieghts"),
        ("axes: {}\ngroups: {a: {members: [b]}}", "b is not a group above it"),
        ("axes: {}\ngroups: {a: {columns: [BLEU]}}", "no column BLEU"),
        ("axes: {tagger: {a: {}}}\ngroups: {a: {rows: [{tagger: a}, {tagger: a}]}}", "stands in it twice"),
    ],
)
def test_what_is_no_list_is_refused(text, message, tmp_path):
    (tmp_path / "plan.yml").write_text(text, encoding="utf8")
    with pytest.raises(RivegaError, match=message):
        read_plan(tmp_path / "plan.yml")


def test_unknown_group_and_missing_file(plan, tmp_path):
    with pytest.raises(RivegaError, match="no group 'none'.*all_gpu"):
        plan.variants("none")
    with pytest.raises(RivegaError, match="does not exist"):
        read_plan(tmp_path / "none.yml")
    assert expression(plan, plan.variants("llms")[0]) == "both"
