"""The training configs of the networks from elsewhere train, save and load, on tiny networks and real photographs."""

from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from ofa_tiny import write_folder
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config
from tiny_networks import ALBEF_SIZES, DEMO, SEQTR_SIZES, tiny_blip, tiny_grounding_dino, tiny_owlv2, write_vocab

from rivega_spacy.corpus.docbin import write_docbin

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = [
    "entailment_ofa",
    "entailment_albef",
    "entailment_itm",
    "grounder_ofa",
    "grounder_gdino",
    "grounder_owlv2",
    "grounder_seqtr",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Posts with photographs, as `rivega convert` writes them, and one without."""
    nlp = spacy.blank("rivega")
    texts = {post["id"]: post for post in srsly.read_jsonl(DEMO / "posts.jsonl")}
    docs = []
    for row in list(srsly.read_jsonl(DEMO / "expected.jsonl"))[:3]:
        doc = nlp.make_doc(texts[row["id"]]["text"])
        doc.ents = [doc.char_span(e["start"], e["end"], label=e["labels"][0], alignment_mode="expand") for e in row["ents"]]
        for ent, gold in zip(doc.ents, row["ents"]):
            ent._.groundable, ent._.boxes = gold["shown"], gold["boxes"]
        doc._.image = str(DEMO / texts[row["id"]]["image"])
        docs.append(doc)
    bare = docs[0].copy()
    bare._.image = None
    path = tmp_path_factory.mktemp("posts") / "posts.spacy"
    write_docbin([*docs, bare], path)
    return path


def tiny(name, folder):
    """Overrides that put a tiny network in place of the published one."""
    if name.endswith("_ofa"):
        folder = write_folder(folder / "ofa")
        pipe = "rivega_entailment" if name == "entailment_ofa" else "rivega_grounder"
        rates = {"training.accumulate_gradient": 2, "training.optimizer.learn_rate.warmup_steps": 1}
        return {"paths.weights": str(folder), "paths.vocab": str(folder), f"components.{pipe}.model.image_size": 64, **rates}
    if name == "entailment_albef":
        return {"paths.vocab": write_vocab(folder), "components.rivega_entailment.model.network": ALBEF_SIZES}
    if name == "grounder_seqtr":
        return {"components.rivega_grounder.model.network": SEQTR_SIZES, "components.rivega_grounder.model.max_side": 64}
    if name == "entailment_itm":
        return {"paths.weights": tiny_blip(folder / "blip", "blip")}
    if name == "grounder_owlv2":
        return {"paths.weights": tiny_owlv2(folder / "owlv2")}
    sizes = {"components.rivega_grounder.model.shortest": 64, "components.rivega_grounder.model.longest": 96}
    return {"paths.weights": tiny_grounding_dino(folder / "dino"), "components.rivega_grounder.model.max_tokens": 32, **sizes}


def load(name, overrides):
    # Networks' sizes are a whole block, which overrides by dotted names cannot bring in.
    blocks = {key: value for key, value in overrides.items() if isinstance(value, dict)}
    config = load_config(CONFIGS / f"{name}.cfg", overrides={k: v for k, v in overrides.items() if k not in blocks})
    for key, value in blocks.items():
        *parts, last = key.split(".")
        place = config
        for part in parts:
            place = place[part]
        place[last] = value
    return config


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_training_config_trains_saves_and_is_resumed(name, corpus, tmp_path):
    quiet = {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False}
    limits = {"paths.train": str(corpus), "paths.dev": str(corpus), "training.max_steps": 2, "training.eval_frequency": 1}
    limits["training.batcher.size"] = 2
    config = load(name, {**limits, **tiny(name, tmp_path)})
    config["training"]["logger"] = quiet
    (tmp_path / "out").mkdir()
    train(init_nlp(config), tmp_path / "out")
    trained = spacy.load(tmp_path / "out" / "model-last")
    pipe = trained.pipe_names[0]
    docs = answers(trained, corpus)
    # From the last checkpoint on: the component comes from it, weights and all, and the published file is not needed again.
    again = load(name, {**limits, **tiny(name, tmp_path)})
    again["training"]["logger"] = quiet
    again["components"][pipe] = {"source": str(tmp_path / "out" / "model-last")}
    resumed = init_nlp(again)
    assert answers(resumed, corpus) == docs
    (tmp_path / "more").mkdir()
    train(resumed, tmp_path / "more")
    assert answers(spacy.load(tmp_path / "more" / "model-last"), corpus) != docs


def answers(nlp, corpus):
    from rivega_spacy.corpus.docbin import read_docbin

    found = []
    for doc in read_docbin(corpus, nlp.vocab):
        for ent in doc.ents:
            ent._.groundable, ent._.boxes = None, []
        for ent in nlp.get_pipe(nlp.pipe_names[0])(doc).ents:
            found.append((ent._.groundable_score, tuple(np.round(ent._.box or (), 2)), ent._.box_score))
        assert doc._.rivega_errors == []
    # The posts with a picture have answers, the one without has none.
    assert any(value is not None for value in found[0]) and found[-1] == (None, (), None)
    return found


@pytest.mark.parametrize(
    "name,settings",
    [
        ("entailment_albef", {"initial_rate": 2e-5, "L2": 0.02, "grad_clip": 0.0, "beta2": 0.999, "epochs": 5}),
        ("entailment_ofa", {"initial_rate": 2e-5, "L2": 0.2, "grad_clip": 1.0, "beta2": 0.999, "epochs": 6}),
        ("grounder_ofa", {"initial_rate": 3e-5, "L2": 0.01, "grad_clip": 1.0, "beta2": 0.999, "epochs": 10}),
        ("grounder_gdino", {"initial_rate": 5e-5, "grad_clip": 0.1, "epochs": 5}),
        ("grounder_owlv2", {"initial_rate": 2e-5, "grad_clip": 0.1, "epochs": 5}),
        ("grounder_seqtr", {"rate": 5e-4, "L2": 0.0, "grad_clip": 0.15, "beta2": 0.98, "epochs": 10}),
    ],
)
def test_hyper_parameters_are_those_meant(name, settings):
    training = load_config(CONFIGS / f"{name}.cfg")["training"]
    optimizer = training["optimizer"]
    found = {**optimizer, **optimizer["learn_rate"], "epochs": round(training["max_steps"] / training["eval_frequency"], 1)}
    assert {key: found[key] for key in settings} == settings
    # 7,000 training posts; a batch is computed in `accumulate_gradient` parts.
    assert training["max_steps"] * training["batcher"]["size"] == pytest.approx(7000 * settings["epochs"], rel=0.02)
    assert training["batcher"]["size"] >= training["accumulate_gradient"]


@pytest.mark.slow
def test_a_chat_pipeline_is_assembled_and_asks_the_server(tmp_path, monkeypatch):
    """configs/rivega_chat.cfg: shipped parts, and a model at a server that gives probabilities."""
    from llm.servers import FaultProxy, completion
    from spacy.cli.assemble import assemble_cli

    pytest.importorskip("rivega_twitter")
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def answer(body):
        if "top_logprobs" not in body:
            return '[{"bbox_2d": [28, 28, 280, 280]}]'
        reply = completion('{"shown": "yes"}')
        top = [{"token": "yes", "logprob": np.log(0.6)}, {"token": "no", "logprob": np.log(0.2)}]
        told = [
            {"token": '{"shown": "', "logprob": 0.0},
            {"token": "yes", "logprob": np.log(0.6), "top_logprobs": top},
            {"token": '"}', "logprob": 0.0},
        ]
        reply["choices"][0]["logprobs"] = {"content": told}
        return reply

    with FaultProxy(answer) as server:
        overrides = {"paths.store": str(tmp_path / "answers.sqlite")}
        overrides.update(
            {f"components.{name}.model.client.base_url": server.url for name in ("rivega_entailment", "rivega_grounder")}
        )
        config = load_config(CONFIGS / "rivega_chat.cfg", overrides=overrides)
        config.to_disk(tmp_path / "chat.cfg")
        context = type("Context", (), {"args": []})()
        assemble_cli(context, tmp_path / "chat.cfg", tmp_path / "chat", None, False)
        nlp = spacy.load(tmp_path / "chat")
        asked = []
        for _ in range(2):
            doc = nlp.make_doc("Astronaut Eileen Collins before her flight for NASA")
            doc._.image = str(DEMO / "images" / "astronaut.jpg")
            doc = nlp(doc)
            asked.append(len(server.requests))
            assert doc._.rivega_errors == [] and doc.ents
            for ent in doc.ents:
                assert ent._.groundable and ent._.groundable_score == pytest.approx(0.75, abs=1e-4) and ent._.mask is not None
            nlp = spacy.load(tmp_path / "chat")
        assert asked == [2 * len(doc.ents)] * 2
