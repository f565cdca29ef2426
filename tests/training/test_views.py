"""Dense training on views: what a batch holds, through spaCy's own training, stopped and resumed."""

from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from safetensors.torch import load_file
from spacy.cli.train import train
from spacy.training import Example
from vision_tiny import SIZES

from rivega_spacy.pipes.queries import VIEW_KEY
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.checkpoints import Checkpoints, make_steps_left, steps_done
from rivega_spacy.training.dense import DenseAsker
from rivega_spacy.training.photo_views import make_photo_views
from rivega_spacy.training.views import PhotoViews, ViewSettings

CONFIG = Path(__file__).parents[2] / "configs" / "vision_scratch.cfg"
SETTINGS = ViewSettings(batch=3, sizes=((0.0, 64), (0.5, 96)))


def test_a_batch_follows_from_seed_and_step(photos):
    views, again = PhotoViews(photos, SETTINGS), PhotoViews(photos, SETTINGS)
    first = views.batch(7, 0.2)
    views.batch(8, 0.2)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again.batch(7, 0.2)))
    assert not np.array_equal(first[0].pixels, views.batch(8, 0.2)[0].pixels)
    assert views.batch(7, 0.5)[0].pixels.shape == (96, 96, 3)


@pytest.mark.slow
def test_workers_prepare_the_same_views(photos):
    places = [(0, 0.0), (1, 0.9)]
    streams = [PhotoViews(photos, SETTINGS).stream(lambda: iter(places), workers=workers) for workers in (0, 2)]
    for alone, together in zip(*map(list, streams)):
        assert [view.pixels.shape for view in alone] == [view.pixels.shape for view in together]
        assert all(np.array_equal(a.pixels, b.pixels) and np.array_equal(a.boxes, b.boxes) for a, b in zip(alone, together))


def test_all_kinds_and_what_no_photo_shows_are_asked(photos):
    views = PhotoViews(photos, SETTINGS)
    asker = DenseAsker(views.photos)
    expressions, label = asker.phrases(views.batch(0, 0.0), np.random.default_rng(0))
    names = [asker.kinds[key] if key < len(asker.kinds) else "nothing" for key in label]
    assert len(expressions) == len(label)
    assert {"person", "dog", "cat", "train"} <= set(names) and names.count("nothing") >= 10
    # Dogs are half of the photos, trains none: showing a train would count more.
    weight = dict(zip(asker.kinds, asker.shown_weight))
    assert weight["dog"] < weight["train"]


def overrides(photos: Path, tmp_path: Path, weights: Path) -> dict:
    return {
        **{f"components.rivega_grounder.model.{name}": value for name, value in SIZES.items()},
        "components.rivega_grounder.model.size": 64,
        "initialize.components.rivega_grounder.weights": str(weights),
        "paths.photos": str(photos),
        "paths.checkpoint": str(tmp_path / "state"),
        "corpora.train.sizes": [[0.0, 64]],
        "system.batch": 3,
        "system.steps": 6,
        "training.before_update.every": 2,
        "training.eval_frequency": 100,
        "training.optimizer.learn_rate.warmup_steps": 1,
    }


@pytest.mark.slow
def test_spacy_train_goes_on_where_it_was_stopped(photos, tmp_path, tiny_weights):
    options = overrides(photos, tmp_path, tiny_weights)
    train(CONFIG, tmp_path / "first", overrides={**options, "training.max_steps.total": 5})
    assert steps_done(str(tmp_path / "state")) == 4
    state = load_file(tmp_path / "state" / "state.safetensors")
    train(CONFIG, tmp_path / "second", overrides=options)
    # The second run began at the fourth step and had two to do.
    assert steps_done(str(tmp_path / "state")) == 6
    nlp = spacy.load(tmp_path / "second" / "model-last")
    trained = nlp.get_pipe("rivega_grounder").model.shims[0].module.state_dict()
    before = {name.split("net.", 1)[1]: value for name, value in state.items() if "/net." in name}
    assert set(trained) == set(before)
    assert not any(".guess" in name or "helper" in name for name in trained)
    moved = [
        name
        for name, value in trained.items()
        if value.dtype == torch.float32 and not torch.allclose(value, before[name], atol=1e-3)
    ]
    assert moved


def test_the_whole_state_comes_back(photos, tmp_path, tiny_weights):
    def fresh():
        nlp = blank_nlp()
        grounder = nlp.add_pipe(
            "rivega_grounder", config={"model": {"@architectures": "rivega.SmallGrounder.v1", "size": 64, **SIZES}}
        )
        grounder.initialize(list, weights=str(tiny_weights))
        # Made now, the auxiliary head draws no random numbers between seed and step.
        shim = grounder.model.shims[0]
        shim.add_helper(DenseAsker().new_guess(shim.module))
        return nlp

    examples = []
    for example in make_photo_views(str(photos), steps=10, batch=3, sizes=[[0.0, 64]])(blank_nlp()):
        examples.append(example)
        if len(examples) == 9:
            break
    batches = [examples[:3], examples[3:6], examples[6:]]

    def learn(nlp, batch, sgd):
        torch.manual_seed(5)
        return nlp.get_pipe("rivega_grounder").update(batch, sgd=sgd)["rivega_grounder"]

    nlp, sgd = fresh(), blank_nlp().create_optimizer()
    losses = [learn(nlp, batch, sgd) for batch in batches[:2]]
    keep = Checkpoints(tmp_path / "state", 2)
    keep(nlp, {"step": 2})
    expected = learn(nlp, batches[2], sgd)
    other, sgd = fresh(), blank_nlp().create_optimizer()
    keep(other, {"step": 0})
    assert learn(other, batches[2], sgd) == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(losses).all()
    first, second = (n.get_pipe("rivega_grounder").model.shims[0].training_state() for n in (nlp, other))
    assert set(first) == set(second) and int(first["steps"]) == 3
    apart = {name for name, value in first.items() if not torch.allclose(value.float(), second[name].float(), atol=1e-4)}
    assert not apart


def test_a_finished_or_foreign_state_is_named(photos, tmp_path, tiny_weights):
    nlp = blank_nlp()
    grounder = nlp.add_pipe("rivega_grounder", config={"model": {"@architectures": "rivega.SmallGrounder.v1", "size": 64, **SIZES}})
    grounder.initialize(list, weights=str(tiny_weights))
    keep = Checkpoints(tmp_path, 1)
    keep(nlp, {"step": 1})
    with pytest.raises(RivegaError, match="E261"):
        make_steps_left(0, str(tmp_path))
    nlp.rename_pipe("rivega_grounder", "eyes")
    with pytest.raises(RivegaError, match="eyes:0"):
        keep.restore(nlp)
    assert make_steps_left(5) == 5 and steps_done(str(tmp_path / "nothing")) == 0


def test_other_architectures_refuse_views(photos):
    nlp = blank_nlp()
    pipe = nlp.add_pipe("rivega_grounder", config={"model": {"@architectures": "rivega.SmallGrounder.v1", "size": 64, **SIZES}})
    del pipe.model.attrs["train_views"]
    doc = nlp.make_doc("photo")
    doc.user_data[VIEW_KEY] = None
    with pytest.raises(RivegaError, match="PhotoCorpus"):
        pipe.update([Example(nlp.make_doc("photo"), doc)])
