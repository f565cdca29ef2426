"""Ways in and ways out."""

import gzip
import json

import numpy as np
import pytest
import spacy
from blank import blank_nlp

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.images import doc_image
from rivega_spacy.post.posts import GIVEN_ENTS_KEY, annotate, doc_to_post, post_to_doc, read_posts, write_posts


@pytest.fixture
def nlp():
    nlp = blank_nlp()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.add_pipe("rivega_expander")
    return nlp


def test_context_of_pipe_is_taken_over(nlp, picture):
    posts = [
        ("Ada sings", {"image": picture, "knowledge": "z", "id": 7}),
        ("Ada", {"image": 1.5, "caption": "c"}),
        ("Ada", None),
        ("Ada", "s"),
    ]
    for n_process in (1, 2):
        docs = [doc for doc, _ in nlp.pipe(posts, as_tuples=True, n_process=n_process)]
        assert np.array_equal(doc_image(docs[0], "test"), picture)
        assert docs[0]._.knowledge == "z" and docs[0].user_data["id"] == "7"
        assert docs[1]._.image is None and docs[1]._.caption == "c"
        assert "HxWx3 uint8" in docs[1]._.rivega_errors[0]["message"]
        assert [doc.ents[0]._.expansion for doc in docs] == ["a person"] * 4


def test_context_reaches_pipelines_of_other_languages(picture):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.add_pipe("rivega_expander")
    doc, _ = next(nlp.pipe([("Ada", {"image": picture, "description": "a dog"})], as_tuples=True))
    assert doc._.description == "a dog" and np.array_equal(doc_image(doc, "test"), picture)


def test_given_entities_and_expansions(nlp):
    post = {"id": 1, "text": "Ada and Bob", "ents": [[0, 3, "PER"], [8, 11, "PER"]], "expansions": ["a pianist", None]}
    doc = post_to_doc(nlp, post)
    assert doc.user_data[GIVEN_ENTS_KEY] and not doc._.rivega_errors
    assert [e._.referring_expression for e in nlp(doc).ents] == ["Ada (PER) — a pianist", "Bob (PER) — a person"]


@pytest.mark.parametrize(
    "ents, words",
    [
        ([[0, 2, "PER"]], "E013"),
        ([[0, 30, "PER"]], "start_char"),
        ([[3, 0, "PER"]], "start_char"),
        ([[True, 3, "PER"]], "start_char"),
        ([["0", 3, "PER"]], "start_char"),
        ([[0, 3, ""]], "start_char"),
        ([[3, 4, "PER"]], "start_char"),
        ([[0, 3, "PER"], [0, 7, "PER"]], "overlaps"),
        ("Ada", "start_char"),
    ],
)
def test_bad_entities_are_noted_and_left_out(nlp, ents, words):
    doc = post_to_doc(nlp, {"id": 5, "text": "Ada and Bob", "ents": ents})
    assert words in doc._.rivega_errors[0]["message"] and "'5'" in doc._.rivega_errors[0]["message"]


def test_bad_expansions_are_noted(nlp):
    doc = post_to_doc(nlp, {"text": "Ada", "ents": [[0, 3, "PER"]], "expansions": ["a", "b"]})
    assert "expansions" in doc._.rivega_errors[0]["message"] and doc.ents[0].text == "Ada"


def test_one_bad_post_never_loses_the_others(nlp, tmp_path):
    lines = [
        '{"text": "Ada"}',
        "not json",
        "[1]",
        '{"id": 4}',
        "",
        '{"text": 5}',
        '{"text": ""}',
        '{"text": "Ada", "knowledge": 3, "image": 7}',
        '{"text": "Ada"}',
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(lines), encoding="utf8")
    docs = list(annotate(nlp, read_posts(path)))
    assert [len(doc.ents) for doc in docs] == [1, 0, 0, 0, 0, 0, 1, 1]
    assert [len(doc._.rivega_errors) for doc in docs] == [0, 1, 1, 1, 1, 0, 2, 0]
    assert "line 2" in docs[1]._.rivega_errors[0]["message"]


def test_a_text_beyond_the_pipelines_limit_is_noted(nlp):
    nlp.max_length = 10
    docs = list(annotate(nlp, [{"text": "Ada " * 10}, {"text": "Ada"}]))
    assert "tokenizer" in docs[0]._.rivega_errors[0]["message"] and docs[1].ents[0].text == "Ada"


def test_command_line_round_trip(nlp, tmp_path, picture, capsys):
    from PIL import Image

    Image.fromarray(picture).save(tmp_path / "a.png")
    nlp.to_disk(tmp_path / "pipeline")
    with gzip.open(tmp_path / "posts.jsonl.gz", "wt", encoding="utf8") as out:
        out.write('{"id": "p1", "text": "Ada 😀", "image": "a.png"}\nbroken\n')
    status = main(
        ["annotate", str(tmp_path / "posts.jsonl.gz"), str(tmp_path / "out.jsonl"), "--model", str(tmp_path / "pipeline")]
    )
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf8").splitlines()]
    assert status == 1 and len(rows) == 2 and "2 posts" in capsys.readouterr().out
    assert rows[0]["image"] == "a.png" and rows[0]["ents"][0]["text"] == "Ada" and rows[0]["errors"] == []
    assert rows[1]["errors"] and rows[1]["ents"] == []
    assert rows[0] == doc_to_post(nlp(post_to_doc(nlp, {"id": "p1", "text": "Ada 😀", "image": "a.png"}, images=tmp_path)))


