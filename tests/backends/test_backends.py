"""What holds for every network from elsewhere within a pipeline: where weights come from, odd posts, damaged weights, sharing."""

import pickle

import numpy as np
import pytest
import spacy
import srsly
import torch
from blank import blank_nlp
from chat_client import Client
from expressions_of import ODD_ENTITIES, odd_post
from ofa_tiny import write_folder
from spacy.training import Example
from thinc.api import Adam
from tiny_networks import (
    ALBEF_SIZES,
    DEMO,
    SEQTR_SIZES,
    photographs,
    spoil,
    tiny_blip,
    tiny_grounding_dino,
    tiny_owlv2,
    write_vocab,
)

from rivega_spacy.backends.albef.model import Albef, AlbefConfig
from rivega_spacy.backends.albef.text import WordPieces
from rivega_spacy.backends.grounding_dino.grounder import prompt
from rivega_spacy.backends.hub import Tokens
from rivega_spacy.backends.ofa.tokens import OFATokenizer, clean_text, entailment_prompt, grounding_prompt
from rivega_spacy.backends.seqtr.model import Seqtr, SeqtrConfig
from rivega_spacy.backends.seqtr.text import Vocabulary
from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.images import read_image

ENTAILMENT = ["OFAEntailment", "ALBEFEntailment", "ITMEntailment", "GroundingScore"]
GROUNDERS = ["OFAGrounder", "SeqTRGrounder", "GroundingDINO", "OWLv2"]
CHAT = ["ChatEntailment", "ChatGrounder"]


@spacy.registry.misc("test.Client.v1")
def make_client(text: str) -> Client:
    return Client(text)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Architecture -> (its options, published weights)."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save({"model": Albef(AlbefConfig(**ALBEF_SIZES)).state_dict()}, folder / "albef.pth")
    words = ["PAD", "UNK", "CLS", "rex"]
    network = Seqtr(SeqtrConfig.from_dict({**SEQTR_SIZES, "vocab_size": len(words)}))
    torch.save({"state_dict": network.state_dict()}, folder / "seqtr.pth")
    srsly.write_json(folder / "words.json", words)
    albef = {"vocab": write_vocab(folder), "image_size": 32, "vision_heads": 4, "text_heads": 4}
    seqtr = {"words": str(folder / "words.json"), "heads": 4, "max_side": 64}
    dino = {"shortest": 64, "longest": 96, "max_tokens": 32}
    made = {}

    def once(name, make):
        if name not in made:
            made[name] = str(make(folder / name))
        return made[name]

    def find(name):
        if name == "ChatEntailment":
            return {"client": {"@misc": "test.Client.v1", "text": "yes"}}, None
        if name == "ChatGrounder":
            return {"client": {"@misc": "test.Client.v1", "text": "[[0, 0, 28, 28]]"}}, None
        return {
            "OFAEntailment": lambda: ({"image_size": 64}, once("ofa", write_folder)),
            "OFAGrounder": lambda: ({"image_size": 64}, once("ofa", write_folder)),
            "ALBEFEntailment": lambda: (albef, str(folder / "albef.pth")),
            "SeqTRGrounder": lambda: (seqtr, str(folder / "seqtr.pth")),
            "ITMEntailment": lambda: ({}, once("blip", lambda path: tiny_blip(path, "blip"))),
            "GroundingDINO": lambda: (dino, once("dino", tiny_grounding_dino)),
            "OWLv2": lambda: ({}, once("owlv2", tiny_owlv2)),
            "GroundingScore": lambda: ({"grounder": {"@architectures": "rivega.OWLv2.v1"}}, once("owlv2", tiny_owlv2)),
        }[name]()

    return find


