"""benchmarks/photo_posts.py: posts made from photographs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image
from spacy.language import Language
from spacy.tokens import Span

from rivega_spacy.post.posts import GIVEN_ENTS_KEY
from rivega_spacy.post.rle import encode_mask

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import photo_posts  # noqa: E402
import photo_posts_report  # noqa: E402


def item(kind, box, *, masked=False, difficult=False):
    mask = np.zeros((60, 80), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    row = {"class": kind, "bbox": box, "difficult": difficult}
    return {**row, "segmentation": encode_mask(mask), "mask_box_iou": 0.9} if masked else row


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty photographs, half of them held out."""
    root = tmp_path_factory.mktemp("photos")
    scenes = [
        [item("dog", [5, 5, 40, 50], masked=True), item("person", [40, 0, 70, 60], masked=True)],
        [item("person", [x, 0, x + 20, 60]) for x in (0, 20, 40)],
        [item("cat", [0, 0, 2, 2])],
        [item("car", [0, 0, 40, 40]), item("car", [40, 0, 80, 60])],
        [item("person", [0, 0, 60, 60], masked=True), item("person", [60, 0, 70, 20], difficult=True)],
    ]
    for source, count in (("voc2007_test_a", 60), ("ccp_pixel", 20)):
        (root / source / "images").mkdir(parents=True)
        with (root / source / "annotations.jsonl").open("w") as out:
            for number in range(1, count + 1):
                objects = scenes[(number // 5) % len(scenes)]
                if source == "ccp_pixel":
                    objects = [item("person", [10, 0, 50, 60], masked=True), item("bag", [30, 30, 60, 50], masked=True)]
                out.write(
                    json.dumps({"id": f"{number:06d}", "file": f"images/{number}.jpg", "w": 80, "h": 60, "objects": objects}) + "\n"
                )
                if number % 5 == 0:
                    Image.new("RGB", (80, 60), (number, 90, 90)).save(root / source / "images" / f"{number}.jpg")
    kinds = {
        "ecssd": ["tiger", "church", "woman", "clock"],
        "flickrlogos27": ["Pepsi logo", "Nike logo"],
        "road_signs": ["parking sign"],
        "voc2012_tiny": ["dog"],
    }
    for source, names in kinds.items():
        (root / source / "images").mkdir(parents=True)
        rows = [
            {"id": 5 * n + 5, "file": f"images/{n}.jpg", "w": 80, "h": 60, "objects": [item(names[n % len(names)], [5, 5, 40, 50])]}
            for n in range(20)
        ]
        (root / source / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf8")
    return root


def test_further_kinds_are_named_as_what_they_are(folder):
    docs = photo_posts.make_posts(folder)["kinds"]
    shown = {
        (kind, ent.label_, ent.text)
        for doc in docs
        for ent, (_, _, kind) in zip(doc.ents, doc.user_data["kinds"])
        if ent._.groundable
    }
    assert {"animal", "landmark", "logo", "thing"} == {kind for kind, _, _ in shown}
    assert ("logo", "ORG", "Pepsi") in shown and all(text.endswith("Church") for kind, _, text in shown if kind == "landmark")
    assert not any(doc.user_data["id"].startswith("voc2012") for docs in photo_posts.make_posts(folder).values() for doc in docs)


def test_only_held_out_photographs_become_posts(folder):
    for docs in photo_posts.make_posts(folder).values():
        assert docs and all(int(doc.user_data["id"].split("-")[1]) % 5 == 0 for doc in docs)


@pytest.mark.slow
def test_the_same_seed_makes_the_same_posts(folder):
    first, again, other = (photo_posts.make_posts(folder, seed=seed)["boxes"] for seed in (1, 1, 2))
    assert [doc.to_bytes() for doc in first] == [doc.to_bytes() for doc in again]
    assert [doc.text for doc in first] != [doc.text for doc in other]


def test_gold_is_complete_and_its_share_is_the_papers(folder):
    sets = photo_posts.make_posts(folder)
    for part, docs in sets.items():
        ents = [ent for doc in docs for ent in doc.ents]
        assert abs(sum(not ent._.groundable for ent in ents) / len(ents) - 0.6) < 0.06
        for ent in ents:
            assert ent._.groundable is bool(ent._.boxes)
            assert (ent._.mask_rle is not None) is (part == "masks" and bool(ent._.boxes))
        assert all(len({ent.text for ent in doc.ents}) == len(doc.ents) for doc in docs)


def test_what_may_be_named_is_what_nobody_could_mistake(folder):
    names = json.loads((ROOT / "benchmarks" / "photo_posts_names.json").read_text(encoding="utf8"))
    rows = {row["id"]: row for row in photo_posts.photos(folder, "voc")}
    found = {
        int(key): [(t.kind, len(t.boxes), len(t.masks)) for t in photo_posts.voc_things(row, names, masked=False)]
        for key, row in rows.items()
    }
    assert found[25] == [("dog", 1, 1), ("person", 1, 1)]
    assert found[5] == [("band", 3, 0)]
    assert found[10] == []  # too small
    assert found[15] == []  # two cars
    assert found[20] == [("person", 1, 1)]  # the other is small
    assert photo_posts.voc_things(rows["000005"], names, masked=True) == []


def test_names_are_not_those_the_networks_were_trained_with():
    def strings(value):
        if isinstance(value, str):
            yield from (part.strip().lower() for part in value.split(","))
        else:
            for part in value.values() if isinstance(value, dict) else value:
                yield from strings(part)

    bank = set()
    for name in ("names", "absent", "kinds"):
        bank |= set(
            strings(
                json.loads((ROOT / "rivega_spacy" / "backends" / "small" / "phrases" / f"{name}.json").read_text(encoding="utf8"))
            )
        )
    assert len(bank) > 500
    ours = json.loads((ROOT / "benchmarks" / "photo_posts_names.json").read_text(encoding="utf8"))
    assert {kind: sorted(name for name in names if name.lower() in bank) for kind, names in ours.items()} == {
        kind: [] for kind in ours
    }


def test_every_name_fits_every_template_as_whole_tokens():
    nlp = blank_nlp()
    names = json.loads((ROOT / "benchmarks" / "photo_posts_names.json").read_text(encoding="utf8"))
    templates = json.loads((ROOT / "benchmarks" / "photo_posts_templates.json").read_text(encoding="utf8"))
    for part in ("shown", "absent"):
        for kind, clauses in templates[part].items():
            pool = names.get(kind, names["garment"]) if kind != "person" else names["last"]
            for clause in clauses:
                for name in pool:
                    for end in (".", ", ", "!", " #x"):
                        text = clause.replace("{n}", name) + end
                        start = text.index(name)
                        assert nlp.make_doc(text).char_span(start, start + len(name)) is not None, text


@Language.component("photo_posts_test_stages", assigns=["doc.ents", "span._.groundable"])
def stages(doc):
    """Takes the second and third word for a person who is shown."""
    if not doc.user_data.get(GIVEN_ENTS_KEY):
        doc.ents = [Span(doc, 1, 3, label="PER")]
    for ent in doc.ents:
        ent._.groundable, ent._.groundable_score = True, 0.9
    return doc


@Language.component("photo_posts_test_grounder", assigns=["span._.boxes"])
def grounder(doc):
    """One box for all."""
    for ent in doc.ents:
        if ent._.groundable:
            ent._.boxes = [[40, 0, 70, 60]]
    return doc


@Language.component("photo_posts_test_segmenter", assigns=["span._.mask_rle"])
def segmenter(doc):
    """The box as a mask."""
    for ent in doc.ents:
        if ent._.boxes:
            x1, y1, x2, y2 = (int(x) for x in ent._.box)
            mask = np.zeros((60, 80), bool)
            mask[y1:y2, x1:x2] = True
            ent._.mask_rle = encode_mask(mask)
    return doc


def test_the_report_of_a_pipeline(folder):
    nlp = blank_nlp()
    for stage in ("stages", "grounder", "segmenter"):
        nlp.add_pipe(f"photo_posts_test_{stage}")
    lines = photo_posts_report.report_set(nlp, photo_posts.make_posts(folder)["masks"])
    table = {line.split("|")[1].strip(): line for line in lines if line.startswith("|")}
    assert "100.00 | 100.00 | 100.00" in table["gold entities + groundability + boxes"]
    assert "SMNER" in table["fed in"] and "dog" in table
