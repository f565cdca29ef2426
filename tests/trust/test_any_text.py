"""Whatever Unicode a post holds: what is written is read back as it was, offsets fit the text, and no text becomes anything but text."""

import json
import re
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spacy
from blank import NLP
from examples import examples
from hypothesis import example, given
from hypothesis import strategies as st
from spacy.tokens import Doc

from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.formats.annotated import read_annotated as read_annotated_rows
from rivega_spacy.corpus.formats.coco import read_coco
from rivega_spacy.corpus.formats.conll import read_conll
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.docbin_posts import read_docbin_posts
from rivega_spacy.corpus.formats.entity_table import read_entity_table
from rivega_spacy.corpus.formats.label_studio import read_label_studio
from rivega_spacy.corpus.formats.labelme import read_labelme
from rivega_spacy.corpus.formats.prodigy import read_prodigy_regions, read_prodigy_text
from rivega_spacy.corpus.formats.web_annotation import read_web_annotations
from rivega_spacy.corpus.posts_jsonl import read_compact
from rivega_spacy.export.adapters import to_fiftyone, to_supervision
from rivega_spacy.export.writing import FORMS, export_posts
from rivega_spacy.post.annotated import annotated_to_doc, read_annotated
from rivega_spacy.post.jsonl import dump_line, read_lines, write_lines
from rivega_spacy.post.post_files import FORMS as POST_FORMS
from rivega_spacy.post.post_files import read_posts
from rivega_spacy.post.posts import doc_to_post, post_to_doc, write_posts
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.post.text import printable, replace_surrogates

from .any_text import blank, filled, labels, posts, texts, words

VOCAB = NLP.vocab
MASK = np.zeros((6, 8), dtype=bool)
MASK[1:4, 2:6] = True
RLE = encode_mask(MASK)


@pytest.fixture(autouse=True, scope="module")
def one_language():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spacy, "blank", blank)
        yield


def make_doc(post: dict, image: str | None = None) -> Doc:
    """An annotated post as rivega's commands read it; with a picture each entity has a mask, which tells the picture's size."""
    doc = annotated_to_doc({**post, "image": image}, VOCAB)
    if doc._.image is not None:
        for ent in doc.ents:
            ent._.groundable, ent._.boxes, ent._.mask_rle = True, [[2.0, 1.0, 6.0, 4.0]], RLE
    return doc


def said(doc: Doc) -> tuple:
    """Id, text and entities of a doc, without the blanks at the rims of entities, which readers leave out."""
    return (
        str(doc.user_data["id"]),
        doc.text,
        [(*trimmed(doc.text, ent.start_char, ent.end_char), ent.label_, ent._.expansion) for ent in doc.ents],
    )


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def read_back(post: dict) -> tuple:
    """The same of a compact post."""
    text = "".join(token + " " * space for token, space in zip(post["tokens"], post["spaces"], strict=True))
    assert len(post["tags"]) == len(post["tokens"])
    assert all(0 <= ent["start"] < ent["end"] <= len(text) for ent in post["ents"])
    return (
        post["id"],
        text,
        [(*trimmed(text, ent["start"], ent["end"]), ent["label"], ent.get("expansion")) for ent in post["ents"]],
    )


def label_studio(path: Path) -> tuple:
    tasks = json.loads((path / "tasks.json").read_text(encoding="utf8"))
    for task in tasks:
        # What a person accepts becomes an annotation.
        task["annotations"] = task.pop("predictions")
    (path / "back.json").write_text(json.dumps(tasks), encoding="utf8")
    (post,) = read_label_studio(path / "back.json", Dirt())
    return read_back(post)


def prodigy(path: Path) -> tuple:
    (post,) = read_prodigy_text(path / "text.jsonl", Dirt())
    (doc,) = read_compact_rows(path, post)
    return said(doc)