def pipeline(name, options, path=None):
    """A pipeline of one component; its weights from `path`, where there is one."""
    settings = {**options}
    if path is not None and name == "GroundingScore":
        settings = {"grounder": {**options["grounder"], "path": path}}
    elif path is not None:
        settings["path"] = path
    nlp = blank_nlp()
    factory = "rivega_entailment" if name in [*ENTAILMENT, "ChatEntailment"] else "rivega_grounder"
    nlp.add_pipe(factory, config={"model": {"@architectures": f"rivega.{name}.v1", **settings}})
    return nlp, factory


def post(nlp, picture, expansion="", text="Rex the dog"):
    doc = nlp.make_doc(text)
    doc.ents = [doc.char_span(0, len(text.split()[0]), label="PER")]
    doc._.image = picture
    if expansion:
        doc.ents[0]._.expansion = expansion
    return doc


def results(docs):
    return [
        (
            doc.ents[0]._.groundable,
            doc.ents[0]._.groundable_score,
            [list(box) for box in doc.ents[0]._.boxes],
            doc.ents[0]._.box_score,
        )
        for doc in docs
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ENTAILMENT, *GROUNDERS])
def test_weights_may_be_named_in_initialize(sources, name, tmp_path):
    """As spaCy users expect it: read once, saved with the pipeline; the same weights as with `path`."""
    options, weights = sources(name)
    nlp, factory = pipeline(name, options)
    nlp.config["initialize"]["components"] = {factory: {"weights": weights}}
    nlp.initialize()
    photograph = str(DEMO / "images" / "astronaut.jpg")
    found = results([nlp(post(nlp, photograph))])
    direct, _ = pipeline(name, options, weights)
    assert results([direct(post(direct, photograph))]) == found
    nlp.to_disk(tmp_path / "pipeline")
    saved = spacy.util.load_config(tmp_path / "pipeline" / "config.cfg")
    # Nothing of the published file is needed again, and its name need not exist.
    saved["initialize"]["components"][factory]["weights"] = "gone"
    saved.to_disk(tmp_path / "pipeline" / "config.cfg")
    again = spacy.load(tmp_path / "pipeline")
    for one, two in zip(results([again(post(again, photograph))])[0], found[0]):
        np.testing.assert_allclose(
            np.array(one or 0, dtype=float), np.array(two or 0, dtype=float), atol=0.5 if isinstance(one, list) else 5e-3
        )


@pytest.mark.slow
def test_weights_that_are_not_there_are_told_at_once(sources, tmp_path):
    for name in (*ENTAILMENT, *GROUNDERS):
        nlp, factory = pipeline(name, sources(name)[0])
        nlp.config["initialize"]["components"] = {factory: {"weights": str(tmp_path / "none")}}
        with pytest.raises(RivegaError, match="none"):
            nlp.initialize()
    for name in CHAT:
        nlp, factory = pipeline(name, sources(name)[0])
        nlp.config["initialize"]["components"] = {factory: {"weights": "a"}}
        with pytest.raises(RivegaError, match="E207"):
            nlp.initialize()


