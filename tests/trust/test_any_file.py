"""Files that were damaged, or made to do harm: every reader reads them, or says what is wrong with one of our errors, and nothing else.

Readers are found by their names; one that is new and has no entry here fails a test.
"""

import base64
import csv
import functools
import gzip
import importlib
import inspect
import itertools
import json
import os
import pkgutil
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any, NamedTuple

import numpy as np
import pytest
from blank import NLP
from examples import examples
from hypothesis import given
from hypothesis import strategies as st

import rivega_spacy
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.post.errors import PostError, RivegaError
from rivega_spacy.post.jsonl import Unpacked
from rivega_spacy.post.rle import encode_mask

from .any_text import JUNK, LEFT_OUT, SNIPPETS, damaged, places, posts, replaced, texts
from .test_any_text import export_posts, make_doc, one_language  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("post", "corpus", "corpus.formats", "knowledge", "llm", "scoring", "rendering", "jobs", "tables", "training")
# What a reader calls the file or folder that it reads.
FILES = {"path", "paths", "folder", "file", "files", "archives", "archive", "source"}
MASK = np.zeros((6, 8), dtype=bool)
MASK[1:4, 2:6] = True
RLE = encode_mask(MASK)
ENTITY = {
    "start": 4,
    "end": 7,
    "label": "PER",
    "text": "Bob",
    "expansion": "a man",
    "groundable": True,
    "score": 0.5,
    "boxes": [[2.0, 1.0, 6.0, 4.0]],
    "mask_rle": RLE,
}
POST = {
    "id": "1",
    "text": "see Bob, Ann",
    "image": "a.jpg",
    "caption": "c",
    "knowledge": "k",
    "ents": [ENTITY, [9, 12, "PER"]],
    "expansions": [None, "x"],
    "errors": [],
}
COMPACT = {
    "id": "1",
    "tokens": ["see", "Bob"],
    "tags": ["O", "B-PER"],
    "spaces": [True, False],
    "knowledge": "k",
    "missing_labels": ["LOC"],
    "boxes": [{"name": "Bob", "xyxy": [2, 1, 6, 4], "mask_rle": RLE}],
    "masks": [{"name": "Bob", "mask_rle": RLE}],
    "unclear": ["Bob"],
    "expansions": ["a man"],
    "expansions_by_model": {"m": ["a man"]},
    "image_width": 8,
    "image_height": 6,
}


TALLY = {"posts": 2, "entities": 3, "grounded": 1, "failed": 1, "failures": {"rivega_ner": {"posts": 1, "examples": ["why"]}}}
MANIFEST = {
    "rivega_job": 1,
    "identity": {"version": "1", "work": {"model": "m"}},
    "form": "jsonl",
    "shard_size": 2,
    "chunk_size": 2,
    "inputs": ["posts.jsonl"],
    "complete": False,
    "shards": [
        {"file": "part-00000.jsonl", "start": 0, "posts": 2, "digest": "0" * 32, "bytes": 10, "tally": TALLY},
        {"file": "part-00001.jsonl", "start": 2, "posts": 1, "digest": "1" * 32, "bytes": 10, "tally": {**TALLY, "posts": 1}},
    ],
}


class Form(NamedTuple):
    """base (Any): A valid value. write (Callable): From folder and value to the path. read (Callable): From the path to whatever is read."""

    base: Any
    write: Callable[[Path, Any], Path]
    read: Callable[[Path], Any]


def as_json(name: str) -> Callable[[Path, Any], Path]:
    def write(folder: Path, value: Any) -> Path:
        (folder / name).write_text(json.dumps(value), encoding="utf8")
        return folder / name

    return write


def as_lines(name: str = "p.jsonl") -> Callable[[Path, Any], Path]:
    def write(folder: Path, value: Any) -> Path:
        rows = value if isinstance(value, list) else [value]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
        return folder / name

    return write


