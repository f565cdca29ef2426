"""RiVEG's tables of expansions, in the layouts that its scripts write: read beside posts, alone, and as recorded answers."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from blank import NLP
from PIL import Image

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.formats.riveg import read_riveg
from rivega_spacy.corpus.reader import PostCorpus
from rivega_spacy.corpus.recorded import make_recorded_expander
from rivega_spacy.expansion.component import ExpansionRequest
from rivega_spacy.expansion.offline import expand_all
from rivega_spacy.post.errors import SetupError


def picture(colour: tuple[int, int, int]) -> str:
    out = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(out, "JPEG")
    return base64.b64encode(out.getvalue()).decode("ascii")


def write_tsv(path: Path, rows: list[list[str]]) -> Path:
    with open(path, "w", encoding="utf8", newline="") as out:
        csv.writer(out, delimiter="\t").writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """VE and VG tables as RiVEG's scripts write them (quotes doubled, names with brackets, an entity twice), and posts."""
    red, blue = picture((200, 0, 0)), picture((0, 0, 200))
    ve = [
        ["1.jpg#ab12", "1", red, 'a sign that says "hi"', "Klay (jr)(PER)-A basketball player - tall.", "entailment"],
        ["1.jpg#0c1f", "1", red, "a sign", "Rome(LOC)-A city.", "contradiction"],
        ["1.jpg#0c1e", "1", red, "a sign", "Rome(LOC)-The capital.", "contradiction"],
        ["17_01_2.jpg#1111", "17_01_2", blue, "blue", "Ann(PER)-", "entailment"],
        ["9.jpg#2222", "9", blue, "blue", "Foreign(ORG)-Of another data set.", "contradiction"],
        ["broken"],
    ]
    write_tsv(tmp_path / "ve.tsv", ve)
    write_tsv(tmp_path / "mix.tsv", [*ve[:4], *([*row[:4], row[4] + " (again)", row[5]] for row in ve[:4])])
    vg = [
        ["1.jpg#ab12", "1", "Klay (jr)(PER)-A basketball player.", "1.0,2.0,9.0,8.0", red],
        ["17_01_2.jpg#1111", "17_01_2", "Ann(PER)-A woman.", "0.0,0.0,0.0,0.0", blue],
    ]
    write_tsv(tmp_path / "vg.tsv", vg)
    posts: list[dict[str, Any]] = [
        {
            "id": "1",
            "tokens": ["Klay", "(jr)", "in", "Rome", ",", "Rome"],
            "tags": ["B-PER", "I-PER", "O", "B-LOC", "O", "B-LOC"],
            "boxes": [],
        },
        {"id": "17_01_2", "tokens": ["Ann"], "tags": ["B-PER"], "boxes": [{"name": "Ann", "xyxy": [1, 1, 5, 5]}]},
    ]
    (tmp_path / "posts.jsonl").write_text("\n".join(map(json.dumps, posts)), encoding="utf8")
    return tmp_path


def converted(files: Path, posts: str, *options: str) -> list[Any]:
    out = files / "out.spacy"
    assert main(["convert", posts, str(out), *options]) == 0
    return list(read_docbin(out, NLP.vocab))


