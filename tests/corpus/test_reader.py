"""`rivega.Corpus.v1`: sources, filters, roots, order and memory."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from blank import NLP, blank_nlp
from PIL import Image
from spacy.tokens import Doc
from vision_tiny import SIZES

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin, write_docbin
from rivega_spacy.corpus.posts_jsonl import make_docs
from rivega_spacy.corpus.reader import PostCorpus, entailment_pairs, window_shuffle
from rivega_spacy.ner.targets import missing_labels
from rivega_spacy.post.errors import PostError, RivegaError
from rivega_spacy.post.rle import encode_mask

MASK = encode_mask(np.pad(np.ones((4, 4), bool), 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three posts: 1 with picture, box and mask; 2 with picture, judged as not shown; 3 without picture."""
    rows = [
        {
            "id": "1", "tokens": ["Ann", "in", "Rome", "Ann"], "tags": ["B-PER", "O", "B-LOC", "B-PER"], "knowledge": "own",
            "knowledge_by_model": {"gpt": "g1", "llama": "l1"}, "caption_blip2": "a bridge", "expansions": ["a woman", None, "her again"],
            "boxes": [{"name": "Ann", "xyxy": [2, 2, 6, 6], "mask_rle": MASK}, {"name": "Ann", "xyxy": [0, 0, 1, 1]}],
        },
        {"id": "2", "tokens": ["Bob"], "tags": ["B-PER"], "boxes": []},
        {"id": "3", "tokens": ["Cy"], "tags": ["B-PER"], "boxes": [{"name": "Cy", "xyxy": [1, 1, 2, 2]}]},
    ]  # fmt: skip
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    (tmp_path / "pictures").mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "pictures" / f"{name}.jpg")
    arguments = [str(tmp_path / "posts.jsonl"), str(tmp_path / "posts.spacy"), "--images", str(tmp_path / "pictures"), "--relative"]
    assert main(["convert", *arguments]) == 0
    return tmp_path


def read(folder: Path, **options: Any) -> list[Any]:
    return list(PostCorpus(folder / "posts.spacy", images=folder / "pictures", **options)(NLP))


@pytest.mark.filterwarnings("ignore:None of the")
def test_everything_given_and_annotated_comes_back(folder: Path) -> None:
    first, second, third = read(folder)
    assert first.reference._.image == first.predicted._.image == str(folder / "pictures" / "1.jpg")
    assert third.predicted._.image is None
    ann, rome, again = first.reference.ents
    assert ann._.boxes == again._.boxes == [[2, 2, 6, 6], [0, 0, 1, 1]] and ann._.mask.sum() == 16
    assert (ann._.expansion, rome._.expansion, rome._.groundable) == ("a woman", None, False)
    assert not any(example.predicted.ents for example in (first, second, third))
    # The same with no root: references are as the file has them.
    assert next(PostCorpus(folder / "posts.spacy")(NLP)).reference._.image == "1.jpg"


@pytest.mark.parametrize(
    "filter, kept",
    [
        ("entailment", [["Ann", "Rome", "Ann"], ["Bob"]]),
        ("grounding", [["Ann", "Ann"]]),
        ("segmentation", [["Ann", "Ann"]]),
    ],
)
@pytest.mark.filterwarnings("ignore:None of the")
def test_filters_keep_what_a_component_learns_from(folder: Path, filter: str, kept: list[list[str]]) -> None:
    examples = read(folder, filter=filter)
    for side in ("reference", "predicted"):
        assert [[ent.text for ent in getattr(example, side).ents] for example in examples] == kept
    given = examples[0].predicted.ents[0]
    assert given._.expansion == "a woman" and given._.mask_rle is None
    # What is to be predicted is not given away.
    assert given._.groundable is (None if filter == "entailment" else True)
    assert given._.boxes == ([[2, 2, 6, 6], [0, 0, 1, 1]] if filter == "segmentation" else [])
    assert all(example.get_aligned_ner().count(None) == 0 for example in examples)


def test_entailment_pairs_are_labelled(folder: Path) -> None:
    pairs = [[(ent.text, label) for ent, label in entailment_pairs(doc)] for doc in read_docbin(folder / "posts.spacy", NLP.vocab)]
    assert pairs == [[("Ann", "e"), ("Rome", "c"), ("Ann", "e")], [("Bob", "c")], [("Cy", "e")]]


@pytest.mark.filterwarnings("ignore:None of the")
@pytest.mark.parametrize(
    "filter, component, network, score",
    [
        ("entailment", "rivega_entailment", "rivega.SmallEntailment.v1", "ve_accuracy"),
        ("grounding", "rivega_grounder", "rivega.SmallGrounder.v1", "vg_prec"),
    ],
)
def test_a_component_alone_is_measured_through_the_filter(
    folder: Path, tiny_weights: Path, filter: str, component: str, network: str, score: str
) -> None:
    nlp = blank_nlp()
    pipe = nlp.add_pipe(component, config={"model": {"@architectures": network, "size": 64, **SIZES}})
    pipe.model.attrs["load"](pipe.model, tiny_weights)
    assert nlp.evaluate(read(folder, filter=filter))[score] is not None
    assert nlp.evaluate(read(folder))[score] is None


