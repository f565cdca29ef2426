"""What is sent to do harm: heads that lie, paths that climb, bodies that swell, and clients that neither send nor read."""

import gzip
import json
import os
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.testclient import TestClient

from rivega_spacy.post.jsonl import dump_line
from rivega_spacy.serve.correcting import CorrectionQueue
from rivega_spacy.serve.guard import Guard
from rivega_spacy.serve.limits import Limits
from rivega_spacy.serve.metrics import Metrics

from .conftest import encoded, wait_for
from .test_api import data_uri, problem
from .test_correcting import Process, pipeline  # noqa: F401

BODY = b'{"text": "Ann"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def server(pipeline, tmp_path_factory):  # noqa: F811
    """A server whose queue has a picture larger than what lies between two programs, and short limits."""
    folder = tmp_path_factory.mktemp("queue")
    (folder / "a.jpg").write_bytes(encoded("JPEG") + bytes(24_000_000))
    (folder / "posts.jsonl").write_text(
        "".join(dump_line({"text": f"Ann {n}", "image": "a.jpg"}) for n in range(400)), encoding="utf8"
    )
    server = Process(pipeline, "--queue", folder / "posts.jsonl", "--body-seconds", 4, "--seconds", 5, "--max-bytes", 1_000_000)
    server.saved = folder / "posts.corrected.jsonl"
    yield server
    assert server.end(signal.SIGTERM)[0] == 0


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def ask(server, sent):
    """Status and body of the first answer, and how many answers there were."""
    with connect(server) as sock:
        got = b""
        try:
            sock.sendall(sent)
            while part := sock.recv(65536):
                got += part
        except ConnectionError:  # the server has answered and closed before everything was sent
            pass
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head[9:12] or 0), head.lower(), body, got.count(b"\r\ncontent-security-policy:")


def post(headers, body=BODY, host=b"localhost", keep=False):
    close = b"" if keep else b"Connection: close\r\n"
    return (
        b"POST /annotate HTTP/1.1\r\nHost: " + host + b"\r\nContent-Type: application/json\r\n" + close + headers + b"\r\n" + body
    )


NEXT = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEADS = {
    "two lengths that differ": post(LENGTH + b"Content-Length: 3\r\n"),
    "a length with a sign": post(b"Content-Length: +15\r\n"),
    "a negative length": post(b"Content-Length: -15\r\n"),
    "a hexadecimal length": post(b"Content-Length: 0xf\r\n"),
    "a length of thousands of digits": post(b"Content-Length: " + b"9" * 4000 + b"\r\n"),
    "a length in another script": post(b"Content-Length: \xb2\r\n"),
    "a length and chunks": post(LENGTH + CHUNKED, CHUNKS, keep=True) + NEXT,
    "a short length and chunks": post(b"Content-Length: 4\r\n" + CHUNKED, CHUNKS, keep=True) + NEXT,
    "chunks and a length": post(CHUNKED + b"Content-Length: 0\r\n", CHUNKS, keep=True) + NEXT,
    "chunks of chunks": post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS),
    "chunks under another name": post(b"Transfer-Encoding: xchunked\r\n", CHUNKS),
    "chunks behind a blank": post(b"Transfer-Encoding : chunked\r\n", CHUNKS),
    "compressed chunks": post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS),
    "a chunk of no number": post(CHUNKED, b"zz\r\n" + BODY),
    "a chunk of a negative number": post(CHUNKED, b"-f\r\n" + BODY),
    "a chunk larger than the world": post(CHUNKED, b"f" * 30 + b"\r\n" + BODY),
    "NUL in a value": post(LENGTH + b"X: a\0b\r\n"),
    "CR in a value": post(LENGTH + b"X: a\rb\r\n"),
    "a line break in a value": post(LENGTH + b"X: a\nContent-Length: 2\r\n"),
    "a control character in a name": post(LENGTH + b"X\x01: a\r\n"),
    "a header without a colon": post(LENGTH + b"hello\r\n"),
    "a header without a name": post(LENGTH + b": a\r\n"),
    "a megabyte of a header": post(LENGTH + b"X: " + b"a" * 1_000_000 + b"\r\n"),
    "a hundred thousand headers": post(LENGTH + b"X: a\r\n" * 100_000),
    "two hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "HTTP of 1991": b"GET /health\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "bytes that are no ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a path with a blank": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.slow
