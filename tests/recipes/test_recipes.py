"""Configs have one source: what stands in configs/ is what `rivega init-config` writes, and every choice makes a valid config."""

from pathlib import Path

import pytest
from thinc.api import Config

from rivega_spacy.cli import main
from rivega_spacy.recipes.choosing import ON_CPU, ON_GPU, PARTS, TRAINED, choose
from rivega_spacy.recipes.fragment import compose, names
from rivega_spacy.recipes.writing import config_text
from rivega_spacy.tables.configs import validate

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def written(tmp_path, *options):
    path = tmp_path / "made.cfg"
    assert main(["init-config", str(path), *options]) == 0
    return path


def test_configs_are_the_recipes_output():
    assert {path.stem for path in CONFIGS.glob("*.cfg")} == set(names())
    different = [name for name in names() if (CONFIGS / f"{name}.cfg").read_text(encoding="utf8") != config_text(compose(name))]
    assert different == [], "write them again: rivega init-config configs/ --all --force"


def test_every_recipe_can_be_chosen():
    assert {recipe for backends in PARTS.values() for recipe in backends.values()} | {
        "ner_minilm_more",
        "ner_minilm_agree",
        "ner_minilm_carry",
        # `rivega train` chooses these.
        "tune_entailment",
        "tune_grounder",
        "tune_segmenter",
        "tune_tagger",
    } == set(names())


@pytest.mark.parametrize("part,backend", [(part, backend) for part, backends in PARTS.items() for backend in backends])
def test_every_choice_is_valid(part, backend, tmp_path):
    for machine in ([], ["--gpu"], ["--no-gpu"]) if part in TRAINED else ([],):
        path = written(tmp_path, "--part", part, "--backend", backend, "--force", *machine)
        config = Config().from_disk(path, interpolate=False)
        for key, value in config.get("paths", {}).items():
            config["paths"][key] = value or "somewhere"  # the user gives these beside the config
        validate(config, path)
        text = path.read_text(encoding="utf8")
        assert text.startswith("#") and str(path) in text and f"configs/{PARTS[part][backend]}.cfg" not in text


def test_settings_of_the_machine():
    for name, changes in {**ON_GPU, **ON_CPU}.items():
        part, backend = next(
            (part, backend) for part, backends in PARTS.items() for backend, recipe in backends.items() if recipe == name
        )
        config = choose(part, backend=backend, gpu=name in ON_GPU).config
        assert config != compose(name).config, changes
    assert choose("grounder", gpu=True).config["system"]["gpu_allocator"] == "pytorch"
    assert choose("grounder").config["system"]["gpu_allocator"] is None


def test_encoder_and_optimize(tmp_path):
    path = written(tmp_path, "--part", "tagger", "--backend", "bert", "--encoder", "roberta-base")
    assert Config().from_disk(path, interpolate=False)["paths"]["encoder"] == "roberta-base"
    assert choose("tagger", optimize="accuracy").name == "ner_xlmr" and choose("tagger", optimize="efficiency").name == "ner_minilm"


@pytest.mark.parametrize(
    "options,said",
    [
        (["--part", "tagger", "--backend", "ofa"], "minilm, bert, xlmr"),
        (["--part", "grounder", "--encoder", "roberta-base"], "no effect"),
        (["--part", "tagger", "--backend", "bert", "--optimize", "accuracy"], "no effect"),
        (["--part", "segmenter", "--optimize", "accuracy"], "no effect"),
        (["--part", "pipeline", "--gpu"], "no effect"),
    ],
)
def test_choices_without_effect_are_errors(options, said, tmp_path, capsys):
    assert main(["init-config", str(tmp_path / "made.cfg"), *options]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "made.cfg").exists()


def test_an_existing_file_stays(tmp_path, capsys):
    (tmp_path / "made.cfg").write_text("mine", encoding="utf8")
    assert main(["init-config", str(tmp_path / "made.cfg"), "--part", "vision"]) == 2
    assert (tmp_path / "made.cfg").read_text(encoding="utf8") == "mine" and "--force" in capsys.readouterr().err
    assert main(["init-config", "-", "--part", "vision"]) == 0
    assert "rivega.PhotoViews.v2" in capsys.readouterr().out


