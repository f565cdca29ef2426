"""The rows of the tagger's table: one encoder (MiniLM) and one recipe, other inputs, heads and data sets.

    python benchmarks/tagger_rows.py train ROW --seed 1 --corpus CORPUS --output RUNS     trains a row
    python benchmarks/tagger_rows.py test RUNS --corpus CORPUS                            every trained row on the test set it belongs to
    python benchmarks/tagger_rows.py list                                                 the rows

CORPUS holds what `rivega convert` made: {gmner,twitter2015,twitter2017}_{train,dev,test}.spacy. Training is `spacy train` with
configs/ner_minilm.cfg and the row's changes to it; choices (the best epoch) are made on dev. Entities match by offset and type.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parent.parent / "configs" / "ner_minilm.cfg"

# spaCy's own transition-based tagger, set up as spaCy's own training templates do for a transformer.
SPACY_NER = {
    "factory": "ner",
    "model": {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 64,
        "maxout_pieces": 2,
        "use_upper": False,
        "nO": None,
        "tok2vec": {
            "@architectures": "spacy-transformers.TransformerListener.v1",
            "grad_factor": 1.0,
            "pooling": {"@layers": "reduce_mean.v1"},
        },
    },
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    head (str): "crf" (ours) or "spacy".
    second (str): What is encoded beside s: "" (nothing), "knowledge" or "caption".
    data (str): Data set.
    test_without (bool): Also measured with what is beside s taken away.
    changes (Dict): Further changes of the config.
    """

    head: str = "crf"
    second: str = ""
    data: str = "gmner"
    test_without: bool = False
    changes: dict[str, Any] = field(default_factory=dict)


# spaCy saves while it trains: what has come to its end has this file.
DONE = "done"

# Training posts, for the schedules.
POSTS = {"gmner": 7000, "twitter2015": 4000, "twitter2017": 3373}

ROWS = {
    "spacy-s": Row(head="spacy"),
    "spacy-sz": Row(head="spacy", second="knowledge"),
    "crf-s": Row(),
    "crf-sz": Row(second="knowledge", test_without=True),
    "crf-caption": Row(second="caption"),
    "crf-s-2015": Row(data="twitter2015"),
    "crf-sz-2015": Row(second="knowledge", data="twitter2015"),
    "crf-s-2017": Row(data="twitter2017"),
    "crf-sz-2017": Row(second="knowledge", data="twitter2017"),
}


