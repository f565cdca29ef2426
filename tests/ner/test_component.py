"""`rivega_ner` in a pipeline: training, prediction, what it leaves alone, saving, workers."""

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from torchcrf import CRF

from rivega_spacy.ner import tagger
from rivega_spacy.ner.crf import disagreement, token_probabilities
from rivega_spacy.ner.targets import set_missing_labels
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.batch_twice import make_batch_twice

from .conftest import POSTS, make_examples, make_pipeline


def found(doc):
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]


def posts(nlp):
    docs = []
    for text, _, z in POSTS:
        doc = nlp.make_doc(text)
        doc._.knowledge = z
        docs.append(doc)
    return docs


@pytest.mark.slow
def test_it_learns_and_scores(trained):
    docs = list(trained.pipe(posts(trained)))
    assert [found(doc) for doc in docs] == [entities for _, entities, _ in POSTS]
    assert all(0.5 < ent._.ner_score <= 1.0 for doc in docs for ent in doc.ents)
    assert trained.evaluate(make_examples(trained))["ents_f"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize("loss", ["token_mean", "mean", "sum"])
def test_every_scheme_and_loss_learns(encoder_dir, scheme, loss):
    nlp = make_pipeline(encoder_dir, tagger={"scheme": scheme, "loss": loss}, head={"learn_rate": 3.0, "crf_learn_rate": 3.0})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.01
    losses = []
    for _ in range(15):
        losses.append(nlp.update(make_examples(nlp), sgd=optimizer)["rivega_ner"])
    assert losses[-1] < 0.5 * losses[0]
    assert len(nlp.get_pipe("rivega_ner").scheme) == (7 if scheme == "bio" else 13)


@pytest.mark.slow
def test_views_of_a_post_are_drawn_together(encoder_dir):
    """What is said with knowledge and without it lies closer together after training with `agreement` than after training without."""
    apart = {}
    for weight in (0.0, 5.0):
        options = {"knowledge_dropout": 0.5, "word_dropout": 0.3}
        nlp = make_pipeline(
            encoder_dir, transformer=options, tagger={"agreement": weight}, head={"learn_rate": 3.0, "crf_learn_rate": 3.0}
        )
        optimizer = nlp.initialize(lambda: make_examples(nlp))
        optimizer.learn_rate = 0.01
        batch_twice = make_batch_twice(size=8)
        for _ in range(25):
            for batch in batch_twice(make_examples(nlp)):
                nlp.update(batch, sgd=optimizer)
        ner, transformer = nlp.get_pipe("rivega_ner"), nlp.get_pipe("transformer")
        chains = []
        for knowledge in (True, False):
            docs = posts(nlp)
            for doc in docs:
                doc._.knowledge = doc._.knowledge if knowledge else None
            transformer.set_annotations(docs, transformer.predict(docs))
            chains.append(ner.model.predict(docs).chains)
        both = chains[0]._replace(
            emissions=torch.cat([chain.emissions for chain in chains]), lengths=torch.cat([chain.lengths for chain in chains])
        )
        partner = torch.arange(8).roll(4)
        apart[weight] = disagreement(both, partner, reduction="mean")[0]
    assert 0 < apart[5.0] < 0.5 * apart[0.0]


def test_agreement_without_views_changes_nothing(encoder_dir):
    losses = []
    for weight in (0.0, 5.0):
        nlp = make_pipeline(encoder_dir, tagger={"agreement": weight}, head={"dropout": 0.0})
        optimizer = nlp.initialize(lambda: make_examples(nlp))
        losses.append(nlp.update(make_examples(nlp), sgd=optimizer)["rivega_ner"])
    assert losses[0] == losses[1]


def test_improbable_entities_may_be_left_out(trained):
    ner = trained.get_pipe("rivega_ner")
    everything = [(found(doc), [ent._.ner_score for ent in doc.ents]) for doc in trained.pipe(posts(trained))]
    scores = sorted(score for _, each in everything for score in each)
    try:
        ner.min_score = (scores[0] + scores[1]) / 2
        fewer = [found(doc) for doc in trained.pipe(posts(trained))]
        assert sum(map(len, fewer)) == len(scores) - 1
        ner.span_scores = False
        assert [found(doc) for doc in trained.pipe(posts(trained))] == fewer
        ner.min_score, ner.span_scores, ner.temperature = 0.0, True, 3.0
        warm = list(trained.pipe(posts(trained)))
        assert [found(doc) for doc in warm] == [ents for ents, _ in everything]
        assert all(ent._.ner_score < before for doc, (_, each) in zip(warm, everything) for ent, before in zip(doc.ents, each))
        ner.min_score = 1.1
        assert not any(doc.ents for doc in trained.pipe(posts(trained)))
        # Posts without knowledge may have a threshold of their own.
        ner.min_score_bare = 0.0
        bare = [found(doc) if not doc._.knowledge else [] for doc in trained.pipe(posts(trained))]
        assert bare == [ents if not z else [] for (ents, _), (_, _, z) in zip(everything, POSTS)] and any(bare)
        assert [found(doc) for doc in trained.pipe(posts(trained))] == bare
    finally:
        ner.min_score_bare = None
        ner.min_score, ner.span_scores, ner.temperature = 0.0, True, 1.0


def test_the_crf_has_its_own_learning_rate(encoder_dir):
    nlp = make_pipeline(encoder_dir, head={"learn_rate": 1.0, "crf_learn_rate": 100.0})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 1e-4
    head = nlp.get_pipe("rivega_ner").model.shims[0].module
    before = {name: value.detach().clone() for name, value in head.named_parameters()}
    nlp.update(make_examples(nlp), sgd=optimizer)
    moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in head.named_parameters()}
    # Adam's first step is as long as the learning rate.
    assert moved["linear.weight"] == pytest.approx(1e-4, rel=0.2)
    assert moved["transitions"] == pytest.approx(1e-2, rel=0.2)