@pytest.mark.parametrize("name", [*ENTAILMENT, *GROUNDERS, *CHAT])
@pytest.mark.slow
def test_odd_posts_and_damaged_weights(sources, name):
    """Every post of a mixed batch has its own result or its own reason."""
    options, weights = sources(name)
    nlp, factory = pipeline(name, options, weights)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (h, w, 3)).astype("uint8") for h, w in [(30, 40), (1, 1), (1, 4000), (4000, 1)]]
    posts = [post(nlp, picture) for picture in pictures]
    posts += [
        post(nlp, pictures[0], "word " * 500),
        post(nlp, pictures[0], text="😀🚀"),
        post(nlp, None),
        post(nlp, "missing.jpg"),
        post(nlp, b"no picture"),
    ]
    posts.append(nlp.make_doc("no entity"))
    posts[-1]._.image = pictures[0]
    docs = list(nlp.pipe([doc.copy() for doc in posts], batch_size=len(posts)))
    for doc, picture in zip(docs[:6], [*pictures, pictures[0], pictures[0]]):
        ent = doc.ents[0]
        assert doc._.rivega_errors == [], doc._.rivega_errors
        if factory == "rivega_entailment":
            assert isinstance(ent._.groundable, bool) and 0 <= ent._.groundable_score <= 1
        else:
            x1, y1, x2, y2 = ent._.box
            assert 0 <= x1 < x2 <= picture.shape[1] and 0 <= y1 < y2 <= picture.shape[0] and 0 <= ent._.box_score <= 1
    for doc in docs[6:9]:
        assert doc.ents[0]._.groundable is None and doc.ents[0]._.boxes == []
    assert [len(doc._.rivega_errors) for doc in docs[6:]] == [0, 1, 1, 0]
    if name in CHAT:
        return
    model = nlp.get_pipe(factory).model
    spoil(model.layers[0] if name == "GroundingScore" else model)
    for doc, given in zip(nlp.pipe([doc.copy() for doc in posts], batch_size=len(posts)), posts):
        if given._.image is not None and given.ents and isinstance(given._.image, bytes) and given._.image != b"no picture":
            assert doc.ents[0]._.groundable is None and doc.ents[0]._.boxes == []
            assert len(doc._.rivega_errors) == 1 and "not finite" in doc._.rivega_errors[0]["message"]


@pytest.mark.slow
def test_one_network_serves_both_components_also_from_disk(sources, tmp_path):
    options, weights = sources("OFAEntailment")
    nlp, _ = pipeline("OFAEntailment", options, weights)
    nlp.add_pipe("rivega_grounder", config={"model": {"@architectures": "rivega.OFAGrounder.v1", "path": weights, **options}})
    networks = [nlp.get_pipe(name).model.shims[0].ready() for name in nlp.pipe_names]
    assert networks[0] is networks[1]
    nlp.to_disk(tmp_path / "pipeline")
    del networks
    again = spacy.load(tmp_path / "pipeline")
    networks = [again.get_pipe(name).model.shims[0].ready() for name in again.pipe_names]
    assert networks[0] is networks[1] and networks[0] is not nlp.get_pipe("rivega_grounder").model.shims[0].ready()
    doc = again(post(again, str(DEMO / "images" / "astronaut.jpg")))
    assert isinstance(doc.ents[0]._.groundable, bool)


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["OWLv2", "GroundingDINO"])
def test_a_detectors_score_becomes_entailment_with_a_fitted_threshold(sources, detector, tmp_path, capsys):
    options, weights = sources(detector)
    nlp, factory = pipeline("GroundingScore", {"grounder": {"@architectures": f"rivega.{detector}.v1", "path": weights, **options}})
    # Half precision on disk: the scores are those of the saved pipeline.
    nlp.to_disk(tmp_path / "model")
    nlp = spacy.load(tmp_path / "model")
    posts = {row["id"]: row for row in srsly.read_jsonl(DEMO / "posts.jsonl")}
    docs, scores, gold = [], [], []
    for row in list(srsly.read_jsonl(DEMO / "expected.jsonl"))[:4]:
        doc = nlp.make_doc(posts[row["id"]]["text"])
        doc.ents = [doc.char_span(e["start"], e["end"], label=e["labels"][0], alignment_mode="expand") for e in row["ents"]]
        doc._.image = str(DEMO / posts[row["id"]]["image"])
        judged = nlp(doc.copy())
        for ent, found, told in zip(doc.ents, judged.ents, row["ents"]):
            ent._.groundable = told["shown"]
            scores.append(found._.groundable_score)
            gold.append(told["shown"])
        docs.append(doc)
    assert True in gold and False in gold
    write_docbin(docs, tmp_path / "dev.spacy")
    assert main(["fit-threshold", str(tmp_path / "model"), str(tmp_path / "dev.spacy"), "--output", str(tmp_path / "fitted")]) == 0
    capsys.readouterr()
    fitted = spacy.load(tmp_path / "fitted")
    threshold = fitted.get_pipe(factory).cfg["threshold"]
    right = [np.mean((np.array(scores) >= t) == np.array(gold)) for t in [threshold, 0.0, 0.5, *scores]]
    assert right[0] >= max(right) - 1e-9
    assert isinstance(fitted(post(fitted, read_image(str(DEMO / "images" / "astronaut.jpg")))).ents[0]._.groundable, bool)