def in_folder(write: Callable[[Path, Any], Path]) -> Callable[[Path, Any], Path]:
    return lambda folder, value: write(folder, value).parent


def as_table(folder: Path, value: Any) -> Path:
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    with open(folder / "p.csv", "w", encoding="utf8", errors="replace", newline="") as out:
        writer = csv.DictWriter(out, list(dict.fromkeys(["post_id", "text", *(name for row in rows for name in row)])))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "p.csv"


def dirty(name: str, **more: Any) -> Callable[[Path], Any]:
    """A reader of corpus.formats."""
    module, _, function = name.rpartition(".")
    return lambda path: getattr(importlib.import_module(f"rivega_spacy.{module}"), function)(path, Dirt(), **more)


def plain(name: str, *more: Any, **options: Any) -> Callable[[Path], Any]:
    module, _, function = name.rpartition(".")
    return lambda path: getattr(importlib.import_module(f"rivega_spacy.{module}"), function)(path, *more, **options)


@functools.cache
def exported(form: str) -> Any:
    doc = make_doc({"id": "1", "text": "see Bob, Ann", "ents": [{**ENTITY}, {"start": 9, "end": 12, "label": "ORG"}]}, "a.jpg")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out")
        export_posts([doc], path, form)
        if form == "label-studio":
            tasks = json.loads((path / "tasks.json").read_text())
            extra = [
                {
                    "type": "polygonlabels",
                    "id": "x",
                    "original_width": 8,
                    "original_height": 6,
                    "value": {"points": [[1, 1], [50, 1], [50, 50]], "polygonlabels": ["PER"]},
                },
                {
                    "type": "ellipselabels",
                    "id": "y",
                    "original_width": 8,
                    "original_height": 6,
                    "value": {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20, "rotation": 10},
                },
            ]
            return [
                {
                    "id": 1,
                    "data": task["data"],
                    "annotations": [{"result": [*task["predictions"][0]["result"], *extra], "updated_at": "2"}],
                }
                for task in tasks
            ]
        if form == "labelme":
            return json.loads(next(path.iterdir()).read_text())
        if form == "prodigy":
            return {
                name: [json.loads(line) for line in (path / name).read_text().splitlines()]
                for name in ("text.jsonl", "images.jsonl")
            }
        return json.loads(path.read_text())


