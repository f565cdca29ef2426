"""The mask corpus on folders made in its format, and masks drawn by a segmenter."""

import json
from collections import Counter

import numpy as np
import pytest
from blank import blank_nlp
from PIL import Image

from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.training.mask_corpus import covered_share, make_mask_corpus
from rivega_spacy.training.self_training import draw_masks


def write_source(root, name, ids, objects):
    """A source with one grey picture for all ids; objects: (class, box, extra fields)."""
    folder = root / name
    (folder / "images").mkdir(parents=True)
    Image.fromarray(np.full((40, 60, 3), 120, dtype="uint8")).save(folder / "images" / "one.png")
    rows = []
    for number in ids:
        items = []
        for label, box, extra in objects:
            mask = np.zeros((40, 60), dtype=bool)
            mask[box[1] : box[3], box[0] : box[2]] = True
            items.append({"class": label, "bbox": box, "segmentation": encode_mask(mask), **extra})
        rows.append({"id": number, "file": "images/one.png", "w": 60, "h": 40, "objects": items})
    (folder / "annotations.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")


PERSON = ("person", [5, 5, 25, 35], {})
TABLE = ("dining table", [20, 10, 55, 38], {"mask_box_iou": 0.9})


@pytest.fixture
def nlp():
    return blank_nlp()


def test_examples_carry_pictures_boxes_and_masks(tmp_path, nlp):
    write_source(tmp_path, "photos", [1], [PERSON, TABLE])
    [example] = make_mask_corpus(str(tmp_path), {"photos": 1.0})(nlp)
    reference, predicted = example.reference, example.predicted
    assert [(e.text, e.label_) for e in reference.ents] == [("person", "PER"), ("dining table", "OTHER")]
    assert [e._.boxes for e in predicted.ents] == [[[5, 5, 25, 35]], [[20, 10, 55, 38]]]
    assert reference.ents[1]._.mask.sum() == 35 * 28
    assert all(e._.mask_rle is None for e in predicted.ents), "the answer is not on the predicted post"
    assert reference._.image.endswith("one.png")


def test_held_out_ids_are_not_read(tmp_path, nlp):
    write_source(tmp_path, "a", range(20), [PERSON])
    write_source(tmp_path, "b", ["000010", "000011"], [PERSON])

    def ids(**arguments):
        corpus = make_mask_corpus(str(tmp_path), {"a": 1.0, "b": 1.0}, **arguments)
        return [int(eg.reference.user_data["id"]) for eg in corpus(nlp)]

    assert not [i for i in ids() if i % 5 == 0] and len(ids()) == 17
    assert ids(remainders=[0]) == [0, 5, 10, 15, 10]
    assert len(ids(remainders=[0], whole=["b"])) == 6


def test_filters(tmp_path, nlp):
    objects = [
        PERSON,
        ("person", [0, 0, 5, 30], {}),
        ("hat", [5, 5, 30, 30], {}),
        ("person", [5, 5, 30, 30], {"mask_box_iou": 0.5}),
        ("person", [5, 5, 30, 31], {"iscrowd": 1}),
        ("person", [5, 5, 30, 32], {"segmentation": None}),
        ("person", [5, 5, 30, 33], {"score": 0.4}),
    ]
    write_source(tmp_path, "photos", [1], objects)
    corpus = make_mask_corpus(str(tmp_path), {"photos": 1.0}, classes={"photos": ["person"]})
    assert [e._.box for eg in corpus(nlp) for e in eg.reference.ents] == [[5, 5, 25, 35]]


def test_drawing_keeps_the_shares_and_small_groups(tmp_path, nlp):
    write_source(tmp_path, "few", [1, 2], [PERSON])
    write_source(tmp_path, "many", [i for i in range(100) if i % 5], [PERSON, TABLE, PERSON])
    corpus = make_mask_corpus(str(tmp_path), {"few": 0.25, "many": 0.75}, boxes_per_epoch=400, max_boxes=2, seed=3)
    first, second = list(corpus(nlp)), list(corpus(nlp))
    counts = Counter()
    for example in first:
        assert 1 <= len(example.reference.ents) <= 2
        counts[example.reference._.image.split("/")[-3]] += len(example.reference.ents)
    assert abs(counts["few"] - 100) <= 3 and abs(counts["many"] - 300) <= 3

    def order(examples):
        return [eg.reference.user_data["id"] for eg in examples]

    assert order(first) != order(second), "epochs differ"
    again = make_mask_corpus(str(tmp_path), {"few": 0.25, "many": 0.75}, boxes_per_epoch=400, max_boxes=2, seed=3)
    assert order(again(nlp)) == order(first), "runs do not"


