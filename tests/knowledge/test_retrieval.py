"""Knowledge without a language model: passages of a collection by words and pictures, and captions."""

import gzip
import json
import multiprocessing
import os
import signal
import sqlite3

import numpy as np
import pytest
import spacy
from blank import blank_nlp
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.knowledge import collection
from rivega_spacy.knowledge.collection import Collection, build
from rivega_spacy.knowledge.encoders import ColourEncoder
from rivega_spacy.knowledge.retrieval import RetrievedKnowledge
from rivega_spacy.post.errors import RivegaError

PASSAGES = [
    {"id": "kd", "title": "Kevin Durant", "text": "American basketball player of the Oklahoma City Thunder."},
    {"id": "oa", "title": "Oracle Arena", "text": "An indoor arena in Oakland, California."},
    {"id": "bay", "text": "Oakland lies on the bay, across from San Francisco."},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    return path


@pytest.fixture
def passages(tmp_path):
    return write(tmp_path / "passages.jsonl", PASSAGES)


@pytest.fixture
def made(passages, tmp_path):
    build([passages], tmp_path / "c.sqlite")
    return tmp_path / "c.sqlite"


def names(found):
    return [[passage.name for passage in passages] for passages in found]


def test_the_best_passages_come_first(made):
    found = Collection(made).by_text(["Kevin Durant enters the arena", "nothing of it", "", "OAKLAND!"], 2)
    assert names(found) == [["kd", "oa"], [], [], ["bay", "oa"]] or names(found) == [["kd", "oa"], [], [], ["oa", "bay"]]


@examples(60)
@given(text=st.text(max_size=60) | st.sampled_from(['" OR *', "NEAR(", "text:kevin", "a AND (b", "\ud800", "-", 'kevin" durant']))
def test_no_text_is_taken_for_a_query(text, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "one.sqlite"
    if not path.exists():
        build([write(tmp_path_factory.getbasetemp() / "one.jsonl", PASSAGES)], path)
    found = Collection(path).by_text([text], 3)
    assert all(passage.name in {"kd", "oa", "bay"} for passage in found[0])


def test_of_a_long_post_so_many_words_are_asked_about_and_no_more(made):
    """A query of a megabyte of words would take a minute."""
    words = " ".join(f"w{number}" for number in range(100_000))
    assert names(Collection(made).by_text([f"Durant {words}", f"{words} Durant"], 3)) == [["kd"], []]


def test_added_lines_are_indexed_and_others_are_not_again(passages, tmp_path):
    path = tmp_path / "c.sqlite"
    assert build([passages], path)[:2] == (3, 0)
    assert build([passages], path)[:2] == (0, 0)
    with passages.open("a", encoding="utf8") as file:
        file.write(json.dumps({"text": "A new arena opens."}) + "\n" + json.dumps(PASSAGES[0]) + "\n")
    assert build([passages], path)[:2] == (1, 1)
    assert len(Collection(path).by_text(["arena"], 9)[0]) == 2


def test_a_changed_source_or_another_setting_is_refused(passages, tmp_path):
    path = tmp_path / "c.sqlite"
    build([passages], path)
    write(passages, PASSAGES[1:] + PASSAGES[:1])
    with pytest.raises(RivegaError, match=r"E888.*first 3 lines have changed"):
        build([passages], path)
    write(passages, PASSAGES[:1])
    with pytest.raises(RivegaError, match=r"E888.*now has 1"):
        build([passages], path)
    with pytest.raises(RivegaError, match=r"E888.*passage_words"):
        build([passages], path, passage_words=7)
    assert build([passages], path, restart=True)[:2] == (1, 0)


def _build_and_stop_halfway(source, path, halfway):
    collection.BATCH = 10
    write_batch, batches = collection._write, []

    def write_some(*rest):
        batches.append(1)
        if len(batches) == 8:
            halfway.set()
            signal.pause()
        return write_batch(*rest)

    collection._write = write_some
    build([source], path)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    source = write(tmp_path / "many.jsonl", [{"id": number, "text": f"word{number} alike"} for number in range(2000)])
    path = tmp_path / "c.sqlite"
    fork = multiprocessing.get_context("fork")
    halfway = fork.Event()
    process = fork.Process(target=_build_and_stop_halfway, args=(source, path, halfway))
    process.start()
    assert halfway.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = build([source], path)
    assert 0 < done.added < 2000
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM passages").fetchone()[0] == 2000
    # Every passage is found once: the full-text index holds what the table holds.
    found = Collection(path)
    assert [len(hits) for hits in found.by_text([f"word{number}" for number in range(0, 2000, 37)], 9)] == [1] * 55


def test_texts_long_passages_and_bad_lines(tmp_path):
    text = tmp_path / "news.txt.gz"
    text.write_bytes(gzip.compress(b"First line\nof a paragraph.\n\n\nSecond one.\n"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text(
        '{"text": ""}\nnot json\n{"id": 3}\n'
        + json.dumps({"title": "Long", "text": " ".join(f"w{number}" for number in range(250))})
        + "\n",
        encoding="utf8",
    )
    done = build([text, bad], tmp_path / "c.sqlite")
    assert (done.added, len(done.wrong)) == (5, 3)
    assert all("bad.jsonl" in line and "E889" in line for line in done.wrong)
    found = Collection(tmp_path / "c.sqlite").by_text(["paragraph", "long"], 9)
    assert found[0][0].text == "First line of a paragraph."
    assert [len(passage.text.split()) for passage in found[1]] in ([101, 101, 51], [51, 101, 101])


def test_pictures_that_look_alike(tmp_path):
    rows = []
    for name, colour in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
        rows.append({"id": name, "text": f"passage number {len(rows)}", "image": f"{name}.png"})
    rows.append({"id": "lost", "text": "no such picture", "image": "lost.png"})
    encoder = ColourEncoder()
    done = build([write(tmp_path / "p.jsonl", rows)], tmp_path / "c.sqlite", image_encoder=encoder)
    assert done.added == 3
    assert len(done.wrong) == 1
    assert "lost.png" in done.wrong[0]
    source = RetrievedKnowledge(str(tmp_path / "c.sqlite"), n=0, image_encoder=encoder, n_image=1)
    nlp = blank_nlp()
    doc = nlp.make_doc("hello there")
    doc._.image = np.full((10, 10, 3), (30, 30, 190), dtype="uint8")
    assert source([doc, nlp.make_doc("no picture")]) == ["passage number 1", ""]
    with pytest.raises(RivegaError, match="E888"):
        build([tmp_path / "p.jsonl"], tmp_path / "c.sqlite")
    build([tmp_path / "p.jsonl"], tmp_path / "plain.sqlite")
    with pytest.raises(RivegaError, match=r"E888.*no image encoder"):
        RetrievedKnowledge(str(tmp_path / "plain.sqlite"), image_encoder=encoder)


@pytest.mark.slow
def test_the_component_writes_knowledge_and_keeps_what_is_there(made, tmp_path):
    nlp = blank_nlp()
    source = {"@misc": "rivega.RetrievedKnowledge.v1", "path": str(made), "n": 1, "max_words": 5}
    nlp.add_pipe("rivega_retriever", config={"source": source})
    given_one = nlp.make_doc("Kevin Durant plays")
    given_one._.knowledge = "mine"
    docs = list(nlp.pipe([nlp.make_doc("Kevin Durant plays"), given_one, nlp.make_doc(""), nlp.make_doc("zzz")]))
    assert [doc._.knowledge for doc in docs] == ["Kevin Durant: American basketball player", "mine", None, None]
    nlp.to_disk(tmp_path / "pipe")
    again = spacy.load(tmp_path / "pipe")
    assert again("Kevin Durant plays")._.knowledge == "Kevin Durant: American basketball player"
    workers = [doc._.knowledge for doc in again.pipe(["Kevin Durant plays", "Oracle Arena"], n_process=2, batch_size=1)]
    assert workers == ["Kevin Durant: American basketball player", "Oracle Arena: An indoor arena"]


def test_a_post_is_not_its_own_knowledge(tmp_path):
    text = "Kevin Durant enters Oracle Arena tonight"
    build([write(tmp_path / "posts.jsonl", [{"text": text}, {"text": "Oracle Arena is full"}])], tmp_path / "c.sqlite")
    source = RetrievedKnowledge(str(tmp_path / "c.sqlite"), n=1)
    nlp = blank_nlp()
    assert source([nlp.make_doc(f"{text} https://t.co/abc")]) == ["Oracle Arena is full"]
    # Nor is what was written about it, which has its id.
    build(
        [write(tmp_path / "z.jsonl", [{"id": "7", "text": "Oracle Arena again"}, {"id": "8", "text": "An arena"}])],
        tmp_path / "z.sqlite",
    )
    asked = [nlp.make_doc("Oracle Arena"), nlp.make_doc("Oracle Arena")]
    asked[1].user_data["id"] = "7"
    assert RetrievedKnowledge(str(tmp_path / "z.sqlite"), n=1)(asked) == ["Oracle Arena again", "An arena"]


def test_the_caption_as_knowledge():
    nlp = blank_nlp()
    nlp.add_pipe("rivega_retriever")
    doc = nlp.make_doc("hello")
    doc._.caption = "a man on a stage"
    assert nlp(doc)._.knowledge == "a man on a stage"
    assert nlp("no caption")._.knowledge is None


def test_commands(passages, tmp_path, capsys):
    posts = write(tmp_path / "posts.jsonl", [{"id": 1, "tokens": ["Kevin", "Durant"], "tags": ["B-PER", "I-PER"]}, {"id": 2}])
    made, out = tmp_path / "c.sqlite", tmp_path / "out.jsonl"
    assert main(["index", str(passages), str(made)]) == 0
    assert "3 passages added" in capsys.readouterr().out
    assert main(["retrieve", str(made), str(posts), str(out), "--n", "1"]) == 1
    rows = [json.loads(line) for line in out.read_text(encoding="utf8").splitlines()]
    assert rows == [
        {
            "id": 1,
            "tokens": ["Kevin", "Durant"],
            "tags": ["B-PER", "I-PER"],
            "knowledge": "Kevin Durant: American basketball player of the Oklahoma City Thunder.",
        }
    ]
    assert "line 2" in capsys.readouterr().err


def test_what_is_no_collection_is_refused(tmp_path):
    (tmp_path / "x.sqlite").write_text("not a database, but long enough to be looked at", encoding="utf8")
    with pytest.raises(RivegaError, match="E887"):
        Collection(tmp_path / "x.sqlite")
    with pytest.raises(RivegaError, match="E020"):
        Collection(tmp_path / "none.sqlite")