@pytest.mark.parametrize(
    "data,posts,crf,dropout", [("", 7000, 1.5e-2, 0.3), ("_2015", 4000, 8e-3, 0.1), ("_2017", 3373, 1.5e-2, 0.3)]
)
@pytest.mark.parametrize("name,rate,batch,epochs", [("ner_bert", 5e-5, 16, 20), ("ner_xlmr", 7e-6, 4, 25)])
def test_the_taggers_numbers_are_the_papers(name, rate, batch, epochs, data, posts, crf, dropout):
    """Section V-A; the CRF's rate and the word dropout are those of the released code."""
    rate = 5e-6 if (name, data) == ("ner_xlmr", "_2015") else rate
    config = Config().from_disk(CONFIGS / f"{name}{data}.cfg", interpolate=True)
    training, model = config["training"], config["components"]["transformer"]["model"]
    schedule = training["optimizer"]["learn_rate"]
    assert training["optimizer"]["@optimizers"] == "Adam.v1" and training["optimizer"]["L2_is_weight_decay"] is True
    assert schedule["@schedules"] == "warmup_linear.v1" and schedule["initial_rate"] == pytest.approx(rate)
    assert training["batcher"]["size"] == batch and training["max_epochs"] == epochs and training["patience"] == 0
    steps = -(-posts // batch)
    assert schedule["total_steps"] == steps * epochs and schedule["warmup_steps"] == steps * epochs // 10
    assert training["eval_frequency"] == steps and training["score_weights"]["ents_f"] == 1.0
    assert model["max_length"] == 256 and model["word_dropout"] == dropout
    for key in ("learn_rate", "crf_learn_rate"):
        assert schedule["initial_rate"] * config["components"]["rivega_ner"]["model"][key] == pytest.approx(crf, rel=1e-3)


def test_newer_encoders_have_the_papers_recipe():
    """All but the encoder is that of ner_xlmr.cfg."""
    modern, paper = (Config().from_disk(CONFIGS / f"{name}.cfg", interpolate=False) for name in ("ner_modern", "ner_xlmr"))
    assert modern["paths"].pop("encoder") != paper["paths"].pop("encoder")
    assert modern == paper
    assert choose("tagger", backend="modern", gpu=False).config["components"]["transformer"]["model"]["bf16"] is False


# Of 7,000 training posts with 11,779 entities, 4,733 of them shown.
ENTITIES, SHOWN, POSTS = 11779, 4733, 7000


@pytest.mark.parametrize(
    "name,rate,batch,epochs,asked",
    [
        ("entailment_ofa", 2e-5, 32, 6, ENTITIES),
        ("entailment_albef", 2e-5, 24, 5, ENTITIES),
        ("grounder_ofa", 3e-5, 32, 10, SHOWN),
        ("grounder_seqtr", 5e-4, 64, 10, SHOWN),
    ],
)
def test_the_networks_numbers_are_the_papers(name, rate, batch, epochs, asked):
    """Section V-A. Batches count posts: so many as hold the paper's batch of entities."""
    config = Config().from_disk(CONFIGS / f"{name}.cfg", interpolate=True)
    training = config["training"]
    schedule = training["optimizer"]["learn_rate"]
    assert schedule.get("initial_rate", schedule.get("rate")) == pytest.approx(rate)
    posts = training["batcher"]["size"]
    assert posts * asked / POSTS == pytest.approx(batch, abs=1.2)
    assert training["max_steps"] == pytest.approx(epochs * POSTS / posts, rel=0.01)
    for corpus in config["corpora"].values():
        assert corpus["expander"]["@misc"] == "rivega.NounPhraseExpander.v1", "what the pipeline will ask with"


def test_seqtrs_schedule_and_vocabulary():
    config = Config().from_disk(CONFIGS / "grounder_seqtr.cfg", interpolate=True)
    rate = config["training"]["optimizer"]["learn_rate"]
    assert (
        rate["schedule"]["rate"] == pytest.approx(rate["rate"] / 10) and rate["steps"] == config["training"]["max_steps"] * 8 // 10
    )
    model = config["components"]["rivega_grounder"]["model"]
    assert model["max_words"] == 30 and "darknet" not in model and "jitter" not in model
    assert config["training"]["optimizer"]["grad_clip"] == 0.15 and config["training"]["optimizer"]["beta2"] == 0.98


def test_five_examples_are_shown():
    """Section V-A: N = 5, chosen by MSEA."""
    examples = Config().from_disk(CONFIGS / "enrich_openai.cfg", interpolate=True)["examples"]
    assert examples["@misc"] == "rivega.MSEA.v1" and examples["n"] == 5


def test_all_are_written_into_a_folder_and_nothing_is_overwritten_unasked(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert main(["init-config", str(folder), "--all"]) == 0
    assert {path.name: path.read_text(encoding="utf8") for path in folder.iterdir()} == {
        path.name: path.read_text(encoding="utf8") for path in CONFIGS.glob("*.cfg")
    }
    (folder / "ner_bert.cfg").write_text("mine")
    (folder / "ner_xlmr.cfg").unlink()
    assert main(["init-config", str(folder), "--all"]) == 2
    assert "E543" in capsys.readouterr().err
    assert (folder / "ner_bert.cfg").read_text() == "mine" and not (folder / "ner_xlmr.cfg").exists()
    assert main(["init-config", str(folder), "--all", "--force"]) == 0
    assert (folder / "ner_bert.cfg").read_text() != "mine" and (folder / "ner_xlmr.cfg").exists()


@pytest.mark.parametrize("words", [["x", "--all", "--part", "tagger"], ["-", "--all"], ["x", "--all", "--gpu"], ["x"]])
def test_contradictions_are_wrong_calls(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init-config", *words]) == 2
    assert list(tmp_path.iterdir()) == []
