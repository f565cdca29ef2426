"""CoNLL text of several columns and its kin, and tags of every scheme, through `rivega convert`."""

import json

import pytest
from blank import NLP

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin

FMNERG = "IMGID:7\nAda\tB-person\tB-author\nKing\tI-person\tI-author\nran\tO\tO\nin\tO\tO\nRio\tB-location\tB-city\n"
CONLL2003 = "-DOCSTART- -X- -X- O\n\nAda NNP B-NP B-PER\nKing NNP I-NP I-PER\nran VBD B-VP O\n\nRio NNP B-NP B-LOC\n"
MULTICONER = "# id 5239d808-f300 domain=train\nAda _ _ B-PER\nKing _ _ I-PER\n\n# id 77\tdomain=train\nin _ _ O\nRio _ _ B-LOC\n"
GERMEVAL = "#\thttp://a.example/x [2009]\n1\tAda\tB-PER\tO\n2\tKing\tI-PER\tO\n3\tran\tO\tO\n\n#\thttp://b.example/x [2009]\n1\tRio\tB-LOC\tO\n"
WNUT = "@ada\tO\n#\tO\nRio\tB-location\n\n#\tO\nAda\tB-person\nKing\tI-person\n"
TAG_FIRST = "B-PER\tAda\nI-PER\tKing\n\nB-LOC\tRio\n"


def convert(tmp_path, text, *arguments, name="t.txt"):
    (tmp_path / name).write_text(text, encoding="utf8", newline="")
    status = main(["convert", str(tmp_path / name), str(tmp_path / "out.spacy"), *arguments])
    return status, list(read_docbin(tmp_path / "out.spacy", NLP.vocab)) if status < 2 else []


def entities(docs):
    return [(ent.text, ent.label_) for doc in docs for ent in doc.ents]


@pytest.mark.parametrize(
    "text", [CONLL2003, CONLL2003.replace(" ", "\t"), CONLL2003.replace("\n", "\r\n"), CONLL2003.replace(" ", "   ")]
)
def test_conll_2003(tmp_path, text):
    status, docs = convert(tmp_path, text, "--strict")
    assert status == 0 and [[token.text for token in doc] for doc in docs] == [["Ada", "King", "ran"], ["Rio"]]
    assert entities(docs) == [("Ada King", "PER"), ("Rio", "LOC")] and [doc.user_data["id"] for doc in docs] == ["1", "2"]


@pytest.mark.parametrize("text", [MULTICONER, GERMEVAL, TAG_FIRST, WNUT])
def test_kin_of_conll_without_imgid_lines(tmp_path, text):
    status, docs = convert(tmp_path, text, "--strict")
    assert status == 0 and len(docs) == 2
    assert {name for name, _ in entities(docs)} == {"Ada King", "Rio"}
    assert not any(" " in token.text or "\t" in token.text for doc in docs for token in doc)
    if text == MULTICONER:
        assert [doc.user_data["id"] for doc in docs] == ["5239d808-f300", "77"]
    if text == WNUT:
        assert [token.text for token in docs[1]] == ["#", "Ada", "King"]


@pytest.mark.parametrize("column, first", [("2", "person"), ("3", "author"), ("-1", "author"), ("-2", "person")])
def test_the_column_of_fine_or_coarse_types_is_chosen(tmp_path, column, first):
    status, docs = convert(tmp_path, FMNERG, "--tag-column", column, "--strict")
    assert status == 0 and [token.text for token in docs[0]] == ["Ada", "King", "ran", "in", "Rio"]
    assert entities(docs)[0] == ("Ada King", first)


@pytest.mark.parametrize(
    "text, arguments, said",
    [
        (FMNERG, [], "column 2 (location, person); 3 (author, city)"),
        ("IMGID:1\nAda\tNNP\tNP\n", [], "none of them holds entity tags"),
        (FMNERG, ["--tag-column", "4"], "no tag column 4"),
        (FMNERG, ["--tag-column", "0"], "no tag column 0"),
        (WNUT, ["--tag-column", "3"], "no tag column 3"),
        ('{"id": "1", "tokens": ["Ada"], "tags": ["O"]}', ["--tag-column", "2", "--format", "jsonl"], "E443"),
    ],
)
def test_columns_that_cannot_be_told_are_refused(tmp_path, capsys, text, arguments, said):
    assert convert(tmp_path, text, *arguments)[0] == 2
    assert said in capsys.readouterr().err


