"""The HTTP API: what it answers, what it refuses and how, and that one request never harms another."""

import base64
import csv
import io
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rivega_spacy.post.cells import from_cell
from rivega_spacy.post.posts import annotate as annotate_posts
from rivega_spacy.post.posts import doc_to_post
from rivega_spacy.serve.app import create_app

from .conftest import BOX, TestClient, encoded, make_pipeline, wait_for

TEXT = "Ann met Rio at the Zoo"


def data_uri(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


def form(**fields):
    """Fields of a multipart form without a file."""
    return {name: (None, value) for name, value in fields.items()}


def problem(answer, status, code=None):
    """The problem details of an answer."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["title"] and body["type"] == "about:blank"
    if code:
        assert body["code"] == code and body["detail"].startswith(f"[{code}] ")
    return body


def test_the_answer_is_the_line_that_annotate_writes(client, png):
    post = {"id": "7", "text": TEXT, "knowledge": "z", "own": {"a": 1}}
    (doc,) = annotate_posts(make_pipeline(), [{**post, "image": png}])
    expected = json.loads(json.dumps(doc_to_post(doc)))
    assert [ent["groundable"] for ent in expected["ents"]] == [True, False, False] and expected["ents"][0]["mask_rle"]
    assert client.post("/annotate", json={**post, "image": data_uri(png)}).json() == expected
    assert client.post("/annotate", json={**post, "image": base64.b64encode(png).decode()}).json() == expected
    fields = {"id": "7", "text": TEXT, "knowledge": "z"}
    sent = client.post("/annotate", data=fields, files={"image": ("x.png", png, "image/png")}).json()
    assert sent == {key: value for key, value in expected.items() if key != "own"}


def test_tokens_known_entities_and_posts_without_picture(client):
    answer = client.post("/annotate", json={"tokens": TEXT.split()}).json()
    assert answer["text"] == TEXT and [ent["text"] for ent in answer["ents"]] == ["Ann", "Rio", "Zoo"]
    assert client.post("/annotate", files=form(tokens=TEXT)).json()["text"] == TEXT
    assert client.post("/annotate", files=form(tokens=json.dumps(TEXT.split()))).json()["text"] == TEXT
    known = client.post("/annotate", files=form(text=TEXT, ents='[[4, 7, "ORG"]]')).json()
    assert {"met"} <= {ent["text"] for ent in known["ents"]} and not known["errors"]


def test_a_bad_post_in_a_list_harms_no_other(client, png):
    posts = [
        {"text": TEXT, "image": data_uri(png)},
        "no post",
        {"text": 5},
        {"text": TEXT, "image": "/etc/passwd"},
        {"text": TEXT, "image": "https://example.org/a.png"},
        {"text": TEXT, "image": {"path": "/etc/passwd"}},
        {"text": TEXT, "image": data_uri(png[:200])},
        {"text": "FAIL " + TEXT},
        {"id": "last", "text": TEXT, "image": data_uri(png)},
    ]
    rows = client.post("/annotate", json=posts).json()
    assert len(rows) == len(posts) and rows[-1]["id"] == "last"
    for good in (rows[0], rows[-1]):
        assert (
            not good["errors"]
            and [ent["text"] for ent in good["ents"]] == ["Ann", "Rio", "Zoo"]
            and good["ents"][0]["boxes"] == [BOX]
        )
    codes = [[note["message"][1:5] for note in row["errors"]] for row in rows[1:-1]]
    assert [found[:1] for found in codes] == [["E806"], ["E806"], ["E808"], ["E808"], ["E806"], ["E003"], ["E017"]]
    # What is wrong with the picture alone costs the picture alone.
    assert [ent["text"] for ent in rows[3]["ents"]] == ["Ann", "Rio", "Zoo"] and not rows[3]["ents"][0]["boxes"]
    assert "the seer is blind" in rows[7]["errors"][0]["message"] and rows[7]["text"] == "FAIL " + TEXT


@pytest.mark.parametrize(
    "sent, status, code",
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "E800"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, "E800"),
        ({"content": b"\xff\xfe{}", "headers": {"content-type": "application/json"}}, 400, "E800"),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}}, 400, "E800"),
        ({"content": b"no form at all", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "E800"),
        ({"data": {"text": TEXT, "ents": "[["}, "files": {"image": b""}}, 400, "E800"),
        ({"content": b"text", "headers": {"content-type": "text/plain"}}, 415, "E805"),
        ({"content": b"text=Ann", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415, "E805"),
        ({"json": {}}, 422, "E806"),
        ({"json": 3}, 422, "E806"),
        ({"json": []}, 422, "E806"),
        ({"json": {"text": TEXT, "image": 3}}, 422, "E806"),
        ({"json": {"text": TEXT, "image": "file:///etc/passwd"}}, 422, "E808"),
        ({"json": {"text": TEXT, "image": "/etc/passwd"}}, 422, "E808"),
        ({"json": {"text": TEXT, "image": data_uri(b"<svg/>")}}, 422, "E030"),
        ({"json": {"text": TEXT, "image": base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()}}, 422, "E003"),
        ({"json": [{"text": TEXT}] * 65}, 413, "E807"),
        ({"json": {"text": "a" * 20_001}}, 413, "E807"),
        ({"json": {"text": TEXT, "knowledge": "a" * 20_001}}, 413, "E807"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told(client, sent, status, code):
    if "files" in sent:
        sent = {**sent, "files": {"image": ("x", sent["files"]["image"])}}
    problem(client.post("/annotate", **sent), status, code)
    assert client.post("/annotate", json={"text": TEXT}).status_code == 200


def test_limits_of_bytes_and_pixels(client_with):
    client = client_with(body_bytes=20_000, pixels=30_000)
    problem(client.post("/annotate", json={"text": TEXT, "image": data_uri(encoded(size=(200, 151)))}), 413, "E807")
    assert client.post("/annotate", json={"text": TEXT, "image": data_uri(encoded(size=(200, 150)))}).status_code == 200
    problem(client.post("/annotate", content=b"x" * 20_001, headers={"content-type": "application/json"}), 413, "E804")

    def pieces():
        # Without a length: it is counted as it comes.
        for _ in range(30):
            yield b" " * 1000

    problem(client.post("/annotate", content=pieces(), headers={"content-type": "application/json"}), 413, "E804")
    metrics = client.get("/metrics").text
    assert "rivega_body_bytes_held 0\n" in metrics


def test_all_bodies_together_have_a_limit(client_with, slow):
    nlp, held = slow
    client = client_with(pipeline=nlp, body_bytes=1000)
    body = json.dumps({"text": TEXT, "own": "x" * 850}).encode()
    with ThreadPoolExecutor(8) as pool:
        headers = {"content-type": "application/json"}
        first = [pool.submit(client.post, "/annotate", content=body, headers=headers) for _ in range(8)]
        wait_for(lambda: gauge(client, "rivega_body_bytes_held") == 8 * len(body))
        answer = client.post("/annotate", content=b" " * (8001 - 8 * len(body)), headers=headers)
        problem(answer, 503, "E810")
        assert answer.headers["retry-after"] == "1"
        held.free.set()
        assert [each.result().status_code for each in first] == [200] * 8
    assert gauge(client, "rivega_body_bytes_held") == 0
    assert client.post("/annotate", content=body, headers=headers).status_code == 200


def test_other_sites_and_other_names_are_refused(client_with):
    client = client_with(hosts=["annotate.example.org"])
    post = {"text": TEXT}
    for host in ("evil.example.com", "evil.example.com:80", "localhost.evil.com", "", "[", "127.0.0.1.evil.com"):
        problem(client.post("/annotate", json=post, headers={"host": host}), 421, "E801")
        problem(client.get("/queue", headers={"host": host}), 421, "E801")
    for host in ("127.0.0.1:8765", "[::1]:80", "192.168.1.7", "LOCALHOST", "annotate.example.org"):
        assert client.post("/annotate", json=post, headers={"host": host}).status_code == 200
        same = {"host": host, "origin": f"http://{host.lower()}"}
        assert client.post("/annotate", json=post, headers=same).status_code == 200
    for headers in (
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"origin": "http://localhost:99"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        problem(client.post("/annotate", json=post, headers=headers), 403, "E802")


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KEPT = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def keeps_to_itself(answer):
    """Whether an answer has the headers that every answer has, and none that lets other sites read it."""
    allowed = [name for name in answer.headers if name.startswith("access-control-")]
    return not allowed and {name: answer.headers.get(name) for name in KEPT} == KEPT


def test_every_answer_keeps_the_page_to_itself(client):
    foreign = {"origin": "https://evil.example.com"}
    for path in ("/", "/docs", "/static/main.js", "/health", "/metrics", "/openapi.json", "/nowhere", "/annotate"):
        for headers in ({}, foreign, {"host": "evil.example.com"}):
            assert keeps_to_itself(client.get(path, headers=headers)) and keeps_to_itself(client.head(path, headers=headers)), path
    for headers in ({}, foreign):
        assert keeps_to_itself(client.post("/annotate", json={"text": TEXT}, headers=headers))
    # What a browser asks before it sends what a page of another site made: whether it may.
    asked = {**foreign, "access-control-request-method": "PUT", "access-control-request-headers": "content-type"}
    for path in ("/annotate", "/queue/1", "/", "/nowhere"):
        answer = client.options(path, headers=asked)
        assert answer.status_code in (404, 405) and keeps_to_itself(answer), path
    problem(client.get("/nowhere"), 404)
    problem(client.get("/annotate"), 405)
    assert client.get("/static/main.js").text.count("import") and client.get("/static/main.js").status_code == 200
    # What stands beside the page's files is none of them; a client of its own would tidy up "..", so its dots are coded.
    for path in ("app.py", "static/main.js", "%2e%2e/app.py", "..%2fapp.py", "", "."):
        problem(client.get(f"/static/{path}"), 404)
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert not re.search(r"https?://|<script(?![^>]*src=)|style=|onclick=", page), "nothing from elsewhere, nothing inline"


class Slow:
    """A pipeline component that waits until it is let go."""

    def __init__(self):
        self.free = threading.Event()
        self.batches = []

    def __call__(self, doc):
        return doc

    def pipe(self, docs, **settings):
        docs = list(docs)
        self.batches.append(len(docs))
        self.free.wait(60)
        yield from docs


@pytest.fixture
def slow():
    nlp = make_pipeline()
    held = Slow()
    nlp.add_pipe("sentencizer")
    nlp._components[-1] = ("sentencizer", held)
    yield nlp, held
    held.free.set()


def at_once(client, count, post=None):
    """Answers to requests that are sent together."""
    answers = [None] * count

    def ask(place):
        answers[place] = client.post("/annotate", json=post or {"id": str(place), "text": TEXT})

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def gauge(client, name):
    return float(re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.M).group(1))


def test_requests_that_come_together_go_through_the_pipeline_together(client_with, slow):
    nlp, held = slow
    client = client_with(pipeline=nlp, batch=8)
    threads, answers = at_once(client, 1)
    wait_for(lambda: held.batches == [1])
    more, others = at_once(client, 12)
    wait_for(lambda: gauge(client, "rivega_posts_waiting") == 12)
    held.free.set()
    for thread in threads + more:
        thread.join()
    assert held.batches == [1, 8, 4]
    assert [answer.json()["id"] for answer in others] == [str(place) for place in range(12)]


def test_too_much_at_once_is_put_off(client_with, slow):
    nlp, held = slow
    client = client_with(pipeline=nlp, waiting=2, per_client=5)
    first, _ = at_once(client, 1)
    wait_for(lambda: held.batches == [1])
    more, _ = at_once(client, 2)
    wait_for(lambda: gauge(client, "rivega_posts_waiting") == 2)
    answer = client.post("/annotate", json={"text": TEXT})
    problem(answer, 503, "E810")
    assert answer.headers["retry-after"] == "1"
    problem(client.post("/annotate", json=[{"text": TEXT}] * 3), 503, "E810")
    threads, answers = at_once(client, 3)
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {429, 503}
    held.free.set()
    for thread in first + more:
        thread.join()
    assert client.post("/annotate", json={"text": TEXT}).status_code == 200


def test_one_client_leaves_room_for_others(client_with, slow):
    nlp, held = slow
    client = client_with(pipeline=nlp, per_client=2)
    threads, answers = at_once(client, 2)
    wait_for(lambda: gauge(client, "rivega_requests_open") == 2)  # GET requests take no room
    problem(client.post("/annotate", json={"text": TEXT}), 429, "E809")
    assert client.get("/health").json()["status"] == "ok"
    held.free.set()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.slow
def test_an_answer_that_takes_too_long_is_given_up(client_with, slow):
    nlp, held = slow
    client = client_with(pipeline=nlp, seconds=0.2)
    problem(client.post("/annotate", json={"text": TEXT}), 503, "E811")
    threads, answers = at_once(client, 1)
    threads[0].join()
    problem(answers[0], 503, "E811")
    held.free.set()
    wait_for(lambda: gauge(client, "rivega_posts_waiting") == 0)
    assert client.post("/annotate", json={"text": TEXT}).status_code == 200
    # The second was still waiting when it was given up, and was never begun.
    assert held.batches == [1, 1]


def test_what_has_stopped_takes_nothing_more(client_with):
    client = client_with()
    assert client.post("/annotate", json={"text": TEXT}).status_code == 200
    served = client.app.state.served
    served.batcher.stop()
    problem(client.post("/annotate", json={"text": TEXT}), 503, "E810")
    assert not served.batcher._thread.is_alive()


def test_the_end_of_an_app_ends_its_thread():
    app = create_app(make_pipeline())
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/health").json()["status"] == "ok" and app.state.served.batcher._thread.is_alive()
    assert not app.state.served.batcher._thread.is_alive() and app.state.served.draining


def test_masks_for_boxes(client, client_with, png):
    answer = client.post("/masks", data={"boxes": json.dumps([BOX])}, files={"image": ("x", png)}).json()
    expected = client.post("/annotate", json={"text": "Ann", "image": data_uri(png)}).json()["ents"][0]
    assert answer == {"mask_rle": expected["mask_rle"], "mask_score": 0.5, "errors": []}
    outside = client.post("/masks", json={"boxes": [[900, 900, 950, 950]], "image": data_uri(png)}).json()
    assert outside["mask_rle"] is None and "[E305]" in outside["errors"][0]["message"]
    for box in (["a", 0, 0, 0], [True, 0, 9, 9], ["1", "2", "3", "4"], [1, 2, 3], {"x": 1}, None):
        problem(client.post("/masks", json={"boxes": [box], "image": data_uri(png)}), 422, "E006")
    for boxes in ([], [BOX] * 101, None, "x", {"0": BOX}):
        problem(client.post("/masks", json={"boxes": boxes, "image": data_uri(png)}), 422, "E806")
    assert client.post("/masks", json={"boxes": [BOX] * 100, "image": data_uri(png)}).status_code == 200
    problem(client.post("/masks", json={"boxes": [BOX]}), 422, "E806")
    none = client_with(pipeline=make_pipeline(segmenter=False))
    problem(none.post("/masks", json={"boxes": [BOX], "image": data_uri(png)}), 501, "E812")
    assert none.get("/session").json()["segmenter"] is False


def test_exports_name_the_picture_and_no_folder(client, png):
    post = client.post("/annotate", json={"id": "p/1", "text": TEXT, "image": data_uri(png)}).json()
    fields = {"post": json.dumps(post), "name": '../x/my "cat".png'}
    names = {}
    for kind in client.get("/session").json()["downloads"]:
        answer = client.post(f"/export/{kind}", data=fields, files={"image": ("x", png)})
        assert answer.status_code == 200, answer.text
        names[kind] = answer.headers["content-disposition"]
        assert b"/tmp" not in answer.content and b"rivega-" not in answer.content
        if kind == "png":
            assert answer.content.startswith(b"\x89PNG")
        elif kind == "coco":
            coco = answer.json()
            assert coco["images"][0]["file_name"] == 'my "cat".png' and coco["annotations"][0]["bbox"] == [32, 40, 128, 140]
        elif kind == "labelme":
            assert answer.json()["imagePath"] == 'my "cat".png' and answer.json()["shapes"][0]["label"] == "Ann"
        elif kind == "label-studio":
            assert answer.content.startswith(b"PK")
    assert names["coco"].endswith("p1.coco.json") and names["csv"].endswith(".csv")
    for kind in names:
        faulty = {"post": {"text": TEXT, "ents": [[0, 999, "PER"]]}, "image": data_uri(png)}
        problem(client.post(f"/export/{kind}", json=faulty), 422, "E012")
    problem(client.post("/export/docbin", files=form(**fields)), 404)
    problem(client.post("/export/png", files=form(**fields)), 422, "E600")
    problem(client.post("/export/coco", files=form(post="3")), 422, "E806")


@pytest.mark.parametrize(
    "name",
    [
        '=HYPERLINK("http://a.b/").png',
        '=HYPERLINK("a").png',
        "+1.png",
        "-1.png",
        "@x.png",
        'a","=1+1.png',
        "a\n=1.png",
        "<b>\u202e&.png",
        "a\\",
    ],
)
def test_the_name_of_a_picture_stays_a_name(client, png, name):
    post = client.post("/annotate", json={"text": TEXT, "image": data_uri(png)}).json()
    fields = {"post": json.dumps(post), "name": name}
    wanted = name.replace("\\", "/").rsplit("/", 1)[-1] or None

    def exported(form):
        return client.post(f"/export/{form}", data=fields, files={"image": ("x", png)})

    rows = list(csv.DictReader(io.StringIO(exported("csv").text, newline="")))
    cells = {row["image"] for row in rows}
    assert len(cells) == 1 and not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    assert exported("coco").json()["images"][0]["file_name"] in (wanted, from_cell(cells.pop()))
    assert {item["type"] for item in exported("web-annotation").json()["items"]} == {"Annotation"}


def test_a_name_of_half_a_character_is_repaired(client):
    body = json.dumps({"post": {"text": "Ann"}, "name": "\ud800.png", "image": data_uri(encoded())})
    answer = client.post("/export/coco", content=body, headers={"content-type": "application/json"})
    assert answer.json()["images"][0]["file_name"] == "\ufffd.png"


def test_pictures_that_browsers_do_not_know_are_shown(client):
    answer = client.post("/preview", files={"image": ("x.tif", encoded("TIFF"))})
    assert answer.headers["content-type"] == "image/jpeg" and answer.content.startswith(b"\xff\xd8")
    problem(client.post("/preview", files={"image": ("x.tif", b"II*\x00")}), 422, "E003")


def test_health_metrics_and_openapi(client, png):
    assert client.get("/health").json() == {"status": "ok", "version": client.app.version, "pipeline": "rivega_tiny 1.0"}
    client.post("/annotate", json=[{"text": TEXT}, {"text": "FAIL"}])
    client.get("/nowhere/at/all")
    client.request("BREW", "/annotate")
    lines = client.get("/metrics").text.splitlines()
    assert 'rivega_requests_total{method="POST",path="/annotate",status="200"} 1' in lines
    assert "rivega_posts_total 2" in lines and "rivega_posts_with_errors_total 1" in lines
    assert 'rivega_batch_posts_bucket{le="+Inf"} 1' in lines
    assert not any("nowhere" in line or "BREW" in line for line in lines), (
        "paths and methods that others make up are not counted one by one"
    )
    assert 'rivega_requests_total{method="other",path="/annotate",status="405"} 1' in lines
    names = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert all(re.sub("_(bucket|count|sum)$", "", name) in kinds for name in names)
    api = client.get("/openapi.json").json()
    assert {"/annotate", "/masks", "/export/{form}", "/health", "/metrics"} <= set(api["paths"])
    body = api["paths"]["/annotate"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}


def test_types_to_choose_from(client, client_with):
    assert client.get("/session").json()["labels"] == ["LOC", "ORG", "PER"]
    assert client_with(labels=["PET", "PER"]).get("/session").json()["labels"] == ["LOC", "ORG", "PER", "PET"]


@pytest.mark.slow
def test_the_vocabulary_keeps_no_words_of_posts(client_with, png):
    nlp = make_pipeline()
    client = client_with(pipeline=nlp)
    row = {"text": "Ann", "ents": [{"start": 0, "end": 3, "label": "PER", "boxes": [BOX]}]}

    def ask(number):
        word = f"word{number}"
        assert client.post("/annotate", json={"text": f"{word} {TEXT}", "image": data_uri(png)}).json()["text"].startswith(word)
        rows = client.post("/annotate", json=[{"text": f"{word} Rio"}, {"text": 5, "id": word}, {"text": f"FAIL {word}"}]).json()
        assert rows[0]["ents"][0]["text"] == "Rio" and rows[2]["errors"]
        assert client.post("/masks", json={"image": data_uri(png), "boxes": [BOX]}).json()["mask_rle"]
        sent = {"post": {**row, "text": f"Ann {word}"}, "image": data_uri(png)}
        assert client.post("/export/coco", json=sent).status_code == 200

    ask("first")
    before = len(nlp.vocab.strings)
    for number in range(10):
        ask(number)
    assert len(nlp.vocab.strings) == before
