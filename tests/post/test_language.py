"""The tokenizer for social posts."""

import pytest
import spacy


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("rivega")


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("RT @NASA: hi", ["RT", "@", "NASA", ":", "hi"]),
        ("@_user_ #Rome", ["@", "_user_", "#", "Rome"]),
        ("Rome#travel", ["Rome", "#", "travel"]),
        ("Go🇺🇸Team", ["Go", "🇺🇸", "Team"]),
        ("ok👩🏽‍🚀", ["ok", "👩🏽‍🚀"]),
        ("❤️❤️love", ["❤️", "❤️", "love"]),
        ("see http://t.co/aB1", ["see", "http://t.co/aB1"]),
        ("don't", ["do", "n't"]),
        ("Rome's", ["Rome", "'s"]),
        ("", []),
    ],
)
def test_tokens(nlp, text, tokens):
    assert [token.text for token in nlp(text)] == tokens


def test_text_is_kept(nlp):
    for text in ("  two  spaces ", "a\nb\tc", "\u200bzero\u200b", "&amp; &lt;3", "🏳️‍🌈 \x92 \ufffd \u00a0"):
        assert nlp(text).text == text


def test_language_round_trips(nlp, tmp_path):
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).lang == "rivega"