def test_broken_annotations_say_where(tmp_path, nlp):
    with pytest.raises(RivegaError, match="do not exist"):
        list(make_mask_corpus(str(tmp_path), {"photos": 1.0})(nlp))
    write_source(tmp_path, "photos", [1], [PERSON])
    annotations = tmp_path / "photos" / "annotations.jsonl"
    good = annotations.read_text()
    annotations.write_text(good + '{"id": "x1", "file": "f", "objects": []}\n')
    with pytest.raises(RivegaError, match="line 2: not a photo annotation"):
        list(make_mask_corpus(str(tmp_path), {"photos": 1.0})(nlp))
    annotations.write_text(good)
    with pytest.raises(RivegaError, match="passes the filters"):
        list(make_mask_corpus(str(tmp_path), {"photos": 1.0}, min_side=100)(nlp))


def test_drawn_masks_are_sure_and_fill_their_box(tmp_path, nlp):
    objects = [(label, box, {"segmentation": None}) for label, box in (("a", [0, 0, 30, 30]), ("b", [2, 2, 40, 38]))]
    objects += [("c", [1, 1, 31, 31], {"segmentation": None, "difficult": True}), PERSON]
    write_source(tmp_path, "boxes", [4, 5], objects)
    asked = []

    def segment(prompts):
        results = []
        for image, boxes in prompts:
            asked.extend(boxes.tolist())
            masks = []
            for x1, y1, x2, y2 in boxes.astype(int):
                mask = np.zeros(image.shape[:2], dtype=bool)
                # The larger box is filled to a half only.
                mask[y1:y2, x1 : x2 if x2 < 35 else x1 + 19] = True
                masks.append((mask, 0.9))
            results.append(masks)
        return results

    rows = list(draw_masks(segment, tmp_path, ["boxes"]))
    assert asked == [[2, 2, 40, 38], [0, 0, 30, 30]], "not the held-out id, the difficult box or what has a mask"
    [row] = rows
    assert [item["class"] for item in row["objects"]] == ["a"]
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "annotations.jsonl").write_text(json.dumps(row) + "\n")
    corpus = make_mask_corpus(str(tmp_path), {"boxes": 1.0}, drawn=str(drawn), drawn_share=1.0)
    assert [e.text for eg in corpus(nlp) for e in eg.reference.ents] == ["person", "a"]
    sure = make_mask_corpus(str(tmp_path), {"boxes": 1.0}, drawn=str(drawn), drawn_share=1.0, min_score=0.95)
    assert [e.text for eg in sure(nlp) for e in eg.reference.ents] == ["person"]


def test_drawn_masks_are_found_from_the_working_folder_on(tmp_path, nlp, monkeypatch):
    write_source(tmp_path / "photos", "a", [1], [PERSON])
    write_source(tmp_path, "drawn", [2], [PERSON])
    monkeypatch.chdir(tmp_path)
    for drawn in ("drawn", "../drawn"):
        corpus = make_mask_corpus("photos", {"a": 1.0}, drawn=drawn, drawn_share=1.0)
        assert [eg.reference.user_data["id"] for eg in corpus(nlp)] == ["1", "2"]


def test_with_phrases_things_are_called_as_posts_call_them_and_others_are_there_with_their_boxes(tmp_path, nlp):
    thin = ("person", [30, 5, 34, 35], {})
    write_source(tmp_path, "photos", [1], [PERSON, TABLE, thin, ("object", [40, 2, 58, 20], {})])
    settings = {"min_side": 10.0, "max_boxes": 2, "seed": 3}
    [first, second] = make_mask_corpus(str(tmp_path), {"photos": 1.0}, phrases=True, **settings)(nlp)
    names = [ent.text for ent in first.reference.ents]
    assert len(names) == 4 and names[0] != "person" and names[2:] == ["object", "object"]
    assert first.reference.ents[0]._.expansion or first.reference.ents[1]._.expansion
    masked = [[ent._.mask_rle is not None for ent in example.reference.ents] for example in (first, second)]
    assert masked == [[True, True, False, False], [True, False, False, False]]
    assert {tuple(ent._.boxes[0]) for ent in second.reference.ents} == {tuple(item[1]) for item in (PERSON, TABLE, thin)} | {
        (40, 2, 58, 20)
    }
    assert [ent.text for ent in first.predicted.ents] == names


def test_covered_things_are_drawn_more_often(tmp_path, nlp):
    # The table's box takes up a quarter of the person's; of the cup's, the table's takes up all.
    write_source(tmp_path, "photos", [1], [PERSON, TABLE, ("cup", [30, 12, 42, 24], {})])
    corpus = make_mask_corpus(str(tmp_path), {"photos": 1.0}, boxes_per_epoch=400, max_boxes=1, covered=3)
    drawn = Counter(ent.text for example in corpus(nlp) for ent in example.reference.ents)
    assert drawn == {"person": 80, "dining table": 80, "cup": 240}
    assert covered_share([0, 0, 10, 10], [[0, 0, 10, 10], [5, 0, 20, 5]]) == 0.25