def test_lower_layers_may_learn_more_slowly(encoder_dir, tmp_path):
    nlp = make_pipeline(encoder_dir, transformer={"layer_decay": 0.5, "case_features": True, "case_learn_rate": 8.0})
    nlp.initialize(lambda: make_examples(nlp))
    # The head starts from zero and would pass no gradient on at the first step.
    torch.nn.init.normal_(nlp.get_pipe("rivega_ner").model.shims[0].module.linear.weight)
    nlp.to_disk(tmp_path / "saved")
    # Also where training goes on from a saved pipeline.
    for pipeline in (nlp, spacy.load(tmp_path / "saved")):
        optimizer = pipeline.resume_training()
        optimizer.learn_rate = 1e-4
        module = pipeline.get_pipe("transformer").model.shims[0].module
        before = {name: value.detach().clone() for name, value in module.named_parameters()}
        # As `spacy train` does it; with `sgd` given, spaCy steps `transformer` before its gradient has come back.
        pipeline.update(make_examples(pipeline), sgd=False)
        pipeline.get_pipe("transformer").finish_update(optimizer)
        moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in module.named_parameters()}
        for name, multiple in (
            ("encoder.encoder.layer.1.output.dense.weight", 1.0),
            ("encoder.encoder.layer.0.output.dense.weight", 0.5),
            ("encoder.embeddings.position_embeddings.weight", 0.25),
            ("shape_embedding.weight", 8.0),
        ):
            assert moved[name] == pytest.approx(multiple * 1e-4, rel=0.2), name


def test_only_spans_that_end_are_decoded_without_constraints_too(encoder_dir):
    nlp = make_pipeline(encoder_dir, tagger={"constrain": False})
    nlp.initialize(lambda: make_examples(nlp))
    for doc in nlp.pipe(posts(nlp)):
        assert all(len(ent) >= 1 for ent in doc.ents)


def test_predict_changes_nothing(trained):
    docs = posts(trained)
    for doc in docs:
        trained.get_pipe("transformer")(doc)
    before = [(dict(doc.user_data), doc.ents) for doc in docs]
    trained.get_pipe("rivega_ner").predict(docs)
    assert [(dict(doc.user_data), doc.ents) for doc in docs] == before


def test_given_entities_stay(trained):
    doc = trained.make_doc("Nike rocks Paris")
    doc.ents = [doc.char_span(5, 10, label="OTHER")]
    doc.user_data["rivega_given_ents"] = True
    doc = trained(doc)
    assert found(doc) == [(5, 10, "OTHER")] and doc.ents[0]._.ner_score is None
    empty = trained.make_doc("Nike rocks Paris")
    empty.user_data["rivega_given_ents"] = True
    assert found(trained(empty)) == []


def test_entities_of_a_component_before_are_replaced_only_when_asked(trained):
    tagger = trained.get_pipe("rivega_ner")
    results = []
    for overwrite in (True, False):
        doc = next(post for post in posts(trained) if post.text == "Nike rocks Paris")
        doc.ents = [doc.char_span(5, 10, label="OTHER")]
        tagger.overwrite_ents = overwrite
        try:
            results.append(found(trained(doc)))
        finally:
            tagger.overwrite_ents = True
    assert results == [[(0, 4, "ORG"), (11, 16, "LOC")], [(5, 10, "OTHER")]]