@functools.cache
def json_forms() -> dict[str, Form]:
    """By the name of the function that reads it."""
    flat = {
        "id": "1",
        "text": "Bob",
        "type": "PER",
        "start": 1,
        "end": 2,
        "ve": 2,
        "boxes": [[2, 1, 6, 4]],
        "masks": [RLE],
        "groundable_score": 0.5,
    }
    scored = plain("scoring.read.read_annotations")
    row = {"key": "0" * 64, "question": "0" * 64, "text": "t", "model": "m", "prompt": "knowledge", "version": "1", "post": "1", "entity": "", "finish": "stop",
           "attempt": 0, "input_tokens": 1, "output_tokens": 1, "identity": {"a": 1}, "created": 1.0, "choices": "[]"}  # fmt: skip
    table = {"post_id": "1", "text": "see Bob", "start": 4, "end": 7, "entity": "Bob", "label": "PER", "groundable": "True", "x1": 2, "y1": 1, "x2": 6, "y2": 4,
             "regions": json.dumps([{"box": [2, 1, 6, 4], "mask_rle": RLE}])}  # fmt: skip
    return {
        "corpus.formats.label_studio.read_label_studio": Form(exported("label-studio"), as_json("p.json"), dirty("corpus.formats.label_studio.read_label_studio")),
        "corpus.formats.web_annotation.read_web_annotations": Form(exported("web-annotation"), as_json("p.json"), dirty("corpus.formats.web_annotation.read_web_annotations")),
        "corpus.formats.coco.read_coco": Form(exported("coco"), as_json("p.json"), dirty("corpus.formats.coco.read_coco")),
        "corpus.formats.labelme.read_labelme": Form(exported("labelme"), in_folder(as_json("1.json")), dirty("corpus.formats.labelme.read_labelme")),
        "corpus.formats.prodigy.read_prodigy_text": Form(exported("prodigy")["text.jsonl"], as_lines(), dirty("corpus.formats.prodigy.read_prodigy_text")),
        "corpus.formats.prodigy.read_prodigy_regions": Form(exported("prodigy")["images.jsonl"], as_lines(), dirty("corpus.formats.prodigy.read_prodigy_regions")),
        "corpus.formats.annotated.read_annotated": Form([POST], as_lines(), dirty("corpus.formats.annotated.read_annotated")),
        "corpus.formats.entity_table.read_entity_table": Form([table], as_table, dirty("corpus.formats.entity_table.read_entity_table")),
        "corpus.formats.assemble.read_texts": Form([COMPACT], as_lines(), lambda path: dirty_texts(path)),
        "corpus.formats.assemble.read_regions": Form(exported("coco"), as_json("p.json"), dirty("corpus.formats.assemble.read_regions")),
        "corpus.formats.assemble.read_data_set": Form([COMPACT], as_lines(), lambda path: whole_set(path)),
        "corpus.formats.riveg.read_riveg": Form([{"id": "1", "text": "Bob", "type": "PER", "expansion": "a man"}], as_lines(), dirty("corpus.formats.riveg.read_riveg")),
        "corpus.formats.json_files.read_json": Form({"a": [1]}, as_json("p.json"), lambda path: value_error(plain("corpus.formats.json_files.read_json"), path)),
        "corpus.posts_jsonl.read_json_lines": Form([COMPACT], as_lines(), plain("corpus.posts_jsonl.read_json_lines")),
        "corpus.posts_jsonl.read_knowledge": Form([{"id": "1", "knowledge": "k"}], as_lines(), plain("corpus.posts_jsonl.read_knowledge")),
        "corpus.posts_jsonl.read_compact": Form([COMPACT], as_lines(), lambda path: plain("corpus.posts_jsonl.read_compact", NLP.vocab)(path)),
        "corpus.recorded.read_recorded": Form([{"id": "1", "text": "Bob", "type": "PER", "expansion": "a"}], as_lines(), lambda path: plain("corpus.recorded.read_recorded", None)([path])),
        "post.annotated.read_annotated": Form([POST], as_lines(), plain("post.annotated.read_annotated")),
        "post.post_files.read_posts": Form([POST], as_json("p.json"), plain("post.post_files.read_posts")),
        "post.jsonl.read_lines": Form([POST], as_lines(), plain("post.jsonl.read_lines")),
        "post.json_array.read_array": Form([POST], as_json("p.json"), lambda path: opened("post.json_array.read_array", path)),
        "post.csv_posts.read_csv": Form([table], as_table, lambda path: opened("post.csv_posts.read_csv", path, {})),
        "post.picture_posts.read_pictures": Form(POST, in_folder(as_json("a.json")), lambda path: pictured(path)),
        "scoring.read.read_annotations": Form([POST], as_lines(), scored),
        "scoring.read.read_annotations (compact)": Form([COMPACT], as_lines(), scored),
        "scoring.read.read_annotations (flat)": Form([flat], as_lines(), scored),
        "scoring.read.read_training_names": Form([flat], as_lines(), plain("scoring.read.read_training_names")),
        "scoring.candidates.read_candidates": Form([{"id": "1", "boxes": [[2, 1, 6, 4]], "scores": [0.5]}], as_lines(), plain("scoring.candidates.read_candidates")),
        "rendering.expected.read_expected": Form([{"id": "1", "ents": [{"start": 4, "end": 7, "text": "Bob", "labels": ["PER"], "shown": True, "boxes": [[2, 1, 6, 4]]}]}], as_lines(), plain("rendering.expected.read_expected")),
        "llm.records.read_records": Form([row], as_lines(), plain("llm.records.read_records")),
        "llm.replay.make_replay": Form([row, {**POST, "knowledge_by_model": {"m": "k"}}], as_lines(), lambda path: replayed(path)),
        "knowledge.examples.read_examples": Form([{"id": "1", "text": "a", "annotation": "b", "caption": "c", "image": "a.jpg"}], as_lines(), plain("knowledge.examples.read_examples")),
        "knowledge.collection.build": Form([{"id": "1", "text": "a b", "title": "t", "image": "a.jpg"}], as_lines(), lambda path: built(path)),
        "knowledge.lookup.add_knowledge": Form([POST], as_lines(), lambda path: looked_up(path)),
        "jobs.evaluation_page.read_propagation": Form({"propagation": {"gold": {"f": 0.5}}}, as_json("p.json"), plain("jobs.evaluation_page.read_propagation")),
        "jobs.bulk.manifest.read_manifest": Form(MANIFEST, in_folder(as_json("manifest.json")), lambda path: gone_on_with(path)),
    }  # fmt: skip


