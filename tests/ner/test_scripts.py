"""What stands around the tagger's training: more posts, and the mean of several runs."""

import gzip
import importlib
import json

import pytest
import spacy
import torch
from blank import blank_nlp

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError

from .conftest import make_examples, make_pipeline


def load(name):
    room = "training" if name in ("averaging", "bioes") else "corpus"
    return importlib.import_module(f"rivega_spacy.{room}.{name}")


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


@pytest.mark.slow
def test_the_mean_of_two_runs(runs, tmp_path):
    scripts = load("averaging")
    first, second = (spacy.load(run) for run in runs)
    wanted = (linear(first) + linear(second)) / 2
    assert not torch.equal(linear(first), linear(second))
    mean = scripts.average([first, second])
    assert torch.allclose(linear(mean), wanted)
    mean.to_disk(tmp_path / "mean")
    assert torch.allclose(linear(spacy.load(tmp_path / "mean")), wanted, atol=1e-3)
    assert [doc.text for doc in mean.pipe(["Nike rocks Paris"])] == ["Nike rocks Paris"]
    assert main(["pipeline", "average", str(tmp_path / "asked"), *map(str, runs)]) == 0
    assert torch.equal(linear(spacy.load(tmp_path / "asked")), linear(spacy.load(tmp_path / "mean")))


def test_what_does_not_correspond_is_refused(runs):
    scripts = load("averaging")
    other = blank_nlp()
    with pytest.raises(RivegaError, match="no networks in common"):
        scripts.average([spacy.load(runs[0]), other])


def test_tokens_and_tags_in_the_form_of_twitter_gmner():
    convert = load("more_posts").in_gmner_form
    tokens = ["RT", "@bbc", ":", "#Nike", "Air", "http://t.co/abc", "now", "http://t.co/x"]
    tags = ["O", "O", "O", "B-MISC", "I-MISC", "O", "O", "O"]
    assert convert(tokens, tags) == (
        ["RT", "@", "bbc", ":", "#", "Nike", "Air", "http://t.", "co/abc", "now"],
        ["O", "O", "O", "O", "O", "B-OTHER", "I-OTHER", "O", "O", "O"],
    )


@pytest.mark.slow
@pytest.mark.shared
def test_no_post_of_dev_or_test_gets_in(shared_dir):
    scripts = load("more_posts")
    folder = shared_dir / "data" / "posts"
    rows = list(scripts.more_posts(folder))
    measured = [row for part in ("dev", "test") for row in scripts.read(folder / f"twitter_gmner_{part}.jsonl.gz")]
    assert not {row["id"].removesuffix("-mix") for row in rows} & {row["id"] for row in measured}
    assert not {scripts.words(row["tokens"]) for row in rows if not row["id"].endswith("-mix")} & {
        scripts.words(row["tokens"]) for row in measured
    }
    # The same words under another id stay out, too, unless Twitter-GMNER's own training split has them.
    assert all(len(row["tokens"]) == len(row["tags"]) for row in rows)
    assert sum(not row["id"].endswith("-mix") for row in rows) == 3074


def write_rows(path, rows):
    with gzip.open(path, "wt", encoding="utf8") as file:
        file.write("\n".join(map(json.dumps, rows)))