def test_heads_that_lie_are_refused_and_nothing_behind_them_is_read(server):
    for kind, sent in HEADS.items():
        status, head, body, count = ask(server, sent)
        assert status == 400 and count == 1, (kind, status, body)
        assert b"content-type: application/problem+json" in head and b"[E970]" in body and b"connection: close" in head, kind
    # The same length twice is one length, and chunks alone are a body.
    for sent in (post(LENGTH * 2), post(CHUNKED, CHUNKS), post(LENGTH + b"X: \xff\r\n"), post(LENGTH + b"Upgrade: h2c\r\n")):
        assert ask(server, sent)[0] == 200


EXTENDED = b'%x;a=b;c="d"\r\n%s\r\n0;e\r\nContent-Length: 3\r\nHost: evil.example\r\n\r\n' % (len(BODY), BODY)


@pytest.mark.slow
def test_what_is_odd_and_allowed_is_answered_once_and_in_order(server):
    # Requests that do not wait for answers, chunks with extensions, and headers behind them, which are none of the request's.
    sent = b"".join(post(b"Content-Length: %d\r\n" % (15 + n), b'{"text": "Ann%s"}' % (b"!" * n), keep=True) for n in range(9))
    status, _, body, count = ask(server, sent + post(CHUNKED, EXTENDED, keep=True) + NEXT)
    assert (status, count) == (200, 11)
    found = [body.find(b'"text": "Ann%s"' % (b"!" * n)) for n in range(9)]
    assert found == sorted(found) and found[0] >= 0
    assert ask(server, post(CHUNKED, EXTENDED))[0] == 200
    with connect(server) as sock:
        sock.sendall(post(LENGTH + b"Expect: 100-continue\r\n", b""))
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")
        sock.sendall(BODY)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    # HTTP of 1996 has no chunks and may name no host, which is none of the server's names.
    old = post(LENGTH).replace(b"HTTP/1.1", b"HTTP/1.0")
    assert ask(server, old)[0] == 200 and ask(server, old.replace(b"Host: localhost\r\n", b""))[0] == 421
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for path in (b"/", b"/annotate", b"/queue/1"):
        status, head, _, _ = ask(server, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + upgrade + b"\r\n" + NEXT)
        assert status in (200, 405) and b"upgrade" not in head, path


HOSTS = (
    b"evil.example", b"evil.example@localhost", b"localhost@evil.example", b"localhost/evil", b"localhost?", b"localhost#", b"localhost:abc",
    b"localhost:999999", b"localhost, evil.example", b"localhost localhost", b"[::1", b"[::1]x", b"127.0.0.1\\@evil.example", b"0x7f.1",
    b"2130706433", b"\xff", b"a" * 20_000, b"",
)  # fmt: skip


@pytest.mark.slow
def test_absurd_hosts_are_none_of_the_servers_names(server):
    for host in HOSTS:
        status, _, body, _ = ask(server, post(LENGTH, host=host))
        assert status == 421 and b"[E801]" in body, host
    for host in (b"localhost", b"LOCALHOST:80", b"127.0.0.1:8765", b"[::1]:80"):
        assert ask(server, post(LENGTH, host=host))[0] == 200, host


PATHS = (
    b"/static/../app.py", b"/static/%2e%2e/app.py", b"/static/%2e%2e%2fapp.py", b"/static/..%2fapp.py", b"/static/..%5capp.py",
    b"/static/%252e%252e/app.py", b"/static/....//app.py", b"/static/main.js/../../app.py", b"/static/%00", b"/static/main.js%00.png",
    b"/static//etc/passwd", b"/static/%2fetc%2fpasswd", b"/static///etc/passwd", b"//etc/passwd", b"//evil.example/docs/", b"//static//main.js",
    b"/static/" + b"a" * 5000, b"/static/" + b"a/" * 5000, b"/" + b"a" * 30_000, b"/" + b"%41" * 9000, b"/static", b"/docs/", b"/queue/1/",
    b"/queue/%00", b"/queue/1%00", b"/queue/..%2f1", b"/queue/" + b"9" * 5000, b"/queue/-1", b"/queue/1e3", b"/queue/0x1", b"/queue/%D9%A1",
    b"http://localhost/health", b"http://evil.example/health", b"file:///etc/passwd", b"*", b"localhost:80", b"health", b"/%", b"/%zz",
    b"/%ff%fe", b"/%c0%ae%c0%ae/etc/passwd", b"/health;x", b"/health#x", b"/HEALTH",
)  # fmt: skip