# Architecture -> (options that take chance out of training, the beginning of names to freeze).
TRAINABLE = {
    "OFAEntailment": ({"drop_path": 0.0}, "decoder.layers.0."),
    "OFAGrounder": ({"drop_path": 0.0}, "encoder.layers."),
    "ALBEFEntailment": ({"augmentation": False, "distillation": 0.0}, "visual_encoder."),
    "ITMEntailment": ({}, "vision_model."),
    "SeqTRGrounder": ({"new_words": False}, "head.predictor."),
    "GroundingDINO": ({}, "model.text_backbone."),
    "OWLv2": ({}, "owlv2.text_model."),
}


def gradients(name, options, weights, **more):
    """Of one step on a photograph, by name; and the model."""
    nlp, factory = pipeline(name, {**options, **TRAINABLE[name][0], **more}, weights)
    model = nlp.get_pipe(factory).model
    batch, targets = photographs(("rex",))
    # Some networks leave layers out at random.
    torch.manual_seed(0)
    model.attrs["train_step"](model, batch, targets, dropout=0.0)
    return model, {key: p.grad.clone() for key, p in model.shims[0].module.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRAINABLE))
def test_options_of_training_do_what_they_say(sources, name):
    options, weights = sources(name)
    _, plain = gradients(name, options, weights)
    model, checkpointed = gradients(name, options, weights, gradient_checkpointing=True)
    assert any(
        getattr(part, "gradient_checkpointing", False) or getattr(part, "checkpointing", False)
        for part in model.shims[0].module.modules()
    )
    assert set(checkpointed) == set(plain)
    for key, value in plain.items():
        torch.testing.assert_close(checkpointed[key], value, rtol=1e-3, atol=1e-5 * (1 + float(value.abs().max())), msg=key)
    frozen = TRAINABLE[name][1]
    model, rest = gradients(name, options, weights, freeze=[frozen])
    assert any(key.startswith(frozen) for key in plain) and set(rest) == {key for key in plain if not key.startswith(frozen)}
    before = {key: value.clone() for key, value in model.shims[0].module.named_parameters()}
    model.finish_update(Adam(0.01, L2=0.1, L2_is_weight_decay=True))
    changed = {key for key, value in model.shims[0].module.named_parameters() if not torch.equal(value, before[key])}
    assert changed and not any(key.startswith(frozen) for key in changed)
    _, low = gradients(name, options, weights, bf16=True)
    assert set(low) == set(plain)
    # Coarser, yet the same direction.
    one, two = (torch.cat([rows[key].float().flatten() for key in sorted(plain)]) for rows in (plain, low))
    assert not torch.equal(one, two) and float(torch.cosine_similarity(one, two, dim=0)) > 0.5


@pytest.mark.parametrize("name", sorted(TRAINABLE))
@pytest.mark.slow
def test_one_post_with_one_word_is_enough_to_train_on(sources, name):
    options, weights = sources(name)
    nlp, factory = pipeline(name, options, weights)
    doc = post(nlp, str(DEMO / "images" / "rex.jpg"), text="Rex")
    doc.ents[0]._.groundable, doc.ents[0]._.boxes = True, [[10, 20, 110, 130]]
    optimizer = Adam(0.01)
    for _ in range(2):
        losses = nlp.update([Example(nlp.make_doc("Rex"), doc)], sgd=optimizer, drop=0.1)
    assert np.isfinite(losses[factory])
    assert all(
        bool(torch.isfinite(value).all())
        for value in nlp.get_pipe(factory).model.shims[0].module.state_dict().values()
        if value.is_floating_point()
    )


