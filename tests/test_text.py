"""Characters that are none."""

import pytest

from rivega_spacy.post.text import brief, has_visible, replace_surrogates, replace_surrogates_in, trim_invisible


def test_halves_of_characters_are_replaced_one_for_one():
    assert replace_surrogates("a\ud83db\udc00 😀") == "a\ufffdb\ufffd 😀"
    value, fields = replace_surrogates_in({"ok": ["😀", 1], "bad": {"\ud800": ["x\udc00"]}, "k\ud800": None})
    assert value == {"ok": ["😀", 1], "bad": {"\ufffd": ["x\ufffd"]}, "k\ufffd": None} and fields == ["bad", "k\ufffd"]
    assert replace_surrogates_in({"a": ("\ud83d", [{"b": ("\udc00",)}])}) == ({"a": ["\ufffd", [{"b": ["\ufffd"]}]]}, ["a"])
    whole = {"a": ["b"]}
    assert replace_surrogates_in(whole) == (whole, []) and replace_surrogates_in(whole)[0] is whole


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\u200b", "\ufe0f\u200d", "\u202e\u2066", "\u00ad", "\ufeff", "\ufffd", "\u3164", "\u2800", "\x00", "\u00a0\ufffd"],
)
def test_what_nobody_sees(text):
    assert not has_visible(text) and trim_invisible([text, text]) is None


def test_rims_are_trimmed_and_what_is_within_stays():
    assert trim_invisible(["\u200b", "New", "\u00ad", "York", "\ufe0f", " "]) == (1, 4)
    assert trim_invisible(["❤️"]) == (0, 1) and trim_invisible(["\ufffd", "Rome"]) == (0, 2)


def test_messages_stay_short():
    assert brief("x" * 10**6) == "'" + "x" * 76 + "..." and brief([1, "a"]) == "[1, 'a']"
    assert len(brief(list(range(1000)))) == 80 and brief(10**5000) == "a int"


@pytest.mark.parametrize(
    "value", [(), (1,), (1, [None, {}], b"x'"), {"a": [{"b'": 0.5}, 'c"']}, [[], [""]], {(1, 2): {3}}], ids=repr
)
def test_messages_show_values_as_python_writes_them(value):
    assert brief(value) == repr(value) and brief([value] * 20, 40) == repr([value] * 20)[:37] + "..."


def test_no_more_of_a_value_is_looked_at_than_is_shown():
    class Unseen:
        def __repr__(self):
            raise AssertionError("it is not shown")

    assert brief([1, "x" * 10**6, Unseen()]) == "[1, '" + "x" * 72 + "..."
    assert brief({"a": [[2] * 90, Unseen()], "b": Unseen()}).startswith("{'a': [[2, 2, ")
    endless = []
    endless.append(endless)
    assert brief(endless) == "[" * 77 + "..."