@pytest.mark.slow
def test_paths_that_climb_find_nothing(server):
    for path in PATHS:
        status, head, body, _ = ask(server, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status in (404, 422) and b"application/problem+json" in head and b"location:" not in head, (path, status, body)
        assert len(body) < 2000 and b"create_app" not in body and b"root:" not in body, path
    for method in (b"TRACE", b"CONNECT", b"DELETE", b"OPTIONS", b"A" * 5000):
        status, head, _, _ = ask(server, method + b" /annotate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status == 405 and b"\r\nallow: post" in head


def test_a_path_with_a_nul_reaches_no_file_system():
    async def app(scope, receive, send):
        open(scope["path"])  # as older versions of Starlette do: ValueError

    client = TestClient(Guard(app, Limits(), (), Metrics()), base_url="http://localhost")
    assert client.get("/static/%00").json() == {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "Not Found"}


def drip(server, sent, seconds):
    """What comes for bytes that are sent one at a time; each comes soon, the whole would take longer than that."""
    with connect(server) as sock:
        began = time.monotonic()
        try:
            while time.monotonic() - began < seconds:
                sock.sendall(sent[:1])
                sent = sent[1:] or b" "
                time.sleep(0.05)
        except OSError:
            return time.monotonic() - began
    return None


@pytest.mark.slow
def test_whoever_drips_is_given_up(server):
    head = b"POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n"
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda sent: drip(server, sent, 60), [head + b"X: ", head + b"\r\n", head + CHUNKED]))
    assert all(seconds is not None for seconds in found), found


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="descriptors of another process are read from /proc")


@pytest.mark.slow
@needs_proc
def test_whoever_does_not_read_is_given_up(server):
    httpx.get(f"{server.url}/health", timeout=60)
    wait_for(lambda: descriptors(server) <= 40)
    before = descriptors(server)
    socks = [connect(server) for _ in range(8)]
    for sock in socks:
        sock.sendall(b"GET /queue/1/picture HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: descriptors(server) >= before + 8)
    wait_for(lambda: descriptors(server) <= before + 1, "the connections stay open though nobody reads")
    for sock in socks:
        sock.close()
    # Whoever reads slowly, but reads, gets all of it.
    with connect(server) as sock:
        sock.sendall(b"GET /queue/1/picture HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        got = 0
        while part := sock.recv(400_000):
            got += len(part)
            time.sleep(0.05)
    assert got > 24_000_000


def resident(server):
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@needs_proc
def test_thousands_of_small_connections_leave_nothing(server):
    def one(number):
        sent = (
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            post(LENGTH),
            HEADS["NUL in a value"],
            post(b"Content-Length: 1073741824\r\nExpect: 100-continue\r\n"),
            b"GET /hea",
        )[number % 5]
        with connect(server) as sock:
            sock.sendall(sent)
            return sock.recv(12) if number % 5 < 4 else b""

    def round_of(count):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(one, range(count)))
        for place, status in enumerate((b"200", b"200", b"400", b"413")):
            assert {got[9:] for got in found[place::5]} == {status}
        wait_for(lambda: descriptors(server) <= before)
        return resident(server)

    httpx.get(f"{server.url}/health", timeout=60)
    wait_for(lambda: descriptors(server) <= 40)
    before = descriptors(server)
    first = round_of(500)
    assert round_of(2500) - first < 20_000_000
    assert len(os.listdir(f"/proc/{server.process.pid}/task")) < 64


@pytest.mark.slow
def test_kill_9_amid_saving_loses_nothing_that_was_acknowledged(server, pipeline, tmp_path):  # noqa: F811
    posts = tmp_path / "posts.jsonl"
    posts.write_text("".join(dump_line({"text": f"Ann {number}"}) for number in range(400)), encoding="utf8")
    killed = Process(pipeline, "--queue", posts)
    acknowledged = []

    def save(start):
        with httpx.Client(base_url=killed.url, timeout=60) as http:
            for number in range(start, 401, 4):
                try:
                    answer = http.put(f"/queue/{number}", json={"ents": [[0, 3, "PER"]], "revision": 0})
                except httpx.HTTPError:
                    return
                if answer.status_code == 200:
                    acknowledged.append(number)

    threads = [threading.Thread(target=save, args=(start,)) for start in range(1, 5)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(acknowledged) >= 12)
    killed.end(signal.SIGKILL)
    for thread in threads:
        thread.join()
    rows = [json.loads(line) for line in (tmp_path / "posts.corrected.jsonl").read_text(encoding="utf8").splitlines()]
    assert set(acknowledged) <= {row["queue_number"] for row in rows} and 12 <= len(acknowledged) < 400
    assert all(len(row["ents"]) == 1 for row in rows)


@pytest.mark.parametrize("filler", [b"[],", b"{},", b"0,", b"[[[[[]]]]],", b'{"a":{"a":{}}},'])
def test_a_body_of_very_many_values_is_not_read(client, filler):
    body = (
        b'{"text": "Ann", "more": [' + filler * (1_000_001 // sum(filler.count(sign) for sign in (b",", b"[", b"{")) + 1) + b"0]}"
    )
    problem(client.post("/annotate", content=body, headers={"content-type": "application/json"}), 413, "E971")
    problem(client.post("/annotate", files={"text": (None, "Ann"), "ents": (None, body)}), 413, "E971")


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "gzip, identity", "x" * 5000])
def test_compressed_bodies_are_not_unpacked(client, coding):
    body = gzip.compress(b'{"text": "Ann"}')
    headers = {"content-type": "application/json", "content-encoding": coding}
    problem(client.post("/annotate", content=body, headers=headers), 415, "E979")
    problem(client.post("/annotate", files={"text": (None, "Ann")}, headers={"content-encoding": coding}), 415, "E979")
    answer = client.post("/annotate", content=b'{"text": "Ann"}', headers={**headers, "content-encoding": " Identity"})
    assert answer.status_code == 200


