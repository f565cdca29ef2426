"""CoNLL, knowledge, captions."""

import pytest

from rivega_spacy.corpus.formats.conll import read_conll
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.published import add_knowledge, read_captions, read_descriptions
from rivega_spacy.post.errors import RivegaError

from .published_files import write_conll, write_knowledge

POSTS = [
    {"id": "1", "tokens": ["Ann", "in", "Rio"], "tags": ["B-PER", "O", "B-LOC"], "knowledge": "Named entities:1. Ann (person)"},
    {"id": "17_06_2", "tokens": ["\u00a0", "x\u0085y", "\u2028", "co/…"], "tags": ["O", "B-ORG", "O", "O"], "knowledge": "z two"},
    {"id": "O_3", "tokens": ["Ann", "in", "Rio"], "tags": ["B-PER", "O", "B-LOC"], "knowledge": "z three"},
    {"id": "4", "tokens": ["last"], "tags": ["O"], "knowledge": "z four"},
]


def keep(post, *keys):
    return {key: post[key] for key in keys}


def test_conll_comes_back_token_for_token(tmp_path):
    dirt = Dirt()
    found = list(read_conll(write_conll(tmp_path / "train.txt", POSTS), dirt))
    assert found == [keep(post, "id", "tokens", "tags") for post in POSTS]
    # A blank-only token must neither vanish nor shift the tags; it is told.
    assert dirt.counts == {"no_break_space": 2}


def test_dirt_of_conll_is_survived_and_counted(tmp_path):
    path = tmp_path / "dirty.txt"
    text = "\ufeff IMGID:1.jpg\r\nAnn\tB-PER\r\nx\tI-LOC\r\nbroken\r\n\r\nCo\tO\r\n IMGID:2\r\nfirst\tI-PER\r\n\r\n IMGID:1\r\nagain\tO\r\n"
    path.write_bytes(text.encode("utf8"))
    dirt = Dirt()
    found = list(read_conll(path, dirt))
    assert [(post["id"], post["tokens"]) for post in found] == [("1", ["Ann", "x", "Co"]), ("2", ["first"])]
    assert dirt.counts == {"imgid_space": 3, "bad_line": 1, "orphan_tag": 2, "duplicate_post": 1}
    assert any(line.startswith("2 I- tags continue nothing") and "'x'" in line for line in dirt.lines())


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r", "\r\r\n", "\n\r", "mixed"], ids=repr)
def test_lines_may_end_as_any_program_ends_them(ends, tmp_path):
    """A file of old Macintosh line ends was read as one post without a word: its name was all of the file."""
    lines = write_conll(tmp_path / "train.txt", POSTS).read_text(encoding="utf8").split("\n")
    if ends == "mixed":
        text = "\r".join(lines[:4]) + "\n" + "\r\n".join(lines[4:8]) + "\r" + "\n".join(lines[8:])
    else:
        text = ends.join(lines)
    (tmp_path / "train.txt").write_bytes(text.encode("utf8"))
    dirt = Dirt()
    assert list(read_conll(tmp_path / "train.txt", dirt)) == [keep(post, "id", "tokens", "tags") for post in POSTS]
    assert dirt.counts == {"no_break_space": 2}
    # Within a token it ends no line.
    (tmp_path / "one.txt").write_bytes(b"IMGID:1\nA\rnn\tB-PER\n")
    assert [post["tokens"] for post in read_conll(tmp_path / "one.txt", Dirt())] == [["A\rnn"]]


def test_a_post_without_an_id_is_counted(tmp_path):
    (tmp_path / "one.txt").write_text("IMGID:\nAnn\tB-PER\n\nIMGID:2\nBob\tB-PER\n")
    dirt = Dirt()
    assert [post["id"] for post in read_conll(tmp_path / "one.txt", dirt)] == ["2"]
    assert dirt.counts == {"bad_line": 1}


@pytest.mark.parametrize("line", ["broken", "x\tI-LOC"])
def test_strict_reading_stops_at_the_first_dirt(tmp_path, line):
    path = tmp_path / "dirty.txt"
    path.write_text(f"IMGID:1\nAnn\tB-PER\n{line}\n", encoding="utf8")
    with pytest.raises(RivegaError, match="Strict reading"):
        list(read_conll(path, Dirt(strict=True)))


