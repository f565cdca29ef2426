"""The encoder of (s, z) as the model of spaCy's `transformer` component."""

import socket

import numpy as np
import pytest
import spacy
import torch
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

from rivega_spacy.ner.encoding import align_pieces, piece_shapes
from rivega_spacy.ner.transformer import build_knowledge_transformer, make_buckets
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.versions import spacy_transformers_fits

from .conftest import make_transformer


@pytest.fixture(scope="module")
def blank():
    return spacy.blank("rivega")


def make_docs(nlp, texts, knowledge=None):
    docs = [nlp.make_doc(text) for text in texts]
    for doc, z in zip(docs, knowledge or [None] * len(docs)):
        doc._.knowledge = z
    return docs


def token_vectors(model, docs):
    """Mean of the pieces of each token, by hand."""
    result = []
    for data in model.predict(docs).doc_data:
        if "last_hidden_state" not in data.model_output:
            result.append(np.zeros((0, 16)))
            continue
        flat = data.model_output.last_hidden_state.reshape(-1, 16)
        position, rows = 0, []
        for count in data.align.lengths:
            rows.append(flat[data.align.dataXd[position : position + count]].mean(0) if count else np.zeros(16))
            position += count
        result.append(np.asarray(rows))
    return result


TEXTS = ["Kevin Durant enters Oracle Arena", "Nike, rocks  Paris!", "the lions of Detroit @user #tag", "", "\u00a0"]
KNOWLEDGE = ["1. Kevin Durant (person) 2. Oracle Arena (place)", "Nike (organization)", "a b c d e", "person", "person"]


@pytest.mark.skipif(not spacy_transformers_fits(), reason="spacy-transformers does not fit the installed transformers")
@pytest.mark.parametrize("case_features", [False, True])
def test_without_knowledge_it_is_the_plain_encoder(encoder_dir, blank, case_features):
    from spacy_transformers.architectures import create_TransformerModel_v3
    from spacy_transformers.span_getters import get_doc_spans

    plain = create_TransformerModel_v3(str(encoder_dir), get_doc_spans, {"use_fast": True})
    plain.initialize()
    ours = make_transformer(encoder_dir, case_features=case_features)
    docs = make_docs(blank, TEXTS[:3])
    for found, expected in zip(token_vectors(ours, docs), token_vectors(plain, docs)):
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("folder", ["encoder_dir", "xlmr_dir"])
def test_the_pair_is_encoded_in_one_pass_and_only_s_is_handed_on(folder, blank, request):
    from transformers import AutoModel, AutoTokenizer

    path = request.getfixturevalue(folder)
    model = make_transformer(path)
    docs = make_docs(blank, TEXTS[:3], KNOWLEDGE[:3])
    tokenizer, encoder = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    for doc, z, data in zip(docs, KNOWLEDGE, model.predict(docs).doc_data):
        inputs = tokenizer(doc.text, z, return_tensors="pt", return_token_type_ids=True)
        with torch.no_grad():
            expected = encoder(**inputs).last_hidden_state[0].numpy()
        found = data.model_output.last_hidden_state[0]
        n_post = len(tokenizer(doc.text)["input_ids"])
        assert found.shape == (n_post, 16)
        assert np.allclose(found, expected[:n_post], atol=1e-5)
        assert data.wordpieces.strings[0] == tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])[:n_post]


def test_knowledge_changes_the_vectors_of_s(encoder_dir, blank):
    model = make_transformer(encoder_dir)
    bare, known = (token_vectors(model, make_docs(blank, TEXTS[:1], [z]))[0] for z in (None, KNOWLEDGE[0]))
    assert bare.shape == known.shape and np.abs(bare - known).max() > 1e-3


def test_a_batch_is_what_its_posts_are_one_by_one(encoder_dir, blank):
    model = make_transformer(encoder_dir, bucket_pieces=40)
    docs = make_docs(blank, TEXTS, KNOWLEDGE)
    together = token_vectors(model, docs)
    for doc, found in zip(docs, together):
        assert found.shape == (len(doc), 16)
        if len(doc):
            assert np.allclose(found, token_vectors(model, [doc])[0], atol=1e-5)


def test_only_knowledge_is_truncated(encoder_dir, blank):
    model = make_transformer(encoder_dir, max_length=40)
    text = "the lions of detroit play at ford field tonight in new york"
    long, cut = (make_docs(blank, [text], [z])[0] for z in ("person place " * 60, "person place " * 10))
    data = model.predict([long]).doc_data[0]
    assert data.wordpieces.strings[0][1:-1] == text.split()
    assert data.model_output.last_hidden_state.shape[:2] == (1, 14)
    # 40 pieces are 3 special ones, 12 of s and 25 of z: longer knowledge of the same beginning changes nothing.
    longer = make_docs(blank, [text], ["person place " * 90])[0]
    assert np.allclose(token_vectors(model, [long])[0], token_vectors(model, [longer])[0])
    assert not np.allclose(token_vectors(model, [long])[0], token_vectors(model, [cut])[0], atol=1e-4)