def read_compact_rows(path: Path, post: dict) -> list[Doc]:
    write_lines(path / "compact.jsonl", [post])
    return list(read_compact(path / "compact.jsonl", VOCAB))


def one(reader: Callable) -> Callable[[Path], tuple]:
    def read(path: Path) -> tuple:
        (post,) = reader(path, Dirt())
        return read_back(post)

    return read


# What reads the text side of an export back; None where a form holds regions alone.
BACK: dict[str, Callable[[Path], tuple] | None] = {
    "coco": None,
    "labelme": None,
    "label-studio": label_studio,
    "prodigy": prodigy,
    "web-annotation": one(read_web_annotations),
    "csv": one(read_entity_table),
    "parquet": one(read_entity_table),
    "docbin": one(read_docbin_posts),
}
REGIONS: dict[str, Callable[[Path], dict]] = {
    "coco": lambda path: read_coco(path, Dirt()),
    "labelme": lambda path: read_labelme(path, Dirt()),
    "prodigy": lambda path: read_prodigy_regions(path / "images.jsonl", Dirt()),
}
ENDINGS = {"csv": ".csv", "parquet": ".parquet", "docbin": ".spacy", "coco": ".json", "web-annotation": ".jsonld"}


def test_every_form_of_export_has_its_way_back():
    assert set(BACK) == set(FORMS) and {form for form, back in BACK.items() if back is None} <= set(REGIONS)


@pytest.mark.parametrize("form", [form for form, back in BACK.items() if back is not None])
def test_exported_text_comes_back(form):
    @examples(40)
    @given(posts())
    def check(post: dict) -> None:
        doc = make_doc(post)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"out{ENDINGS.get(form, '')}")
            export_posts([doc], path, form)
            assert BACK[form](path) == said(doc)

    check()


@pytest.mark.parametrize("form", REGIONS)
def test_exported_regions_keep_their_names(form):
    @examples(30)
    @given(posts(), filled)
    def check(post: dict, image: str) -> None:
        doc = make_doc(post, image)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"out{ENDINGS.get(form, '')}")
            export_posts([doc], path, form)
            if not doc.ents or doc._.image is None:
                return
            if isinstance(doc._.image, bytes):
                assert doc._.rivega_errors
                return
            found = [region for picture in REGIONS[form](path).values() for region in picture.regions]
            assert [region.name for region in found] == [ent.text for ent in doc.ents]
            assert all(region.mask == RLE for region in found)

    check()


@examples(30)
@given(posts(), filled)
def test_adapters_keep_names(post, image):
    doc = make_doc(post, image)
    if doc._.image is None:
        return
    names = [ent.text for ent in doc.ents]
    for sample in to_fiftyone([doc]):
        assert [item["entity"] for item in sample["entities"]["detections"]] == names and sample["text"] == doc.text
    # Arrays of strings of equal length end at a NUL, as those of C do.
    assert to_supervision(doc)["data"]["entity"].tolist() == [name.rstrip("\0") for name in names]


