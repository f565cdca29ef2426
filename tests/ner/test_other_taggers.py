"""Other taggers in the tagger's place: the code of docs/tagger.md runs, and what they find is grounded and masked."""

import re
import sys
import types
from pathlib import Path

import pytest
import spacy
from spacy.training import Example

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "assets" / "demo" / "images" / "astronaut.jpg"
TEXT = "Astronaut Eileen Collins of NASA before her flight"
BLOCKS = [
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tagger.md").read_text(encoding="utf8"), re.DOTALL)
    if "exclude" in block
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not spacy.util.is_package("rivega_twitter"), reason="rivega_twitter is not installed: pip install ./assets/rivega_twitter"
    ),
]


class StandIn:
    """GLiNER's interface, with the answer its model card shows for such a text: dictionaries by character."""

    asked: list = []

    @classmethod
    def from_pretrained(cls, name):
        cls.asked.append(name)
        return cls()

    def predict_entities(self, text, labels, threshold=0.5):
        names = {
            "Eileen Collins": ("person", 0.97),
            "NASA": ("organization", 0.9),
            "flight": ("place", 0.2),
            "Collins of": ("person", 0.6),
        }
        found = []
        for name, (label, score) in names.items():
            if score >= threshold and label in labels and name in text:
                start = text.index(name)
                found.append({"start": start, "end": start + len(name), "text": name, "label": label, "score": score})
        return found


def small_ner(folder):
    """spaCy's own `ner`, trained on three sentences, with OntoNotes' labels."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", config={"model": {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "ner", "extra_state_tokens": False,
                                          "hidden_width": 16, "maxout_pieces": 1, "use_upper": False,
                                          "tok2vec": {"@architectures": "spacy.HashEmbedCNN.v2", "width": 16, "depth": 1, "embed_size": 200,
                                                      "window_size": 1, "maxout_pieces": 2, "subword_features": True, "pretrained_vectors": None}}})  # fmt: skip
    entities = [("Eileen Collins", "PERSON"), ("NASA", "ORG")]
    told = {"entities": [(TEXT.index(name), TEXT.index(name) + len(name), label) for name, label in entities]}
    examples = [Example.from_dict(nlp.make_doc(TEXT), told)]
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.02
    for _ in range(60):
        nlp.update(examples, sgd=optimizer, drop=0.0)
    nlp.to_disk(folder)
    return folder


@pytest.mark.parametrize(
    "kind,labels", [("entity_ruler", ("PERSON", "ORG")), ("ner", ("PERSON", "ORG")), ("gliner", ("PER", "ORG"))]
)
def test_what_another_tagger_finds_is_grounded(kind, labels, tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if f'"{kind}' in block]
    if kind == "ner":
        load, stand_in = spacy.load, small_ner(tmp_path / "ner")
        monkeypatch.setattr(spacy, "load", lambda name, **options: load(stand_in if name == "en_core_web_sm" else name, **options))
    if kind == "gliner":
        monkeypatch.setitem(sys.modules, "gliner", types.SimpleNamespace(GLiNER=StandIn))
    scope = {}
    exec(compile(code, "docs/tagger.md", "exec"), scope)
    nlp = scope["nlp"]
    assert "rivega_ner" not in nlp.pipe_names and "rivega_segmenter" in nlp.pipe_names
    doc = nlp.make_doc(TEXT)
    doc._.image = PICTURE
    (doc,) = nlp.pipe([doc])
    assert [(ent.text, ent.label_) for ent in doc.ents] == list(zip(("Eileen Collins", "NASA"), labels))
    person = doc.ents[0]
    # Named a person whatever the tagger calls it, shown, and with a mask of the picture's size.
    assert person._.expansion == "a person" or "astronaut" in person._.expansion
    assert person._.groundable and person._.mask.any() and not doc._.rivega_errors
    assert [ent._.ner_score for ent in doc.ents] == ([0.97, 0.9] if kind == "gliner" else [None, None])


def test_every_block_has_its_test():
    assert len(BLOCKS) == 3