def test_knowledge_goes_by_order_and_words(tmp_path):
    dirt, posts = Dirt(), [keep(post, "id", "tokens", "tags") for post in POSTS]
    # Each published split lacks its last post.
    add_knowledge(posts, write_knowledge(tmp_path / "z.txt", POSTS[:-1]), dirt)
    assert [post.get("knowledge") for post in posts] == ["Named entities:1. Ann (person)", "z two", "z three", None]
    assert dirt.counts["knowledge_gap"] == 1 and "knowledge_order" not in dirt.counts


def test_a_missing_entry_costs_no_other(tmp_path):
    dirt, posts = Dirt(), [keep(post, "id", "tokens", "tags") for post in POSTS]
    add_knowledge(posts, write_knowledge(tmp_path / "z.txt", [POSTS[0], POSTS[2], POSTS[3]]), dirt)
    assert [post.get("knowledge") for post in posts] == ["Named entities:1. Ann (person)", None, "z three", "z four"]


def test_a_foreign_entry_costs_no_other(tmp_path):
    dirt, posts = Dirt(), [keep(post, "id", "tokens", "tags") for post in POSTS]
    foreign = {"tokens": ["not", "there"], "tags": ["O", "O"], "knowledge": "lost"}
    add_knowledge(posts, write_knowledge(tmp_path / "z.txt", [POSTS[0], foreign, *POSTS[1:]]), dirt)
    assert [post["knowledge"] for post in posts] == [post["knowledge"] for post in POSTS]
    assert dirt.counts["knowledge_order"] == 1


def test_empty_tokens_of_z_are_dropped_and_counted(tmp_path):
    path = tmp_path / "z.txt"
    path.write_bytes(b"Ann\tB-PER\r\n<EOS>\tX\r\nz\tX\r\n\tX\r\ntwo\tX\r\n\r\n")
    dirt, posts = Dirt(), [{"id": "1", "tokens": ["Ann"], "tags": ["B-PER"]}]
    add_knowledge(posts, path, dirt)
    assert posts[0]["knowledge"] == "z two" and dirt.counts["empty_token"] == 1


def test_captions_with_colons_and_without_words(tmp_path):
    path = tmp_path / "blip2.txt"
    path.write_text("108911.jpg :the score: 3 : 2\n17_06_2.jpg :\nnothing here\nO_3.jpg :a .jpg : of a dog\n", encoding="utf8")
    dirt = Dirt()
    assert read_captions(path, dirt) == {"108911": "the score: 3 : 2", "17_06_2": "", "O_3": "a .jpg : of a dog"}
    assert dirt.counts == {"empty_caption": 1, "bad_line": 1}


def test_descriptions_span_paragraphs(tmp_path):
    path = tmp_path / "owl.txt"
    path.write_text("imgid:1###First.\n\nSecond, with ### in it.\nimgid:O_2###Other.\n", encoding="utf8")
    assert read_descriptions(path, Dirt()) == {"1": "First.\n\nSecond, with ### in it.", "O_2": "Other."}


@pytest.mark.parametrize("reader", [read_captions, read_descriptions, lambda path, dirt: list(read_conll(path, dirt))])
def test_missing_files(tmp_path, reader):
    with pytest.raises(RivegaError, match="does not exist"):
        reader(tmp_path / "none.txt", Dirt())


def test_of_two_texts_of_one_post_the_first_is_kept_and_the_other_counted(tmp_path):
    for read, text in (
        (read_captions, "1.jpg :a\n1.jpg :b\n2.jpg :c\n"),
        (read_descriptions, "imgid:1###a\nimgid:1###b\nimgid:2###c\n"),
    ):
        (tmp_path / "texts.txt").write_text(text)
        dirt = Dirt()
        assert read(tmp_path / "texts.txt", dirt) == {"1": "a", "2": "c"}
        assert dirt.counts == {"duplicate_text": 1}
