"""Settings: what `nlp.config` says is what holds, from `spacy.load(config=...)` to the next saved pipeline."""

import warnings
from importlib.metadata import entry_points

import pytest
import spacy
import srsly
from blank import blank_nlp
from confection import ConfigValidationError
from vision_tiny import SIZES, tiny_weights  # noqa: F401

from rivega_spacy.knowledge.retrieval import make_retrieved_knowledge
from rivega_spacy.llm.transformers_chat import make_transformers_chat
from rivega_spacy.pipes.loading import load_pipeline
from rivega_spacy.pipes.settings import configure
from rivega_spacy.post.errors import RivegaError

CHAT = {"@misc": "rivega.OpenAIChat.v1", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
SMALL = {"size": 64, **SIZES}
# Component -> (its config, settings with values that are not the default).
PARTS = {
    "rivega_ner": (
        {},
        {
            "constrain": False,
            "span_scores": False,
            "temperature": 2.5,
            "min_score": 0.9,
            "min_score_bare": 0.7,
            "overwrite_ents": False,
            "clear_trf_data": True,
        },
    ),
    "rivega_entailment": (
        {"model": {"@architectures": "rivega.SmallEntailment.v1", **SMALL}},
        {"threshold": 0.9, "overwrite": False, "expression": "name", "labels": {"X": "PER"}},
    ),
    "rivega_grounder": (
        {"model": {"@architectures": "rivega.SmallGrounder.v1", **SMALL}},
        {"ground_unjudged": False, "min_score": 0.9, "overwrite": False, "expression": "expansion", "labels": {"X": "PER"}},
    ),
    "rivega_text_segmenter": ({}, {"segment_unjudged": False, "boxes": False, "expression": "name", "labels": {"X": "PER"}}),
    "rivega_expander": ({}, {"overwrite": True, "labels": {"X": "PER"}}),
    "rivega_segmenter": ({"model": {"@misc": "rivega.GrabCut.v1"}}, {"tighten_boxes": 0.5}),
    "rivega_hf_ner": ({}, {"min_score": 0.9, "overwrite_ents": True}),
    "rivega_retriever": ({}, {"overwrite": True}),
    "rivega_captioner": ({"model": CHAT}, {"overwrite": True, "max_tokens": 7}),
    "rivega_knowledge": ({"model": CHAT}, {"overwrite": True, "max_tokens": 7}),
}


def test_the_settings_of_every_component_are_tried():
    factories = {point.name for point in entry_points(group="spacy_factories") if point.name.startswith("rivega_")}
    # What its encoder does is for the model to say; the rest of it is tried below.
    assert set(PARTS) == factories - {"rivega_transformer"}
    for factory, (_, options) in PARTS.items():
        known = set(pipeline(factory).config["components"][factory])
        assert known == {"factory", *options, *OTHERS.get(factory, ())} | (known & {"model", "scorer"}), factory


# What cannot change at run time: what is asked and how, what the weights depend on, what only training needs.
OTHERS = {
    "rivega_ner": ("scheme", "loss", "agreement"),
    "rivega_retriever": ("source",),
    "rivega_captioner": ("store", "fields", "caption_prompt", "description_prompt"),
    "rivega_knowledge": ("store", "prompt", "examples"),
}


def pipeline(factory, **options):
    nlp = blank_nlp()
    nlp.add_pipe(factory, config={**PARTS[factory][0], **options})
    return nlp


@pytest.mark.parametrize("factory", sorted(PARTS))
@pytest.mark.slow
def test_the_config_wins_over_what_was_saved(factory, tmp_path):
    options = PARTS[factory][1]
    plain = pipeline(factory)
    assert set(plain.get_pipe(factory).settings) == set(options)
    assert not any(plain.get_pipe(factory).setting(option) == value for option, value in options.items())
    plain.to_disk(tmp_path / "plain")
    nlp = spacy.load(tmp_path / "plain", config={"components": {factory: options}})
    nlp.to_disk(tmp_path / "changed")
    for other in (nlp, spacy.load(tmp_path / "changed"), pipeline(factory, **options).from_bytes(plain.to_bytes())):
        assert {option: other.get_pipe(factory).setting(option) for option in options} == options
        assert {option: other.config["components"][factory][option] for option in options} == options


@pytest.mark.parametrize("factory", ["rivega_entailment", "rivega_grounder"])
@pytest.mark.slow
def test_settings_saved_by_older_versions_do_not_win(factory, tmp_path):
    nlp = pipeline(factory)
    nlp.to_disk(tmp_path)
    option = {"rivega_entailment": "threshold", "rivega_grounder": "min_score"}[factory]
    srsly.write_json(tmp_path / factory / "cfg", {option: 0.25, "overwrite": False})
    assert spacy.load(tmp_path).get_pipe(factory).setting(option) == nlp.get_pipe(factory).setting(option)


@pytest.mark.parametrize("factory", sorted(PARTS))
@pytest.mark.slow
def test_configure_changes_component_and_config(factory, tmp_path):
    nlp = pipeline(factory)
    configure(nlp, factory, **PARTS[factory][1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path).get_pipe(factory)
    assert {name: again.setting(name) for name in again.settings} == PARTS[factory][1]


def test_what_is_changed_in_the_component_alone_is_told_when_saved(tmp_path):
    nlp = pipeline("rivega_entailment")
    nlp.get_pipe("rivega_entailment").cfg["threshold"] = 0.3
    with pytest.warns(UserWarning, match="threshold=0.3"):
        nlp.to_disk(tmp_path)
    nlp = pipeline("rivega_ner")
    nlp.get_pipe("rivega_ner").min_score = 0.3
    with pytest.warns(UserWarning, match="min_score=0.3"):
        nlp.to_bytes()


def test_unknown_settings_and_values_out_of_range_are_refused():
    nlp = pipeline("rivega_entailment")
    with pytest.raises(RivegaError, match="no setting 'treshold'.*threshold"):
        configure(nlp, "rivega_entailment", treshold=0.3)
    with pytest.raises(RivegaError, match="between 0 and 1"):
        configure(nlp, "rivega_entailment", threshold=30)
    for factory, option in (
        ("rivega_hf_ner", "min_score"),
        ("rivega_segmenter", "tighten_boxes"),
        ("rivega_entailment", "threshold"),
        ("rivega_grounder", "min_score"),
        ("rivega_ner", "min_score"),
        ("rivega_ner", "min_score_bare"),
    ):
        with pytest.raises(RivegaError, match="between 0 and 1"):
            pipeline(factory, **{option: 1.5})
    for factory, option, value in (
        # All entities would be left out: none is more probable than a number that is none.
        ("rivega_ner", "temperature", 0.0),
        ("rivega_ner", "agreement", -1.0),
        ("rivega_captioner", "max_tokens", 0),
        ("rivega_knowledge", "max_tokens", -1),
    ):
        with pytest.raises(RivegaError, match=f"E416.*`{option}`"):
            pipeline(factory, **{option: value})
    with pytest.raises(RivegaError, match="E416.*`temperature`"):
        configure(pipeline("rivega_ner"), "rivega_ner", temperature=-2)
    nlp.add_pipe("sentencizer")
    with pytest.raises(RivegaError, match="none"):
        configure(nlp, "sentencizer", threshold=0.3)


@pytest.mark.slow
def test_the_scheme_of_saved_tags_cannot_be_changed(tmp_path):
    pipeline("rivega_ner").to_disk(tmp_path)
    with pytest.raises(RivegaError, match="'bio'.*'bioes'"):
        spacy.load(tmp_path, config={"components.rivega_ner.scheme": "bioes"})


@pytest.mark.slow
def test_another_prompt_file_in_the_config_wins_over_the_saved_prompt(tmp_path):
    for name in ("mine", "other"):
        (tmp_path / f"{name}.txt").write_text(f"[[user]]\n{name}: {{text}}")
    nlp = pipeline("rivega_knowledge", prompt=str(tmp_path / "mine.txt"))
    nlp.to_disk(tmp_path / "saved")
    (tmp_path / "mine.txt").write_text("[[user]]\nchanged: {text}")
    found = spacy.load(tmp_path / "saved").get_pipe("rivega_knowledge").prompts["knowledge"].source
    assert "mine" in found, "the pipeline asks what it asked when it was saved"
    for override, wanted in ((str(tmp_path / "other.txt"), "other"), (None, "[[system]]")):
        nlp = spacy.load(tmp_path / "saved", config={"components.rivega_knowledge.prompt": override})
        assert wanted in nlp.get_pipe("rivega_knowledge").prompts["knowledge"].source
        assert "mine:" not in nlp.get_pipe("rivega_knowledge").prompts["knowledge"].source


def test_the_encoders_batches_are_the_configs_to_say(tmp_path):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_transformer", config={"max_batch_items": 4096})
    nlp.get_pipe("rivega_transformer").to_disk(tmp_path, exclude=["model"])
    other = blank_nlp().add_pipe("rivega_transformer", config={"max_batch_items": 7})
    assert other.from_disk(tmp_path, exclude=["model"]).cfg["max_batch_items"] == 7


@pytest.mark.parametrize(
    "overrides",
    [
        {"components.rivega_entailment.treshold": 0.3},
        {"components.rivega_entailment.model.sise": 64},
        {"components.rivega_entailmnt.threshold": 0.3},
        {"components": {"rivega_entailmnt": {"threshold": 0.3}}},
        {"component.rivega_entailment.threshold": 0.3},
        {"nlp.batchsize": 3},
    ],
    ids=str,
)
@pytest.mark.slow
def test_an_override_of_what_is_not_there_is_refused(overrides, tmp_path):
    """A misspelt setting of `spacy.load(config=...)` or of a command's overrides is told, and does not leave the setting as it was."""
    pipeline("rivega_entailment").to_disk(tmp_path)
    with pytest.raises(RivegaError, match="E058|E973"):
        load_pipeline(str(tmp_path), config=overrides)
    if "nlp.batchsize" not in overrides:  # spaCy itself passes over it
        with pytest.raises(ValueError):
            spacy.load(tmp_path, config=overrides)


def test_a_misspelt_setting_of_add_pipe_is_refused():
    for factory, options in PARTS.items():
        option = next(iter(options[1]))
        with pytest.raises(ConfigValidationError, match=option):
            pipeline(factory, **{f"{option}_": options[1][option]})


def test_settings_that_others_leave_without_effect_are_refused(tmp_path):
    for make, options, message in (
        (make_transformers_chat, {"path": str(tmp_path), "top_p": 0.9}, "E849.*`top_p` has no effect at a temperature of 0"),
        (make_transformers_chat, {"path": str(tmp_path), "seed": 7}, "E849.*`seed` has no effect"),
        (make_retrieved_knowledge, {"path": "c.sqlite", "n_image": 3}, "E849.*`n_image` has no effect without `image_encoder`"),
        (make_retrieved_knowledge, {"path": "c.sqlite", "n": 0}, "E416.*`n` is 0"),
    ):
        with pytest.raises(RivegaError, match=message):
            make(**options)