def make_config(row: Row, *, seed: int, corpus: Path, bf16: bool = False) -> Any:
    """The config of a row; `bf16` trains and measures its encoder in bfloat16."""
    from spacy import util

    reader = "absent" if not row.second else "present"
    steps = -(-POSTS[row.data] // 32)
    changes: dict[str, Any] = {
        "paths.train": str(corpus / f"{row.data}_train.spacy"),
        "paths.dev": str(corpus / f"{row.data}_dev.spacy"),
        "paths.dev_knowledge": reader,
        "corpora.train.knowledge": reader,
        "system.seed": seed,
        "training.optimizer.learn_rate.total_steps": 4 * steps,
        # The loop counts steps from 0: one less a pass, so that the last pass is measured, too.
        "training.eval_frequency": steps - 1,
        "components.transformer.model.bf16": bf16,
        **row.changes,
    }
    if not row.second:
        # A step costs half of one with knowledge: one more pass.
        changes.update(
            {
                "components.transformer.model.knowledge_dropout": 0.0,
                "training.max_epochs": 5,
                "training.optimizer.learn_rate.total_steps": 5 * steps,
            }
        )
    config = util.load_config(CONFIG, overrides=changes)
    if row.second == "caption":
        for name in ("train", "dev"):
            config["corpora"][name]["@readers"] = "rivega_benchmarks.CaptionCorpus.v1"
    if row.head == "spacy":
        config["nlp"]["pipeline"] = ["transformer", "ner"]
        config["components"].pop("rivega_ner")
        config["components"]["ner"] = SPACY_NER
    return config


def caption_corpus(path: str, knowledge: str = "present", limit: int = 0, shuffle: bool = False) -> Any:
    """`rivega.Corpus.v1` with the caption in the place of the knowledge, which is the idea of ITA (Wang et al., 2022)."""
    from rivega_spacy.corpus.reader import PostCorpus

    read = PostCorpus(path, knowledge=knowledge, limit=limit, shuffle=shuffle)

    def with_captions(nlp: Any) -> Iterator[Any]:
        for example in read(nlp):
            example.predicted._.knowledge = example.reference._.caption
            yield example

    return with_captions


def train(name: str, *, seed: int, corpus: Path, output: Path, bf16: bool = False) -> None:
    """Train one row with one seed; what is there already is left alone."""
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train as train_nlp

    folder = output / f"{name}-{seed}"
    if (folder / DONE).exists():
        return
    config = make_config(ROWS[name], seed=seed, corpus=corpus, bf16=bf16)
    folder.mkdir(parents=True, exist_ok=True)
    nlp = init_nlp(config)
    train_nlp(nlp, folder)
    (folder / DONE).touch()


def test(runs: Path, *, corpus: Path) -> Iterator[str]:
    """Measure what was trained, best epoch on dev; results are kept beside the weights and not measured twice."""
    scores: dict[str, list[float]] = {}
    details: dict[str, list[str]] = {}
    for name, row in ROWS.items():
        for folder in sorted(runs.glob(f"{name}-[0-9]*")):
            if not folder.name[len(name) + 1 :].isdigit() or not (folder / DONE).exists():
                continue
            kept = folder / "test.json"
            if not kept.exists():
                kept.write_text(json.dumps(measure(folder / "model-best", row, corpus)))
            for kind, score in json.loads(kept.read_text()).items():
                key = name + (" (withheld)" if kind == "without" else "")
                scores.setdefault(key, []).append(score["ents_f"])
                details.setdefault(key, []).append(f"{score['ents_f']:.2f}")
    yield "| row | seeds | F1, mean | standard deviation | each |"
    yield "|---|---|---|---|---|"
    for key, values in scores.items():
        spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
        yield f"| {key} | {len(values)} | {statistics.mean(values):.2f} | {spread} | {', '.join(details[key])} |"


def measure(model: Path, row: Row, corpus: Path) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 in percent on the test set, with what the row was trained on and, where asked for, without."""
    import spacy

    from rivega_spacy.corpus.reader import PostCorpus

    nlp = spacy.load(model)
    read = caption_corpus if row.second == "caption" else PostCorpus
    result = {}
    for kind, knowledge in (("with", "present" if row.second else "absent"), ("without", "absent")):
        if kind == "with" or row.test_without:
            examples = list(read(str(corpus / f"{row.data}_test.spacy"), knowledge=knowledge)(nlp))
            scores = nlp.evaluate(examples, batch_size=128)
            result[kind] = {key: 100 * scores[key] for key in ("ents_p", "ents_r", "ents_f")}
    return result


def main() -> None:
    """Train, test or list."""
    from spacy.util import registry

    registry.readers.register("rivega_benchmarks.CaptionCorpus.v1", func=caption_corpus)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("list")
    train_parser = commands.add_parser("train")
    train_parser.add_argument("row", choices=tuple(ROWS))
    train_parser.add_argument("--seed", type=int, default=1)
    train_parser.add_argument("--output", type=Path, required=True)
    train_parser.add_argument("--corpus", type=Path, required=True)
    train_parser.add_argument(
        "--bf16", action="store_true", help="the encoder in bfloat16: faster on processors with instructions for it"
    )
    test_parser = commands.add_parser("test")
    test_parser.add_argument("runs", type=Path)
    test_parser.add_argument("--corpus", type=Path, required=True)
    args = parser.parse_args()
    if args.what == "list":
        for name, row in ROWS.items():
            print(f"{name}: {row}")
    elif args.what == "train":
        train(args.row, seed=args.seed, corpus=args.corpus, output=args.output, bf16=args.bf16)
    else:
        for line in test(args.runs, corpus=args.corpus):
            print(line, flush=True)


if __name__ == "__main__":
    main()
