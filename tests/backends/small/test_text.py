"""Expressions to phrase vectors."""

import numpy as np
import torch
from expressions_of import expressions
from ner.conftest import write_encoder
from vision_tiny import WORDS, tiny_network

from rivega_spacy.backends.small.distil import encode_texts
from rivega_spacy.backends.small.text import PhraseEncoder


def test_padding_does_not_change_a_phrase():
    network = tiny_network().text
    with torch.no_grad():
        alone = network(expressions(("ada", "PER")))
        together = network(expressions(("ada", "PER"), ("league", "ORG", "a thing nobody , a red green square person")))
    assert torch.allclose(alone[0], together[0], atol=1e-5)


def test_type_name_and_expansion_all_count():
    with torch.no_grad():
        rows = tiny_network().text(
            expressions(("ada", "PER"), ("ada", "ORG"), ("lea", "PER"), ("ada", "PER", "a thing"), ("thing", "PER", "a ada"))
        )
    distance = torch.cdist(rows, rows) + torch.eye(len(rows))
    assert float(distance.min()) > 1e-3


def test_neighbouring_words_give_neighbouring_phrases():
    # What the noise in training and the distilled table rely on: nearly equal word vectors, nearly equal phrases.
    network = PhraseEncoder(word_width=8, width=16).eval()
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    vectors[2] = vectors[1] + 0.01
    network.set_table(["[UNK]", "cat", "moggy"], vectors)
    with torch.no_grad():
        unknown, cat, moggy = network(expressions(("x", "OTHER", "y"), ("x", "OTHER", "cat"), ("x", "OTHER", "moggy")))
    assert float((cat - moggy).norm()) < 0.2 * float((cat - unknown).norm())


def test_vocabulary_travels_with_the_weights():
    network = tiny_network().text
    other = PhraseEncoder(vocab_size=3, vocab_bytes=5, word_width=8, width=16)
    other.load_state_dict(network.state_dict())
    other.eval()
    assert other.pieces.ids == {word: i for i, word in enumerate(WORDS)}
    with torch.no_grad():
        assert torch.equal(other(expressions(("ada", "PER", "a red square"))), network(expressions(("ada", "PER", "a red square"))))


def test_sentence_vectors_are_those_of_each_text_alone(tmp_path):
    folder = write_encoder(tmp_path)
    texts = ["kevin durant", "nike", "the lions of detroit play at ford field tonight"]
    vectors = encode_texts(folder, texts, batch=2)
    assert vectors.shape == (3, 16) and np.allclose(np.linalg.norm(vectors, axis=1), 1)
    # Padding takes no part in the mean.
    assert np.allclose(vectors, encode_texts(folder, texts, batch=1), atol=1e-6)
