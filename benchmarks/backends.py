"""The other networks at random weights: expressions a second, batched against one call an entity.

    python benchmarks/backends.py [--networks ALBEF SeqTR BLIP GroundingDINO OWLv2 Florence2] [--repeats 1] [--entities 1 2 4] [--compiled]
        [--threads 1] [--output FILE]

Networks have their published sizes and random weights (speed does not depend on them); nothing is downloaded. The picture has 640 x 480
pixels and each network's own preparation is part of the time. Words of the expressions are tokens of their own, a few fewer than
published vocabularies would make of them. Time is processor time of the process: the median of `--repeats`, after one call that does
not count. "One call an entity" asks about each entity by itself and so encodes the picture each time; it is the mean over the first
two expressions. OFA has a benchmark of its own (benchmarks/ofa.py).
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import processor
from thinc.api import Model
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from rivega_spacy.backends.albef.entailment import albef_entailment
from rivega_spacy.backends.florence2.grounder import BINS, florence2_grounder
from rivega_spacy.backends.grounding_dino.grounder import grounding_dino
from rivega_spacy.backends.itm.entailment import itm_entailment
from rivega_spacy.backends.owlv2.grounder import owlv2_grounder
from rivega_spacy.backends.seqtr.grounder import seqtr_grounder
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.expressions import Expression

EXPRESSIONS = [
    Expression("Garfield Park", "LOC", "a prominent park filled with plants in a tropical setting"),
    Expression("Angelina Jolie", "PER", "a prominent actress and writer in a red shirt"),
    Expression("San Francisco", "LOC", "a city with a significant building"),
    Expression("Donald Trump", "PER", "a singer on religious freedom and immigration in a hall"),
]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# BERT's numbers of what Grounding DINO looks for by number.
BERT = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--compiled", action="store_true", help="compile the layers (not Grounding DINO's)")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [
        f"`python benchmarks/backends.py {' '.join(sys.argv[1:])}`, {date.today()}, {processor()}, {args.threads} thread(s), "
        f"torch {torch.__version__}, float32.",
        "",
        "| network | parameters | entities a picture | batched | one call an entity | times |",
        "|---|---|---|---|---|---|",
    ]
    for name in args.networks:
        lines += rows(name, args)
        sys.stderr.write(f"{name} is measured\n")
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf8")
    return 0


def rows(name: str, args: argparse.Namespace) -> list[str]:
    """One network's rows of the table."""
    torch.manual_seed(0)
    model = MAKERS[name](**({"compiled": True} if args.compiled else {}))
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype("uint8")
    millions = sum(value.numel() for value in model.shims[0].ready().parameters()) / 1e6
    model.predict([ImageQueries(image, EXPRESSIONS[:1])])
    alone = statistics.mean(seconds(model, image, [text], args.repeats) for text in EXPRESSIONS[:2])
    lines = []
    for count in args.entities:
        batched = count / seconds(model, image, EXPRESSIONS[:count], args.repeats)
        lines.append(f"| {name} | {millions:.0f} M | {count} | {batched:.2f} | {1 / alone:.2f} | {batched * alone:.2f} |")
    return lines


def seconds(model: Model, image: np.ndarray, texts: list[Expression], repeats: int) -> float:
    """Median processor seconds of one call."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        model.predict([ImageQueries(image, texts)])
        found.append(time.process_time() - start)
    return statistics.median(found)


def words() -> list[str]:
    """Every word and mark of the expressions, lower case."""
    splitter = pre_tokenizers.BertPreTokenizer()
    return sorted({word for asked in EXPRESSIONS for word, _ in splitter.pre_tokenize_str(str(asked).lower())})


def tokenizer(table: dict[str, int], first: str, last: str, unknown: str) -> str:
    """A tokenizer with one token a word, as transformers' networks are saved with."""
    named = {number: word for word, number in table.items()}
    # Numbers without a word would be warned about.
    table = {named.get(n, f"[unused{n}]"): n for n in range(max(named) + 1)}
    made = Tokenizer(models.WordLevel(table, unk_token=unknown))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    special = [(first, table[first]), (last, table[last])]
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=special)
    return made.to_str()


