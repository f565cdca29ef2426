"""Every place where a file is read that could hold more than data: which they are, and what each does with files made to do harm.

A new place (an unpickler, an archive, an XML or YAML parser, a program) fails a test until it stands here.
"""

import ast
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from rivega_spacy.backends.seqtr.text import read_vocabulary
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.voc import read_voc
from rivega_spacy.corpus.formats.web_annotation import svg_mask
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.tables.plan import read_plan

from .any_text import blank

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rivega_spacy"
# What may run code, start programs, unpack, or parse more than data -> the files that may call it, and why that is safe.
DANGEROUS = {
    r"(^|\.)(pickle|cPickle|dill|joblib|shelve|marshal)\.(load|loads|Unpickler)$": {
        "backends/seqtr/text.py": "builds what needs no import alone"
    },
    r"^torch\.load$": {"backends/weights.py": "weights_only", "backends/small/lite.py": "weights_only"},
    r"^numpy\.load$": {
        "post/digests.py": "allow_pickle=False",
        "training/kept.py": "allow_pickle=False",
        "backends/small/phrases/bank.py": "of the package itself",
        "backends/small/phrases/wordnet.py": "of the package itself",
        "backends/small/nouns.py": "of the package itself",
    },
    r"^(zipfile|tarfile)\.(ZipFile|open)$|unpack_archive$|extractall$": {
        "post/archives.py": "within the folder, bounded",
        "backends/pickles.py": "what is packed is refused",
        "serve/downloads.py": "written, not read",
    },
    r"ElementTree\.(parse|fromstring|XML|iterparse)$": {
        "corpus/formats/voc.py": "no entities",
        "corpus/formats/web_annotation.py": "no declarations",
    },
    r"yaml": {"tables/plan.py": "srsly reads plain values alone"},
    r"(^|\.)safe_open$|^safetensors\.\w+\.load(_file)?$": {
        "backends/shim.py": "headers that lie are refused",
        "backends/weights.py": "headers that lie are refused",
        "backends/conversion.py": "what cannot be read is refused",
        "knowledge/example_bank.py": "headers that lie are refused",
        "training/kept.py": "what does not fit is refused",
        "training/checkpoints.py": "headers that lie are refused",
    },
    r"msgpack_loads$": {
        "backends/shim.py": "bombs are refused",
        "pipes/model_asking.py": "what are no prompts is refused",
        "post/digests.py": "to see which part is damaged",
    },
    r"^sqlite3\.connect$": {
        "llm/store.py": "tables of our own alone, no journal of others",
        "knowledge/collection.py": "tables of our own alone, no journal of others",
        "post/sqlite_files.py": "in memory, to see how our tables look",
    },
    r"^(eval|exec|compile|__import__)$": {"jobs/machine.py": "names of packages that are ours"},
    r"^(os\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*)|pty\.spawn)$": {},
    r"^subprocess\.": {
        "post/decoder_process.py": "Python itself, to decode pictures",
        "jobs/packaging.py": "spacy package",
        "tables/running.py": "the experiments that one starts",
    },
}


def used_in(code: str) -> set[str]:
    """Full names of all that a module calls or hands on, whatever it imported them as."""
    tree = ast.parse(code)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                item.asname or item.name.split(".")[0]: item.name if item.asname else item.name.split(".")[0] for item in node.names
            }
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}

    def full(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{full(node.value)}.{node.attr}"
        return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"

    return {full(node) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load)}


def calls() -> list[tuple[str, str]]:
    """File and full name of everything that is used in the package."""
    return [
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in sorted(used_in(path.read_text(encoding="utf8")))
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.loads(x)",
        "from pickle import loads as unpack\nunpack(x)",
        "import pickle as p\nmap(p.loads, x)",
        "from safetensors.torch import load as load_tensors\nload_tensors(x)",
        "from torch import load\nload(x)",
        "import sqlite3 as db\ndb.connect(x)",
        "from zipfile import ZipFile as Z\nZ(x)",
        "from os import system\nsystem(x)",
        "import srsly\nread = srsly.msgpack_loads",
        "run = eval\nrun(x)",
    ],
)
def test_the_check_sees_every_way_to_write_it(code):
    assert any(re.search(pattern, name) for pattern in DANGEROUS for name in used_in(code))


@pytest.fixture(scope="module")
def called():
    return calls()


@pytest.mark.parametrize("pattern", DANGEROUS)
@pytest.mark.slow
def test_what_could_run_is_called_where_it_is_known_to_be_safe(pattern, called):
    places = {path for path, name in called if re.search(pattern, name)}
    assert places <= set(DANGEROUS[pattern]), places - set(DANGEROUS[pattern])