def dirty_texts(path: Path) -> Any:
    from rivega_spacy.corpus.formats.assemble import read_texts

    return read_texts(path, "jsonl", Dirt())


def whole_set(path: Path) -> Any:
    """As `rivega convert` does it, to the docs."""
    from rivega_spacy.corpus.formats.assemble import Sources, read_data_set
    from rivega_spacy.corpus.posts_jsonl import make_docs

    rows = enumerate(read_data_set(Sources(text=path), Dirt()), start=1)
    return make_docs(rows, NLP.vocab, source=str(path))


def value_error(read: Callable, path: Path) -> Any:
    try:
        return read(path)
    except ValueError as error:  # what it is documented to raise
        raise RivegaError("as documented") from error


def opened(name: str, path: Path, *more: Any) -> Any:
    with open(path, "rb") as file:
        return list(plain(name, Unpacked(file), *more)(path))


def pictured(folder: Path) -> Any:
    (folder / "a.jpg").write_bytes(b"")
    return plain("post.picture_posts.read_pictures")(folder)


def replayed(path: Path) -> Any:
    from rivega_spacy.llm.base import ChatRequest, Message
    from rivega_spacy.llm.replay import make_replay

    request = ChatRequest((Message("user", "q"),), 9, "knowledge", "1", post="1")
    (answer,) = (future.result() for future in make_replay(str(path)).submit([request]))
    assert answer.text is None or isinstance(answer.text, str)
    return answer.text


def built(path: Path) -> Any:
    from rivega_spacy.knowledge.collection import build

    return build([path], path.parent / "c.sqlite")


def looked_up(path: Path) -> Any:
    from rivega_spacy.knowledge.lookup import add_knowledge

    return add_knowledge(path, path.parent / "out.jsonl", lambda docs: ["k"] * len(docs))


def gone_on_with(folder: Path) -> Any:
    """As a job does it that goes on."""
    from rivega_spacy.jobs.bulk.manifest import Manifest, read_manifest

    found = read_manifest(folder)
    assert found is not None
    found.check_same(Manifest(found.identity, found.form, found.shard_size, 1), folder)
    # Nothing beyond the folder is taken for a part of the results.
    assert all((folder / shard.file).parent == folder and not shard.is_whole(folder) for shard in found.shards)
    total = found.total()
    assert total.posts + sum(shard.posts for shard in found.shards) >= 0
    found.write(folder)
    return found


def consumed(result: Any) -> list[Any]:
    """What a reader gives, with every place in a text looked at."""
    found = list(result) if isinstance(result, GeneratorType) or hasattr(result, "__next__") else [result]
    for post in found:
        if isinstance(post, dict) and isinstance(post.get("tokens"), list) and isinstance(post.get("tags"), list):
            assert len(post["tokens"]) == len(post["tags"])
            if "spaces" in post and isinstance(post.get("ents"), list):
                text = "".join(token + " " * bool(space) for token, space in zip(post["tokens"], post["spaces"]))
                for ent in post["ents"]:
                    assert 0 <= ent["start"] < ent["end"] <= len(text)
    return found


