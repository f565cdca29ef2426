"""Whole data sets in the published formats, through `rivega convert`."""

import gzip
import json

import pytest
from blank import NLP

from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.assemble import Sources, read_data_set, repaired_name
from rivega_spacy.corpus.formats.dirt import Dirt
from rivega_spacy.corpus.posts_jsonl import ReadReport, make_docs
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.extensions import MASKS_KEY

from .published_files import polygon, write_conll, write_knowledge, write_labelme, write_voc

SQUARE = [[2, 2], [30, 2], [30, 20], [2, 20]]
POSTS = [
    {
        "id": "17_06_1",
        "tokens": ["Ann", "Lee", "meets", "Ann", "Lee", "in", "Rio"],
        "tags": ["B-PER", "I-PER", "O", "B-PER", "I-PER", "O", "B-LOC"],
        "knowledge": "z one",
        "image_width": 40,
        "image_height": 24,
        "boxes": [
            {"name": "Ann Lee", "xyxy": [1, 1, 30, 20]},
            {"name": "Ann Lee", "xyxy": [3, 3, 8, 9]},
            {"name": "rio", "xyxy": [1, 1, 9, 9]},
        ],
    },
    {"id": "2", "tokens": ["nothing"], "tags": ["O"], "knowledge": "z two", "boxes": []},
]


@pytest.fixture
def files(tmp_path):
    write_conll(tmp_path / "train.txt", POSTS)
    write_voc(tmp_path / "xml", POSTS)
    write_labelme(
        tmp_path / "smner",
        "17_06_1",
        [polygon("Ann Lee", SQUARE), polygon("Ann Lee", [[32, 2], [38, 2], [38, 8]]), polygon("Lima", SQUARE)],
        width=40,
        height=24,
    )
    write_knowledge(tmp_path / "z.txt", POSTS)
    (tmp_path / "blip2.txt").write_text("17_06_1.jpg :two women\n2.jpg :a wall\n", encoding="utf8")
    (tmp_path / "owl.txt").write_text("imgid:17_06_1###Two women.\n\nThey talk.\nimgid:2###A wall.\n", encoding="utf8")
    return tmp_path


def convert(files, *arguments):
    return main(["convert", str(files / "train.txt"), str(files / "out.spacy"), *[str(argument) for argument in arguments]])


def read(path):
    return list(read_docbin(path, NLP.vocab))


def test_everything_together(files, capsys):
    status = convert(
        files, "--boxes", files / "xml", "--masks", files / "smner", "--knowledge", files / "z.txt",
        "--captions", files / "blip2.txt", "--descriptions", files / "owl.txt", "--image-names", "{id}.jpg",
    )  # fmt: skip
    first, second = read(files / "out.spacy")
    assert status == 1  # a box and a mask name no entity
    assert first._.knowledge == "z one" and first._.caption == "two women" and first._.description == "Two women.\n\nThey talk."
    assert first._.image == "17_06_1.jpg" and second._.image == "2.jpg"
    ann, again, rio = first.ents
    assert ann._.boxes == again._.boxes == [[1, 1, 30, 20], [3, 3, 8, 9]]
    assert ann._.groundable is True and rio._.groundable is False
    assert len(first.user_data[("._.", MASKS_KEY, ann.start_char, ann.end_char)]) == 2
    assert ann._.mask.shape == (24, 40) and ann._.mask.sum() == 29 * 19
    out = capsys.readouterr().out
    assert "1 boxes match no entity: 17_06_1 'rio'" in out and "1 masks match no entity: 17_06_1 'Lima'" in out
    assert "3 entities, 2 of them groundable, 2 boxes, 2 masks" in out


def test_repair_finds_the_entity_that_is_meant(files, capsys):
    assert convert(files, "--boxes", files / "xml", "--repair") == 0
    assert [ent._.groundable for ent in read(files / "out.spacy")[0].ents] == [True, True, True]
    assert "1 region names were repaired: 17_06_1 'rio' -> 'Rio'" in capsys.readouterr().out


def test_strict_stops_and_says_where(files, capsys):
    assert convert(files, "--boxes", files / "xml", "--strict") == 2
    assert "17_06_1 'rio'" in capsys.readouterr().err


def test_masks_alone_give_boxes_too(files):
    convert(files, "--boxes", files / "smner")
    ann = read(files / "out.spacy")[0].ents[0]
    assert ann._.boxes == [[2, 2, 31, 21], [32, 2, 39, 9]] and ann._.mask is not None


def test_boxes_without_masks_are_told(files, capsys):
    write_labelme(files / "other", "2", [polygon("x", SQUARE)], width=40, height=24)
    convert(files, "--boxes", files / "xml", "--masks", files / "other")
    assert "1 entities have boxes but no mask: 17_06_1 'Ann Lee'" in capsys.readouterr().out


