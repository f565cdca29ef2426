"""An empty pipeline for tests that only make docs with it, or read them: making one reads thirteen hundred exceptions of English each time."""

import spacy

NLP = spacy.blank("rivega")
