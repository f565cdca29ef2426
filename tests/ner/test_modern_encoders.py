"""`configs/ner_modern.cfg` with small random encoders of today's families, each with a tokenizer of its own kind."""

from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.ner.transformer import build_knowledge_transformer

from .conftest import WORDS, make_examples, make_pipeline

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FAMILIES = ["modernbert", "deberta-v3", "xlm-roberta"]


def byte_pairs():
    """ModernBERT's kind: byte-level pairs, whose pieces begin with the space before a word."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = [" ".join(word.title() if n % 2 else word for n, word in enumerate(WORDS))] * 2
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False))  # fmt: skip
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    return tokenizer, dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials))


def unigrams(specials, frame):
    """The kind of DeBERTa-v3 and XLM-R: SentencePiece's unigrams."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = [chr(n) for n in range(33, 127)]
    pieces = [*specials, "▁", *letters, *(f"▁{word.title()}" for word in WORDS if len(word) > 2), *(f"▁{word}" for word in WORDS)]
    unknown = specials.index("[UNK]" if "[UNK]" in specials else "<unk>")
    table = [(piece, -1.0 - 0.01 * n) for n, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(table, unk_id=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    single, pair = frame
    ids = [(name, specials.index(name)) for name in specials if name in single]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return tokenizer


def write(folder: Path, family: str) -> Path:
    """A folder in transformers' format with a random encoder of a family, of width 16 and two layers."""
    from transformers import (
        DebertaV2Config,
        DebertaV2Model,
        ModernBertConfig,
        ModernBertModel,
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaModel,
    )

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if family == "modernbert":
        tokenizer, names = byte_pairs()
        ids = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
        config = ModernBertConfig(
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, local_attention=16, global_attn_every_n_layers=2, **sizes, **ids
        )  # fmt: skip
        encoder = ModernBertModel(config)
    elif family == "deberta-v3":
        specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
        tokenizer = unigrams(specials, ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"))
        names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), specials))
        # As published: relative positions only, one segment, shared keys.
        config = DebertaV2Config(
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, type_vocab_size=0, relative_attention=True,
            position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
            max_relative_positions=-1, position_biased_input=False, **sizes,
        )  # fmt: skip
        encoder = DebertaV2Model(config)
    else:
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        tokenizer = unigrams(specials, ("<s> $A </s>", "<s> $A </s> </s> $B </s>"))
        names = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), specials))
        config = XLMRobertaConfig(
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=130, type_vocab_size=1, pad_token_id=1, **sizes
        )
        encoder = XLMRobertaModel(config)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(8.0) if parameter.ndim > 1 else None
    encoder.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """family -> its folder."""
    folder = tmp_path_factory.mktemp("encoders")
    return {family: write(folder / family, family) for family in FAMILIES}


def states(model, docs):
    return [data.model_output.last_hidden_state for data in model.predict(docs).doc_data]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_recipe_trains_saves_and_loads(family, encoders, tmp_path):
    blank = blank_nlp()
    write_docbin((example.reference for example in make_examples(blank)), tmp_path / "posts.spacy")
    overrides = {
        "paths.train": str(tmp_path / "posts.spacy"),
        "paths.dev": str(tmp_path / "posts.spacy"),
        "paths.encoder": str(encoders[family]),
        "components.transformer.model.bf16": False,
        "training.max_epochs": 0,
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "training.logger": {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False},
    }
    nlp = init_nlp(load_config(CONFIGS / "ner_modern.cfg", overrides=overrides))
    (tmp_path / "out").mkdir()
    train(nlp, tmp_path / "out")
    # What was trained needs no encoder any more.
    trained = spacy.load(tmp_path / "out" / "model-last", config={"paths.encoder": "gone"})
    assert trained.get_pipe("transformer").model.get_dim("nO") == 16
    docs = [example.predicted for example in make_examples(trained)]
    for one, two in zip(states(nlp.get_pipe("transformer").model, docs), states(trained.get_pipe("transformer").model, docs)):
        # Half precision on disk.
        np.testing.assert_allclose(one, two, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_by_heart_whatever_the_tokenizer(family, encoders):
    """Entities end where words end: pieces with a space before them, and unigrams, are aligned with spaCy's tokens."""
    nlp = make_pipeline(encoders[family], head={"learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0})
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(30):
        nlp.update(make_examples(nlp), sgd=optimizer)
    assert nlp.evaluate(make_examples(nlp))["ents_f"] == 1.0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.slow
def test_knowledge_is_read_along_and_a_batch_is_what_its_posts_are(family, encoders):
    nlp = blank_nlp()
    model = build_knowledge_transformer(str(encoders[family]), bucket_pieces=4096)
    model.initialize()
    texts = ["Kevin Durant enters Oracle Arena", "Nike,  rocks Paris! 🚀", "the lions of Detroit play tonight"]
    bare, told = ([nlp.make_doc(text) for text in texts] for _ in range(2))
    for doc in told:
        doc._.knowledge = "1. Kevin Durant (person)"
    without, together = states(model, bare), states(model, told)
    for n, doc in enumerate(told):
        alone = states(model, [doc])[0]
        np.testing.assert_allclose(together[n], alone, atol=1e-4)
        assert without[n].shape == alone.shape and np.abs(without[n] - alone).max() > 1e-3
    # Every word has pieces.
    assert all((data.align.lengths > 0).all() for data in model.predict(bare[:1]).doc_data)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_found_in_every_family(family, encoders):
    """`freeze_layers` and `layer_decay` go by the names of parameters, which families give differently."""
    nlp = blank_nlp()
    model = build_knowledge_transformer(str(encoders[family]), freeze_layers=1, layer_decay=0.5)
    model.initialize()
    batch, backprop = model([nlp.make_doc("Nike rocks Paris")], True)
    backprop(batch.unsplit_by_doc([[np.ones_like(data.model_output.last_hidden_state)] for data in batch.doc_data]))
    module, rate = model.shims[0].module, model.shims[0].lr_scale
    fixed = {name for name, parameter in module.named_parameters() if parameter.grad is None}
    lower = {name for name, _ in module.named_parameters() if ".layer.0." in name or ".layers.0." in name}
    upper = {name for name, _ in module.named_parameters() if ".layer.1." in name or ".layers.1." in name}
    assert lower and upper and lower <= fixed and not upper & fixed
    assert all("embed" in name for name in fixed - lower)
    assert {rate(name) for name in lower} == {0.5} and {rate(name) for name in upper} == {1.0}
    [words] = [name for name, parameter in module.named_parameters() if parameter is module.encoder.get_input_embeddings().weight]
    assert rate(words) == 0.25 and words in fixed
