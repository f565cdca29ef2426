"""Finishing a trained network: calibrated, saved, and made a pipeline of."""

import numpy as np
import pytest
import spacy
from vision_tiny import SEEN_SIZES, tiny_seen_network

from rivega_spacy.backends.small.phrases.bank import load_bank
from rivega_spacy.backends.small.weights import LITE, load_network, save_network
from rivega_spacy.cli import main
from rivega_spacy.training import export
from rivega_spacy.training.measure import MeasuredQuestion, ask_photos, measure, summary
from rivega_spacy.training.photos import read_photos

SIZES = {**SEEN_SIZES, "backbone": LITE}


@pytest.fixture
def seen_weights(tmp_path):
    save_network(tiny_seen_network(), tmp_path / "seen.safetensors")
    return tmp_path / "seen.safetensors"


@pytest.mark.slow
def test_a_trained_network_becomes_a_pipeline_of_two_components_with_equal_weights(photos, tmp_path, tiny_weights):
    assert export.export(tiny_weights, tmp_path / "final", size=96, photos=photos)["questions"] > 0
    nlp = spacy.load(tmp_path / "final" / "pipeline")
    shims = {name: nlp.get_pipe(name).model.shims[0] for name in export.COMPONENTS}
    assert nlp.pipe_names == list(export.COMPONENTS) and len({shim.digest for shim in shims.values()}) == 1
    assert all(shim.cfg["size"] == 96 for shim in shims.values())
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl")]


@pytest.mark.slow
def test_the_second_look_is_the_grounders_setting_and_its_boxes_are_measured(photos, tmp_path, seen_weights):
    network, bank = load_network(seen_weights, {}), load_bank()
    dev = read_photos(photos, "dev", bank=bank)
    once, twice = (ask_photos(network, dev, bank, size=192, second_look=share) for share in (0.0, 0.9))
    assert [row.logit for row in once] == [row.logit for row in twice]
    assert [row.score for row in once if row.present] != [row.score for row in twice if row.present]
    export.export(seen_weights, tmp_path / "looked", size=192, photos=photos, second_look=0.9)
    nlp = spacy.load(tmp_path / "looked" / "pipeline")
    assert nlp.get_pipe("rivega_grounder").model.attrs["running"].second_look == 0.9
    assert "second_look" not in nlp.config["components"]["rivega_entailment"]["model"]
    assert len({nlp.get_pipe(name).model.shims[0].digest for name in export.COMPONENTS}) == 1


def test_logistic_fit_finds_the_curve():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=4000) * 3
    truth = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    slope, offset = export.fit_logistic(np.stack([logits, truth], axis=1)).tolist()
    assert abs(slope - 0.5) < 0.05 and abs(offset + 1.0) < 0.12


def test_separable_scores_keep_finite_calibration():
    pairs = np.array([[-1.0, 0.0], [1.0, 1.0]] * 10)
    fitted = export.fit_logistic(pairs)
    assert bool(fitted.isfinite().all()) and fitted[0] > 0


def test_figures_are_those_of_each_set_and_of_sets_together():
    def question(source, kind, present, logit, overlap=float("nan"), known=True):
        return MeasuredQuestion(source, "1", kind, present, known, logit, overlap, 0.5, 0.0)

    rows = [
        question("voc", "person", True, 2.0, 0.9),
        question("voc", "person", True, -1.0, 0.4),
        question("voc", "dog", False, -2.0),
        question("voc", "person", False, 1.0),
        question("sod_bsd", "axolotl", True, 1.0, 0.5, known=False),
    ]
    found = summary(rows)
    # Of two boxes one is right; of those shown half is said to be, of those absent half is not, and three pairs of four are in order.
    assert found["voc"] == {"questions": 2, "boxes": 50.0, "shown": 50.0, "auc": 75.0}
    assert found["voc persons"]["auc"] == 50.0
    for name in ("sod_bsd", "ecssd, sod", "not of VOC", "open shown", "unknown kinds"):
        # What was never asked about has no figure.
        assert found[name]["questions"] == 1 and found[name]["boxes"] == 100.0 and np.isnan(found[name]["auc"])


@pytest.mark.slow
def test_the_command_says_what_is_measured(photos, seen_weights, capsys):
    figures = measure(seen_weights, photos, split="dev", size=64, limit=1)
    assert figures["voc"]["questions"] > 0
    assert main(["vision", "measure", str(seen_weights), "--photos", str(photos), "--size", "64", "--limit", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(figures)
    for line, (name, values) in zip(lines, figures.items()):
        assert line.startswith(name) and all(f"{key} {value:6.1f}" in line for key, value in values.items())