@pytest.mark.parametrize("name", ["ALBEFEntailment", "OWLv2"])
def test_a_batch_computed_in_parts_takes_the_step_of_the_whole(sources, name):
    options, weights = sources(name)
    batch, targets = photographs(("rex", "astronaut"))
    # As many expressions in both parts, all with a box.
    batch, targets = [ImageQueries(q.image, q.expressions[:1]) for q in batch], [row[:1] for row in targets]

    def step(*parts):
        nlp, factory = pipeline(name, {**options, **TRAINABLE[name][0]}, weights)
        model = nlp.get_pipe(factory).model
        for part in parts:
            model.attrs["train_step"](model, [batch[n] for n in part], [targets[n] for n in part], dropout=0.0)
        model.finish_update(Adam(1.0, eps=1.0, L2=0.0, grad_clip=0.1))
        return model.shims[0].module.state_dict()

    whole, halves = step((0, 1)), step((0,), (1,))
    for key, value in whole.items():
        torch.testing.assert_close(halves[key], value, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", [*ENTAILMENT, *GROUNDERS, *CHAT])
@pytest.mark.slow
def test_a_component_goes_to_worker_processes(sources, name):
    """`nlp.pipe(n_process=2)` pickles components where processes are spawned (macOS, Windows)."""
    options, weights = sources(name)
    nlp, factory = pipeline(name, options, weights)
    photograph = str(DEMO / "images" / "astronaut.jpg")
    unread = pickle.loads(pickle.dumps(nlp.get_pipe(factory)))
    found = results([nlp(post(nlp, photograph))])
    for pipe in (unread, pickle.loads(pickle.dumps(nlp.get_pipe(factory)))):
        doc = pipe(post(nlp, photograph))
        assert doc._.rivega_errors == [] and results([doc]) == found


def readers(monkeypatch, seen):
    """Let `seen` keep the texts that go into any network's tokenizer, or to a language model."""

    def spy(owner, method, texts):
        read = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda self, *given, **more: seen.extend(texts(given[0])) or read(self, *given, **more))

    for tokenizer in (Tokens, WordPieces, Vocabulary):
        spy(tokenizer, "__call__", list)
    spy(OFATokenizer, "source", lambda text: [text])
    spy(Client, "submit", lambda requests: [request.entity for request in requests])


def as_read(name, paper, published):
    """What an architecture makes of the paper's wording and of the published one before its tokenizer."""
    asks = {"OFAEntailment": entailment_prompt, "OFAGrounder": grounding_prompt}
    if name in asks:
        return asks[name](clean_text(published))
    if name == "GroundingDINO":
        return prompt(paper)
    return published if name in ("ALBEFEntailment", "SeqTRGrounder") else paper


@pytest.mark.parametrize("name", [*ENTAILMENT, *GROUNDERS, *CHAT])
@pytest.mark.slow
def test_names_types_and_expansions_reach_the_network_whatever_they_hold(sources, name, monkeypatch, picture):
    whole = {as_read(name, paper, published) for *_, paper, published in ODD_ENTITIES}
    # Without expansion an entity is named in every form.
    words = [expansion or paper for _, _, expansion, paper, _ in ODD_ENTITIES]
    plain = {
        as_read(name, text, text if expansion else published) for text, (_, _, expansion, _, published) in zip(words, ODD_ENTITIES)
    }
    for form, expected in (("both", whole), ("expansion", plain)):
        seen = []
        nlp, factory = pipeline(name, *sources(name))
        pipe = nlp.get_pipe(factory)
        pipe.expression = form
        with monkeypatch.context() as patch:
            readers(patch, seen)
            doc = pipe(odd_post(nlp.vocab, picture))
            assert doc._.rivega_errors == [] and set(seen) == expected
            if name in TRAINABLE:
                seen.clear()
                for ent in doc.ents:
                    ent._.groundable, ent._.boxes = True, [[1, 2, 30, 40]]
                pipe.update([Example(nlp.make_doc(doc.text), doc)])
                assert set(seen) == expected
