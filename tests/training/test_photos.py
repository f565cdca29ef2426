"""Photographs with boxes: splits, what a photo knows, phrases, and the reader for `spacy train`."""

import json
import re
from collections import Counter

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.backends.small.phrases.bank import load_bank, with_article
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.photos import make_photo_corpus, read_photos, split_of


def thing(kind, box, **more):
    return {"class": kind, "bbox": box, "bbox_orig": box, **more}


@pytest.fixture
def photos(tmp_path):
    """Three data sets with a few grey photos."""
    rows = {
        "voc2007_test_a": [
            {"id": "000002", "objects": [thing("dog", [4, 4, 40, 40]), thing("dog", [41, 1, 47, 9], difficult=True)]},
            {"id": "000003", "objects": [thing("person", [4, 4, 20, 40]), thing("car", [1, 1, 9, 9], difficult=True)]},
            {"id": "000005", "objects": [thing("cat", [4, 4, 40, 40])]},
            {"id": "000021", "objects": [thing("train", [4, 4, 40, 40], difficult=False)]},
        ],
        "ccp_pixel": [
            {"id": "0004", "objects": [thing("person", [4, 4, 20, 40]), thing("tie", [5, 9, 9, 20]), thing("hat", [1, 1, 9, 9])]},
            {"id": "0010", "objects": [thing("person", [4, 4, 20, 40])]},
        ],
        "coco_train_258": [
            {
                "id": 5,
                "objects": [thing("couch", [4, 4, 20, 40]), thing("tie", [5, 9, 9, 20]), thing("person", [1, 1, 3, 9], iscrowd=1)],
            },
            {"id": 7, "objects": []},
        ],
    }
    for folder, items in rows.items():
        (tmp_path / folder / "images").mkdir(parents=True)
        for item in items:
            item.update(file=f"images/{item['id']}.jpg", w=48, h=48)
            Image.new("RGB", (48, 48), (90, 90, 90)).save(tmp_path / folder / item["file"])
        lines = "\n".join(json.dumps(item) for item in items)
        (tmp_path / folder / "annotations.jsonl").write_text(lines + "\n", encoding="utf8")
    return tmp_path


def test_ids_divisible_by_five_are_held_out():
    voc = Counter(split_of("voc", f"{i:06d}") for i in range(1, 1001))
    assert voc["heldout"] == 200 and voc["dev"] == 50 and voc["train"] == 750
    assert all(split_of(s, str(i)) == "heldout" for s in ("voc", "ccp") for i in range(0, 1000, 5))
    assert split_of("coco", "25") == "train"


def test_splits_are_read_apart(photos):
    found = {split: {p.id for p in read_photos(photos, split, bank=load_bank())} for split in ("train", "dev", "heldout")}
    assert found == {"train": {"000002", "000003", "0004", "5", "7"}, "dev": {"000021"}, "heldout": {"000005", "0010"}}
    with pytest.raises(RivegaError, match="test"):
        read_photos(photos, "test", bank=load_bank())
    with pytest.raises(RivegaError, match="nothing_here"):
        read_photos(photos / "nothing_here", "train", bank=load_bank())


def test_kinds_have_one_name_and_what_is_unknown_stays_unknown(photos):
    by_id = {p.id: p for p in read_photos(photos, "train", bank=load_bank())}
    assert by_id["5"].kinds == ("sofa", "tie", "person") and by_id["5"].hard.tolist() == [False, False, True]
    assert by_id["0004"].kinds == ("person",)
    assert by_id["000002"].knows("cat") and not by_id["000002"].knows("cup") and by_id["000002"].knows("animal")
    assert by_id["0004"].knows("horse") and not by_id["0004"].knows("car")
    assert by_id["7"].knows("cup")


