"""Empty pipelines for tests. To make one by `spacy.blank` reads thirteen hundred exceptions of English each time, which takes 80 ms."""

import spacy
from spacy.language import Language

from rivega_spacy.post.language import Rivega

# For tests that only make docs with it, or read them.
NLP = spacy.blank("rivega")


def blank_nlp() -> Language:
    """A pipeline of a test's own, on the vocabulary and the tokenizer of NLP."""
    return Rivega(NLP.vocab, create_tokenizer=lambda _: NLP.tokenizer)
