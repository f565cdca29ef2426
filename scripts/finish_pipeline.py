"""Make an assembled pipeline fit to be shipped: no training vocabulary, a full meta.json, a model card.

python scripts/finish_pipeline.py training/rivega_twitter --version 0.6.0 --metrics metrics/*.json --card scripts/model_card.md
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import spacy
import srsly

import rivega_spacy

DESCRIPTION = (
    "Named entities in social-media posts with a picture: which of them the picture shows, where (box), and which pixels (mask). "
    "Runs on a CPU, without network, language model or hub."
)
WORDNET = Path(rivega_spacy.__file__).parent / "backends" / "small" / "phrases" / "wordnet_license.txt"
# What git hosts and package mirrors take without special treatment.
MAX_BYTES = 80_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("--name", default="twitter")
    parser.add_argument("--version", required=True)
    parser.add_argument(
        "--metrics", type=Path, nargs="*", default=[], help="JSON files whose contents go into meta.json's `performance`"
    )
    parser.add_argument("--card", type=Path, default=Path(__file__).with_name("model_card.md"))
    args = parser.parse_args()
    forget_training_vocabulary(args.pipeline)
    forget_paths(args.pipeline)
    write_meta(args.pipeline, args.name, args.version, args.metrics)
    shutil.copyfile(args.card, args.pipeline / "README.md")
    # The vision network's table of nouns comes from WordNet, whose licence wants to be with every copy.
    shutil.copyfile(WORDNET, args.pipeline / WORDNET.name)
    check_files(args.pipeline)


def forget_training_vocabulary(pipeline: Path) -> None:
    """The string store of a trained pipeline lists every word of its training texts, which may not be passed on."""
    config = spacy.util.load_config(pipeline / "config.cfg")
    words = set(spacy.blank(config["nlp"]["lang"]).vocab.strings)
    meta = srsly.read_json(pipeline / "meta.json")
    words.update(label for labels in meta["labels"].values() for label in labels if isinstance(label, str))
    srsly.write_json(pipeline / "vocab" / "strings.json", sorted(words))


def forget_paths(pipeline: Path) -> None:
    """Where the parts lay on the machine that put them together is of no use to anybody else."""
    config = spacy.util.load_config(pipeline / "config.cfg")
    config["paths"] = dict.fromkeys(config["paths"])
    config.to_disk(pipeline / "config.cfg")


def write_meta(pipeline: Path, name: str, version: str, metrics: list[Path]) -> None:
    """Name, version, licence and measured figures."""
    meta = srsly.read_json(pipeline / "meta.json")
    performance: dict[str, Any] = {}
    for path in metrics:
        performance[path.stem] = json.loads(path.read_text(encoding="utf8"))
    meta.update(
        name=name, version=version, description=DESCRIPTION, license="Apache-2.0", author="rivega_spacy", performance=performance
    )
    meta["spacy_version"] = ">=3.8.7,<3.9.0"
    meta["requirements"] = ["rivega_spacy>=0.5.0,<0.7.0"]
    srsly.write_json(pipeline / "meta.json", meta)


def check_files(pipeline: Path) -> None:
    """Refuse what must not be shipped."""
    files = [path for path in pipeline.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    if total > MAX_BYTES:
        sizes = ", ".join(
            f"{path.relative_to(pipeline)} {path.stat().st_size / 1e6:.1f} MB" for path in files if path.stat().st_size > 1e6
        )
        raise SystemExit(f"{pipeline} has {total / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB: {sizes}")
    for path in files:
        head = path.read_bytes()
        # torch.save's zip archives hold a data.pkl; bare pickles of protocol 2 and later begin with 0x80 and end with a stop.
        if b"data.pkl" in head or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and head[-1:] == b"."):
            raise SystemExit(f"{path} holds a pickle; weights must be safetensors or msgpack.")
    print(f"{pipeline}: {len(files)} files, {total / 1e6:.1f} MB, no pickle")


if __name__ == "__main__":
    main()