def test_missing_files_and_roots_are_told(nlp, tmp_path, capsys):
    assert main(["annotate", str(tmp_path / "none.jsonl"), str(tmp_path / "out.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    with pytest.raises(RivegaError, match="not a folder"):
        list(annotate(nlp, [], images=tmp_path / "none"))


@pytest.mark.parametrize(
    "field, value",
    [
        ("text", "Ada \ud83d sang"),
        ("id", "x\ud83d"),
        ("image", "a\ud83d.jpg"),
        ("caption", "old \ud83d walls"),
        ("description", "\udc00"),
        ("knowledge", "a city \ud83d"),
        ("ents", [[0, 3, "PE\ud83d"]]),
        ("mine", {"\ud83d": ["\ud83d"]}),
        ("k\ud83d", 1),
    ],
)
def test_halves_of_characters_cost_one_note_and_nothing_else(nlp, tmp_path, field, value):
    posts = [{"text": "Ada"}, {"id": "1", "text": "Ada sang", field: value}, {"text": "Ada"}]
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in posts))
    for stream in (posts, read_posts(path)):
        list(write_posts(annotate(nlp, stream), tmp_path / "out.jsonl"))
        rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf8").splitlines()]
        assert len(rows) == 3 and [len(row["ents"]) for row in rows] == [1, 1, 1] and rows[0]["errors"] == []
        notes = [entry["message"] for entry in rows[1]["errors"] if "U+FFFD" in entry["message"]]
        assert len(notes) == 1 and field.replace("\ud83d", "\ufffd") in notes[0]


def test_bytes_that_are_no_utf8_are_replaced_with_a_note(nlp, tmp_path):
    (tmp_path / "posts.jsonl").write_bytes(b'{"id": "1", "text": "Ada caf\xe9"}\n')
    (doc,) = annotate(nlp, read_posts(tmp_path / "posts.jsonl"))
    assert doc.text == "Ada caf\ufffd" and "encoding" in doc._.rivega_errors[0]["message"]


def test_what_is_nested_without_end_is_left_out(nlp):
    deep = value = []
    for _ in range(5000):
        value.append([])
        value = value[0]
    loop = {}
    loop["self"] = loop
    doc, _ = annotate(nlp, [{"id": "1", "text": "Ada", "mine": deep, "other": loop, "kept": [1]}, {"text": "Ada"}])
    assert "`mine`, `other`" in doc._.rivega_errors[0]["message"] and doc_to_post(doc)["kept"] == [1] and doc.ents


def test_a_posts_own_fields_come_out_as_they_went_in(nlp, tmp_path):
    own = {"lang": "en", "meta": {"likes": [1, 2.5, None], "big": 10**30}, "tokens": ["Ada"], "odd": float("nan")}
    post = {"id": "1", "text": "Ada", "image": "deep/../a.png", "description": "d", "caption": "c", "knowledge": "z", **own}
    for n_process in (1, 2):
        docs = annotate(nlp, [post, post], images=tmp_path, n_process=n_process)
        row = json.loads(json.dumps(doc_to_post(list(docs)[1]), allow_nan=False))
        assert {key: row[key] for key in own} == {**own, "odd": None}
        assert row["image"] == "deep/../a.png" and row["description"] == "d"
    (doc,) = annotate(nlp, [post])
    doc._.image = "other.png"
    assert doc_to_post(doc)["image"] == "other.png"


@pytest.mark.parametrize("invisible", ["\u200b", "\u202a", "\u00ad", "\ufeff", "\u2060", " "])
def test_entities_are_what_is_seen_of_them(nlp, invisible):
    text = f"{invisible}Ada{invisible} {invisible} "
    doc = post_to_doc(nlp, {"text": text, "ents": [[0, 5, "PER"], [6, 7, "PER"]], "expansions": ["a pianist", None]})
    assert [(ent.text, ent._.expansion) for ent in doc.ents] == [("Ada", "a pianist")]
    assert len(doc._.rivega_errors) == 1 and not post_to_doc(nlp, {"text": "\ufffd", "ents": [[0, 1, "PER"]]}).ents


@pytest.mark.slow
def test_thousands_of_bad_entities_take_no_time(nlp):
    doc = post_to_doc(nlp, {"id": "1", "text": "Ada " * 5000, "ents": [[place, place + 1, "PER"] for place in range(20000)]})
    assert len(doc._.rivega_errors) == 101 and "more than 100 errors" in doc._.rivega_errors[-1]["message"]


@pytest.mark.parametrize("batch_size, n_process", [(0, 1), (-3, 1), (None, 0)])
def test_batches_without_posts_are_refused(nlp, batch_size, n_process):
    with pytest.raises(RivegaError, match="at least 1"):
        list(annotate(nlp, [{"text": "Ada"}], batch_size=batch_size, n_process=n_process))


def test_an_output_is_replaced_only_by_a_whole_one(nlp, tmp_path):
    (tmp_path / "out.jsonl").write_text("before")

    def broken():
        yield {"text": "Ada"}
        raise RuntimeError("the source stops")

    with pytest.raises(RuntimeError):
        list(write_posts(annotate(nlp, broken()), tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_text_with_half_a_character_is_noted_however_it_comes(nlp):
    """Given to the pipeline itself too, by itself or in a stream."""
    for doc in (
        nlp("Ada \ud83d!"),
        *nlp.pipe(["Ada \ud83d!"]),
        nlp.make_doc("Ada \ud83d!"),
        post_to_doc(nlp, {"text": "Ada \ud83d!"}),
    ):
        assert doc.text == "Ada \ufffd!"
        assert [note["message"][:6] for note in doc._.rivega_errors] == ["[E061]"]
    assert nlp("Ada 😀!")._.rivega_errors == []
