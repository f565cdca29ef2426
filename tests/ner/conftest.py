"""A tiny random encoder in a folder, and pipelines on it."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from blank import blank_nlp
from spacy.training import Example

import rivega_spacy  # noqa: F401
from rivega_spacy.ner.component import make_knowledge_ner  # noqa: F401

WORDS = [
    "kevin",
    "durant",
    "enters",
    "oracle",
    "arena",
    "nike",
    "paris",
    "rocks",
    "the",
    "lions",
    "of",
    "detroit",
    "play",
    "at",
    "ford",
    "field",
    "tonight",
    "in",
    "new",
    "york",
    "with",
    "named",
    "entities",
    ":",
    "1",
    ".",
    "(",
    "person",
    ")",
    "2",
    "place",
    "organization",
    "reasoning",
    "sentence",
    "mentions",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "o",
    "p",
    "q",
    "r",
    "s",
    "t",
    "u",
    "v",
    "w",
    "x",
    "y",
    "z",
]


def write_encoder(folder: Path, *, kind: str = "bert", layers: int = 2, positions: int = 96) -> Path:
    """A random encoder of width 16 with a real tokenizer, as transformers saves them."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(0)
    if kind == "bert":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials))
        frame = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
        cls, sep = "[CLS]", "[SEP]"
    else:
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        names = dict(zip(("cls_token", "pad_token", "sep_token", "unk_token", "mask_token"), specials))
        frame = {"single": "<s> $A </s>", "pair": "<s> $A </s> </s> $B </s>"}
        cls, sep = "<s>", "</s>"
    pieces = [
        *specials,
        *dict.fromkeys(WORDS),
        *[f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"],
        *"@#,!-0123456789",
    ]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=names["unk_token"], max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        **frame, special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])]
    )
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": positions,
        "pad_token_id": vocabulary[names["pad_token"]],
    }
    encoder = BertModel(BertConfig(**sizes)) if kind == "bert" else XLMRobertaModel(XLMRobertaConfig(type_vocab_size=1, **sizes))
    with torch.no_grad():
        for parameter in encoder.parameters():
            # The default spread of 0.02 makes every token look alike.
            parameter.mul_(8.0) if parameter.ndim > 1 else None
    folder.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=positions, **names).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def xlmr_dir(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("xlmr"), kind="xlmr")


def make_transformer(folder: Path, **options):
    """The model alone, initialized."""
    from rivega_spacy.ner.transformer import build_knowledge_transformer

    model = build_knowledge_transformer(str(folder), **options)
    model.initialize()
    return model


def make_pipeline(folder: Path, *, transformer=None, tagger=None, head=None):
    """transformer + rivega_ner, not initialized."""
    spacy.util.fix_random_seed(0)
    nlp = blank_nlp()
    nlp.add_pipe(
        "transformer",
        config={"model": {"@architectures": "rivega.KnowledgeTransformerModel.v1", "name": str(folder), **(transformer or {})}},
    )
    config = dict(tagger or {})
    if head:
        config["model"] = {
            "@architectures": "rivega.CRFTagger.v1",
            "tok2vec": {
                "@architectures": "spacy-transformers.TransformerListener.v1",
                "grad_factor": 1.0,
                "pooling": {"@layers": "reduce_mean.v1"},
            },
            **head,
        }
    nlp.add_pipe("rivega_ner", config=config)
    return nlp


POSTS = [
    ("Kevin Durant enters Oracle Arena", [(0, 12, "PER"), (20, 32, "LOC")], "1. Kevin Durant (person)"),
    ("Nike rocks Paris", [(0, 4, "ORG"), (11, 16, "LOC")], "Nike (organization)"),
    ("the lions of Detroit play tonight", [(13, 20, "LOC")], ""),
    ("rocks tonight", [], "nothing"),
]


def make_examples(nlp):
    examples = []
    for text, entities, knowledge in POSTS:
        doc = nlp.make_doc(text)
        doc._.knowledge = knowledge
        examples.append(Example.from_dict(doc, {"entities": entities}))
    return examples


@pytest.fixture(scope="session")
def trained(encoder_dir):
    """A pipeline that has learned POSTS by heart; tests must not change it."""
    nlp = make_pipeline(
        encoder_dir, tagger={"clear_trf_data": True}, head={"learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0}
    )
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for _ in range(40):
        # Each post with its knowledge and without.
        bare = make_examples(nlp)
        for example in bare:
            example.predicted._.knowledge = None
        nlp.update(make_examples(nlp) + bare, sgd=optimizer)
    return nlp


__all__ = ["POSTS", "json", "make_examples", "make_pipeline", "make_transformer", "np", "write_encoder"]