def knowledge(folder: Path, **options: Any) -> list[Any]:
    return [example.predicted._.knowledge for example in read(folder, **options)]


def test_sources_of_knowledge(folder: Path) -> None:
    assert knowledge(folder) == ["own", None, None]
    assert knowledge(folder, sources=["llama"]) == ["l1", None, None]
    assert knowledge(folder, sources=["gpt", "llama"]) == ["g1", "l1", None, None]
    assert knowledge(folder, sources=["nobody"]) == ["own", None, None]
    assert knowledge(folder, sources=["gpt", "llama"], knowledge="alternate") == ["g1", None, None, None]


def test_the_caption_in_the_place_of_the_knowledge(folder: Path) -> None:
    captions = [example.reference._.caption for example in read(folder)]
    assert any(captions)
    assert knowledge(folder, knowledge="caption") == captions


@pytest.mark.parametrize(
    "options", [{"filter": "some"}, {"buffer": 5}, {"buffer": -1, "shuffle": True}, {"sources": []}, {"sources": ["a", "a"]}]
)
def test_impossible_options_are_refused(folder: Path, options: Any) -> None:
    with pytest.raises(RivegaError, match=next(iter(options))):
        read(folder, **options)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for shard in range(4):
        docs = [Doc(NLP.vocab, words=[f"{shard}-{number}"]) for number in range(25)]
        write_docbin(docs, tmp_path / "shards" / f"train-{shard:03d}.spacy")
    return tmp_path / "shards"


@pytest.mark.filterwarnings("ignore:None of the")
def test_a_window_moves_over_the_shards(shards: Path) -> None:
    corpus = PostCorpus(shards, shuffle=True, buffer=10)
    random.seed(3)
    orders = [[example.reference[0].text for example in corpus(NLP)] for _ in range(3)]
    plain = [f"{shard}-{number}" for shard in range(4) for number in range(25)]
    assert all(sorted(order) == sorted(plain) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    # Files in random order, posts near where they were: a post of the first file cannot come after the last file has begun to run out.
    assert len({order[0].split("-")[0] for order in orders} | {order[-1].split("-")[0] for order in orders}) > 1
    for order in orders:
        first = order[0].split("-")[0]
        assert sum(text.split("-")[0] == first for text in order[:40]) >= 15
    random.seed(3)
    assert [example.reference[0].text for example in corpus(NLP)] == orders[0]


def test_a_window_holds_no_more_than_its_size() -> None:
    taken: list[int] = []

    def stream() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    given = 0
    for _ in window_shuffle(stream(), 8):
        given += 1
        assert len(taken) - given <= 8
    assert given == 100


def test_a_stream_reads_one_shard_at_a_time(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    original = spacy.tokens.DocBin.from_disk

    def from_disk(self: Any, path: Any) -> Any:
        opened.append(path)
        return original(self, path)

    monkeypatch.setattr(spacy.tokens.DocBin, "from_disk", from_disk)
    examples = PostCorpus(shards, knowledge="absent")(NLP)
    for _ in range(30):
        next(examples)
    assert len(opened) == 2


def write_partial(folder: Path, rows: list[Any]) -> Path:
    (folder / "partial.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    assert main(["convert", str(folder / "partial.jsonl"), str(folder / "partial.spacy")]) == 0
    return folder / "partial.spacy"


@pytest.mark.filterwarnings("ignore:None of the")
def test_what_a_corpus_does_not_annotate(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "tokens": ["Ann", "plays", "Tetris"], "tags": ["B-PER", "O", "O"], "missing_labels": ["OTHER"]},
        {"id": "2", "tokens": ["Rome", "?", "!"], "tags": ["B-LOC", "-", "O"]},
    ]
    path = write_partial(tmp_path, rows)
    first, second = PostCorpus(path)(NLP)
    assert missing_labels(first.reference) == ["OTHER"] and missing_labels(second.reference) == []
    # spaCy's own mark of a token without annotation.
    assert [token.ent_iob for token in second.reference] == [3, 0, 2]
    told = list(PostCorpus(path, missing_labels=["OTHER", "ORG"])(NLP))
    assert [missing_labels(example.reference) for example in told] == [["OTHER", "ORG"], ["OTHER", "ORG"]]
    assert not any(missing_labels(example.predicted) for example in told)


@pytest.mark.filterwarnings("ignore:None of the")
def test_what_is_annotated_cannot_be_missing(tmp_path: Path) -> None:
    path = write_partial(tmp_path, [{"id": "7", "tokens": ["Ann"], "tags": ["B-PER"]}])
    with pytest.raises(PostError, match="'7'.*'Ann'.*PER"):
        list(PostCorpus(path, missing_labels=["PER"])(NLP))
    with pytest.raises(RivegaError, match="missing_labels.*'PER'"):
        PostCorpus(path, missing_labels="PER")  # type: ignore[arg-type]
    bad = [({"missing_labels": ["PER"]}, "'8'.*'Ann'"), ({"missing_labels": "PER"}, "'8'.*missing_labels")]
    for field, message in bad:
        row = {"id": "8", "tokens": ["Ann"], "tags": ["B-PER"], **field}
        with pytest.raises(PostError, match=message):
            list(make_docs([(1, row)], NLP.vocab, source="rows"))
