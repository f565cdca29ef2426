"""Choosing in-context examples: the most alike, never the post itself, never one of a measured split."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blank import NLP
from PIL import Image
from spacy.tokens import Doc

from rivega_spacy.cli import main
from rivega_spacy.knowledge.encoders import (
    ColourEncoder,
    DocVectors,
    HashedTextEncoder,
    TransformersImageEncoder,
    TransformersTextEncoder,
    _pieces,
)
from rivega_spacy.knowledge.example_bank import encode_examples, load_bank, unit_rows
from rivega_spacy.knowledge.examples import SHIPPED, Example, Exclusion, fingerprint, read_examples, same_post
from rivega_spacy.knowledge.selection import FixedExamples, SimilarExamples, make_fixed_examples, make_msea, no_examples
from rivega_spacy.post.errors import RivegaError


class Given:
    """An encoder that knows its answers."""

    def __init__(self, name: str, vectors: dict) -> None:
        self.name, self.vectors = name, vectors

    def __call__(self, items: Sequence[Any]) -> np.ndarray:
        keys = [item.text if isinstance(item, Doc) else int(item[0, 0, 0]) for item in items]
        return np.array([self.vectors[key] for key in keys], dtype="float32")


def post(text: str, *, name: str = "", shade: int = -1) -> Doc:
    doc = NLP.make_doc(text)
    if name:
        doc.user_data["id"] = name
    if shade >= 0:
        doc._.image = np.full((4, 4, 3), shade, dtype="uint8")
    return doc


@pytest.fixture
def selector(tmp_path: Path) -> SimilarExamples:
    """Three examples, at 0, 45 and 90 degrees of text; the first and the third have pictures."""
    for shade in (10, 20):
        Image.fromarray(np.full((4, 4, 3), shade, dtype="uint8")).save(tmp_path / f"{shade}.png")
    text = Given(
        "t", {"east east east east": [1, 0], "between them two there": [1, 1], "north north north north": [0, 1], "post": [2, 1]}
    )
    image = Given("i", {10: [1, 0], 20: [0, 3]})
    examples = [
        Example("east east east east", "c", "a1", "1", str(tmp_path / "10.png")),
        Example("between them two there", "c", "a2", "2"),
        Example("north north north north", "c", "a3", "3", str(tmp_path / "20.png")),
    ]
    bank = encode_examples(examples, text, image)
    return SimilarExamples(bank, n=2, text_encoder=text, image_encoder=image)


def chosen(selector: Any, doc: Doc) -> list[str]:
    return [example.answer for example in selector([doc])[0]]


def test_scores_are_the_fused_cosines(selector: SimilarExamples) -> None:
    by_text = np.array([2, 3 / np.sqrt(2), 1]) / np.sqrt(5)
    assert np.allclose(selector.similarities([post("post")]), by_text, atol=1e-6)
    # With a picture: mean of both cosines; an example without one keeps its text's.
    fused = [by_text[0] * 0.5, by_text[1], by_text[2] * 0.5 + 0.5]
    assert np.allclose(selector.similarities([post("post", shade=20)]), fused, atol=1e-6)
    both = selector.similarities([post("post"), post("post", shade=20)])
    assert np.allclose(both, [by_text, fused], atol=1e-6)


def test_the_fused_cosine_is_that_of_joined_vectors(selector: SimilarExamples) -> None:
    joined = np.concatenate([unit_rows(np.array([[2, 1.0]])), unit_rows(np.array([[0, 3.0]]))], axis=1)[0] / np.sqrt(2)
    example = np.concatenate([[0, 1.0], [0, 1.0]]) / np.sqrt(2)
    assert selector.similarities([post("post", shade=20)])[0, 2] == pytest.approx(float(joined @ example), abs=1e-6)


def test_the_most_alike_come_first_and_a_missing_picture_falls_back_to_text(selector: SimilarExamples) -> None:
    assert chosen(selector, post("post")) == ["a2", "a1"]
    assert chosen(selector, post("post", shade=10)) == ["a2", "a1"]
    assert chosen(selector, post("post", shade=20)) == ["a2", "a3"]
    selector.text_weight = 0.0
    assert chosen(selector, post("post", shade=20)) == ["a3", "a2"]


def test_a_damaged_picture_counts_as_none(selector: SimilarExamples) -> None:
    doc = post("post")
    doc._.image = b"no picture"
    assert chosen(selector, doc) == ["a2", "a1"]


def test_the_post_itself_is_never_shown(selector: SimilarExamples) -> None:
    assert chosen(selector, post("post", name="2")) == ["a1", "a3"]
    # The same post under another id, tokenized in another way, with its address.
    copy = "Between THEM, two there! https://t.co/abc"
    selector.text_encoder.vectors[copy] = [1, 1]
    assert chosen(selector, post(copy, name="99")) == ["a1", "a3"]


def test_measured_posts_are_never_shown(tmp_path: Path) -> None:
    measured = tmp_path / "test.jsonl"
    shipped = read_examples(SHIPPED)[0]
    rows = [
        {"id": shipped[0].id, "tokens": ["other"]},
        {"id": "x", "tokens": shipped[1].text.split()},
        {"id": "y", "text": shipped[2].text},
    ]
    measured.write_text("\n".join(map(json.dumps, rows)))
    doc = post("Ilse Brandvold lifts the cup in Nordhavn")
    for make in (make_msea, make_fixed_examples):
        assert {example.id for example in make(n=99)([doc])[0]} >= {example.id for example in shipped[:3]}
        left = {example.id for example in make(n=99, exclude=[str(measured)])([doc])[0]}
        assert left == {example.id for example in shipped[3:]}
    with pytest.raises(RivegaError, match="does not exist"):
        make_msea(exclude=[str(tmp_path / "none.jsonl")])


def test_short_texts_are_not_taken_for_the_same_post() -> None:
    assert fingerprint("Happy birthday!") == ""
    assert not same_post(Example("Happy birthday", "", "a", "1"), "2", fingerprint("Happy birthday"))
    assert fingerprint("RT @ Bob _ : a b c http://t. co/x") == fingerprint("RT @Bob_: a b c")


def test_fixed_examples_are_the_same_for_all_and_numbered(tmp_path: Path) -> None:
    examples = [Example(f"text number {n} of ten", "c", f"a{n}", str(n)) for n in range(10)]
    selector = FixedExamples(examples, 3)
    assert [chosen(selector, post("hello")), chosen(selector, post("you"))] == [["a0", "a1", "a2"]] * 2
    assert chosen(selector, post("hello", name="1")) == ["a0", "a2", "a3"]
    drawn = [[e.id for e in make_fixed_examples(n=4, seed=seed)([post("x")])[0]] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert no_examples([post("a"), post("b")]) == [[], []]
    with pytest.raises(RivegaError, match="`n`"):
        make_fixed_examples(n=-1)


def test_the_default_prefers_alike_posts() -> None:
    (found,) = make_msea(n=1)([post("Real Valbona sell striker to Marlow United , three-year deal")])
    assert found[0].id == "own-5"


def test_a_bank_is_built_saved_and_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    rows = [
        {"id": "1", "tokens": ["A", "red", "car"], "caption_blip2": "a car", "annotation": "one", "image": "red.png"},
        {"id": "2", "text": "A blue boat", "caption": "a boat", "annotation": "two", "image": "missing.png"},
        {"id": "3", "tokens": ["x"], "annotation": None},
        {"id": "4", "text": "measured post with words", "annotation": "four"},
        {"id": "2", "text": "A blue boat", "caption": "a boat", "annotation": "two again"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([*map(json.dumps, rows), "no json"]))
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "4", "text": "measured post with words"}))
    arguments = [
        "examples",
        "build",
        str(tmp_path / "a.jsonl"),
        str(tmp_path / "b.safetensors"),
        "--exclude",
        str(tmp_path / "test.jsonl"),
    ]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert "2 examples, 1 with a picture, 1 left out as measured, 3 problems" in out
    assert "line 3" in err and "line 6" in err and "missing.png" in err
    bank = load_bank(tmp_path / "b.safetensors")
    assert [example.answer for example in bank.examples] == ["one", "two"]
    assert bank.has_image.tolist() == [True, False] and np.allclose(np.linalg.norm(bank.text, axis=1), 1)
    selector = make_msea(str(tmp_path / "b.safetensors"), n=1)
    assert chosen(selector, post("blue boat at sea")) == ["two"]
    with pytest.raises(RivegaError, match="rivega examples build"):
        make_msea(str(tmp_path / "b.safetensors"), text_encoder=HashedTextEncoder(64))


def test_files_that_are_no_bank_are_told(tmp_path: Path) -> None:
    with pytest.raises(RivegaError, match="does not exist"):
        load_bank(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"no safetensors at all")
    with pytest.raises(RivegaError, match="cannot be read"):
        load_bank(tmp_path / "bad")
    (tmp_path / "empty.jsonl").write_text("{}\n")
    with pytest.raises(RivegaError, match="no annotated examples"):
        read_examples(tmp_path / "empty.jsonl")


def test_doc_vectors_read_what_the_pipeline_made() -> None:
    doc = post("two words")
    doc.tensor = np.array([[1.0, 3.0], [3.0, 5.0]], dtype="float32")
    assert DocVectors()([doc]).tolist() == [[2.0, 4.0]]
    with pytest.raises(RivegaError, match="before"):
        DocVectors()([post("nothing here")])


def test_hashed_vectors_hold_alike_texts_together() -> None:
    texts = ["Flights to Porto cancelled", "flight to porto is cancelled", "my cat sleeps"]
    vectors = unit_rows(HashedTextEncoder()([post(text) for text in texts]))
    assert vectors[0] @ vectors[1] > 0.5 > abs(vectors[0] @ vectors[2])
    assert np.array_equal(vectors, unit_rows(HashedTextEncoder()([post(text) for text in texts])))


def test_colours_tell_pictures_apart() -> None:
    red, dark_red, blue = (np.full((30, 50, 3), colour, dtype="uint8") for colour in ((250, 10, 10), (200, 10, 10), (10, 10, 250)))
    vectors = unit_rows(ColourEncoder()([red, dark_red, blue]))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_encoders_of_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast, ViTConfig, ViTImageProcessor, ViTModel

    text, image = tmp_path / "text", tmp_path / "image"
    text.mkdir()
    (text / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "sleeps", "runs"]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        ).save_pretrained(text)
        BertTokenizerFast(str(text / "vocab.txt")).save_pretrained(text)
        ViTModel(
            ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
        ).save_pretrained(image)
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(image)
    encoder = TransformersTextEncoder(str(text), batch_size=2)
    docs = [post("a cat sleeps"), post("a dog runs a dog runs"), post("a cat sleeps")]
    vectors = encoder(docs)
    assert (
        vectors.shape == (3, 16)
        and np.allclose(vectors[0], vectors[2], atol=1e-5)
        and not np.allclose(vectors[0], vectors[1], atol=1e-3)
    )
    pictures = [np.full((20, 30, 3), shade, dtype="uint8") for shade in (0, 255)]
    found = TransformersImageEncoder(str(image))(pictures)
    assert found.shape == (2, 16) and not np.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.shared
@pytest.mark.slow
def test_the_published_examples(shared_dir: Path) -> None:
    posts = shared_dir / "data" / "posts"
    examples, wrong = read_examples(posts / "annotated_examples.jsonl")
    # 327 rows, two of them without an annotation.
    assert (len(examples), len(wrong)) == (325, 2)
    measured = Exclusion([posts / "twitter_gmner_test.jsonl.gz", posts / "twitter_gmner_dev.jsonl.gz"]).keep(examples)
    # 39 of the test split and 42 of the dev split are among them.
    assert len(measured) <= 327 - 39 - 42
    bank = encode_examples(examples, HashedTextEncoder(), ColourEncoder())
    selector = SimilarExamples(bank, n=5, text_encoder=HashedTextEncoder(), image_encoder=ColourEncoder())
    for example, found in zip(examples, selector([post(example.text, name=example.id) for example in examples])):
        assert len(found) == 5 and all(other.id != example.id and other.text != example.text for other in found)


def test_long_words_are_remembered_by_their_beginning():
    _pieces.cache_clear()
    HashedTextEncoder()([post("x" * 60 + "y" * number) for number in range(1, 50)])
    assert _pieces.cache_info().currsize == 1