def bert_words() -> dict[str, int]:
    """Words numbered so that they hit no special token."""
    return {**{word: 2000 + n for n, word in enumerate(words())}, **BERT}


def hub(model: Model, network: torch.nn.Module, text: str, *, pad: int, max_tokens: int) -> Model:
    """A network of the transformers library in place, as if it had been loaded."""
    saved = {"kind": network.config.model_type, "config": {}, "tokenizer": text, "pad": pad}
    model.shims[0].set_module(network.eval(), {**saved, "max_tokens": max_tokens, "mean": MEAN, "std": STD})
    return model


def albef(**options: Any) -> Model:
    """ViT-B/16 at 384 pixels, BERT-base."""
    with tempfile.TemporaryDirectory() as folder:
        table = {number: word for word, number in bert_words().items()}
        vocab = [table.get(n, f"[unused{n}]") for n in range(30522)]
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(vocab) + "\n", encoding="utf8")
        model = albef_entailment(network={}, vocab=str(path), **options)
        model.initialize()
    return model


def seqtr(**options: Any) -> Model:
    """DarkNet-53 at 640 pixels; all words are unknown, which costs the same."""
    model = seqtr_grounder(network={}, **options)
    model.initialize()
    return model


def blip(**options: Any) -> Model:
    """BLIP base for image-text matching at 384 pixels."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    text = {"vocab_size": 30524, "num_attention_heads": 12, "encoder_hidden_size": 768}
    network = BlipForImageTextRetrieval(BlipConfig(text_config=text, vision_config={"image_size": 384}))
    table = tokenizer(bert_words(), "[CLS]", "[SEP]", "[UNK]")
    return hub(itm_entailment(**options), network, table, pad=0, max_tokens=64)


def dino(**options: Any) -> Model:
    """Grounding DINO tiny (Swin-T, BERT-base), pictures of 800 x 1067."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    network = GroundingDinoForObjectDetection(GroundingDinoConfig())
    table = tokenizer(bert_words(), "[CLS]", "[SEP]", "[UNK]")
    return hub(grounding_dino(**options), network, table, pad=0, max_tokens=128)


def owlv2(**options: Any) -> Model:
    """OWLv2 base, patches of 16 pixels, pictures of 960."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    vision = {"image_size": 960, "patch_size": 16}
    network = Owlv2ForObjectDetection(Owlv2Config(vision_config=vision, text_config={}))
    # CLIP's end mark has the largest number, by which it is found.
    table = {**{word: 2000 + n for n, word in enumerate(words())}, "<unk>": 1, "<first>": 49406, "<last>": 49407}
    return hub(owlv2_grounder(**options), network, tokenizer(table, "<first>", "<last>", "<unk>"), pad=0, max_tokens=16)


def florence2(**options: Any) -> Model:
    """Florence-2 base, pictures of 768; an answer ends after 24 tokens, as random weights do not end it (a phrase and its box take about 12)."""
    from transformers import Florence2Config, Florence2ForConditionalGeneration

    text = {
        "model_type": "bart", "vocab_size": 51289, "d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 12,
        "decoder_attention_heads": 12, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072,
    }  # fmt: skip
    network = Florence2ForConditionalGeneration(Florence2Config(text_config=text, vision_config={"projection_dim": 768}))
    locations = {f"<loc_{n}>": 50269 + n for n in range(BINS)}
    table = {**{word: 2000 + n for n, word in enumerate(words())}, **locations, "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    made = tokenizer(table, "<s>", "</s>", "<unk>")
    return hub(florence2_grounder(longest_answer=24, **options), network, made, pad=1, max_tokens=128)


MAKERS: dict[str, Callable[..., Model]] = {
    "ALBEF": albef,
    "SeqTR": seqtr,
    "BLIP": blip,
    "GroundingDINO": dino,
    "OWLv2": owlv2,
    "Florence2": florence2,
}

if __name__ == "__main__":
    sys.exit(main())
