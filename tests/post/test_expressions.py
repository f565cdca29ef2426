"""The `expression` option of entailment and grounder: what of "Name (TYPE) — expansion" a network is asked and taught."""

import pickle
from typing import Any

import numpy as np
import pytest
import spacy
from blank import NLP, blank_nlp
from expressions_of import ODD_ENTITIES, odd_post
from spacy.tokens import Doc, Span
from spacy.training import Example
from thinc.api import Model
from vision_tiny import SIZES, tiny_network

from rivega_spacy.backends.small.weights import save_network
from rivega_spacy.entailment.component import VisualEntailment
from rivega_spacy.grounding.component import VisualGrounder
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.expressions import EXPRESSIONS, Expression

ASKED = {
    "both": ["Ada (PER) — a mathematician", "Lea (PER)"],
    "name": ["Ada (PER)", "Lea (PER)"],
    "expansion": ["a mathematician", "Lea (PER)"],
}


@pytest.mark.parametrize(("name", "label", "expansion", "paper", "published"), ODD_ENTITIES)
def test_wordings(name, label, expansion, paper, published):
    expression = Expression(name, label, expansion)
    assert (str(expression), expression.text(), expression.published()) == (paper, paper, published)
    assert expression.in_form("both") == expression
    assert expression.in_form("name") == Expression(name, label)
    assert expression.in_form("expansion") == (Expression(expansion=expansion) if expansion else expression)


@pytest.mark.parametrize(
    ("parts", "paper", "published"),
    [
        (("", "", "the Rex (my dog)"), "the Rex (my dog)", "the Rex (my dog)"),
        (("Rex",), "Rex", "Rex"),
        (("Rex", "", "a dog"), "Rex — a dog", "Rex-a dog"),
        ((), "", ""),
    ],
)
def test_plain_words_have_no_type(parts, paper, published):
    expression = Expression(*parts)
    assert (expression.type, expression.text(), expression.published()) == ("", paper, published)


def test_an_expression_is_a_value():
    ada = Expression("Ada", "person", "a mathematician")
    assert ada == Expression("Ada", "PER", "a mathematician") and ada != Expression("Ada", "ORG", "a mathematician")
    assert pickle.loads(pickle.dumps(ada)) == ada and {ada: 1}[Expression("Ada", "PER", "a mathematician")] == 1
    # Parts that make the same text are still different questions.
    assert Expression("Ada", "PER").text() == "Ada (PER)" and Expression("Ada", "PER") != Expression(expansion="Ada (PER)")


def test_the_attribute_words_whatever_names_hold(picture):
    doc = odd_post(NLP.vocab, picture)
    assert [ent._.referring_expression for ent in doc.ents] == [paper for *_, paper, _ in ODD_ENTITIES]
    doc.ents[0]._.expansion = "  \n"
    assert doc.ents[0]._.referring_expression == "R2 (D2) (OTHER)"


def test_a_question_in_plain_text_is_refused():
    with pytest.raises(RivegaError, match=r"'Ada \(PER\)'.*Expression"):
        ImageQueries(np.zeros((2, 2, 3), dtype="uint8"), ["Ada (PER)"])


def post(picture: Any) -> Doc:
    doc = NLP.make_doc("Ada met Lea there")
    doc.ents = [Span(doc, i, i + 1, label="PER") for i in (0, 2)]
    doc.ents[0]._.expansion = "a mathematician"
    doc._.image = picture
    return doc


def recording(seen: list[list[str]], width: int) -> Model:
    """Answers nothing in particular and notes what it is asked; learns nothing and notes what it is taught."""

    def forward(model, queries, is_train):
        seen.extend([str(asked) for asked in query.expressions] for query in queries)
        shape = (-1,) if width == 1 else (-1, width)
        return [np.ones(len(query.expressions) * width, dtype="f").reshape(shape) for query in queries], lambda gradient: []

    def step(model, batch, targets, *, dropout):
        seen.extend([str(asked) for asked in query.expressions] for query in batch)
        return {"loss": 1.0}

    return Model("recording", forward, attrs={"train_step": step})


@pytest.mark.parametrize("form", EXPRESSIONS)
@pytest.mark.parametrize("component,width", [(VisualEntailment, 1), (VisualGrounder, 5)])
def test_networks_are_asked_and_taught_in_the_chosen_form(component, width, form, picture):
    seen: list[list[str]] = []
    pipe = component(NLP.vocab, recording(seen, width), expression=form)
    doc = pipe(post(picture))
    assert doc._.rivega_errors == [] and seen == [ASKED[form]]
    reference = post(picture)
    for ent in reference.ents:
        ent._.boxes = [[1, 1, 9, 9]]
    pipe.update([Example(Doc(reference.vocab, words=[t.text for t in reference]), reference)])
    assert seen == [ASKED[form]] * 2


def test_the_attribute_is_the_whole_expression(picture):
    doc = post(picture)
    assert [ent._.referring_expression for ent in doc.ents] == ASKED["both"]


@pytest.mark.parametrize("component,width", [(VisualEntailment, 1), (VisualGrounder, 5)])
def test_an_unknown_form_is_refused(component, width):
    with pytest.raises(RivegaError, match="expression.*'both' or 'name' or 'expansion'.*'long'"):
        component(NLP.vocab, recording([], width), expression="long")


def save(nlp: Any, name: str, folder: Any) -> None:
    save_network(tiny_network(), folder / "tiny.safetensors")
    nlp.config["initialize"]["components"] = {name: {"weights": str(folder / "tiny.safetensors")}}
    nlp.initialize()
    nlp.to_disk(folder)


@pytest.mark.parametrize("factory", ["rivega_entailment", "rivega_grounder"])
@pytest.mark.slow
def test_a_saved_pipeline_keeps_the_form_and_a_config_given_at_loading_wins(factory, tmp_path):
    architecture = "rivega.SmallEntailment.v1" if factory == "rivega_entailment" else "rivega.SmallGrounder.v1"
    nlp = blank_nlp()
    nlp.add_pipe(factory, config={"expression": "name", "model": {"@architectures": architecture, "size": 64, **SIZES}})
    save(nlp, factory, tmp_path)
    assert spacy.load(tmp_path).get_pipe(factory).expression == "name"
    changed = spacy.load(tmp_path, config={f"components.{factory}.expression": "expansion"})
    assert changed.get_pipe(factory).expression == "expansion"


def test_a_pipeline_saved_before_the_option_existed_loads_as_it_was(tmp_path):
    nlp = blank_nlp()
    nlp.add_pipe("rivega_grounder", config={"model": {"@architectures": "rivega.SmallGrounder.v1", "size": 64, **SIZES}})
    save(nlp, "rivega_grounder", tmp_path)
    config = (tmp_path / "config.cfg").read_text(encoding="utf8")
    assert 'expression = "both"\n' in config
    (tmp_path / "config.cfg").write_text(config.replace('expression = "both"\n', ""), encoding="utf8")
    assert spacy.load(tmp_path).get_pipe("rivega_grounder").expression == "both"