def test_regions_of_other_posts_are_told(files, capsys):
    write_voc(files / "xml", [{**POSTS[0], "id": "99"}])
    convert(files, "--boxes", files / "xml")
    assert "1 posts with regions are not among the posts: 99" in capsys.readouterr().out


def test_shards(files):
    convert(files, "--shard", "1")
    assert sorted(path.name for path in files.glob("*.spacy")) == ["out-000.spacy", "out-001.spacy"]
    assert [doc.user_data["id"] for path in sorted(files.glob("*.spacy")) for doc in read(path)] == ["17_06_1", "2"]


def test_a_region_named_by_type_goes_to_the_only_entity_of_it(tmp_path):
    (tmp_path / "ner.jsonl").write_text(
        json.dumps({"id": "p1", "text": "Ann in Rio", "spans": [{"start": 0, "end": 3, "label": "PER"}]}), encoding="utf8"
    )
    (tmp_path / "image.jsonl").write_text(
        json.dumps(
            {
                "id": "p1",
                "width": 9,
                "height": 9,
                "spans": [{"label": "PER", "type": "rect", "x": 1, "y": 1, "width": 3, "height": 3}],
            }
        ),
        encoding="utf8",
    )
    (post,) = read_data_set(Sources(text=tmp_path / "ner.jsonl", boxes=tmp_path / "image.jsonl"), Dirt())
    assert post["boxes"] == [{"name": "Ann", "xyxy": [1, 1, 4, 4]}]


@pytest.mark.parametrize(
    "name, texts, meant",
    [
        ("Pacquia", ["Pacquiao", "Mayweather"], "Pacquiao"),
        ("bob geldof", ["Bob Geldof"], "Bob Geldof"),
        ("Node . Js\n", ["Node.JS"], "Node.JS"),
        ("Kim、", ["Kim", "Kimberly"], "Kim"),
        ("Ann", ["Anna", "Anne"], None),
        ("x", ["xylophone"], None),
        ("、", ["Kim"], None),
    ],
)
def test_repaired_names(name, texts, meant):
    assert repaired_name(name, texts) == meant


def test_unknown_forms_are_told(files):
    with pytest.raises(RivegaError, match="E133"):
        list(read_data_set(Sources(text=files / "train.txt", format="xml"), Dirt()))
    with pytest.raises(RivegaError, match="E134"):
        list(read_data_set(Sources(text=files / "train.txt", boxes=files / "z.txt"), Dirt()))


def published(folder, version, split):
    """A split of Twitter-GMNER v1 or v2.0 as compact posts."""
    rows = {}
    with gzip.open(folder / f"twitter_gmner_{split}.jsonl.gz", "rt", encoding="utf8") as lines:
        for line in lines:
            row = json.loads(line)
            rows[row["id"]] = row
    if version == 1:
        for line in (folder / "twitter_gmner_v1_delta.jsonl").read_text(encoding="utf8").splitlines():
            change = json.loads(line)
            if change["split"] == split and change["kind"] == "tags":
                rows[change["id"]]["tags"] = change["tags_v1"]
            elif change["split"] == split:
                size = {"image_width": change.get("image_width"), "image_height": change.get("image_height")}
                rows[change["id"]].update(boxes=change["boxes_v1"], **size)
    return list(rows.values())


# Posts, entities, groundable, boxes (with those that match no entity), boxes that match none, further boxes of such a name, orphan tags.
# Over the three splits of v1 that is 56 boxes that match no entity, 60 with the repeated names, and 8 orphan tags.
COUNTS = {
    (2, "train"): (7000, 11779, 4733, 5652, 0, 0, 0),
    (2, "dev"): (1500, 2450, 991, 1164, 0, 0, 0),
    (2, "test"): (1500, 2543, 1046, 1242, 0, 0, 0),
    (1, "train"): (7000, 11782, 4694, 5655, 41, 4, 4),
    (1, "dev"): (1500, 2453, 986, 1164, 5, 0, 3),
    (1, "test"): (1500, 2543, 1036, 1242, 10, 0, 1),
}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("version, split", list(COUNTS))
def test_the_published_counts_come_out(shared_dir, tmp_path, version, split):
    rows = published(shared_dir / "data" / "posts", version, split)
    sources = Sources(text=write_conll(tmp_path / "posts.txt", rows), boxes=write_voc(tmp_path / "xml", rows))
    dirt, report = Dirt(), ReadReport()
    docs = list(make_docs(enumerate(read_data_set(sources, dirt)), NLP.vocab, source="posts.txt", report=report))
    unmatched, again = dirt.counts.get("unmatched_box", 0), dirt.counts.get("unmatched_box_again", 0)
    boxes = report.boxes + unmatched + again
    found = (len(docs), report.entities, report.groundable, boxes, unmatched, again, dirt.counts.get("orphan_tag", 0))
    assert found == COUNTS[version, split]
    assert report.without_entities == {"train": 358, "dev": 87, "test": 82}[split]
    if version == 2:
        assert report.without_boxes == {"train": 3075, "dev": 668, "test": 645}[split]