def test_examples_carry_picture_entities_and_gold(photos):
    nlp = blank_nlp()
    examples = list(make_photo_corpus(str(photos), split="train", absent=4)(nlp))
    by_id = {e.reference.user_data["id"]: e for e in examples}
    assert len(examples) == 5
    dog = by_id["voc-000002"]
    shown = [ent for ent in dog.reference.ents if ent._.groundable]
    assert len(shown) == 1 and shown[0]._.boxes == [[4, 4, 40, 40]]
    assert len(dog.reference.ents) == 5 and all(ent._.groundable is not None for ent in dog.reference.ents)
    assert dog.predicted._.image == dog.reference._.image and dog.predicted._.image.endswith("000002.jpg")
    assert [e._.referring_expression for e in dog.predicted.ents] == [e._.referring_expression for e in dog.reference.ents]
    assert all(ent._.groundable is None and ent._.boxes == [] for ent in dog.predicted.ents)
    # The difficult car is not asked about, neither as shown nor as absent; crowds neither.
    assert sum(bool(ent._.groundable) for ent in by_id["voc-000003"].reference.ents) == 1
    assert sum(bool(ent._.groundable) for ent in by_id["coco-5"].reference.ents) == 2


def test_difficult_things_are_never_called_absent(photos):
    nlp, reader = blank_nlp(), make_photo_corpus(str(photos), split="train", absent=30)
    cars = re.compile(r"— .*\b(car|sedan|taxi|SUV|convertible|coupe|roadster|supercar|hatchback|limousine)\b")
    for example in (e for _ in range(3) for e in reader(nlp)):
        if example.reference.user_data["id"] == "voc-000003":
            for ent in example.reference.ents:
                if ent.label_ == "OTHER" and cars.search(ent._.referring_expression):
                    # "a motor show about cars" is absent from any photo; a plain car must not be asked about here.
                    assert not re.search(r"— (a|an|the) (\w+ )?(car|sedan|taxi|SUV)$", ent._.referring_expression)


def test_every_pass_over_train_differs_and_dev_does_not(photos):
    nlp = blank_nlp()

    def texts(reader):
        return [example.reference.text for example in reader(nlp)]

    train, again = make_photo_corpus(str(photos)), make_photo_corpus(str(photos))
    first, second = texts(train), texts(train)
    assert first != second and texts(again) == first
    dev = make_photo_corpus(str(photos), split="dev")
    assert texts(dev) == texts(dev)
    assert texts(make_photo_corpus(str(photos), seed=1)) != first
    assert len(texts(make_photo_corpus(str(photos), limit=2))) == 2
    with pytest.raises(RivegaError, match="absent"):
        make_photo_corpus(str(photos), absent=-1)


def test_phrases_are_whole_and_varied():
    bank, rng = load_bank(), np.random.default_rng(0)
    for kind in bank.kinds:
        drawn = [bank.sample(kind, rng) for _ in range(60)]
        assert all(p.name and p.label in {"PER", "LOC", "ORG", "OTHER"} and "{" not in str(p.expression) for p in drawn)
    for kind, least in (("person", 1500), ("dog", 1000), ("car", 1000)):
        assert len({bank.sample(kind, rng).expression for _ in range(2000)}) > least
    people = [bank.sample("person", rng) for _ in range(500)]
    assert any(p.expansion == "" for p in people) and any(p.expansion == "a person" for p in people)
    absent = [bank.absent(rng) for _ in range(500)]
    assert {p.label for p in absent} >= {"ORG", "LOC", "OTHER"} and not any("{" in str(p.expression) for p in absent)
    assert {("ORG", "an organisation"), ("LOC", "a place"), ("OTHER", "a thing")} <= {(p.label, p.expansion) for p in absent}


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [
        ("actor", "an actor"),
        ("university", "a university"),
        ("European", "a European"),
        ("NBA team", "an NBA team"),
        ("SUV", "an SUV"),
        ("an airliner", "an airliner"),
        ("one-eyed cat", "a one-eyed cat"),
        ("hour", "an hour"),
        ("US state", "a US state"),
    ],
)
def test_articles(noun, phrase):
    assert with_article(noun) == phrase


@pytest.mark.shared
def test_the_data_at_hand(shared_dir):
    folder = shared_dir / "data" / "photos"
    if not any(folder.glob("*/annotations.jsonl")):
        pytest.skip("the photographs are still packed: unpack the archives of ../shared/data/photos beside them")
    assert len(read_photos(folder, "heldout", bank=load_bank())) > 1000
