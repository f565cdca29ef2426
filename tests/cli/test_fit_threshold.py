"""`rivega fit-threshold`: the best threshold by brute force, and a pipeline saved with it."""

import warnings

import numpy as np
import pytest
import spacy
from blank import blank_nlp
from spacy import registry
from thinc.api import Model

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.pipes import network_asking as asking
from rivega_spacy.pipes.network_asking import training_batch
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.scoring.thresholds import dev_scores, fit_threshold


def measure_of(scores, shown, threshold, measure):
    found = np.asarray(scores) >= threshold
    shown = np.asarray(shown)
    if measure == "accuracy":
        return (found == shown).mean()
    return 2 * (found & shown).sum() / max(1, found.sum() + shown.sum())


@pytest.mark.parametrize("measure", ["accuracy", "f1"])
@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_is_better(measure, seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.uniform(0, 1, 40), 2 if seed % 2 else 6)
    shown = scores + rng.normal(0, 0.3, 40) > 0.6
    fitted = fit_threshold(list(scores), list(shown), measure=measure)
    best = max(measure_of(scores, shown, t, measure) for t in [0.0, 1.1, *scores, *(scores + 1e-9)])
    assert fitted.value == pytest.approx(measure_of(scores, shown, fitted.threshold, measure)) == pytest.approx(best)
    assert fitted.before == pytest.approx(measure_of(scores, shown, 0.5, measure))
    assert 0 <= fitted.threshold <= 1 and fitted.count == 40


def test_of_equally_good_thresholds_the_nearest_is_taken():
    assert fit_threshold([0.1, 0.9], [False, True]).threshold == 0.5
    assert fit_threshold([0.1, 0.9], [False, True], before=0.05).threshold == 0.5
    assert fit_threshold([0.1, 0.2, float("nan")], [False, True, True]).threshold == pytest.approx(0.15)


@pytest.mark.parametrize(
    "scores,shown", [([], []), ([0.1, 0.2], [True, True]), ([0.1], [False]), ([float("nan")] * 2, [True, False])]
)
def test_nothing_to_fit_on(scores, shown):
    with pytest.raises(RivegaError, match="No threshold can be fitted"):
        fit_threshold(scores, shown)


@pytest.fixture
def corpus(tmp_path):
    """Posts whose pictures are brighter where they show the entity."""
    nlp = blank_nlp()
    docs = []
    for number, level in enumerate((10, 20, 30, 40, 200)):
        doc = nlp.make_doc("Rex the dog")
        ent = doc.char_span(0, 3, label="PER")
        doc.ents = [ent]
        doc.user_data["id"] = str(number)
        doc._.image = np.full((8, 8, 3), level, dtype="uint8") if level < 200 else None
        doc.ents[0]._.groundable = level > 25
        docs.append(doc)
    write_docbin(docs, tmp_path / "dev.spacy")
    return tmp_path / "dev.spacy"


def brightness(scale):
    """An entailment model: how bright the picture is."""

    def forward(model, batch, is_train):
        rows = [np.full(len(q.expressions), q.image.mean() / 255 * scale, dtype="f") for q in batch]
        return rows, lambda gradients: []

    return Model("brightness", forward)


@pytest.mark.slow
def test_the_pipeline_is_saved_with_the_threshold(corpus, tmp_path, capsys):
    spacy.registry.architectures("test.Brightness.v1")(brightness)
    nlp = blank_nlp()
    nlp.add_pipe("rivega_entailment", config={"model": {"@architectures": "test.Brightness.v1", "scale": 1.0}})
    nlp.to_disk(tmp_path / "model")
    assert main(["fit-threshold", str(tmp_path / "model"), str(corpus), "--output", str(tmp_path / "fitted")]) == 0
    assert "4 entities: accuracy 50.00 at 0.5, 100.00 at 0.09804" in capsys.readouterr().out
    fitted = spacy.load(tmp_path / "fitted")
    assert fitted.get_pipe("rivega_entailment").cfg["threshold"] == pytest.approx(25 / 255, abs=1e-3)
    assert fitted.config["components"]["rivega_entailment"]["threshold"] == pytest.approx(25 / 255, abs=1e-3)
    assert spacy.load(tmp_path / "model").get_pipe("rivega_entailment").cfg["threshold"] == 0.5
    assert main(["fit-threshold", str(tmp_path / "model"), str(corpus), "--component", "ner"]) == 2
    assert "no component 'ner'" in capsys.readouterr().err


def test_gold_judgements_are_not_seen_by_the_component(corpus):
    from rivega_spacy.corpus.docbin import read_docbin
    from rivega_spacy.entailment.component import VisualEntailment

    nlp = blank_nlp()
    pipe = VisualEntailment(nlp.vocab, brightness(2.0), overwrite=False)
    scores, shown = dev_scores(pipe, read_docbin(corpus, nlp.vocab), batch_size=2)
    assert shown == [False, False, True, True] and scores == pytest.approx([0.0784, 0.1569, 0.2353, 0.3137], abs=1e-3)


@spacy.registry.architectures("test.Wordy.v1")
def wordy():
    """An entailment model that judges by what it is asked, and remembers it."""

    def forward(model, batch, is_train):
        ASKED.extend(str(asked) for query in batch for asked in query.expressions)
        return [np.array([min(len(str(asked)), 99) / 100 for asked in query.expressions], dtype="f") for query in batch], list

    return Model("wordy", forward)


ASKED = []


def test_fitting_training_and_inference_ask_in_the_same_words(corpus, tmp_path, capsys):
    """What `rivega_expander` writes at run time is there when the threshold is fitted, and for the training reader's expander."""
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Rex"}])
    nlp.add_pipe("rivega_expander")
    nlp.add_pipe("rivega_entailment", config={"model": {"@architectures": "test.Wordy.v1"}})
    doc = nlp.make_doc("Rex the dog")
    doc._.image = np.zeros((8, 8, 3), dtype="uint8")
    nlp(doc)
    (at_run_time,) = ASKED
    nlp.to_disk(tmp_path / "model")
    ASKED.clear()
    assert main(["fit-threshold", str(tmp_path / "model"), str(corpus)]) == 0
    capsys.readouterr()
    reader = registry.readers.get("rivega.Corpus.v1")
    examples = list(reader(corpus, knowledge="absent", expander=registry.misc.get("rivega.NounPhraseExpander.v1")())(nlp))
    queries, _ = training_batch(examples, "rivega_entailment")
    asked = [str(expression) for query in queries for expression in query.expressions]
    assert at_run_time == "Rex (PER) — a dog" and set(ASKED) == set(asked) == {at_run_time} and len(ASKED) == len(asked) == 4


def test_training_without_expansions_is_told_once(corpus, monkeypatch):
    monkeypatch.setattr(asking, "_TOLD", set())
    monkeypatch.setattr(asking, "_EXPANDED", set())
    nlp = blank_nlp()
    examples = list(registry.readers.get("rivega.Corpus.v1")(corpus, knowledge="absent")(nlp))
    with pytest.warns(UserWarning, match="no entity of the training posts has an expansion"):
        training_batch(examples, "rivega_grounder")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training_batch(examples, "rivega_grounder")
        training_batch(examples, "other", expression="name")