def test_lines_of_another_width_are_counted(tmp_path, capsys):
    text = "IMGID:1\nAda\tB-PER\nNew\tYork\tB-LOC\nran\tO\n"
    status, docs = convert(tmp_path, text)
    assert [token.text for token in docs[0]] == ["Ada", "ran"]
    assert "1 lines have another number of columns" in capsys.readouterr().out
    assert convert(tmp_path, text, "--strict")[0] == 2


TOKENS = ["Ada", "met", "Charles", "van", "Babbage", "Rio", "Lima"]
SCHEMES = {
    "BIO": "B-PER O B-PER I-PER I-PER B-LOC B-LOC",
    "IOB1": "I-PER O I-PER I-PER I-PER I-LOC B-LOC",
    "BIOES": "S-PER O B-PER I-PER E-PER S-LOC S-LOC",
    "BILOU": "U-PER O B-PER I-PER L-PER U-LOC U-LOC",
    "BMES": "S-PER O B-PER M-PER E-PER S-LOC S-LOC",
    "BMEWO": "W-PER O B-PER M-PER E-PER W-LOC W-LOC",
    "IOE2": "E-PER O I-PER I-PER E-PER E-LOC E-LOC",
    "small": "b-per o b-per i-per i-per b-loc b-loc",
    "small BIOES": "s-per o b-per i-per e-per s-loc s-loc",
    "underscores": "B_PER O B_PER I_PER I_PER B_LOC B_LOC",
    "behind": "PER-B O PER-B PER-I PER-I LOC-B LOC-B",
}
FOUND = [("Ada", "PER"), ("Charles van Babbage", "PER"), ("Rio", "LOC"), ("Lima", "LOC")]


@pytest.mark.parametrize("form", ["t.txt", "t.jsonl"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_says_the_same(tmp_path, capsys, scheme, form):
    tags = SCHEMES[scheme].split()
    lines = "IMGID:7\n" + "".join(f"{token}\t{tag}\n" for token, tag in zip(TOKENS, tags))
    status, docs = convert(
        tmp_path, lines if form == "t.txt" else json.dumps({"id": "7", "tokens": TOKENS, "tags": tags}), "--strict", name=form
    )
    assert status == 0 and entities(docs) == FOUND
    told = capsys.readouterr().out
    assert ("as in IOB1" in told) == (scheme in ("IOB1", "IOE2")) and ("read as BIO" in told) == (scheme not in ("BIO", "IOB1"))


@pytest.mark.parametrize("form", ["t.txt", "t.jsonl"])
@pytest.mark.parametrize("tag", ["PER", "X", "B-", "B", "0", "B-PER|B-LOC", "B-PER,B-LOC|O", "-X-"])
def test_tags_of_no_scheme_are_counted(tmp_path, capsys, tag, form):
    text = (
        f"IMGID:7\nAda\tB-PER\nRio\t{tag}\n"
        if form == "t.txt"
        else json.dumps({"id": "7", "tokens": ["Ada", "Rio"], "tags": ["B-PER", tag]})
    )
    status, docs = convert(tmp_path, text, name=form)
    assert status == 0 and entities(docs) == [("Ada", "PER")]
    assert f"1 tags are of no known scheme (read as O): 7 'Rio' {tag!r}" in capsys.readouterr().out
    assert convert(tmp_path, text, "--strict", name=form)[0] == 2


def test_one_stray_inside_tag_of_a_bio_file_is_a_fault_wherever_it_stands(tmp_path, capsys):
    text = "IMGID:1\nRio\tI-LOC\n\nIMGID:2\nAda\tB-PER\n"
    assert entities(convert(tmp_path, text)[1]) == [("Rio", "LOC"), ("Ada", "PER")]
    assert "1 I- tags continue nothing" in capsys.readouterr().out
    assert convert(tmp_path, text, "--strict")[0] == 2


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "7", "tokens": ["Ada"], "tags": ["B-PER"]}, {"id": 7, "tokens": ["Ada"], "tags": ["O"]}],
        [
            {"meta": {"id": "7"}, "text": "Ada", "spans": [{"start": 0, "end": 3, "label": "PER"}]},
            {"meta": {"id": "7"}, "text": "Ada", "spans": []},
        ],
        "IMGID:7\nAda\tB-PER\n\nIMGID:7\nAda\tO\n",
    ],
)
def test_of_two_posts_with_one_id_the_first_is_kept_and_the_other_counted(tmp_path, capsys, rows):
    text = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
    form = "t.txt" if isinstance(rows, str) else "t.jsonl"
    status, docs = convert(tmp_path, text, name=form)
    assert len(docs) == 1 and entities(docs) == [("Ada", "PER")]
    assert "1 posts occur twice (the first is kept): 7" in capsys.readouterr().out
    assert convert(tmp_path, text, "--strict", name=form)[0] == 2
