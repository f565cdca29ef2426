"""Fine-tuning the small network on hardly anything: the weights stay numbers, and learn."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from spacy.tokens import Span
from spacy.training import Example
from thinc.api import Adam
from vision_tiny import SIZES, squares

from rivega_spacy.post.errors import RivegaError

NETWORKS = {"rivega_entailment": "SmallEntailment", "rivega_grounder": "SmallGrounder"}


def pipeline(factory, weights, size=64):
    nlp = blank_nlp()
    nlp.add_pipe(factory, config={"model": {"@architectures": f"rivega.{NETWORKS[factory]}.v1", **SIZES, "size": size}})
    nlp.get_pipe(factory).model.attrs["load"](nlp.get_pipe(factory).model, weights)
    return nlp


def examples(nlp, count, text):
    made = []
    for _colour, image, box in squares(4)[:count]:
        doc = nlp.make_doc(text)
        doc.ents = [Span(doc, 0, 1, label="OTHER")]
        doc._.image = image
        doc.ents[0]._.groundable, doc.ents[0]._.boxes = True, [box.tolist()]
        made.append(Example(nlp.make_doc(text), doc))
    return made


@pytest.mark.parametrize("factory", sorted(NETWORKS))
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("text", ["red", "\u2603", "red square"])
def test_a_few_posts_leave_finite_weights_that_learned(factory, count, text, tiny_weights):
    nlp = pipeline(factory, tiny_weights)
    state = {name: value.clone() for name, value in nlp.get_pipe(factory).model.shims[0].module.state_dict().items()}
    optimizer = Adam(0.003, grad_clip=1.0)
    torch.manual_seed(0)
    losses = [nlp.update(examples(nlp, count, text), sgd=optimizer, drop=drop)[factory] for drop in (0.0, 0.5, 0.99, 0.0)]
    assert np.isfinite(losses).all()
    after = nlp.get_pipe(factory).model.shims[0].module.state_dict()
    assert all(bool(torch.isfinite(value).all()) for value in after.values() if value.is_floating_point())
    assert any(not torch.equal(value, state[name]) for name, value in after.items())


def test_a_step_that_is_no_number_is_left_out_and_told(tiny_weights):
    nlp = pipeline("rivega_grounder", tiny_weights)
    shim = nlp.get_pipe("rivega_grounder").model.shims[0]
    before = {name: value.clone() for name, value in shim.module.state_dict().items()}
    for parameter in shim.module.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    with pytest.warns(UserWarning, match="not finite"):
        shim.finish_update(Adam(0.01, grad_clip=1.0))
    assert all(torch.equal(value, before[name]) for name, value in shim.module.state_dict().items())


@pytest.mark.slow
def test_the_size_of_pictures_is_the_configs_to_say_and_widths_are_the_weights(tiny_weights, tmp_path):
    pipeline("rivega_grounder", tiny_weights, size=64).to_disk(tmp_path / "saved")
    again = spacy.load(tmp_path / "saved", config={"components.rivega_grounder.model.size": 96})
    assert again.get_pipe("rivega_grounder").model.shims[0].cfg["size"] == 96
    assert spacy.load(tmp_path / "saved").get_pipe("rivega_grounder").model.shims[0].cfg["size"] == 64
    with pytest.raises(RivegaError, match="box_width = 32.*box_width = 16"):
        spacy.load(tmp_path / "saved", config={"components.rivega_grounder.model.box_width": 32})
