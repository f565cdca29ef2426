"""Annotated posts from JSON lines to Docs, DocBin and examples, dirt included."""

import gzip
import json

import pytest
import spacy
from blank import NLP, blank_nlp

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin, write_docbin
from rivega_spacy.corpus.posts_jsonl import ReadReport, read_compact
from rivega_spacy.corpus.reader import PostCorpus, bare_copy
from rivega_spacy.post.errors import PostError, RivegaError

ROWS = [
    {
        "id": "1",
        "tokens": ["Pak", "beats", "Pak", "\u00a0", "in", "#", "NYC"],
        "tags": ["B-LOC", "O", "B-ORG", "O", "O", "O", "B-LOC"],
        "knowledge": "1. Pak (country)\n2. NYC",
        "caption_blip2": "a match: final",
        "description_owl": "The image.\n\nTwo teams.",
        "boxes": [
            {"name": "Pak", "xyxy": [1, 2, 30, 40]},
            {"name": "Pak", "xyxy": [5, 5, 9, 9]},
            {"name": "Pacquia", "xyxy": [1, 1, 2, 2]},
        ],
    },
    {"id": "2", "tokens": ["so", "Jonas", "Brothers"], "tags": ["O", "I-PER", "I-PER"], "knowledge": None, "boxes": []},
    {"id": "3", "tokens": [], "tags": [], "boxes": []},
    {"id": 4, "tokens": ["hi\u2028there", "🇺🇸"], "tags": ["O", "B-LOC"]},
]


@pytest.fixture
def vocab():
    return NLP.vocab


