"""`rivega.HFTokenClassifier.v1`: a random network from a folder, against transformers; how tags become entities."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp

from rivega_spacy.ner.token_classifier import Found, entities, make_token_classifier
from rivega_spacy.post.errors import SetupError

TEXTS = ["Kevin Durant enters Oracle Arena", "Nike rocks Paris!", "", "the lions of Detroit play tonight"]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def folder(encoder_dir, tmp_path_factory):
    from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

    path = tmp_path_factory.mktemp("token_classifier")
    config = BertConfig.from_pretrained(
        encoder_dir, id2label=dict(enumerate(LABELS)), label2id={x: n for n, x in enumerate(LABELS)}
    )
    torch.manual_seed(1)
    network = BertForTokenClassification(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(8.0) if parameter.ndim > 1 else None
    network.save_pretrained(path)
    AutoTokenizer.from_pretrained(encoder_dir).save_pretrained(path)
    return str(path)


def test_entities_are_those_of_the_network_and_batches_do_not_matter(folder):
    from transformers import AutoTokenizer, BertForTokenClassification

    nlp = blank_nlp()
    nlp.add_pipe("rivega_hf_ner", config={"model": {"@misc": "rivega.HFTokenClassifier.v1", "name": folder, "batch_size": 2}})
    network, tokenizer = BertForTokenClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    docs = list(nlp.pipe(TEXTS))
    assert sum(len(doc.ents) for doc in docs) > 1
    for doc in docs:
        tagged = {token.i for ent in doc.ents for token in ent}
        if not len(doc):
            continue
        inputs = tokenizer(doc.text, return_tensors="pt", return_offsets_mapping=True)
        offsets = inputs.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            tags = network(**inputs).logits[0].argmax(-1).tolist()
        named = {start for (start, end), tag in zip(offsets, tags) if tag and end > start}
        assert tagged == {token.i for token in doc if token.idx in named}
        for ent in doc.ents:
            assert ent.label_ in ("PER", "LOC") and 0.2 < ent._.ner_score <= 1
        alone = nlp(doc.text)
        assert [(e.start, e.end, e.label_) for e in alone.ents] == [(e.start, e.end, e.label_) for e in doc.ents]


def test_what_came_with_entities_keeps_them_and_low_scores_are_left_out(folder):
    nlp = blank_nlp()
    model = {"@misc": "rivega.HFTokenClassifier.v1", "name": folder}
    pipe = nlp.add_pipe("rivega_hf_ner", config={"model": model, "min_score": 1.0})
    doc = nlp.make_doc(TEXTS[0])
    doc.ents = [doc.char_span(0, 5, label="ORG")]
    assert [ent.label_ for ent in pipe(doc).ents] == ["ORG"]
    assert pipe(nlp.make_doc(TEXTS[0])).ents == ()


@pytest.mark.parametrize(
    "tags,expected",
    [
        (["B-PER", "I-PER", "O", "B-LOC"], [(0, 2, "PER"), (3, 4, "LOC")]),
        (["B-PER", "B-PER", "I-LOC", "I-LOC"], [(0, 1, "PER"), (1, 2, "PER"), (2, 4, "LOC")]),
        (["S-PER", "B-LOC", "I-LOC", "E-LOC"], [(0, 1, "PER"), (1, 4, "LOC")]),
        (["PER", "PER", "LOC", "O"], [(0, 2, "PER"), (2, 3, "LOC")]),
        (["O", "O", "O", "O"], []),
    ],
)
def test_tags_become_entities(tags, expected):
    doc = spacy.blank("en").make_doc("a b c d")
    labels = ["O", *sorted(set(tags) - {"O"})]
    shares = np.full((6, len(labels)), 0.01)
    for n, tag in enumerate(tags):
        shares[n + 1, labels.index(tag)] = 0.9
    offsets = np.array([(0, 0), (0, 1), (2, 3), (4, 5), (6, 7), (0, 0)])
    assert entities(doc, shares, offsets, labels) == [Found(*row, pytest.approx(0.9)) for row in expected]


def test_a_missing_network_is_told(tmp_path):
    doc = spacy.blank("en").make_doc("Ann")
    with pytest.raises(SetupError, match="E905.*nothing_here"):
        make_token_classifier(str(tmp_path / "nothing_here"))([doc])
