"""The scripts around the tagger's training: more posts, and the mean of several runs."""
import importlib.util
from pathlib import Path

import pytest
import spacy
import torch

from .conftest import make_examples, make_pipeline

SCRIPTS = Path(__file__).parents[2] / "scripts"


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(encoder_dir, tmp_path_factory):
    """Two short trainings from one start that saw other posts."""
    folder = tmp_path_factory.mktemp("runs")
    for number in range(2):
        nlp = make_pipeline(encoder_dir)
        optimizer = nlp.initialize(lambda: make_examples(nlp))
        optimizer.learn_rate = 0.01
        nlp.update(make_examples(nlp)[2 * number : 2 * number + 2], sgd=optimizer)
        nlp.to_disk(folder / str(number))
    return [folder / "0", folder / "1"]


def linear(nlp):
    return nlp.get_pipe("rivega_ner").model.shims[0].module.state_dict()["linear.weight"].clone()


def test_the_mean_of_two_runs(runs, tmp_path):
    scripts = load("average_pipelines")
    first, second = (spacy.load(run) for run in runs)
    wanted = (linear(first) + linear(second)) / 2
    assert not torch.equal(linear(first), linear(second))
    mean = scripts.average([first, second])
    assert torch.allclose(linear(mean), wanted)
    mean.to_disk(tmp_path / "mean")
    assert torch.allclose(linear(spacy.load(tmp_path / "mean")), wanted, atol=1e-3)
    assert [doc.text for doc in mean.pipe(["Nike rocks Paris"])] == ["Nike rocks Paris"]


def test_what_does_not_correspond_is_refused(runs):
    scripts = load("average_pipelines")
    other = spacy.blank("rivega")
    with pytest.raises(SystemExit, match="no networks in common"):
        scripts.average([spacy.load(runs[0]), other])


def test_tokens_and_tags_in_the_form_of_twitter_gmner():
    convert = load("more_posts").in_gmner_form
    tokens = ["RT", "@bbc", ":", "#Nike", "Air", "http://t.co/abc", "now", "http://t.co/x"]
    tags = ["O", "O", "O", "B-MISC", "I-MISC", "O", "O", "O"]
    assert convert(tokens, tags) == (
        ["RT", "@", "bbc", ":", "#", "Nike", "Air", "http://t.", "co/abc", "now"],
        ["O", "O", "O", "O", "O", "B-OTHER", "I-OTHER", "O", "O", "O"],
    )


@pytest.mark.shared
def test_no_post_of_dev_or_test_gets_in(shared_dir):
    scripts = load("more_posts")
    folder = shared_dir / "data" / "posts"
    rows = list(scripts.more_posts(folder))
    measured = [row for part in ("dev", "test") for row in scripts.read(folder / f"twitter_gmner_{part}.jsonl.gz")]
    assert not {row["id"].removesuffix("-mix") for row in rows} & {row["id"] for row in measured}
    assert not {scripts.words(row["tokens"]) for row in rows if not row["id"].endswith("-mix")} & {scripts.words(row["tokens"]) for row in measured}
    # The same words under another id stay out, too, unless Twitter-GMNER's own training split has them.
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert sum(not row["id"].endswith("-mix") for row in rows) == 3074
