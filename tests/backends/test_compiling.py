"""`compiled`: the same answers from compiled layers, one compiled form for equal layers, names of weights unchanged."""

import shutil

import numpy as np
import pytest
import torch
from expressions_of import expressions
from ofa_tiny import asked, sizes, write_folder
from tiny_networks import ALBEF_SIZES, SEQTR_SIZES, coloured, tiny_blip, tiny_owlv2, write_vocab

from rivega_spacy.backends.albef.entailment import albef_entailment
from rivega_spacy.backends.compiling import compile_parts
from rivega_spacy.backends.itm.entailment import itm_entailment
from rivega_spacy.backends.ofa.config import OFAConfig
from rivega_spacy.backends.ofa.entailment import ofa_entailment
from rivega_spacy.backends.ofa.grounder import ofa_grounder
from rivega_spacy.backends.ofa.layers import EncoderLayer
from rivega_spacy.backends.owlv2.grounder import owlv2_grounder
from rivega_spacy.backends.seqtr.grounder import seqtr_grounder
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError

# Traces the layers and runs what was traced as it is: generating code takes a compiler minutes on a busy machine.
QUICK = "eager"


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def albef(folder, **options):
    return albef_entailment(network=ALBEF_SIZES, vocab=write_vocab(folder), **options)


def seqtr(folder, **options):
    return seqtr_grounder(network=SEQTR_SIZES, max_side=96, max_words=6, **options)


MAKERS = {
    "OFA entailment": lambda folder, **options: ofa_entailment(path=str(write_folder(folder / "model")), image_size=64, **options),
    "OFA grounder": lambda folder, **options: ofa_grounder(path=str(write_folder(folder / "model")), image_size=64, **options),
    "ALBEF": albef,
    "SeqTR": seqtr,
    "BLIP": lambda folder, **options: itm_entailment(path=tiny_blip(folder, "blip"), **options),
    "OWLv2": lambda folder, **options: owlv2_grounder(path=tiny_owlv2(folder), **options),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_compiled_layers_answer_as_the_others_do(name, tmp_path):
    batch = [
        asked(1, ("Ada", "PER", "a woman"), ("Oslo", "LOC"), caption="a street"),
        ImageQueries(coloured(60, 80, ((5, 10, 30, 50), (220, 20, 20))), expressions(("red thing", "PER"))),
    ]
    made = []
    for compiled in (False, QUICK):
        torch.manual_seed(0)
        made.append(MAKERS[name](tmp_path, compiled=compiled))
        made[-1].initialize()
    plain, compiled = made
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for a, b in zip(plain.predict(batch), compiled.predict(batch)):
        np.testing.assert_allclose(a, b, atol=1e-4)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs > before, "something was compiled"
    assert set(compiled.shims[0].module.state_dict()) == set(plain.shims[0].module.state_dict())


@pytest.mark.slow
def test_equal_layers_share_a_compiled_form_and_other_lengths_need_no_new_one():
    config = OFAConfig.from_dict(sizes())
    layers = [EncoderLayer(config.width, config.heads, config.encoder_ffn, 2.0, 0.0, 0.0).eval() for _ in range(3)]
    compile_parts(layers, QUICK)
    torch._dynamo.utils.counters.clear()
    with torch.inference_mode():
        for length in (5, 9, 17):
            x = torch.ones(1, length, config.width)
            for layer in layers:
                x = layer(x, torch.zeros(1, config.heads, length, length))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler is at hand")
def test_generated_code_computes_what_the_layer_does():
    config = OFAConfig.from_dict(sizes())
    layer = EncoderLayer(config.width, config.heads, config.encoder_ffn, 2.0, 0.0, 0.0).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.empty(1, 11, config.width).normal_(generator=generator)
    bias = torch.empty(1, config.heads, 11, 11).normal_(generator=generator)
    with torch.inference_mode():
        wanted = layer(x, bias)
        compile_parts([layer], True)
        torch.testing.assert_close(layer(x, bias), wanted, atol=1e-5, rtol=1e-5)


def test_a_backend_that_is_not_there_is_told():
    with pytest.raises(RivegaError, match="inductr"):
        compile_parts([torch.nn.Linear(1, 1)], "inductr")


def test_a_missing_compiler_is_told(monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(RivegaError, match="C\\+\\+ compiler"):
        compile_parts([torch.nn.Linear(1, 1)], True)