@examples(60)
@given(posts(), st.dictionaries(filled, texts, max_size=2))
def test_posts_and_annotated_posts_come_back(post, own):
    nlp = spacy.blank("rivega")
    post = {**{f"own {name}": value for name, value in own.items()}, **post}
    doc = post_to_doc(nlp, post)
    text = replace_surrogates(post["text"])
    assert doc.text == text and len(text) == len(post["text"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.jsonl")
        list(write_posts([doc], path))
        assert len(path.read_bytes().splitlines()) == 1 == len(path.read_text(encoding="utf8").splitlines())
        ((_, row),) = read_lines(path)
        assert row == json.loads(dump_line(doc_to_post(doc)))
        (back,) = read_annotated(path)
        (given_back,) = read_annotated_rows(path, Dirt())
    assert said(back) == said(doc) and back.text == text
    assert read_back(given_back)[1] == text
    for ent in row["ents"]:
        assert text[ent["start"] : ent["end"]] == ent["text"] == replace_surrogates(ent["text"])
    for name, value in own.items():
        assert row[replace_surrogates(f"own {name}")] == replace_surrogates(value)


def write_post_file(form: str, folder: Path, post: dict) -> Path:
    """A post in one of the forms that `read_posts` knows, as another program would write it."""
    import csv

    path = (
        folder
        / {"auto": "p", "jsonl": "p.jsonl", "json": "p.json", "csv": "p.csv", "parquet": "p.parquet", "folder": "pictures"}[form]
    )
    if form in ("auto", "jsonl"):
        path.write_text(json.dumps(post) + "\n", encoding="utf8")
    elif form == "json":
        path.write_text(json.dumps([post], indent=1), encoding="utf8")
    elif form == "csv":
        with open(path, "w", encoding="utf8", newline="") as out:
            writer = csv.DictWriter(out, list(post))
            writer.writeheader()
            writer.writerow(post)
    elif form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([post]), path)
    else:
        path.mkdir()
        (path / "a.json").write_text(json.dumps(post), encoding="utf8")
        (path / "a.jpg").write_bytes(b"")
    return path


@pytest.mark.parametrize("form", POST_FORMS)
def test_posts_of_every_form_are_read_as_they_were_written(form):
    @examples(30)
    @given(st.fixed_dictionaries({"id": filled, "text": texts, "caption": filled}))
    @example({"id": "7", "text": "\ud83d\udc00 \udc00\ud83d", "caption": "x"})
    def check(post: dict) -> None:
        # JSON spells a whole character beyond U+FFFF as its two halves, so two that stand in order are one.
        post = json.loads(json.dumps(post))
        if form in ("csv", "parquet"):
            # Neither can hold half a character.
            post = {name: replace_surrogates(value) for name, value in post.items()}
        with tempfile.TemporaryDirectory() as folder:
            (back,) = read_posts(write_post_file(form, Path(folder), post), form=form)
        assert isinstance(back, dict), back
        assert {name: back.get(name) for name in post} == post

    check()


@examples(60)
@given(st.lists(st.tuples(words, labels), min_size=1, max_size=5), filled)
def test_columns_of_words_are_read_as_they_were_written(rows, name):
    """Words that a column can hold: without blanks and line ends, and nothing that names a post."""
    rows = [("".join(replace_surrogates(word).split()) or "x", "".join(re.findall(r"\w", label)) or "PER") for word, label in rows]
    rows = [(f"x{word}", label) for word, label in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "p.txt")
        lines = [f"{word}\tB-{label}" for word, label in rows]
        path.write_bytes(("IMGID:7\n" + "\n".join(lines) + "\n").encode())
        (post,) = read_conll(path, Dirt())
    assert post["tokens"] == [word for word, _ in rows] and post["id"] == "7"
    assert post["tags"] == [f"B-{label}" for _, label in rows]


@examples(40)
@given(posts())
def test_docs_come_back_from_the_binary_form(post):
    doc = make_doc(post)
    with tempfile.TemporaryDirectory() as folder:
        write_docbin([doc], Path(folder, "p.spacy"))
        (back,) = read_docbin_posts(Path(folder, "p.spacy"), Dirt())
    assert read_back(back) == said(doc)


OBEYED = {sign for sign in map(chr, range(0x3000)) if unicodedata.category(sign) == "Cc" and sign not in "\n\t"} | set(
    "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


@examples(100)
@given(texts)
def test_lines_for_terminals_hold_nothing_that_is_obeyed(text):
    from rivega_spacy.post.errors import RivegaError
    from rivega_spacy.post.extensions import record_error

    doc = NLP.make_doc("x")
    record_error(doc, "post", text)
    for shown in (printable(text), str(RivegaError(text)), doc._.rivega_errors[0]["message"], dump_line({text: [text]})):
        assert not OBEYED & set(shown)
    repaired = replace_surrogates(text)
    assert json.loads(dump_line([text])) == [repaired]
