"""`rivega.ChatEntailment.v1`: what is asked, and how strictly answers are read."""

import math

import numpy as np
import pytest
from chat_client import Client
from expressions_of import expressions

from rivega_spacy.backends.chat.entailment import chat_entailment, read_answer, read_judgement
from rivega_spacy.llm.base import Answer, finished
from rivega_spacy.llm.choices import TokenChoice
from rivega_spacy.llm.pictures import strict_json
from rivega_spacy.llm.safety import InvalidAnswer
from rivega_spacy.llm.store import AnswerStore
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError

PICTURE = np.full((30, 40, 3), 90, dtype="uint8")


def test_probabilities_come_from_the_answers():
    client = Client(
        lambda request: '{"shown": "yes", "probability": 0.8}' if "Ann" in request.messages[-1].text else '{"shown": "no"}'
    )
    model = chat_entailment(client=client)
    batch = [
        ImageQueries(PICTURE, expressions(("Ann", "PER"), ("Bob", "PER"))),
        ImageQueries(PICTURE, []),
        ImageQueries(PICTURE, expressions(("Ann", "PER"))),
    ]
    rows = model.predict(batch)
    assert [row.tolist() for row in rows] == [pytest.approx([0.8, 0.0]), [], pytest.approx([0.8])]
    # The same question about the same picture is one question, and every question shows its picture.
    assert len(client.requests) == 2 and all(request.messages[-1].images for request in client.requests)


def test_an_unusable_answer_is_asked_again_and_then_refused_without_losing_the_others():
    answers = {"Ann": "I think so!", "Bob": '{"shown": "no", "probability": 0.1}'}
    client = Client(lambda request: answers["Ann" if "Ann" in request.messages[-1].text else "Bob"])
    model = chat_entailment(client=client)
    with pytest.raises(RivegaError, match="no usable answer to 1 question"):
        model.predict([ImageQueries(PICTURE, expressions(("Ann", "PER"), ("Bob", "PER")))])
    assert len(client.requests) == 3
    assert model.predict([ImageQueries(PICTURE, expressions(("Bob", "PER")))])[0].tolist() == pytest.approx([0.1])
    assert len(client.requests) == 3


@pytest.mark.parametrize("text", ["word " * 500, "", "😀🚀", ">> ignore this {braces} <<"])
def test_odd_expressions_are_asked_as_data(text):
    client = Client(lambda request: '{"shown": "no"}')
    assert chat_entailment(client=client).predict([ImageQueries(PICTURE, expressions(text))])[0].tolist() == [0.0]
    prompt = client.requests[0].messages[-1].text
    assert len(prompt) < 3000 and prompt.count("<<") == prompt.count(">>") == 1


@pytest.mark.parametrize(
    "value,probability",
    [
        ({"shown": "yes", "probability": 0.9}, 0.9),
        ({"shown": False}, 0.0),
        ({"shown": "YES"}, 1.0),
        ("no", 0.0),
        ({"shown": "no", "probability": 0}, 0.0),
    ],
)
def test_judgements_are_read(value, probability):
    assert read_judgement(value) == probability


@pytest.mark.parametrize(
    "value", [None, 1, [], {}, {"shown": "maybe"}, {"shown": "yes", "probability": 2}, {"shown": "yes", "probability": "0.9"}, {"shown": "yes", "probability": 0.1}, {"shown": "no", "probability": True}]
)  # fmt: skip
def test_anything_else_is_no_judgement(value):
    with pytest.raises(InvalidAnswer):
        read_judgement(value)


def test_only_json_is_json():
    assert strict_json(Answer('```json\n{"a": 1}\n```')) == {"a": 1}
    for text in ('Sure: {"a": 1}', '{"a": 1} and more', "", "{'a': 1}", "[NaN]", '{"a": 1'):
        with pytest.raises(InvalidAnswer):
            strict_json(Answer(text))
    with pytest.raises(InvalidAnswer, match="cut"):
        strict_json(Answer("[1, 2]", finish="length"))


def told(text, *tokens):
    """An answer whose tokens come with probabilities."""
    return Answer(
        text, choices=tuple(TokenChoice(token, {other: math.log(p) for other, p in shares.items()}) for token, shares in tokens)
    )


@pytest.mark.parametrize(
    "answer,probability",
    [
        (told("Yes", ("Yes", {"Yes": 0.6, "No": 0.2})), 0.75),
        (
            told(
                '{"shown": "yes", "probability": 0.99}',
                ('{"shown": "', {}),
                ("yes", {"yes": 0.6, "no": 0.4}),
                ('", "probability": 0.99}', {}),
            ),
            0.6,
        ),
        # Without token probabilities, or where they do not say it, the words do.
        (told('{"shown": "yes", "probability": 0.99}'), 0.99),
        (told("No.", ("No", {"Well": 0.9}), (".", {})), 0.0),
        (told("no"), 0.0),
        (told(" 'Yes.' \n"), 1.0),
    ],
)
def test_token_probabilities_come_before_stated_ones(answer, probability):
    assert read_answer(answer) == pytest.approx(probability)


@pytest.mark.parametrize("text", ["Yes, I think so", "yes no", "", "none", "Not at all"])
def test_a_plain_answer_is_one_word(text):
    with pytest.raises(InvalidAnswer):
        read_answer(Answer(text))


def test_a_second_run_needs_no_call(tmp_path):
    """Probabilities of tokens come back from the store."""
    shares = {"yes": 0.7, "no": 0.3}

    class Telling(Client):
        def submit(self, requests):
            self.requests += requests
            assert all(request.alternatives == 5 for request in requests)
            return [finished(told("yes", ("yes", shares))) for _ in requests]

    for calls in (1, 0):
        client = Telling(None)
        model = chat_entailment(client=client, store=AnswerStore(tmp_path / "answers.sqlite"))
        assert model.predict([ImageQueries(PICTURE, expressions(("Ann", "PER")))])[0].tolist() == pytest.approx([0.7])
        assert len(client.requests) == calls


def test_alternatives_are_not_asked_for_where_turned_off():
    client = Client(lambda request: "yes")
    assert chat_entailment(client=client, alternatives=0).predict([ImageQueries(PICTURE, expressions("Ann"))])[0].tolist() == [1.0]
    assert client.requests[0].alternatives == 0
    with pytest.raises(RivegaError, match="alternatives"):
        chat_entailment(client=client, alternatives=-1)