def test_knowledge_may_have_a_limit_of_its_own(encoder_dir, blank):
    model = make_transformer(encoder_dir, max_knowledge=4)
    short, long = (make_docs(blank, ["nike rocks"], [z])[0] for z in ("person place " * 2, "person place " * 20))
    assert np.allclose(token_vectors(model, [short])[0], token_vectors(model, [long])[0])


@pytest.mark.parametrize("z", [None, "person place " * 30])
def test_a_long_post_is_read_in_windows_each_with_knowledge(encoder_dir, blank, z):
    model = make_transformer(encoder_dir, max_length=32)
    doc = make_docs(blank, ["nike rocks paris tonight " * 25], [z])[0]
    data = model.predict([doc]).doc_data[0]
    windows = data.model_output.last_hidden_state.shape[0]
    assert windows > 3 and len(data.wordpieces) == windows
    assert (np.asarray(data.align.lengths) >= 1).all()
    pieces = np.concatenate(
        [np.array(row + [""] * (data.wordpieces.input_ids.shape[1] - len(row))) for row in data.wordpieces.strings]
    )
    position = 0
    for token, count in zip(doc, data.align.lengths):
        assert set(pieces[data.align.dataXd[position : position + count]]) == {token.lower_}
        position += count
    assert all(len(row) <= 32 for row in data.wordpieces.strings)


def test_knowledge_dropout_at_training_only(encoder_dir, blank):
    model = make_transformer(encoder_dir, knowledge_dropout=1.0)
    model.shims[0].module.encoder.config.hidden_dropout_prob = 0.0
    for module in model.shims[0].module.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    doc = make_docs(blank, TEXTS[:1], KNOWLEDGE[:1])[0]
    bare = make_docs(blank, TEXTS[:1])[0]
    trained, _ = model([doc], True)
    found = trained.doc_data[0].model_output.last_hidden_state
    assert np.allclose(found, model.predict([bare]).doc_data[0].model_output.last_hidden_state, atol=1e-5)
    assert not np.allclose(found, model.predict([doc]).doc_data[0].model_output.last_hidden_state, atol=1e-3)


def test_word_dropout_spares_special_tokens(encoder_dir, blank):
    model = make_transformer(encoder_dir, word_dropout=1.0)
    doc = make_docs(blank, TEXTS[:1], KNOWLEDGE[:1])[0]
    trained, _ = model([doc], True)
    ids = trained.doc_data[0].wordpieces.input_ids[0]
    mask = model.shims[0].cfg["mask_id"]
    assert (ids[1:-1] == mask).all() and ids[0] != mask and ids[-1] != mask


def test_gradient_arrives_at_the_weights(encoder_dir, blank):
    """The analytic gradient of one weight against a finite difference."""
    model = make_transformer(encoder_dir)
    module = model.shims[0].module
    for part in module.modules():
        if type(part).__name__ == "Dropout":
            part.p = 0.0
        if hasattr(part, "dropout_prob"):
            part.dropout_prob = 0.0
    docs = make_docs(blank, TEXTS, KNOWLEDGE)
    rng = np.random.default_rng(0)
    batch, backprop = model(docs, True)
    filled = [data for data in batch.doc_data if "last_hidden_state" in data.model_output]
    weights = [rng.normal(size=data.model_output.last_hidden_state.shape).astype("f") for data in filled]

    def total():
        outputs = [data for data in model.predict(docs).doc_data if "last_hidden_state" in data.model_output]
        return sum(float((w * data.model_output.last_hidden_state).sum()) for w, data in zip(weights, outputs))

    backprop(batch.unsplit_by_doc([[w] for w in weights]))
    parameter = module.encoder.embeddings.token_type_embeddings.weight
    step = 1e-2
    with torch.no_grad():
        parameter[1, 3] += step
        above = total()
        parameter[1, 3] -= 2 * step
        below = total()
        parameter[1, 3] += step
    assert float(parameter.grad[1, 3]) == pytest.approx((above - below) / (2 * step), rel=0.05)


@pytest.mark.parametrize("options,frozen", [({}, 0), ({"freeze_embeddings": True}, 1), ({"freeze_layers": 1}, 21)])
def test_what_is_frozen_gets_no_gradient(encoder_dir, blank, options, frozen):
    model = make_transformer(encoder_dir, **options)
    batch, backprop = model(make_docs(blank, TEXTS[:2], KNOWLEDGE[:2]), True)
    backprop(batch.unsplit_by_doc([[np.ones_like(data.model_output.last_hidden_state)] for data in batch.doc_data]))
    without = [name for name, parameter in model.shims[0].module.named_parameters() if parameter.grad is None]
    assert len(without) == frozen
    assert all("embedding" in name or ".layer.0." in name for name in without)


def test_bf16_is_close(encoder_dir, blank):
    docs = make_docs(blank, TEXTS[:3], KNOWLEDGE[:3])
    exact, rough = (token_vectors(make_transformer(encoder_dir, bf16=bf16), docs) for bf16 in (False, True))
    gaps = [np.abs(a - b).max() for a, b in zip(exact, rough)]
    assert 0 < max(gaps) < 0.15