@pytest.fixture
def posts_file(tmp_path):
    path = tmp_path / "posts.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf8") as file:
        file.write("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS) + "\n\n")
    return path


def test_posts_with_their_dirt(posts_file, vocab):
    report = ReadReport()
    docs = list(read_compact(posts_file, vocab, report=report))
    assert [[token.text for token in doc] for doc in docs] == [row["tokens"] for row in ROWS]
    assert [(ent.start, ent.end, ent.label_) for ent in docs[0].ents] == [(0, 1, "LOC"), (2, 3, "ORG"), (6, 7, "LOC")]
    assert [(ent.text, ent.label_) for ent in docs[1].ents] == [("Jonas Brothers", "PER")]
    first = docs[0]
    assert first._.knowledge == ROWS[0]["knowledge"] and first._.caption == "a match: final"
    assert first._.description == "The image.\n\nTwo teams." and first.user_data["id"] == "1"
    # The same text twice has the same boxes twice.
    assert [ent._.groundable for ent in first.ents] == [True, True, False]
    assert first.ents[0]._.boxes == first.ents[1]._.boxes == [[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 9.0, 9.0]]
    assert first.ents[2]._.boxes == []
    assert docs[3].user_data["id"] == "4" and docs[3].ents[0]._.groundable is None
    assert (report.posts, report.entities, report.groundable, report.boxes) == (4, 5, 2, 2)
    assert (report.orphan_tags, report.without_text, report.without_entities) == (1, 1, 1)
    assert report.unmatched_boxes == [("'1'", "Pacquia")]


def test_pictures_are_referred_to_where_they_are(posts_file, vocab, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "2.jpg").write_bytes(b"any")
    docs = list(read_compact(posts_file, vocab, images=tmp_path / "images"))
    assert [doc._.image for doc in docs] == [None, str(tmp_path / "images" / "2.jpg"), None, None]


def test_docbin_keeps_all_of_it(posts_file, vocab, tmp_path):
    docs = list(read_compact(posts_file, vocab))
    assert write_docbin(docs, tmp_path / "deep" / "posts.spacy") == 4
    for folder_or_file in (tmp_path, tmp_path / "deep" / "posts.spacy"):
        again = list(read_docbin(folder_or_file, vocab))
        assert [doc.text for doc in again] == [doc.text for doc in docs]
        for name in ("knowledge", "caption", "description"):
            assert [doc._.get(name) for doc in again] == [doc._.get(name) for doc in docs]
        assert [doc.user_data["id"] for doc in again] == ["1", "2", "3", "4"]
        assert [[(e.text, e.label_, e._.boxes, e._.groundable) for e in doc.ents] for doc in again] == [
            [(e.text, e.label_, e._.boxes, e._.groundable) for e in doc.ents] for doc in docs
        ]


def test_the_predicted_side_keeps_what_is_given_and_nothing_that_is_predicted(posts_file, vocab):
    doc = next(read_compact(posts_file, vocab))
    doc._.image = "pictures/1.jpg"
    copy = bare_copy(doc)
    assert [token.text for token in copy] == [token.text for token in doc] and copy.text == doc.text
    assert copy._.image == "pictures/1.jpg" and copy.user_data["id"] == "1"
    assert (copy._.knowledge, copy._.caption, copy._.description) == (doc._.knowledge, doc._.caption, doc._.description)
    assert not copy.ents
    span = copy[0:1]
    assert span._.groundable is None and span._.boxes == []


@pytest.mark.parametrize("knowledge,expected", [("present", [ROWS[0]["knowledge"], None, None]), ("absent", [None, None, None])])
def test_corpus(posts_file, vocab, tmp_path, knowledge, expected):
    write_docbin(read_compact(posts_file, vocab), tmp_path / "posts.spacy")
    nlp = blank_nlp()
    examples = list(PostCorpus(tmp_path / "posts.spacy", knowledge=knowledge)(nlp))
    # The post without words is left out.
    assert [example.predicted._.knowledge for example in examples] == expected
    assert [example.reference._.knowledge for example in examples] == expected
    assert [len(example.reference.ents) for example in examples] == [3, 1, 1]
    assert all(example.get_aligned_ner().count(None) == 0 for example in examples)
    assert len(list(PostCorpus(tmp_path / "posts.spacy", limit=2)(nlp))) == 2
    assert len(list(PostCorpus(tmp_path / "posts.spacy", max_length=3)(nlp))) == 2


def test_knowledge_of_every_second_post(vocab, tmp_path):
    docs = [spacy.tokens.Doc(vocab, words=["w"]) for _ in range(5)]
    for number, doc in enumerate(docs):
        doc._.knowledge = str(number)
    write_docbin(docs, tmp_path / "posts.spacy")
    examples = PostCorpus(tmp_path / "posts.spacy", knowledge="alternate")(blank_nlp())
    assert [example.predicted._.knowledge for example in examples] == ["0", None, "2", None, "4"]


def test_a_corpus_without_any_knowledge_is_said(vocab, tmp_path, recwarn):
    write_docbin([spacy.tokens.Doc(vocab, words=["w"])], tmp_path / "posts.spacy")
    nlp = blank_nlp()
    list(PostCorpus(tmp_path / "posts.spacy", knowledge="absent")(nlp))
    assert not [warning for warning in recwarn if "knowledge" in str(warning.message)]
    with pytest.warns(UserWarning, match="None of the 1 posts .* has knowledge"):
        list(PostCorpus(tmp_path / "posts.spacy")(nlp))


@pytest.mark.filterwarnings("ignore:None of the")
def test_shuffled_corpus_has_every_post_in_another_order(vocab, tmp_path):
    docs = [spacy.tokens.Doc(vocab, words=[f"w{number}"]) for number in range(60)]
    write_docbin(docs, tmp_path / "posts.spacy")
    nlp = blank_nlp()
    corpus = PostCorpus(tmp_path / "posts.spacy", shuffle=True)
    spacy.util.fix_random_seed(1)
    orders = [[example.reference.text for example in corpus(nlp)] for _ in range(2)]
    plain = [doc.text for doc in docs]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(plain)
    assert orders[0] != orders[1] and orders[0] != plain


def test_knowledge_of_another_file(posts_file, vocab, tmp_path):
    path = tmp_path / "knowledge.jsonl"
    path.write_text('{"id": "2", "knowledge": "Jonas Brothers (band)"}\n{"id": "4", "knowledge": ""}\n', encoding="utf8")
    out = tmp_path / "posts.spacy"
    assert main(["convert", str(posts_file), str(out), "--knowledge", str(path)]) == 1
    known = [doc._.knowledge for doc in read_docbin(out, vocab)]
    assert known == [ROWS[0]["knowledge"], "Jonas Brothers (band)", None, ""]
    path.write_text('{"id": "2"}\n', encoding="utf8")
    assert main(["convert", str(posts_file), str(out), "--knowledge", str(path)]) == 2


def test_command(posts_file, tmp_path, capsys):
    out = tmp_path / "posts.spacy"
    assert main(["convert", str(posts_file), str(out)]) == 1
    printed = capsys.readouterr().out
    assert (
        "4 posts" in printed
        and "1 boxes match no entity" in printed
        and "1 I- tags continue nothing" in printed
        and "Pacquia" in printed
    )
    assert len(list(read_docbin(out, NLP.vocab))) == 4
    assert main(["convert", str(tmp_path / "absent.jsonl"), str(out)]) == 2
    assert main(["convert", str(posts_file), str(out), "--images", str(tmp_path / "absent")]) == 2


@pytest.mark.parametrize(
    "line,message",
    [
        ("{not json", "line 2: not a JSON object"),
        ("[1]", "it is a list"),
        ('{"id": "7", "tokens": ["a", "b"], "tags": ["O"]}', "Post '7'.*2 tokens"),
        ('{"id": "7", "tokens": "a b", "tags": ["O"]}', "Post '7'.*not a list"),
        ('{"id": "7", "tokens": ["a", ""], "tags": ["O", "O"]}', "Post '7'.*non-empty"),
    ],
)
def test_lines_that_are_no_posts_are_named(tmp_path, vocab, line, message):
    path = tmp_path / "posts.jsonl"
    path.write_text('{"id": "6", "tokens": ["a"], "tags": ["O"]}\n' + line + "\n", encoding="utf8")
    with pytest.raises(PostError, match=message):
        list(read_compact(path, vocab))


def test_nothing_to_read_and_wrong_options_are_refused(tmp_path):
    with pytest.raises(RivegaError, match="rivega convert"):
        list(PostCorpus(tmp_path)(blank_nlp()))
    with pytest.raises(RivegaError, match="present, absent"):
        PostCorpus(tmp_path, knowledge="some")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    "split,counts",
    [
        ("train", (7000, 11779, 4733, 5652, 358, 3075)),
        ("dev", (1500, 2450, 991, 1164, 87, 668)),
        ("test", (1500, 2543, 1046, 1242, 82, 645)),
    ],
)
def test_published_counts(shared_dir, vocab, split, counts):
    report = ReadReport()
    for _ in read_compact(shared_dir / "data" / "posts" / f"twitter_gmner_{split}.jsonl.gz", vocab, report=report):
        pass
    assert (report.posts, report.entities, report.groundable, report.boxes, report.without_entities, report.without_boxes) == counts
    assert report.unmatched_boxes == [] and report.orphan_tags == 0


@pytest.mark.shared
@pytest.mark.slow
def test_a_token_that_is_only_a_no_break_space_keeps_its_place(shared_dir, vocab):
    """Twitter-2015 has such tokens; a plain split() drops them and shifts the tags."""
    found = 0
    for split in ("train", "valid", "test"):
        for doc in read_compact(shared_dir / "data" / "posts" / f"twitter2015_{split}.jsonl.gz", vocab):
            found += sum(token.text == "\u00a0" for token in doc)
    assert found > 0


def test_an_image_that_is_none_is_counted_and_a_data_uri_is_kept_as_bytes(tmp_path, vocab):
    rows = [
        {"id": str(n), "tokens": ["a"], "image": image}
        for n, image in enumerate(["data:image/png;base64,QUJD", "data:x", 5, ["a.jpg"], "a.jpg"])
    ]
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf8")
    report = ReadReport()
    assert [doc._.image for doc in read_compact(path, vocab, report=report)] == [b"ABC", None, None, None, "a.jpg"]
    assert report.without_picture == 3
    report = ReadReport()
    assert [doc._.image for doc in read_compact(path, vocab, images=tmp_path, report=report)] == [b"ABC"] + [None] * 4
    assert report.without_picture == 4
