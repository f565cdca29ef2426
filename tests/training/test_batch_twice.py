"""`rivega.batch_twice.v1`: two views of every post, in one batch."""

from blank import blank_nlp
from spacy.training import Example
from spacy.util import registry
from thinc.api import compounding


def make_examples(count):
    nlp = blank_nlp()
    for number in range(count):
        predicted, reference = nlp.make_doc(f"post {number}"), nlp.make_doc(f"post {number}")
        predicted._.knowledge = f"about {number}"
        predicted._.image = f"{number}.jpg"
        yield Example(predicted, reference)


def test_views_share_the_gold_post_and_nothing_else():
    batches = list(registry.batchers.get("rivega.batch_twice.v1")(size=4)(make_examples(5)))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    for batch in batches:
        for first, second in zip(batch[::2], batch[1::2]):
            assert first.reference is second.reference and first.predicted is not second.predicted
            assert first.predicted.text == second.predicted.text
            assert second.predicted._.knowledge == first.predicted._.knowledge is not None
            assert second.predicted._.image == first.predicted._.image


def test_the_size_may_be_a_schedule():
    batches = list(registry.batchers.get("rivega.batch_twice.v1")(size=compounding(2, 8, 2.0))(make_examples(7)))
    assert [len(batch) for batch in batches] == [2, 4, 8]
