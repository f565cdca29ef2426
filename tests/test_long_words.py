"""Words without an end take time that grows with their length alone."""

import random
import time

import pytest
import spacy


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("rivega")


def tokens(doc):
    return [(token.text, token.whitespace_) for token in doc]


@pytest.mark.parametrize(
    "sign", ["\u200b", "\ufe0f", "\u200d", "😀", "❤️", "👩🏽‍🚀", "🇺🇸", "!", "(", ".", "$", "#", "-", "_", "a", "\u00ad"]
)
def test_rows_of_signs_have_spacys_own_tokens(nlp, sign):
    for text in (
        sign * 150,
        f"Rome {sign * 60} is",
        f"({sign * 50}Rome{sign * 50}) old",
        f"see http://a.b/{'x' * 60}/?q={sign * 3}, {sign * 9}",
    ):
        assert tokens(nlp.make_doc(text)) == tokens(nlp.tokenizer(text)) and nlp.make_doc(text).text == text


@pytest.mark.parametrize("signs", ["\u200b", "\ufe0f\u200b", "😀🔥", "([{!?", "$€£", "'", "http://a.b/", "a", "1,", "#a", "漢"])
def test_endless_words_take_no_time_and_keep_their_text(nlp, signs):
    rng = random.Random(0)
    text = "Ada " + "".join(rng.choice(signs) for _ in range(20_000)) if len(signs) < 6 else signs * 2000
    started = time.process_time()
    doc = nlp(text)
    # Before, a row of 4,000 brackets took nine seconds, and four times that for twice as many.
    assert time.process_time() - started < 20 and doc.text == text


def test_invisible_rims_come_off_words(nlp):
    assert [token.text for token in nlp("\u202aRome\u202c \u2060is\ufeff old\u00ad")] == [
        "\u202a",
        "Rome",
        "\u202c",
        "\u2060",
        "is",
        "\ufeff",
        "old",
        "\u00ad",
    ]
    assert [token.text for token in nlp("co\u00adop ❤️ 👩🏽‍🚀")] == ["co\u00adop", "❤️", "👩🏽‍🚀"]


def test_texts_of_halves_of_characters_are_read_with_a_note(nlp):
    doc = nlp("Rome \ud83d is")
    assert doc.text == "Rome \ufffd is" and "U+FFFD" in doc._.rivega_errors[0]["message"]