def test_torch_reads_weights_alone():
    for name in DANGEROUS[r"^torch\.load$"]:
        for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                assert ("weights_only", "True") in [(given.arg, ast.unparse(given.value)) for given in node.keywords]


def test_no_code_of_a_model_hub_is_trusted(called):
    for path in sorted(PACKAGE.rglob("*.py")):
        assert not re.search(r"trust_remote_code\s*=\s*True", path.read_text(encoding="utf8")), path


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi"))
    + "]>"
)
XML = {
    "billion laughs": LAUGHS + "<annotation><object><name>&i;</name></object></annotation>",
    "external entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "SECRET">]><annotation><object><name>&x;</name></object></annotation>',
    "parameter entity": '<!DOCTYPE a [<!ENTITY % x SYSTEM "SECRET"> %x;]><annotation/>',
    "external declaration": '<!DOCTYPE annotation SYSTEM "SECRET"><annotation><object><name>a</name></object></annotation>',
    "stylesheet": '<?xml-stylesheet href="SECRET"?><annotation><object><name>a</name></object></annotation>',
    "inclusion": '<annotation xmlns:xi="http://www.w3.org/2001/XInclude"><object><name><xi:include href="SECRET" parse="text"/></name></object></annotation>',
    "deep": "<a>" * 20_000,
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", XML)
def test_xml_is_expanded_by_nothing_and_fetches_nothing(kind, encoding, tmp_path):
    (tmp_path / "secret").write_text("abc123")
    (tmp_path / "1.xml").write_bytes(XML[kind].replace("SECRET", (tmp_path / "secret").as_uri()).encode(encoding))
    dirt = Dirt()
    found = read_voc(tmp_path, dirt)
    assert "abc123" not in repr(found) and len(repr(found)) < 10_000
    assert svg_mask(XML[kind].replace("annotation", "svg")) is None


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch reached']",
        "!!python/name:os.system",
        "!<tag:yaml.org,2002:python/module:os> x",
        "a: &a [*a]",
        "[" * 2_000,
        "a: " + "[&a x, *a]" * 1000,
    ],
    ids=range(6),
)
@pytest.mark.slow
def test_yaml_is_plain_values(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yml").write_text(text)
    with pytest.raises(RivegaError, match=r"plan\.yml"):
        read_plan(tmp_path / "plan.yml")
    assert not (tmp_path / "reached").exists()


class Runs:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [Path.touch, exec, np.load, getattr], ids=lambda function: function.__name__)
def test_a_published_vocabulary_is_words_alone(function, tmp_path):
    reached = tmp_path / "reached"
    argument = f"open({str(reached)!r}, 'w')" if function is exec else reached
    (tmp_path / "words.pkl").write_bytes(pickle.dumps({"PAD": Runs(function, argument)}))
    with pytest.raises(RivegaError, match="E737"):
        read_vocabulary(tmp_path / "words.pkl")
    assert not reached.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x80\x04" + b"(" * 100_000,
        b"]" * 50_000 + b".",
        b"\x80\x04\x8d" + b"\xff" * 8,
        b"\x80\x04K\x01r\xff\xff\xff\x7f.",
    ],
    ids=range(6),
)
def test_a_damaged_vocabulary_is_named(data, tmp_path):
    (tmp_path / "words.pkl").write_bytes(data)
    with pytest.raises(RivegaError, match=r"words\.pkl"):
        read_vocabulary(tmp_path / "words.pkl")


def test_posts_in_binary_hold_no_code(tmp_path):
    """msgpack's extension types are those that spaCy knows; a pickle is none of them."""
    import zlib

    import srsly

    payload = srsly.msgpack_dumps(
        {
            "version": "0.2",
            "attrs": [65],
            "tokens": b"",
            "spaces": b"",
            "lengths": b"",
            "strings": [],
            "cats": [],
            "flags": [],
            "span_groups": [],
        }
    )
    for data in (
        pickle.dumps(Runs(Path.touch, tmp_path / "reached")),
        zlib.compress(pickle.dumps(Runs(Path.touch, tmp_path / "reached"))),
        zlib.compress(payload)[:-4],
        zlib.compress(b"\xdd\xff\xff\xff\xff"),
    ):
        (tmp_path / "p.spacy").write_bytes(data)
        with pytest.raises(RivegaError, match="E059"):
            list(read_docbin(tmp_path / "p.spacy", blank("rivega").vocab))
    assert not (tmp_path / "reached").exists()
