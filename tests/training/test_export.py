"""Finishing a trained network: calibrated, saved, and made a pipeline of."""

import numpy as np
import spacy

from rivega_spacy.training import export


def test_a_trained_network_becomes_a_pipeline_of_two_components_with_equal_weights(photos, tmp_path, tiny_weights):
    assert export.export(tiny_weights, tmp_path / "final", size=96, photos=photos)["questions"] > 0
    nlp = spacy.load(tmp_path / "final" / "pipeline")
    shims = {name: nlp.get_pipe(name).model.shims[0] for name in export.COMPONENTS}
    assert nlp.pipe_names == list(export.COMPONENTS) and len({shim.digest for shim in shims.values()}) == 1
    assert all(shim.cfg["size"] == 96 for shim in shims.values())
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl")]


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