def test_the_command_writes_posts_that_are_in_no_split(tmp_path, capsys):
    def post(number, text, **more):
        return {"id": number, "tokens": text.split(), "tags": ["O"] * len(text.split()), **more}

    splits = {"train": [post("1", "Ada sang", knowledge="one")], "dev": [post("2", "Bob ran")], "test": [post("3", "Cleo hid")]}
    for name, rows in splits.items():
        write_rows(tmp_path / f"twitter_gmner_{name}.jsonl.gz", rows)
    # Known by its id, by its words in dev and in training, new, and new a second time.
    others = [
        post("1", "Ada sang"),
        post("4", "bob ran !"),
        post("5", "Ada , sang"),
        post("6", "#Dora swam"),
        post("7", "Dora swam"),
    ]
    for year in ("2015", "2017"):
        for part in ("train", "valid", "test"):
            here = (year, part) == ("2017", "test")
            write_rows(tmp_path / f"twitter{year}_{part}.jsonl.gz", others if here else [])
            write_rows(tmp_path / f"twitter{year}_{part}_knowledge.jsonl.gz", [{"id": "1", "knowledge": "two"}] if here else [])
    assert main(["data", "more-posts", str(tmp_path), str(tmp_path / "more.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "more.jsonl").read_text(encoding="utf8").splitlines()]
    assert [(row["id"], row["tokens"], row["knowledge"]) for row in rows] == [
        ("1-mix", ["Ada", "sang"], "two"),
        ("6", ["#", "Dora", "swam"], ""),
    ]
    assert "1 posts more, 1 training posts again" in capsys.readouterr().out


def test_the_command_writes_texts_of_three_corpora(tmp_path):
    script = load("more_texts")
    for name in ("wnut17_train", "conll03_train", *script.BTC):
        rows = [{"id": name, "tokens": ["@", "ann"], "tags": ["B-PER", "I-PER"]}] * (1001 if name == "conll03_train" else 10)
        write_rows(tmp_path / f"{name}.jsonl.gz", rows)
    assert main(["data", "more-texts", str(tmp_path), str(tmp_path / "texts")]) == 0
    lengths = {path.stem: len(path.read_text(encoding="utf8").splitlines()) for path in (tmp_path / "texts").iterdir()}
    assert lengths == {"wnut17": 10, "btc": 10 + 4 * 9, "conll03": 1}


@pytest.mark.slow
def test_at_signs_are_outside_and_a_type_is_missing(tmp_path):
    script = load("more_texts")
    assert script.without_at(["@", "ann", "in", "@"], ["B-PER", "B-PER", "O", "B-ORG"]) == ["O", "B-PER", "O", "O"]
    assert script.without_at(["@", "ann", "lee"], ["B-PER", "I-PER", "I-PER"]) == ["O", "B-PER", "I-PER"]
    for name in script.BTC:
        rows = [{"id": f"{name}-{line}", "tokens": ["@", "ann"], "tags": ["B-PER", "B-PER"]} for line in range(1010)]
        write_rows(tmp_path / f"{name}.jsonl.gz", rows)
    rows = list(script.training_rows(tmp_path, "btc"))
    assert all(row["tags"] == ["O", "B-PER"] and row["missing_labels"] == ["OTHER"] for row in rows)
    lines = {name: {int(row["id"].split("-")[1]) for row in rows if row["id"].startswith(name)} for name in script.BTC}
    # Nothing of what is measured (the second half of section H), and nothing of what is chosen on.
    assert lines["btc_h"] == set(range(800)) and lines["btc_a"] == {line for line in range(1010) if line % 10 != 9}


def test_other_names_in_post_and_knowledge():
    scripts = load("swap_mentions")
    row = {
        "id": "1",
        "tokens": ["Nick", "Jonas", "feared", "for", "Demi", "in", "NYC"],
        "tags": ["B-PER", "I-PER", "O", "O", "B-PER", "O", "B-LOC"],
        "knowledge": "1. Nick Jonas (singer) 2. Demi Lovato. NickJonas worries; nothing of Demigods.",
    }
    pool = {"PER": [["Ada"]], "LOC": [["New", "Delhi"]]}
    other = scripts.swap(row, pool, 1.0, scripts.random.Random(0))
    assert other["tokens"] == ["Ada", "feared", "for", "Ada", "in", "New", "Delhi"]
    assert other["tags"] == ["B-PER", "O", "O", "B-PER", "O", "B-LOC", "I-LOC"]
    assert other["knowledge"] == "1. Ada (singer) 2. Ada Lovato. Ada worries; nothing of Demigods."
    assert scripts.swap(row, pool, 0.0, scripts.random.Random(0)) is None


def test_a_name_that_the_knowledge_writes_otherwise_stays():
    scripts = load("swap_mentions")
    row = {"id": "1", "tokens": ["Golden", "Warriors"], "tags": ["B-ORG", "I-ORG"], "knowledge": "1. The Warriors of Golden State"}
    assert scripts.swap(row, {"ORG": [["Nike"]]}, 1.0, scripts.random.Random(0)) is None


def test_other_names_do_not_tell_what_a_corpus_leaves_open():
    scripts = load("swap_mentions")
    row = {"id": "1", "tokens": ["Paris"], "tags": ["B-LOC"], "knowledge": None, "missing_labels": ["OTHER"]}
    pool = {"LOC": [["Rome"]]}
    assert scripts.swap(row, pool, 1.0, scripts.random.Random(0))["missing_labels"] == ["OTHER"]
    del row["missing_labels"]
    assert "missing_labels" not in scripts.swap(row, pool, 1.0, scripts.random.Random(0))


@pytest.mark.slow
def test_bioes_tags_that_say_the_same_and_learn(runs, tmp_path):
    scripts = load("bioes")
    scripts.to_bioes(runs[0]).to_disk(tmp_path / "bioes")
    before, after = spacy.load(runs[0]), spacy.load(tmp_path / "bioes")
    tagger = after.get_pipe("rivega_ner")
    assert tagger.scheme.kind == "bioes" and tagger.labels == before.get_pipe("rivega_ner").labels
    texts = [example.text for example in make_examples(before)]

    def entities(nlp):
        return [[(ent.start, ent.end, ent.label_) for ent in doc.ents] for doc in nlp.pipe(texts)]

    assert entities(before) == entities(after)
    assert main(["pipeline", "to-bioes", str(runs[0]), str(tmp_path / "asked")]) == 0
    assert entities(spacy.load(tmp_path / "asked")) == entities(before)
    examples = make_examples(after)
    optimizer = after.resume_training()
    optimizer.learn_rate = 0.01
    for _ in range(40):
        after.update(examples, sgd=optimizer)
    assert after.evaluate(make_examples(after))["ents_f"] == 1.0
    with pytest.raises(RivegaError, match="bioes"):
        scripts.to_bioes(tmp_path / "bioes")


@pytest.mark.slow
def test_bioes_tags_leave_the_tagger_where_it_stands(runs, tmp_path):
    nlp = spacy.load(runs[0])
    nlp.add_pipe("rivega_expander")
    nlp.to_disk(tmp_path / "longer")
    assert load("bioes").to_bioes(tmp_path / "longer").pipe_names == ["transformer", "rivega_ner", "rivega_expander"]


@pytest.mark.slow
def test_bioes_tags_need_such_a_tagger(tmp_path, encoder_dir):
    blank_nlp().to_disk(tmp_path / "blank")
    with pytest.raises(RivegaError, match="E866.*has no `rivega_ner`, only none"):
        load("bioes").to_bioes(tmp_path / "blank")
    assert main(["pipeline", "to-bioes", str(tmp_path / "blank"), str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
