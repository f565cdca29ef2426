"""Make an assembled pipeline fit to be shipped: no training vocabulary, a full meta.json, a model card."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
import srsly

import rivega_spacy

from ..post.digests import DIGESTS, write_digests
from ..post.errors import Errors, RivegaError
from ..post.pipeline_files import check_given_out, remove_links

DESCRIPTION = (
    "Named entities in social-media posts with a picture: which of them the picture shows, where (box), and which pixels (mask). "
    "Runs on a CPU, without network, language model or hub."
)
CARD = Path(__file__).with_name("model_card.md")
# Who passes weights on passes on the licence; a wheel takes files of these names along, spaCy's and setuptools' own for it (jobs/packaging.py).
LICENCE = Path(__file__).with_name("apache_licence.txt")
SOURCES = Path(__file__).with_name("licences_sources.txt")
WORDNET = Path(rivega_spacy.__file__).parent / "backends" / "small" / "phrases" / "wordnet_license.txt"
# What git hosts and package mirrors take without special treatment.
MAX_BYTES = 80_000_000
# What finishing writes.
WRITTEN = ("config.cfg", "meta.json", "vocab/strings.json", "README.md", "LICENSE", "LICENSES_SOURCES", DIGESTS)


def finish(pipeline: Path, *, name: str, version: str, metrics: Sequence[Path] = (), card: Path = CARD) -> str:
    """Make an assembled pipeline fit to be shipped, in place.

    pipeline (Path): Its folder.
    name (str), version (str): For meta.json.
    metrics (Sequence[Path]): JSON files whose contents go into meta.json's `performance`.
    card (Path): The model card.
    RETURNS (str): What it holds, in a line.
    RAISES (RivegaError): E268, E269 for what must not be shipped; E977 for links out of the folder.
    """
    check_given_out(pipeline)
    remove_links(pipeline, WRITTEN)
    forget_training_vocabulary(pipeline)
    forget_paths(pipeline)
    write_meta(pipeline, name, version, metrics)
    shutil.copyfile(card, pipeline / "README.md")
    write_licences(pipeline)
    write_digests(pipeline)
    return check_files(pipeline)


def write_licences(pipeline: Path) -> None:
    """LICENSE, and LICENSES_SOURCES for the weights and words that went into it."""
    shutil.copyfile(LICENCE, pipeline / "LICENSE")
    sources = SOURCES.read_text(encoding="utf8") + WORDNET.read_text(encoding="utf8")
    (pipeline / "LICENSES_SOURCES").write_text(sources, encoding="utf8")


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


def write_meta(pipeline: Path, name: str, version: str, metrics: Sequence[Path]) -> None:
    """Name, version, licence and measured figures."""
    meta = srsly.read_json(pipeline / "meta.json")
    performance: dict[str, Any] = {}
    for path in metrics:
        performance[path.stem] = json.loads(path.read_text(encoding="utf8"))
    meta.update(
        name=name, version=version, description=DESCRIPTION, license="Apache-2.0", author="rivega_spacy", performance=performance
    )
    meta["spacy_version"] = ">=3.8.13,<3.9.0"
    meta["requirements"] = [f"rivega_spacy{own_range(rivega_spacy.__version__)}"]
    srsly.write_json(pipeline / "meta.json", meta)


def own_range(version: str) -> str:
    """Versions of this package that can load what this one saves: ">=0.8.0,<0.9.0" of "0.8.3".

    version (str): This one's.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor}.0,<{major}.{minor + 1}.0"


def check_files(pipeline: Path) -> str:
    """Refuse what must not be shipped; RETURNS (str): files and size."""
    files = [path for path in pipeline.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    if total > MAX_BYTES:
        sizes = ", ".join(
            f"{path.relative_to(pipeline)} {path.stat().st_size / 1e6:.1f} MB" for path in files if path.stat().st_size > 1e6
        )
        raise RivegaError(Errors.E268.format(path=pipeline, size=f"{total / 1e6:.1f}", most=f"{MAX_BYTES / 1e6:.0f}", sizes=sizes))
    for path in files:
        head = path.read_bytes()
        # torch.save's zip archives hold a data.pkl; bare pickles of protocol 2 and later begin with 0x80 and end with a stop.
        if b"data.pkl" in head or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and head[-1:] == b"."):
            raise RivegaError(Errors.E269.format(path=path))
    return f"{pipeline}: {len(files)} files, {total / 1e6:.1f} MB, no pickle"
