"""The queue of posts: what is saved is training data, is never lost, and is gone on from."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from blank import NLP

import rivega_spacy
from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.post.errors import OutputError, RivegaError
from rivega_spacy.post.rle import encode_mask
from rivega_spacy.serve.correcting import CorrectionQueue

from .conftest import BOX, HEIGHT, POSTS, WIDTH, make_pipeline
from .test_api import problem

ROOT = Path(rivega_spacy.__file__).parents[1]


def saved(queue):
    return [json.loads(line) for line in queue.path.read_text(encoding="utf8").splitlines()]


def test_posts_are_annotated_where_they_have_no_entities(client_with, queue):
    client = client_with(queue=queue)
    assert client.get("/queue").json() == {"name": "posts.jsonl", "file": "corrected.jsonl", "total": 4, "saved": 0, "next": 1}
    first = client.get("/queue/1").json()
    assert first["picture"] and not first["saved"] and first["revision"] == 0 and first["fault"] is None
    assert first["post"]["image"] == "a.png" and first["post"]["source"] == "own" and not first["post"]["errors"]
    assert [(ent["text"], ent["boxes"]) for ent in first["post"]["ents"]] == [("Ann", [BOX]), ("Rio", []), ("Zoo", [])]
    assert not client.get("/queue/3").json()["picture"]
    # Entities of the file are shown as they are.
    ents = client.get("/queue/4").json()["post"]["ents"]
    assert [(ent["text"], ent["label"], ent["expansion"], ent["groundable"]) for ent in ents] == [("Ann", "ORG", "a club", None)]
    for number in (0, 5, 10**30):
        problem(client.get(f"/queue/{number}"), 404, "E817")
    assert client.get("/queue/1/picture").headers["content-type"] == "image/png"
    problem(client.get("/queue/3/picture"), 404)
    for number in ("x", "-1", "1e3", "9" * 5000, "%D9%A1"):
        problem(client.get(f"/queue/{number}"), 404)
    assert not queue.path.exists()
    # The methods of an address are those of all its routes, and those of no other.
    for address, methods in (("/queue/1", "GET, PUT"), ("/queue/file", "GET"), ("/queue/1/picture", "GET"), ("/annotate", "POST")):
        answer = client.request("DELETE", address)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
    problem(client.put("/queue/file", json={"ents": [], "revision": 0}), 405)


def test_saved_posts_are_training_data(client_with, queue, tmp_path, capsys):
    client = client_with(queue=queue)
    item = client.get("/queue/1").json()
    ents = item["post"]["ents"]
    mask = client.post("/masks", json={"number": 1, "boxes": [[10, 10, 60, 60]]}).json()
    ents[0].update(label="ORG", boxes=[[10, 10, 60, 60]], box=[10, 10, 60, 60], mask_rle=mask["mask_rle"])
    ents[1].update(start=4, end=11, text="met Rio", groundable=None)
    ents[2:] = [{"start": 19, "end": 22, "label": "PER", "groundable": True, "boxes": [[1, 2, 3, 4]]}]
    answer = client.put("/queue/1", json={"ents": ents, "revision": 0}).json()
    assert answer["saved"] and answer["revision"] == 1 and answer["post"]["queue_number"] == 1
    assert client.put("/queue/4", json={"ents": [], "revision": 0}).status_code == 200
    assert client.get("/queue").json()["next"] == 2
    first, last = saved(queue)
    assert first == client.get("/queue/1").json()["post"] and first["image"] == "a.png" and first["source"] == "own"
    assert last["knowledge"] == "z" and last["ents"] == [] and "expansions" not in last
    assert client.get("/queue/file").text == queue.path.read_text(encoding="utf8")
    assert main(["convert", str(queue.path), str(tmp_path / "t.spacy"), "--strict"]) == 0, capsys.readouterr()
    doc, empty = read_docbin(tmp_path / "t.spacy", NLP.vocab)
    assert doc.text == POSTS[0]["text"] and empty.text == POSTS[3]["text"] and not empty.ents
    assert [(ent.text, ent.label_, ent._.groundable, ent._.boxes) for ent in doc.ents] == [
        ("Ann", "ORG", True, [[10, 10, 60, 60]]), ("met Rio", "LOC", None, []), ("Zoo", "PER", True, [[1, 2, 3, 4]]),
    ]  # fmt: skip
    assert doc.ents[0]._.mask.sum() == 46 * 46


def test_all_masks_of_an_entity_come_through(posts_file, tmp_path):
    import numpy as np

    masks = [np.zeros((HEIGHT, WIDTH), bool) for _ in range(2)]
    masks[0][2:9, 3:12] = masks[1][20:40, 30:80] = True
    ent = {"start": 0, "end": 3, "label": "PER", "boxes": [BOX], "masks": [encode_mask(mask) for mask in masks]}
    posts_file.write_text(json.dumps({"text": "Ann", "ents": [ent]}) + "\n", encoding="utf8")
    queue = CorrectionQueue(posts_file, tmp_path / "c.jsonl")
    item = queue.item(1)
    queue.save(1, item["post"]["ents"], 0)
    assert saved(queue)[0]["ents"][0]["masks"] == ent["masks"]


@pytest.mark.parametrize(
    "ents",
    [
        "none", [[0, 99, "PER"]], [[0, 3, "PER"], [2, 7, "LOC"]], [[0, 3, ""]], [{"start": 0, "end": 3, "label": "PER", "boxes": [[5, 5, 1, 1]]}],
        [{"start": 0, "end": 3, "label": "PER", "mask_rle": {"size": [2, 2], "counts": "?"}}], [{"start": 0, "end": 3, "label": "PER", "groundable": "yes"}],
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_not_saved(client_with, queue, ents):
    client = client_with(queue=queue)
    problem(client.put("/queue/1", json={"ents": ents, "revision": 0}), 422)
    assert not queue.path.exists() and client.get("/queue").json()["saved"] == 0


def test_two_pages_do_not_undo_each_other(client_with, queue):
    client = client_with(queue=queue)
    assert client.put("/queue/1", json={"ents": [[0, 3, "PER"]], "revision": 0}).status_code == 200
    problem(client.put("/queue/1", json={"ents": [], "revision": 0}), 409, "E818")
    assert len(saved(queue)[0]["ents"]) == 1
    assert client.put("/queue/1", json={"ents": [], "revision": 1}).json()["revision"] == 2


def test_a_file_that_another_program_changed_is_left_alone(client_with, queue):
    client = client_with(queue=queue)
    client.put("/queue/1", json={"ents": [], "revision": 0})
    queue.path.write_text("somebody else's\n", encoding="utf8")
    problem(client.put("/queue/2", json={"ents": [], "revision": 0}), 409, "E816")
    assert queue.path.read_text(encoding="utf8") == "somebody else's\n" and client.get("/queue").json()["saved"] == 1


def test_one_goes_on_where_one_stopped(posts_file, tmp_path):
    path = tmp_path / "corrected.jsonl"
    queue = CorrectionQueue(posts_file, path)
    queue.save(4, [[0, 3, "LOC"]], 0)
    queue.save(1, [], 0)
    again = CorrectionQueue(posts_file, path)
    assert again.summary() | {"name": ""} == {"name": "", "file": "corrected.jsonl", "total": 4, "saved": 2, "next": 2}
    assert again.item(4)["post"]["ents"][0]["label"] == "LOC" and again.item(4)["saved"] and again.item(4)["revision"] == 1
    again.save(2, [], 0)
    assert [row["queue_number"] for row in saved(again)] == [1, 2, 4]
    again.save(3, [], 0)
    assert again.summary()["next"] is None


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        '{"text": "Ann met Rio at the Zoo 🚀 today", "queue_number": true}',
        '{"text": "Nobody is here"}',
        '{"text": "other", "queue_number": 1}',
        '{"text": "x", "queue_number": 9}',
    ],
)
def test_a_file_of_something_else_is_never_written_over(posts_file, tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(line + "\n", encoding="utf8")
    with pytest.raises(RivegaError, match="E815"):
        CorrectionQueue(posts_file, path)
    assert path.read_text(encoding="utf8") == line + "\n"
    with pytest.raises(RivegaError, match="E050"):
        CorrectionQueue(posts_file, posts_file)


def box(*sides, **fields):
    return {"start": 0, "end": 3, "label": "PER", "boxes": [list(sides)], **fields}


UNFIT = {
    "beyond the text": [[0, 9999, "PER"]],
    "backwards": [{"start": 3, "end": 0, "label": "PER"}],
    "negative": [[-3, 3, "PER"]],
    "words for places": [{"start": "0", "end": "3", "label": "PER"}],
    "true for places": [[False, True, "PER"]],
    "fractions for places": [[0.0, 3.0, "PER"]],
    "no label": [{"start": 0, "end": 3}],
    "a label of blanks": [[0, 3, "  "]],
    "a number for a label": [[0, 3, 7]],
    "overlap": [[0, 3, "PER"], [0, 7, "ORG"]],
    "an object": {"start": 0, "end": 3, "label": "PER"},
    "a string": "Ann",
    "null in the list": [None],
    "a box turned over": [box(9, 9, 1, 1)],
    "a box of two": [box(1, 2)],
    "a box of words": [box("1", "x", "3", "4")],
    "a box without end": [box(0, 0, 1e999, 5)],
    "boxes that are none": [{"start": 0, "end": 3, "label": "PER", "boxes": "none"}],
    "a mask that is none": [box(1, 1, 9, 9, mask_rle="x")],
    "a mask of another size": [box(1, 1, 9, 9, mask_rle={"size": [3, 3], "counts": [2, 99]})],
    "a mask of no size": [box(1, 1, 9, 9, mask_rle={"size": [10**30, 10**30], "counts": "9"})],
    "shown, it says": [box(1, 1, 9, 9, groundable="yes")],
    "a score of words": [box(1, 1, 9, 9, box_score="high")],
    "an expansion that is none": [box(1, 1, 9, 9, expansion=[1])],
}


@pytest.mark.parametrize("ents", UNFIT.values(), ids=UNFIT)
def test_saved_entities_that_cannot_be_used_are_told_and_kept_until_the_post_is_saved_again(
    client_with, posts_file, tmp_path, ents
):
    path = tmp_path / "corrected.jsonl"
    queue = CorrectionQueue(posts_file, path)
    queue.save(1, [[0, 3, "PER"]], 0)
    queue.save(2, [], 0)
    edited, whole = saved(queue)
    edited["ents"] = [*ents, [4, 7, "LOC"]] if isinstance(ents, list) and ents != UNFIT["overlap"] else ents
    path.write_text(json.dumps(edited) + "\n" + json.dumps(whole) + "\n", encoding="utf8")
    again = CorrectionQueue(posts_file, path)
    client = client_with(queue=again)
    # Open again, with what can be used of it and why the rest cannot; the line itself stays as it is.
    assert again.unfit == [1] and (client.get("/queue").json()["saved"], client.get("/queue").json()["next"]) == (1, 1)
    item = client.get("/queue/1").json()
    assert not item["saved"] and item["revision"] == 1 and [note["message"][:3] for note in item["post"]["errors"]]
    assert all(set(ent) >= {"start", "end", "label", "text", "boxes", "mask_rle"} for ent in item["post"]["ents"])
    if isinstance(ents, list) and ents != UNFIT["overlap"]:
        assert item["post"]["ents"][-1]["text"] == "met"
    assert client.put("/queue/3", json={"ents": [], "revision": 0}).status_code == 200
    assert saved(again)[0] == json.loads(json.dumps(edited).replace("Infinity", "null"))
    answer = client.put("/queue/1", json={"ents": item["post"]["ents"], "revision": 1}).json()
    assert answer["saved"] and answer["post"]["errors"] == [] and again.unfit == []
    last = CorrectionQueue(posts_file, path)
    assert last.unfit == [] and last.summary()["saved"] == 3 and last.item(1)["post"]["ents"] == item["post"]["ents"]


def test_saved_entities_in_another_form_are_understood_and_their_line_stays(client_with, posts_file, tmp_path):
    path = tmp_path / "corrected.jsonl"
    rows = [
        {"text": POSTS[0]["text"], "queue_number": 1, "ents": [[0, 3, "PER"]], "mine": 5},
        {"text": POSTS[1]["text"], "queue_number": 2},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    queue = CorrectionQueue(posts_file, path)
    client = client_with(queue=queue)
    assert client.get("/queue").json()["saved"] == 2 and queue.unfit == []
    assert [ent["text"] for ent in client.get("/queue/1").json()["post"]["ents"]] == ["Ann"]
    assert client.get("/queue/2").json()["post"]["ents"] == []
    queue.save(3, [], 0)
    assert saved(queue)[:2] == rows


def test_a_post_that_was_saved_twice_is_told(posts_file, tmp_path):
    path = tmp_path / "corrected.jsonl"
    lines = "".join(
        json.dumps({"text": POSTS[0]["text"], "queue_number": 1, "ents": ents}) + "\n" for ents in ([], [[0, 3, "PER"]])
    )
    path.write_text(lines, encoding="utf8")
    with pytest.raises(RivegaError, match="E815.*line 2 is post 1 of the queue"):
        CorrectionQueue(posts_file, path)
    assert path.read_text(encoding="utf8") == lines


def test_of_pages_that_save_at_the_same_time_one_is_quicker(client_with, queue, monkeypatch):
    client = client_with(queue=queue)
    write = queue._write

    def slow_write():
        time.sleep(0.2)
        write()

    monkeypatch.setattr(queue, "_write", slow_write)
    with ThreadPoolExecutor(6) as pool:
        bodies = [{"ents": [[0, 3, f"P{number}"]], "revision": 0} for number in range(6)]
        answers = list(pool.map(lambda body: client.put("/queue/1", json=body), bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]
    (quicker,) = [body for body, answer in zip(bodies, answers) if answer.status_code == 200]
    assert [ent["label"] for row in saved(queue) for ent in row["ents"]] == [quicker["ents"][0][2]]


@pytest.mark.parametrize("revision", [True, False, "0", None, [], {}, 10**400])
def test_a_revision_is_a_number(client_with, queue, revision):
    answer = client_with(queue=queue).put("/queue/1", json={"ents": [], "revision": revision})
    assert answer.status_code == (409 if revision == 10**400 else 422) and not queue.path.exists()


@pytest.mark.parametrize("number", [True, "1", [1], 1.5])
def test_the_number_of_a_post_is_a_number(client_with, queue, number):
    client = client_with(queue=queue)
    problem(client.post("/masks", json={"number": number, "boxes": [BOX]}), 404, "E817")
    problem(client.post("/preview", json={"number": number}), 404, "E817")


def test_what_others_do_to_the_saved_file_is_told_and_costs_nothing(client_with, queue, tmp_path):
    client = client_with(queue=queue)
    client.put("/queue/1", json={"ents": [[0, 3, "PER"]], "revision": 0})
    kept = queue.path.read_bytes()
    queue.path.unlink()
    problem(client.put("/queue/2", json={"ents": [], "revision": 0}), 409, "E816")
    problem(client.get("/queue/file"), 404, "E020")
    queue.path.mkdir()
    problem(client.put("/queue/2", json={"ents": [], "revision": 0}), 409, "E816")
    queue.path.rmdir()
    # A copy is another file, whoever wrote it.
    queue.path.write_bytes(kept)
    problem(client.put("/queue/2", json={"ents": [], "revision": 0}), 409, "E816")
    assert queue.path.read_bytes() == kept and client.get("/queue").json()["saved"] == 1
    # The posts themselves were read when the server was started.
    queue.posts.unlink()
    (tmp_path / "a.png").unlink()
    assert client.get("/queue/4").json()["post"]["text"] == POSTS[3]["text"]
    problem(client.get("/queue/1/picture"), 422, "E001")


def test_a_folder_that_has_gone_is_told(client_with, posts_file, tmp_path):
    (tmp_path / "out").mkdir()
    queue = CorrectionQueue(posts_file, tmp_path / "out" / "c.jsonl")
    client = client_with(queue=queue)
    (tmp_path / "out").rmdir()
    answer = client.put("/queue/1", json={"ents": [], "revision": 0})
    assert (answer.status_code, answer.json()["saved"]) == (200, True) if queue.path.exists() else problem(answer, 507, "E052")


def test_a_full_disk_costs_nothing_that_was_saved(client_with, queue, monkeypatch):
    client = client_with(queue=queue)
    client.put("/queue/1", json={"ents": [], "revision": 0})
    before = queue.path.read_bytes()

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        problem(client.put("/queue/2", json={"ents": [[0, 6, "PER"]], "revision": 0}), 507, "E052")
        with pytest.raises(OutputError):
            queue.save(2, [], 0)
    assert queue.path.read_bytes() == before and client.get("/queue").json()["saved"] == 1
    assert sorted(path.name for path in queue.path.parent.iterdir()) == ["a.png", "b.jpg", "corrected.jsonl", "posts.jsonl"]
    assert client.put("/queue/2", json={"ents": [[0, 6, "PER"]], "revision": 0}).json()["saved"]


def test_lines_that_are_no_posts_are_shown_with_the_reason(client_with, posts_file, tmp_path):
    with posts_file.open("a", encoding="utf8") as file:
        file.write("{broken\n" + json.dumps({"text": "FAIL Ann"}) + "\n" + json.dumps({"text": "Ann", "image": "none.png"}) + "\n")
    client = client_with(queue=CorrectionQueue(posts_file, tmp_path / "c.jsonl"))
    broken = client.get("/queue/5").json()
    assert "[E011]" in broken["fault"] and broken["post"]["ents"] == []
    problem(client.put("/queue/5", json={"ents": [], "revision": 0}), 422, "E011")
    assert "the seer is blind" in client.get("/queue/6").json()["post"]["errors"][0]["message"]
    problem(client.get("/queue/7/picture"), 422, "E001")
    # A person has looked at it: what the pipeline could not do is no fault of the saved post.
    assert client.put("/queue/6", json={"ents": [[5, 8, "PER"]], "revision": 0}).json()["post"]["errors"] == []


@pytest.mark.parametrize("text", [5, None, ["Ann"], {"a": "Ann"}, True])
def test_a_post_without_a_text_does_not_keep_anybody_from_going_on(client_with, posts_file, tmp_path, text):
    with posts_file.open("a", encoding="utf8") as file:
        file.write(json.dumps({"id": "x", "text": text}) + "\n" + json.dumps({"id": "y"}) + "\n")
    queue = CorrectionQueue(posts_file, tmp_path / "c.jsonl")
    client = client_with(queue=queue)
    for number in (5, 6):
        assert "[E010]" in client.get(f"/queue/{number}").json()["fault"]
        problem(client.put(f"/queue/{number}", json={"ents": [], "revision": 0}), 422, "E010")
    client.put("/queue/1", json={"ents": [], "revision": 0})
    assert CorrectionQueue(posts_file, tmp_path / "c.jsonl").summary()["saved"] == 1


def test_without_a_queue_its_options_are_told_to_be_useless(tmp_path, capsys):
    assert main(["serve", "--save", str(tmp_path / "c.jsonl")]) == 2
    assert "[E814] `--save` has no effect" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    nlp = make_pipeline(segmenter=False)
    nlp.remove_pipe("test_seer")
    nlp.to_disk(folder)
    return folder


class Process:
    """`rivega serve` as a process of its own."""

    def __init__(self, *words):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rivega_spacy", "serve", *map(str, words), "--port", "0"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if "http://" in line:
                self.url = line.split(" at ")[1].split("/ ")[0]
                return
        raise AssertionError(self.process.stderr.read())

    def end(self, number):
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_saved(pipeline, posts_file, client_with, tmp_path):
    path = tmp_path / "corrected.jsonl"
    server = Process(pipeline, "--queue", posts_file, "--save", path)
    assert "4 posts to correct, 0 of them saved" in server.said
    for number in (1, 3):
        assert (
            httpx.put(f"{server.url}/queue/{number}", json={"ents": [[0, 3, "PER"]], "revision": 0}, timeout=60).status_code == 200
        )
    server.end(signal.SIGKILL)
    assert [json.loads(line)["queue_number"] for line in path.read_text(encoding="utf8").splitlines()] == [1, 3]
    # Whoever starts it again goes on from there.
    again = client_with(queue=CorrectionQueue(posts_file, path))
    assert again.get("/queue").json() == {"name": "posts.jsonl", "file": path.name, "total": 4, "saved": 2, "next": 2}
