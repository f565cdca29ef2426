"""The tagger as on a GPU, on a device that only refuses to mix with the CPU (pretended_gpu.py): the same chains, gradients and entities."""

import contextlib

import pytest
import torch
from pretended_gpu import DEVICE, Far, pretended_gpu

from rivega_spacy.backends.shim import TorchShim, shim_of
from rivega_spacy.ner import crf
from rivega_spacy.ner.crf import ChainScores

from .conftest import make_examples, make_pipeline

TAGS = 5


def chains(seed: int, far_apart: bool) -> tuple[ChainScores, torch.Tensor]:
    torch.manual_seed(seed)
    lengths = torch.tensor([4, 1, 7])
    spread = 500.0 if far_apart else 1.0
    scores = ChainScores(spread * torch.randn(3, 7, TAGS), lengths, torch.randn(TAGS), torch.randn(TAGS), torch.randn(TAGS, TAGS))
    return scores, torch.randint(0, TAGS, (3, 7))


def spans(scores, tags):
    rows, first, last = (torch.tensor(values, device=tags.device) for values in ([0, 2, 2], [1, 0, 3], [2, 0, 6]))
    return crf.span_probabilities(scores, tags, rows, first, last)


def allowed(scores, tags):
    rules = [torch.ones(shape, dtype=torch.bool, device=tags.device) for shape in ((TAGS,), (TAGS,), (TAGS, TAGS))]
    rules[2][1, 2] = False
    return crf.constrain(scores, *rules)


def partly(scores, tags):
    may = torch.ones((3, 7, TAGS), dtype=torch.bool, device=tags.device)
    may[:, 0, 1:] = False
    free = [torch.ones(shape, dtype=torch.bool, device=tags.device) for shape in ((TAGS,), (TAGS,), (TAGS, TAGS))]
    return crf.partial_nll(scores, crf.agreeing_chains(scores, may, *free))


ASKED = {
    "likelihood": lambda scores, tags: crf.nll(scores, tags),
    "likelihood of what agrees": partly,
    "best tags": lambda scores, tags: crf.viterbi(scores)[crf.length_mask(scores.lengths)],
    "rules": allowed,
    "spans": lambda scores, tags: spans(crf.tempered(scores, 1.5), crf.viterbi(scores)),
    "tokens": lambda scores, tags: crf.token_probabilities(scores),
    "disagreement": lambda scores, tags: crf.disagreement(scores, torch.tensor([2, 1, 0], device=tags.device)),
}


def leaves(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [leaf for part in value for leaf in leaves(part)] if isinstance(value, tuple) else [torch.tensor(value)]


@pytest.mark.parametrize("far_apart", [False, True])
@pytest.mark.parametrize("asked", ASKED)
def test_chains_on_a_device(asked, far_apart):
    scores, tags = chains(0, far_apart)
    expected = leaves(ASKED[asked](scores, tags))
    with pretended_gpu():
        found = leaves(ASKED[asked](ChainScores(*(part.to(DEVICE) for part in scores)), tags.to(DEVICE)))
        assert any(isinstance(part, Far) for part in found)
        found = [part.cpu() for part in found]
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("head", [{}, {"hidden_width": 8}])
def test_a_tagger_on_a_device(encoder_dir, head, monkeypatch):
    # The device knows no fused optimiser.
    plain = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, lr, fused: plain(groups, lr=lr))
    results = {}
    for device in ("cpu", DEVICE):
        with pretended_gpu() if device is DEVICE else contextlib.nullcontext():
            nlp = make_pipeline(encoder_dir, head=head)
            examples = make_examples(nlp)
            sgd = nlp.initialize(lambda examples=examples: examples)
            losses: dict[str, float] = {}
            for _ in range(3):
                # The encoder is left as it is: it learns through PyTorch's own automatic differentiation.
                losses = nlp.update(examples, sgd=sgd, drop=0.0, exclude=["transformer"], annotates=["transformer"])
            weights = shim_of(nlp.get_pipe("rivega_ner").model, TorchShim).module.transitions
            assert weights.device.type == torch.device(device).type
            docs = list(nlp.pipe([example.reference.copy() for example in examples]))
            results[device] = losses, [[(ent.start, ent.end, ent.label_, ent._.ner_score) for ent in doc.ents] for doc in docs]
    (loss, entities), (far_loss, far_entities) = results["cpu"], results[DEVICE]
    assert far_loss["rivega_ner"] == pytest.approx(loss["rivega_ner"], rel=1e-4)
    assert [[ent[:3] for ent in found] for found in far_entities] == [[ent[:3] for ent in found] for found in entities]