@pytest.mark.slow
@pytest.mark.shared
def test_the_dirt_of_version_1_is_told_as_it_is(shared_dir, tmp_path, capsys):
    rows = [row for split in ("train", "dev", "test") for row in published(shared_dir / "data" / "posts", 1, split)]
    arguments = [
        str(write_conll(tmp_path / "posts.txt", rows)),
        str(tmp_path / "v1.spacy"),
        "--boxes",
        str(write_voc(tmp_path / "xml", rows)),
    ]
    assert main(["convert", *arguments]) == 1
    out = capsys.readouterr().out
    assert "56 boxes match no entity: " in out and "4 more boxes bear one of these names" in out
    assert "8 I- tags continue nothing" in out and "10000 posts (" in out
    assert main(["convert", *arguments, "--strict"]) == 2


@pytest.mark.shared
@pytest.mark.slow
def test_published_knowledge_comes_back(shared_dir, tmp_path):
    rows = published(shared_dir / "data" / "posts", 2, "dev")
    write_conll(tmp_path / "posts.txt", rows)
    write_knowledge(tmp_path / "z.txt", [row for row in rows if row["knowledge"]])
    dirt = Dirt()
    posts = list(read_data_set(Sources(text=tmp_path / "posts.txt", knowledge=tmp_path / "z.txt"), dirt))
    assert [" ".join((post.get("knowledge") or "").split()) for post in posts] == [
        " ".join((row["knowledge"] or "").split()) for row in rows
    ]
    assert "knowledge_order" not in dirt.counts


def test_compact_posts_have_their_dirt_told_and_refused_too(tmp_path, capsys):
    boxes = [
        {"name": "Ann", "xyxy": [1, 1, 9, 9]},
        {"name": "ann", "xyxy": [1, 1, 9, 9]},
        {"name": "ann", "xyxy": [2, 2, 9, 9]},
        {"name": "Rio", "xyxy": "?"},
    ]
    row = {
        "id": "1",
        "tokens": ["Ann", "in", "Rio"],
        "tags": ["B-PER", "O", "I-LOC"],
        "boxes": boxes,
        "expansions": ["a woman", None],
    }
    path, out = tmp_path / "posts.jsonl", tmp_path / "out.spacy"
    path.write_text(json.dumps(row), encoding="utf8")
    assert main(["convert", str(path), str(out)]) == 1
    told = capsys.readouterr().out
    for line in (
        "1 boxes match no entity: 1 'ann'",
        "1 more boxes bear",
        "1 I- tags continue nothing",
        "1 regions are empty or malformed",
    ):
        assert line in told
    (doc,) = read(out)
    assert [(ent.text, ent._.boxes, ent._.expansion) for ent in doc.ents] == [("Ann", [[1, 1, 9, 9]], "a woman"), ("Rio", [], None)]
    assert main(["convert", str(path), str(out), "--repair"]) == 0
    assert len(read(out)[0].ents[0]._.boxes) == 3
    assert main(["convert", str(path), str(out), "--strict"]) == 2


def test_pictures_are_referred_to_from_their_folder_on(files):
    (files / "pictures").mkdir()
    (files / "pictures" / "2.png").write_bytes(b"any")
    convert(files, "--images", files / "pictures", "--relative")
    assert [doc._.image for doc in read(files / "out.spacy")] == [None, "2.png"]
    convert(files, "--images", files / "pictures")
    assert [doc._.image for doc in read(files / "out.spacy")] == [None, str(files / "pictures" / "2.png")]


def test_shards_of_a_longer_conversion_go(files):
    convert(files, "--shard", "1")
    convert(files, "--shard", "2")
    assert [path.name for path in files.glob("*.spacy")] == ["out-000.spacy"]


def test_odd_text_is_kept_and_told(tmp_path):
    posts = [
        {
            "id": "1",
            "tokens": ["Ann", "\u200bx", "Ann", "it\x92s", "\ufffd", "co/…"],
            "tags": ["B-PER", "O", "B-LOC", "O", "O", "O"],
        }
    ]
    dirt = Dirt(strict=True)
    (post,) = read_data_set(Sources(text=write_conll(tmp_path / "t.txt", posts)), dirt)
    assert post["tokens"] == posts[0]["tokens"] and dirt.counts == {"odd_character": 3, "repeated_text": 1, "two_types": 1}