@pytest.mark.parametrize("name", sorted(json_forms()))
def test_valid_files_are_read(name, tmp_path):
    form = json_forms()[name]
    found = consumed(form.read(form.write(tmp_path, form.base)))
    # A reader that finds nothing in a valid file could not be tried by damaging it.
    assert found and any(item is not None and item != [] and item != {} for item in found)
    assert not any(isinstance(item, PostError) for item in found)


def check_ends_well(form: Form, values: st.SearchStrategy[Any], count: int) -> None:
    """Whatever is written, the reader reads it or says with an error of ours what is wrong."""

    @examples(count)
    @given(values)
    def check(value: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                consumed(form.read(form.write(Path(folder), value)))
            except RivegaError:
                pass

    check()


@pytest.mark.parametrize("name", sorted(json_forms()))
def test_damaged_json_ends_in_a_reason_or_in_posts(name):
    form = json_forms()[name]
    check_ends_well(form, damaged(form.base), 25)


@pytest.mark.skipif(float(os.environ.get("RIVEGA_EXAMPLES") or 0) < 1, reason="a long run: for RIVEGA_EXAMPLES of 1 or more")
@pytest.mark.parametrize("name", sorted(json_forms()))
def test_every_part_replaced_by_everything(name, tmp_path):
    form = json_forms()[name]
    for number, (place, by) in enumerate(itertools.product(places(form.base), (LEFT_OUT, *JUNK))):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            consumed(form.read(form.write(folder, replaced(form.base, place, None if by is LEFT_OUT and not place else by))))
        except RivegaError:
            pass
        except Exception as error:
            raise AssertionError(f"{place} replaced by {by!r:.40}") from error
        shutil.rmtree(folder)


VOC = """<annotation><filename>1.jpg</filename><size><width>8</width><height>6</height></size>
<object><name>Bob</name><bndbox><xmin>2</xmin><ymin>1</ymin><xmax>6</xmax><ymax>4</ymax></bndbox></object></annotation>"""
PICTURE = base64.b64encode(b"x").decode()


def as_text(name: str) -> Callable[[Path, Any], Path]:
    def write(folder: Path, value: Any) -> Path:
        (folder / name).write_bytes(value if isinstance(value, bytes) else value.encode("utf8", "surrogatepass"))
        return folder / name

    return write


def published_examples(path: Path) -> Any:
    posts_file = as_lines("posts.jsonl")(path.parent, [{"id": "1", "text": "a"}])
    return plain("knowledge.examples.read_examples", posts=[posts_file])(path)


def known(path: Path) -> Any:
    from rivega_spacy.corpus.formats.published import add_knowledge

    rows = [{"id": "1", "tokens": ["see", "Bob"]}]
    add_knowledge(rows, path, Dirt())
    return rows


TEXT_FORMS = {
    "corpus.formats.conll.read_conll": Form(
        "IMGID:1\nsee\tO\nBob\tB-PER\n\nIMGID:2\na\tO\n", as_text("p.txt"), dirty("corpus.formats.conll.read_conll")
    ),
    "corpus.formats.conll.read_blocks": Form(
        "see\tX\n<EOS>\tX\nk\tX\n", as_text("p.txt"), dirty("corpus.formats.conll.read_blocks", by_blank=True)
    ),
    "corpus.formats.riveg.read_riveg_posts": Form(
        f"1.jpg#1\t1\t{PICTURE}\tc\tBob(PER)-a man\tentailment\n1.jpg#2\t1\tAnn(PER)-a woman\t2,1,6,4\t{PICTURE}\n",
        as_text("p.tsv"),
        dirty("corpus.formats.riveg.read_riveg_posts"),
    ),
    "corpus.formats.riveg.read_riveg": Form(
        "Imageid:1.jpg#1###Bob(PER)###Bob(PER)-a man###2\n", as_text("p.txt"), dirty("corpus.formats.riveg.read_riveg")
    ),
    "corpus.formats.published.read_captions": Form(
        "1.jpg :a man\n", as_text("p.txt"), dirty("corpus.formats.published.read_captions")
    ),
    "corpus.formats.published.read_descriptions": Form(
        "imgid:1###a man\nmore\n", as_text("p.txt"), dirty("corpus.formats.published.read_descriptions")
    ),
    "corpus.formats.published.add_knowledge": Form("see\tO\nBob\tO\n<EOS>\tX\nk\tX\n", as_text("p.txt"), known),
    "corpus.formats.voc.read_voc": Form(VOC, in_folder(as_text("1.xml")), dirty("corpus.formats.voc.read_voc")),
    "corpus.formats.voc.read_xml": Form(
        VOC, as_text("1.xml"), lambda path: value_error(plain("corpus.formats.voc.read_xml"), path)
    ),
    "scoring.read.read_annotations": Form(
        "Imageid:1.jpg#1###Bob(PER)###Bob(PER)-a man###2###&[2, 1, 6, 4]\n",
        as_text("p.txt"),
        plain("scoring.read.read_annotations"),
    ),
    "scoring.h_index.read_h_index": Form(
        "see Bob\nPred: (Bob , [3] , <<person>> )\nGold: x\n\n", as_text("p.txt"), plain("scoring.h_index.read_h_index", ["1"])
    ),
    "knowledge.published.read_published": Form("1\nBob is a man.\n", as_text("p.txt"), published_examples),
    "post.jsonl.read_text_lines": Form("a\nb\n", as_text("p.txt"), plain("post.jsonl.read_text_lines")),
    "post.jsonl.read_lines": Form('{"a": 1}\n{"b": 2}\n', as_text("p.txt"), plain("post.jsonl.read_lines")),
    "post.post_files.read_posts": Form('id,text\n1,"see ""Bob"", Ann"\n', as_text("p.csv"), plain("post.post_files.read_posts")),
    "post.json_array.read_array": Form(
        '[{"text": "a"},\n{"text": "b"}]', as_text("p.json"), lambda path: opened("post.json_array.read_array", path)
    ),
    "post.picture_posts.read_pictures": Form("see Bob", in_folder(as_text("a.txt")), lambda path: pictured(path)),
    "post.parquet_posts.read_parquet": Form(
        "PAR1....PAR1", as_text("p.parquet"), lambda path: opened("post.parquet_posts.read_parquet", path, {})
    ),
    "corpus.docbin.read_docbin": Form("x", as_text("p.spacy"), lambda path: read_docbin(path, NLP.vocab)),
    "corpus.formats.docbin_posts.read_docbin_posts": Form(
        "x", as_text("p.spacy"), dirty("corpus.formats.docbin_posts.read_docbin_posts")
    ),
    "jobs.enrich.read_settings": Form(
        "[enrich]\n\n[enrich.llm]\n@llms = x\n", as_text("p.cfg"), plain("jobs.enrich.read_settings")
    ),
    "jobs.enrich.read_config": Form("[enrich]\n\n[enrich.llm]\n@llms = x\n", as_text("p.cfg"), plain("jobs.enrich.read_config")),
    "tables.plan.read_plan": Form("groups:\n- id: a\n", as_text("p.yml"), plain("tables.plan.read_plan")),
}


@st.composite
def changed(draw: Any, text: str) -> bytes:
    """A text file with some of it replaced, by other text or by bytes that are none."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        put = draw(
            st.one_of(
                st.sampled_from(SNIPPETS).map(lambda part: part.encode("utf8", "surrogatepass")),
                texts.map(lambda part: part.encode("utf8", "surrogatepass")),
                st.binary(max_size=8),
            )
        )
        data = data[:start] + put + data[end:]
    return data


# What confection tells whoever writes a config with the wrong quotes.
@pytest.mark.filterwarnings("ignore:The value .* seems to be single-quoted:UserWarning")
@pytest.mark.parametrize("name", sorted(TEXT_FORMS))
def test_damaged_text_ends_in_a_reason_or_in_posts(name):
    form = TEXT_FORMS[name]
    check_ends_well(form, changed(form.base), 40)


@pytest.mark.parametrize("name", sorted(TEXT_FORMS))
def test_damaged_gzip_ends_in_a_reason_or_in_posts(name, tmp_path):
    """Cut off, with something behind it, with a byte changed, packed twice; whatever the file is called."""
    form = TEXT_FORMS[name]
    path = form.write(tmp_path, form.base.encode())
    file = path if path.is_file() else next(iter(path.iterdir()))
    packed = gzip.compress(file.read_bytes() * 200, mtime=0)
    half = len(packed) // 2
    broken = [
        packed[:-9],
        packed[:half],
        packed[:11],
        packed[:3],
        packed + b"more",
        packed + bytes(9),
        gzip.compress(packed, mtime=0),
    ]
    broken += [packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :] for place in (2, 3, 9, 12, half, -6, -2)]
    for number, data in enumerate(broken):
        file.write_bytes(data)
        try:
            consumed(form.read(path))
        except RivegaError:
            pass
        except Exception as error:
            raise AssertionError(f"damage {number}") from error


@examples(40)
@given(posts(), st.data())
def test_damaged_binary_posts_end_in_a_reason(post, data):
    """.spacy and Parquet files, of which some bytes are others."""
    doc = make_doc(post)
    form = data.draw(st.sampled_from(["docbin", "parquet"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.spacy" if form == "docbin" else "p.parquet")
        export_posts([doc], path, form)
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))]))
        try:
            if form == "docbin":
                list(read_docbin(path, NLP.vocab))
            else:
                consumed(dirty("corpus.formats.entity_table.read_entity_table")(path))
        except RivegaError:
            pass


# Readers of other things than posts and their annotations, with the tests that damage what they read.
ELSEWHERE = {
    "post.images.read_image": "tests/post/test_images.py",
    "post.images.read_thumbnail": "tests/post/test_images.py",
    "post.images.read_bitmap": "tests/post/test_images.py",
    "post.textfiles.read_text": "tests/post/test_textfiles.py",
    "jobs.bulk.ahead.read_ahead": "tests/jobs/test_job.py",
    "knowledge.example_bank.load_bank": "tests/trust/test_loading.py",
    "llm.local.load_class": "tests/llm/test_local.py",
    "llm.prompting.read_prompt": "tests/trust/test_training_files.py",
    "scoring.segment.load_segmenter": "tests/scoring/test_segment.py",
    "tables.configs.read_base": "tests/tables/test_plan.py",
    "tables.page.read_metrics": "tests/tables/test_running.py",
    "training.photos.read_photos": "tests/training/test_photos.py",
}


def readers() -> Iterator[str]:
    """Functions of the rooms above that are called `read` or `load` something and take a path."""
    for room in ROOMS:
        package = importlib.import_module(f"rivega_spacy.{room}")
        for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(item.name)
            for name, function in vars(module).items():
                if not name.startswith(("read_", "load_")) or not inspect.isfunction(function) or function.__module__ != item.name:
                    continue
                first = next(iter(inspect.signature(function).parameters), "")
                if first in FILES:
                    yield f"{item.name.removeprefix('rivega_spacy.')}.{name}"


def test_every_reader_is_tried_on_damaged_files():
    tried = {name.partition(" ")[0] for name in (*json_forms(), *TEXT_FORMS)}
    found = set(readers())
    assert rivega_spacy.__file__ and found - tried - set(ELSEWHERE) == set()
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())