FAULTY = [{"size": [200, 320], "counts": [5, number % 100]} for number in range(4000)]


@pytest.mark.parametrize(
    "field, value", [("masks", FAULTY), ("boxes", FAULTY), ("boxes", [[number, 0, 0, 9] for number in range(9000)])]
)
def test_one_entity_with_thousands_of_faulty_marks_is_soon_answered(client, field, value):
    # Each was told with the start of all of them, for which all of them were written out: ten minutes for two megabytes.
    ent = {"start": 0, "end": 3, "label": "PER", field: value}
    began = time.process_time()
    row = client.post("/annotate", json={"text": "Ann", "ents": [ent]}).json()
    assert len(row["errors"]) == 1 and "[E447]" in row["errors"][0]["message"]
    problem(client.post("/export/csv", json={"post": {"text": "Ann", "ents": [ent]}}), 422, "E603")
    assert time.process_time() - began < 5


@pytest.mark.parametrize("item", [None, {"id": "x"}, {"text": 5}])
def test_lists_of_what_is_no_post_keep_nobody_waiting(client, item):
    # A pipeline of its own was made for each, half a second for ten, while no other request was heard.
    client.post("/annotate", json=[item])
    began = time.process_time()
    for _ in range(5):
        rows = client.post("/annotate", json=[item] * 64).json()
        assert len(rows) == 64 and all("[E806]" in row["errors"][-1]["message"] for row in rows)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "utf-7", "utf-16", "zip", "x" * 10_000, "\x7f", "é"])
@pytest.mark.slow
def test_forms_are_utf_8(client, charset):
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nAnn \xff\xc3\xa9\r\n--x--\r\n'
    for name in ("charset", "CHARSET", "charset*0"):
        kind = f"multipart/form-data; {name}={charset}; boundary=x".encode()
        answer = client.post("/annotate", content=body, headers={"content-type": kind})
        assert answer.status_code == 200 if name == "charset*0" else problem(answer, 415, "E805")
    answer = client.post("/annotate", content=body, headers={"content-type": "multipart/form-data; boundary=x; charset=UTF-8"})
    assert answer.json()["text"].startswith("Ann ")