@pytest.mark.parametrize("text", ["", " ", "\u00a0", "\u200b", "🎉", "@", "x" * 3000, "Nike " * 400])
def test_odd_texts_have_a_result(trained, text):
    docs = list(trained.pipe(["Nike rocks Paris", text, "", "rocks tonight"]))
    assert [doc.text for doc in docs] == ["Nike rocks Paris", text, "", "rocks tonight"]
    assert found(docs[0]) == POSTS[1][1]
    assert found(trained("")) == []
    assert found(trained(text)) == found(docs[1])


def test_all_empty_batches(trained):
    assert [found(doc) for doc in trained.pipe(["", ""])] == [[], []]


def test_what_cannot_be_learned_from_is_left_out(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    examples = make_examples(nlp)[:2]
    strange = Example.from_dict(nlp.make_doc("Nike rocks Paris"), {"entities": [(11, 16, "PLANET")]})
    empty = Example(nlp.make_doc(""), nlp.make_doc(""))
    silent = Example(nlp.make_doc("Nike rocks"), nlp.make_doc("Nike rocks"))
    with pytest.warns(UserWarning, match=r"\[W108\] 2 posts"):
        losses = nlp.update([*examples, strange, silent, empty], sgd=optimizer)
    assert np.isfinite(losses["rivega_ner"]) and losses["rivega_ner"] > 0
    assert nlp.update([empty], sgd=optimizer)["rivega_ner"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["ours", "pytorch-crf"])
@pytest.mark.parametrize("left_open", ["type", "token", "boundary"])
def test_what_the_annotation_leaves_open_is_not_learnt_as_outside(encoder_dir, left_open, implementation):
    """Paris is annotated in one post and left open in another: only where it is told to be outside does it become so."""
    likely = {}
    for partial in (True, False):
        nlp = make_pipeline(
            encoder_dir, head={"learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0, "implementation": implementation}
        )
        told = {"entities": [(11, 16, "LOC"), (0, 4, "ORG")]}
        optimizer = nlp.initialize(lambda: [Example.from_dict(nlp.make_doc("Nike rocks Paris"), told)])
        optimizer.learn_rate = 0.01
        for _ in range(25):
            whole = Example.from_dict(nlp.make_doc("Nike rocks Paris"), told)
            words = ["Nike", "plays", "Paris"] if left_open != "boundary" else ["Nike", "plays", "Par", "is"]
            gold = Doc(nlp.vocab, words=words, spaces=[True, True, False, False][: len(words)])
            hole = [gold[2:3]] if partial and left_open == "token" else []
            # Half of a token: what that says of the token is nothing.
            half = [gold.char_span(11, 14, label="LOC")] if partial and left_open == "boundary" else []
            gold.set_ents([gold.char_span(0, 4, label="ORG"), *half], missing=hole, default="outside")
            if partial and left_open == "type":
                set_missing_labels(gold, ["LOC"])
            nlp.update([whole, Example(nlp.make_doc("Nike plays Paris"), gold)], sgd=optimizer)
        component = nlp.get_pipe("rivega_ner")
        doc = nlp.make_doc("Nike plays Paris")
        nlp.get_pipe("transformer").set_annotations([doc], nlp.get_pipe("transformer").predict([doc]))
        places = [number for number, tag in enumerate(component.scheme.tags) if tag.endswith("LOC")]
        found, _ = token_probabilities(component.model.predict([doc]).chains)
        likely[partial] = float(found[0, 2, places].sum())
    assert likely[True] > 0.5 > 0.1 > likely[False]


def test_a_type_that_is_not_learnt_cannot_be_missing(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    nlp.initialize(lambda: make_examples(nlp))
    example = make_examples(nlp)[0]
    set_missing_labels(example.reference, ["PLANET"])
    with pytest.raises(RivegaError, match="PLANET.*LOC, ORG, PER"):
        nlp.update([example])


@pytest.mark.slow
def test_weights_of_either_crf_serve_the_other(trained, encoder_dir, tmp_path):
    trained.to_disk(tmp_path / "ours")
    other = {"components.rivega_ner.model.implementation": "pytorch-crf"}
    theirs = spacy.load(tmp_path / "ours", config=other)
    theirs.to_disk(tmp_path / "theirs")
    back = spacy.load(tmp_path / "theirs", config={"components.rivega_ner.model.implementation": "ours"})
    docs = [list(nlp.pipe(posts(nlp))) for nlp in (trained, theirs, back)]
    for mine, other_docs in ((docs[0], docs[1]), (docs[0], docs[2])):
        assert [found(doc) for doc in mine] == [found(doc) for doc in other_docs]
        scores = [[ent._.ner_score for doc in side for ent in doc.ents] for side in (mine, other_docs)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)
    # The names in a checkpoint are pytorch-crf's own.
    head, crf = theirs.get_pipe("rivega_ner").model.shims[0].module, CRF(7)
    crf.load_state_dict({name: value for name, value in head.state_dict().items() if name.endswith("transitions")})
    head.load_state_dict(crf.state_dict(), strict=False)
    assert theirs.get_pipe("rivega_ner").model.predict(posts(theirs)).implementation == "pytorch-crf"
    losses = []
    for nlp in (back, theirs):
        spacy.util.fix_random_seed(0)  # of the encoder's dropout
        losses.append(nlp.update(make_examples(nlp), sgd=False)["rivega_ner"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_implementation_that_there_is_not_is_refused(encoder_dir, monkeypatch):
    with pytest.raises(RivegaError, match="ours, pytorch-crf"):
        make_pipeline(encoder_dir, head={"implementation": "tensorflow"})
    monkeypatch.setattr(tagger.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RivegaError, match=r"rivega_spacy\[crf\]"):
        make_pipeline(encoder_dir, head={"implementation": "pytorch-crf"})


def test_posts_survive_bytes_and_docbin(trained):
    doc = trained(posts(trained)[0])
    doc.user_data["id"] = "797970"
    data = doc.to_bytes()
    assert len(data) < 3000, "token vectors are still on the post"
    again = Doc(trained.vocab).from_bytes(data)
    store = DocBin(store_user_data=True, docs=[doc])
    other = next(DocBin(store_user_data=True).from_bytes(store.to_bytes()).get_docs(trained.vocab))
    for copy in (again, other):
        assert found(copy) == found(doc)
        assert [ent._.ner_score for ent in copy.ents] == [ent._.ner_score for ent in doc.ents]
        assert copy._.knowledge == doc._.knowledge and copy.user_data["id"] == "797970"


def test_a_saved_pipeline_is_the_same_and_needs_no_encoder(trained, tmp_path, monkeypatch):
    trained.to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not data.startswith(b"\x80\x04") and b"torch._utils" not in data, f"{file} holds a pickle"
    config = trained.config["components"]["transformer"]["model"]["name"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = spacy.load(tmp_path / "saved", config={"components.transformer.model.name": "/gone" + config})
    before = [(found(doc), [ent._.ner_score for ent in doc.ents]) for doc in trained.pipe(posts(trained))]
    after = [(found(doc), [ent._.ner_score for ent in doc.ents]) for doc in again.pipe(posts(again))]
    assert [ents for ents, _ in before] == [ents for ents, _ in after]
    assert np.allclose(sum((s for _, s in before), []), sum((s for _, s in after), []), atol=0.02)
    assert again.get_pipe("rivega_ner").labels == ("LOC", "ORG", "PER")


@pytest.mark.slow
def test_training_goes_on_from_a_saved_pipeline(trained, tmp_path):
    trained.to_disk(tmp_path / "saved")
    again = spacy.load(tmp_path / "saved")
    optimizer = again.resume_training()
    loss = again.update(make_examples(again), sgd=optimizer)["rivega_ner"]
    assert loss < 0.5
    with pytest.raises(RivegaError, match="Labels cannot be added"):
        again.get_pipe("rivega_ner").add_label("NEW")


def test_workers_see_knowledge_and_do_not_hang(trained):
    # The parent has predicted before, so its OpenMP pool exists when the workers are forked.
    alone = [(found(doc), [ent._.ner_score for ent in doc.ents]) for doc in trained.pipe(posts(trained) * 4)]
    shared = [
        (found(doc), [ent._.ner_score for ent in doc.ents]) for doc in trained.pipe(posts(trained) * 4, n_process=2, batch_size=4)
    ]
    assert [ents for ents, _ in alone] == [ents for ents, _ in shared]
    assert np.allclose(sum((s for _, s in alone), []), sum((s for _, s in shared), []), atol=1e-4)


def test_spacys_own_ner_can_listen(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    nlp.remove_pipe("rivega_ner")
    listener = {"@architectures": "spacy-transformers.TransformerListener.v1", "pooling": {"@layers": "reduce_mean.v1"}}
    model = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
        "use_upper": False,
        "tok2vec": listener,
    }
    nlp.add_pipe("ner", config={"model": model})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    losses = [nlp.update(make_examples(nlp), sgd=optimizer)["ner"] for _ in range(3)]
    assert all(np.isfinite(losses))
    assert nlp("Nike rocks Paris").has_annotation("ENT_IOB")


@pytest.mark.slow
def test_it_works_on_any_token_vectors_and_without_span_scores():
    nlp = blank_nlp()
    vectors = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": 16,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": False,
    }
    head = {"@architectures": "rivega.CRFTagger.v1", "tok2vec": vectors, "dropout": 0.0, "hidden_width": 8}
    nlp.add_pipe("rivega_ner", config={"model": head, "span_scores": False})
    spacy.util.fix_random_seed(0)
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(60):
        nlp.update(make_examples(nlp), sgd=optimizer)
    docs = list(nlp.pipe([text for text, _, _ in POSTS]))
    assert [found(doc) for doc in docs] == [entities for _, entities, _ in POSTS]
    assert all(ent._.ner_score is None for doc in docs for ent in doc.ents)


def test_two_listeners_share_one_encoder(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    nlp.add_pipe("rivega_ner", name="second")
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    # The heads start from zero: there is nothing for the encoder to learn from before their first step.
    nlp.update(make_examples(nlp), sgd=optimizer)
    losses = nlp.update(make_examples(nlp), sgd=optimizer)
    assert losses["rivega_ner"] > 0 and losses["second"] > 0 and losses["transformer"] > 0


def test_initialize_needs_entities(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    example = Example.from_dict(nlp.make_doc("rocks tonight"), {"entities": []})
    with pytest.raises(RivegaError, match="no entities"):
        nlp.initialize(lambda: [example])


@pytest.mark.slow
def test_components_can_be_taken_over_into_another_pipeline(trained, tmp_path):
    trained.to_disk(tmp_path / "saved")
    source = spacy.load(tmp_path / "saved")
    other = blank_nlp()
    other.add_pipe("transformer", source=source)
    other.add_pipe("rivega_ner", source=source)
    other.to_disk(tmp_path / "other")
    again = spacy.load(tmp_path / "other")
    assert [found(doc) for doc in again.pipe(posts(again))] == [entities for _, entities, _ in POSTS]


@pytest.mark.slow
def test_a_tagger_with_an_encoder_of_its_own_says_the_same(trained, tmp_path):
    """`nlp.replace_listeners`, with which pipelines are combined."""
    trained.to_disk(tmp_path / "shared")

    def found(nlp):
        return [[(ent.text, ent.label_, round(ent._.ner_score, 3)) for ent in doc.ents] for doc in nlp.pipe(posts(nlp))]

    nlp = spacy.load(tmp_path / "shared")
    wanted = found(nlp)
    assert any(wanted)
    nlp.replace_listeners("transformer", "rivega_ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    assert found(nlp) == wanted
    nlp.to_disk(tmp_path / "own")
    again = spacy.load(tmp_path / "own")
    assert again.pipe_names == ["rivega_ner"] and found(again) == wanted
    optimizer = again.resume_training()
    assert np.isfinite(again.update(make_examples(again), sgd=optimizer)["rivega_ner"])


def test_entities_are_what_is_seen_of_them_and_within_what_is_read(monkeypatch):
    from thinc.api import Model

    from rivega_spacy.ner import component
    from rivega_spacy.ner.component import FoundEntities, KnowledgeNER

    monkeypatch.setattr(component, "MAX_POST", 30)
    nlp = blank_nlp()
    ner = KnowledgeNER(nlp.vocab, Model("none", lambda model, docs, is_train: (docs, lambda dY: dY)))
    docs = [nlp.make_doc("\u202aRome\u202c saw \u200b Ada"), nlp.make_doc("Rome " * 10)]
    found = FoundEntities(
        [0, 0, 0, 1, 1], [0, 4, 4, 0, 8], [3, 5, 6, 1, 9], ["LOC", "PER", "PER", "LOC", "LOC"], [0.9, 0.8, 0.7, 0.6, 0.5]
    )
    ner.set_annotations(docs, found)
    assert [(ent.text, ent._.ner_score) for ent in docs[0].ents] == [("Rome", 0.9), ("Ada", 0.7)] and not docs[0]._.rivega_errors
    assert [(ent.start, ent._.ner_score) for ent in docs[1].ents] == [(0, 0.6)]
    assert "in its first 30 characters" in docs[1]._.rivega_errors[0]["message"]