def test_expansions_beside_posts(files: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = converted(files, str(files / "posts.jsonl"), "--expansions", str(files / "ve.tsv"))
    # Rome stands twice in the post and twice in the file: each has its own.
    assert [ent._.expansion for ent in first.ents] == ["A basketball player - tall.", "A city.", "The capital."]
    assert second.ents[0]._.expansion is None, "the file has none"
    said = capsys.readouterr().out
    assert (
        "1 expansions belong to no entity of the posts: 9 'Foreign'" in said
        and "1 lines of expansions are of no known form" in said
    )


def test_several_an_entity_are_sources_for_mix(files: Path) -> None:
    converted(files, str(files / "posts.jsonl"), "--expansions", f"vicuna={files / 'mix.tsv'}")
    names = [
        [ent._.expansion for ent in example.reference.ents]
        for example in PostCorpus(files / "out.spacy", sources="all", knowledge="absent", filter="none")(NLP)
    ]
    assert len(names) == 2, "a tagger without knowledge reads each post once"
    mixed = [e.reference for e in PostCorpus(files / "out.spacy", sources="all")(NLP)]
    assert len(mixed) == 4
    assert [ent._.expansion for ent in mixed[0].ents] == ["A basketball player - tall.", "A city.", "The capital."]
    assert mixed[1].ents[0]._.expansion == "A basketball player - tall. (again)"


def test_tables_alone_train_entailment_and_grounding(files: Path) -> None:
    first, second, _ = converted(files, str(files / "ve.tsv"))
    assert [(ent.text, ent.label_, ent._.groundable) for ent in first.ents] == [("Klay (jr)", "PER", True), ("Rome", "LOC", False)]
    assert first.ents[0]._.expansion == "A basketball player - tall." and first._.caption == 'a sign that says "hi"'
    pairs = list(PostCorpus(files / "out.spacy", filter="entailment", knowledge="absent")(NLP))
    assert [len(pair.reference.ents) for pair in pairs] == [2, 1, 1]
    from rivega_spacy.post.images import doc_image

    assert doc_image(pairs[0].predicted, "test").shape == (10, 20, 3)
    first, second = converted(files, str(files / "vg.tsv"))
    assert first.ents[0]._.boxes == [[1, 2, 9, 8]] and second.ents[0]._.boxes == [] and second.ents[0]._.groundable is None
    assert len(list(PostCorpus(files / "out.spacy", filter="grounding", knowledge="absent")(NLP))) == 1


def test_recorded_answers_serve_a_tagger_of_ones_own(files: Path) -> None:
    (files / "lines.txt").write_text("Imageid:1.jpg#8465###Klay(PER)###Klay(PER)-A player.###2\n", encoding="utf8")
    expander = make_recorded_expander([str(files / "ve.tsv"), str(files / "lines.txt")], fallback=expand_all)
    text = "Klay and Rome and Ann"
    asked = [
        ExpansionRequest(text, "", 0, 4, "PER", "1"),
        ExpansionRequest(text, "", 9, 13, "ORG", "1"),
        ExpansionRequest(text, "", 18, 21, "PER", "1"),
    ]
    assert expander(asked) == ["A player.", "A city.", "a person"]
    assert make_recorded_expander(str(files / "ve.tsv"))(asked)[2] is None
    converted(files, str(files / "posts.jsonl"), "--expansions", f"vicuna={files / 'mix.tsv'}")
    own = make_recorded_expander(str(files / "out.spacy"), source="vicuna-2")
    assert own([ExpansionRequest("x Rome", "", 2, 6, "LOC", "1")]) == ["A city. (again)"]
    with pytest.raises(SetupError, match="does not exist"):
        make_recorded_expander("none.tsv")(asked)


def test_a_corpus_without_expansions_says_so_once(files: Path) -> None:
    converted(files, str(files / "posts.jsonl"), "--expansions", str(files / "ve.tsv"), "--image-names", "{id}.jpg")
    assert len(list(PostCorpus(files / "out.spacy", filter="entailment", knowledge="absent")(NLP))) == 2
    converted(files, str(files / "posts.jsonl"), "--image-names", "{id}.jpg")
    with pytest.warns(UserWarning, match="None of the 4 entities.*--expansions") as told:
        list(PostCorpus(files / "out.spacy", filter="entailment", knowledge="absent")(NLP))
    assert len(told) == 1
    [first, _] = PostCorpus(files / "out.spacy", filter="entailment", knowledge="absent", expander=expand_all)(NLP)
    assert [ent._.expansion for ent in first.predicted.ents] == ["a person", "a place", "a place"]


def test_what_is_not_shown_can_be_a_box_of_nothing(files: Path) -> None:
    converted(files, str(files / "posts.jsonl"), "--image-names", "{id}.jpg")
    [first, second] = PostCorpus(files / "out.spacy", knowledge="absent", zero_boxes=True)(NLP)
    assert first.reference.ents[0]._.boxes == [[0, 0, 0, 0]] and second.reference.ents[0]._.boxes == [[1, 1, 5, 5]]


def test_augmented_knowledge_is_kept_by_model(tmp_path: Path) -> None:
    posts = [("1", ["Ann", "sings"]), ("2", ["Bob"]), ("3", ["Bob"]), ("4", ["Cy"])]
    (tmp_path / "posts.txt").write_text(
        "".join(f"IMGID:{name}\n" + "".join(f"{w}\tO\n" for w in words) + "\n" for name, words in posts), encoding="utf8"
    )
    entries = [
        ("".join(f"{w}\tO\r\n" for w in words) + "<EOS>\tX\r\n" + f"z{model}\tX\r\nof\tX\r\n{name}\tX\r\n\r\n")
        for model in "abc"
        for name, words in posts[:3]
    ]
    (tmp_path / "z.txt").write_bytes("".join(entries).encode("utf8"))
    assert main(["convert", str(tmp_path / "posts.txt"), str(tmp_path / "out.spacy"), "--knowledge", str(tmp_path / "z.txt")]) == 0
    docs = list(read_docbin(tmp_path / "out.spacy", NLP.vocab))
    assert [doc._.knowledge for doc in docs] == ["za of 1", "za of 2", "za of 3", None]
    mixed = list(PostCorpus(tmp_path / "out.spacy", sources="all")(NLP))
    assert [example.reference._.knowledge for example in mixed[:5]] == ["za of 1", "zb of 1", "zc of 1", "za of 2", "zb of 2"]
    assert len(mixed) == 10, "the post without knowledge is read once"


def test_an_open_mark_of_quotation_costs_its_own_row_at_most(tmp_path: Path) -> None:
    """It took in all rows behind it."""
    row = '{n}.jpg#1\t{n}\t{picture}\t{caption}\tBob(PER)-a "man\tentailment\n'
    captions = ['"a sign', 'a "sign', '"a sign"', '"says ""hi"" to\nall of\nus"', "plain", '"', '"never closed\nit goes on']
    text = "".join(row.format(n=n, picture=picture((9, 9, 9)), caption=caption) for n, caption in enumerate(captions))
    (tmp_path / "ve.tsv").write_text(text, encoding="utf8")
    dirt = Dirt()
    found = {row.post: row.caption for row in read_riveg(tmp_path / "ve.tsv", dirt)}
    assert found == {"0": '"a sign', "1": 'a "sign', "2": "a sign", "3": 'says "hi" to\nall of\nus', "4": "plain", "5": '"'}
    assert dirt.counts == {"bad_expansion": 2}