FORM = b'--x\r\nContent-Disposition: form-data; name="text"'
FORMS = {
    "line breaks before it": b"\r\n" * 1_000_000,
    "dashes before it": b"--" * 1_000_000,
    "nearly its boundary": FORM + b"\r\n\r\n" + b"\r\n--" * 500_000,
    "returns": FORM + b"\r\n\r\n" + b"\r" * 2_000_000,
    "headers of a part": b"--x\r\n" + b"A: b\r\n" * 300_000,
    "the name of a header": b"--x\r\n" + b"A" * 2_000_000,
    "parameters": FORM + b"; a=b" * 400_000 + b"\r\n\r\nx\r\n--x--",
    "quotes": FORM[:-5] + b'\\"' * 500_000 + b'"\r\n\r\nx\r\n--x--',
    "parts": (FORM + b"\r\n\r\nb\r\n") * 30_000 + b"--x--",
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_made_to_take_long_is_soon_refused(client, kind):
    began = time.process_time()
    answer = client.post("/annotate", content=FORMS[kind], headers={"content-type": "multipart/form-data; boundary=x"})
    # It takes a tenth of a second at most; parsers that go back over what they have seen would take minutes.
    assert answer.status_code in (400, 422) and time.process_time() - began < 10


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/queue/file"])
@pytest.mark.slow
def test_files_are_sent_whole_whatever_ranges_are_asked_for(client_with, tmp_path, path):
    (tmp_path / "posts.jsonl").write_text(dump_line({"text": "Ann " * 10_000, "ents": []}), encoding="utf8")
    client = client_with(queue=CorrectionQueue(tmp_path / "posts.jsonl", tmp_path / "c.jsonl"))
    assert client.put("/queue/1", json={"ents": [], "revision": 0}).status_code == 200
    whole = client.get(path)
    began = time.process_time()
    for ranges in ("0-1", "-5", ",".join(f"{2 * n}-{2 * n}" for n in range(6000)), ",".join(["0-"] * 15_000), "0-" + "9" * 60_000):
        answer = client.get(path, headers={"Range": f"bytes={ranges}", "If-Range": whole.headers["etag"]})
        assert (answer.status_code, answer.content) == (200, whole.content) and "accept-ranges" not in answer.headers
    assert time.process_time() - began < 1


def test_a_megabyte_of_text_goes_nowhere_without_leave(client, client_with, png):
    row = {"text": "Ann " * 250_000, "ents": [[0, 3, "PER"]]}
    began = time.process_time()
    problem(client.post("/annotate", json=row), 413, "E807")
    for form in client.get("/session").json()["downloads"]:
        problem(client.post(f"/export/{form}", json={"post": row, "image": data_uri(png)}), 413, "E807")
    assert time.process_time() - began < 10


@pytest.mark.slow
def test_with_leave_a_megabyte_of_text_is_annotated_and_exported(client_with, png):
    client = client_with(text=2_000_000, seconds=600)
    row = client.post("/annotate", json={"text": "Ann " + ("word" * 25 + " ") * 9_800 + "Rio"}).json()
    assert [ent["end"] for ent in row["ents"]] == [3, 989_807]
    row["ents"].append({"start": 4, "end": 8, "label": "P" * 200_000})
    for form in client.get("/session").json()["downloads"]:
        began = time.process_time()
        answer = client.post(f"/export/{form}", json={"post": row, "image": data_uri(png)})
        assert answer.status_code == 200, (form, answer.text[:200])
        assert time.process_time() - began < 60


def test_a_long_text_of_the_queue_is_exported(client_with, tmp_path):
    posts = tmp_path / "posts.jsonl"
    posts.write_text(dump_line({"text": "Ann " * 10_000, "ents": [[0, 3, "PER"]]}), encoding="utf8")
    client = client_with(queue=CorrectionQueue(posts, tmp_path / "c.jsonl"))
    post = client.get("/queue/1").json()["post"]
    assert client.post("/export/csv", json={"post": post, "number": 1}).status_code == 200
    problem(client.post("/export/csv", json={"post": {**post, "text": post["text"] + "x"}, "number": 1}), 413, "E807")
    problem(client.post("/export/csv", json={"post": post, "number": 9}), 404, "E817")
    problem(client.post("/export/csv", json={"post": post}), 413, "E807")