def test_linear_layers_in_eight_bits(encoder_dir, blank):
    plain = make_transformer(encoder_dir)
    docs = make_docs(blank, TEXTS, KNOWLEDGE)
    rounded = make_transformer(encoder_dir, eight_bits=True).from_bytes(plain.to_bytes())
    expected, found = token_vectors(plain, docs), token_vectors(rounded, docs)
    assert max(float(np.abs(one - other).max(initial=0.0)) for one, other in zip(found, expected)) > 0
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=0.15)
    # What is saved is the network itself, and loaded again it answers the same.
    assert rounded.to_bytes() == plain.to_bytes()
    again = make_transformer(encoder_dir, eight_bits=True).from_bytes(rounded.to_bytes())
    for one, other in zip(token_vectors(again, docs), found):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RivegaError, match="E962"):
        make_transformer(encoder_dir, eight_bits=True, bf16=True)


def test_word_embeddings_in_eight_bits(encoder_dir, blank):
    docs = make_docs(blank, TEXTS[:3], KNOWLEDGE[:3])
    model = make_transformer(encoder_dir, byte_embeddings=True)
    data = model.to_bytes()
    assert len(data) < len(make_transformer(encoder_dir).to_bytes())
    # A config that says otherwise reads the file all the same.
    back = make_transformer(encoder_dir).from_bytes(data)
    gaps = [np.abs(a - b).max() for a, b in zip(token_vectors(model, docs), token_vectors(back, docs))]
    assert 0 < max(gaps) < 0.15


def test_bytes_hold_all_and_loading_asks_nobody(encoder_dir, blank, monkeypatch):
    model = make_transformer(encoder_dir, case_features=True)
    with torch.no_grad():
        model.shims[0].module.shape_embedding.weight.normal_()
    data = model.to_bytes()
    assert b"pickle" not in data and b"torch._utils" not in data
    assert str(encoder_dir).encode() not in data, "a path of the training machine is saved"

    def refuse(*args, **kwargs):
        raise AssertionError("loading opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    fresh = build_knowledge_transformer("/no/such/folder", case_features=True)
    fresh.from_bytes(data)
    docs = make_docs(blank, TEXTS, KNOWLEDGE)
    for before, after in zip(token_vectors(model, docs), token_vectors(fresh, docs)):
        assert np.allclose(before, after, atol=2e-2)
    assert fresh.get_dim("nO") == 16
    assert fresh.to_bytes() == data


def test_weights_are_halved_on_disk_when_asked(encoder_dir):
    half, full = (len(make_transformer(encoder_dir, half_on_disk=half).to_bytes()) for half in (True, False))
    weights = sum(p.numel() for p in make_transformer(encoder_dir).shims[0].module.parameters())
    assert full - half == pytest.approx(2 * weights, abs=2000)


def test_copies_are_independent(encoder_dir, blank):
    model = make_transformer(encoder_dir)
    docs = make_docs(blank, TEXTS[:2], KNOWLEDGE[:2])
    before = token_vectors(model, docs)
    copy = model.copy()
    with torch.no_grad():
        for parameter in copy.shims[0].module.parameters():
            parameter.zero_()
    assert all(np.array_equal(a, b) for a, b in zip(before, token_vectors(model, docs)))


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(RivegaError, match="no_encoder_here"):
        build_knowledge_transformer(str(tmp_path / "no_encoder_here")).initialize()


def test_a_window_without_room_is_refused(encoder_dir, blank):
    model = make_transformer(encoder_dir, max_length=5)
    with pytest.raises(RivegaError, match="max_length is 5"):
        model.predict(make_docs(blank, TEXTS[:1]))


@examples(50)
@given(st.lists(st.integers(1, 200), max_size=40), st.integers(50, 400))
def test_buckets_hold_every_row_once(lengths, most):
    buckets = make_buckets(lengths, most)
    assert sorted(row for bucket in buckets for row in bucket) == list(range(len(lengths)))
    assert all(len(bucket) == 1 or len(bucket) * max(lengths[row] for row in bucket) <= most for bucket in buckets)


@examples(50)
@given(st.text(alphabet="ab @#_\u00a0\u200bÉß🎉", max_size=20), st.data())
def test_alignment_pairs_every_overlap(text, data):
    doc = _BLANK.make_doc(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    offsets = np.array([(a, b) for a, b in zip(cuts, cuts[1:])], dtype="int64").reshape(-1, 2)
    tokens, pieces = align_pieces(doc, offsets)
    expected = {
        (token.i, number)
        for token in doc
        for number, (a, b) in enumerate(offsets)
        if max(a, token.idx) < min(b, token.idx + len(token))
    }
    assert set(zip(tokens.tolist(), pieces.tolist())) == expected
    assert len(tokens) == len(expected) and (np.diff(tokens) >= 0).all()


_BLANK = spacy.blank("rivega")


def test_shapes_of_pieces():
    text = "RT Paris mcDonald iPhone6 2 é É"
    words = text.split()
    starts = np.cumsum([0] + [len(word) + 1 for word in words[:-1]])
    offsets = np.array([(start, start + len(word)) for start, word in zip(starts, words)])
    assert piece_shapes(text, offsets).tolist() == [3, 5, 6, 14, 8, 4, 1]
