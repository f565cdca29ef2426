"""A real server: many clients at once, clients that send too much or too slowly, and the end of a server that is at work."""

import asyncio
import gc
import json
import os
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rivega_spacy.cli import main
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.limits import Limits
from rivega_spacy.serve.server import address_of, is_loopback, listen

from .conftest import encoded, wait_for
from .test_api import slow  # noqa: F401
from .test_correcting import Process, pipeline  # noqa: F401

pytestmark = pytest.mark.slow
TEXT = "Ann met Rio at the Zoo"
# httpx gives up after five seconds if it is not told otherwise.
CLIENT = httpx.Client(timeout=60)


@pytest.fixture(scope="module")
def server(pipeline):  # noqa: F811
    server = Process(pipeline, "--body-seconds", 4, "--max-bytes", 1_000_000)
    yield server
    server.end(signal.SIGTERM)


def memory(server):
    """Resident bytes of the server's process."""
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


@pytest.mark.slow
def test_32_clients_get_each_its_own_answer(server):
    picture = encoded("JPEG")

    async def client(http, name):
        for number in range(6):
            fields = {"id": f"{name}-{number}", "text": f"{name} {number} Ann in Rio"}
            answer = await http.post("/annotate", data=fields, files={"image": ("x.jpg", picture)})
            row = answer.json()
            assert answer.status_code == 200 and row["id"] == fields["id"] and row["text"] == fields["text"]
            assert [(ent["text"], ent["start"]) for ent in row["ents"]] == [
                ("Ann", len(f"{name} {number} ")),
                ("Rio", len(f"{name} {number} Ann in ")),
            ]
            bad = await http.post("/annotate", data=fields, files={"image": ("x.jpg", b"none")})
            assert bad.status_code == 422

    async def all_of_them():
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
            await asyncio.gather(*(client(http, f"client{name}") for name in range(32)))

    asyncio.run(all_of_them())
    metrics = dict(line.rsplit(" ", 1) for line in CLIENT.get(f"{server.url}/metrics").text.splitlines() if line[0] != "#")
    assert float(metrics["rivega_posts_total"]) == 192 and float(metrics["rivega_batch_posts_count"]) < 192


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory of another process is read from /proc")
def test_a_gigabyte_and_thousands_of_small_requests_take_no_memory(server):
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for _ in range(50):
            http.post("/annotate", json={"text": TEXT})
        before = memory(server)
        for _ in range(2000):
            http.get("/health")
        for _ in range(300):
            assert http.post("/annotate", json={"text": TEXT}).status_code == 200
    # What says its size is refused at once, what does not as soon as it is too much.
    for head in (b"Content-Length: 1073741824\r\n", b"Transfer-Encoding: chunked\r\n"):
        with connect(server) as sock:
            sock.sendall(b"POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + head + b"\r\n")
            try:
                for _ in range(1024):
                    sock.sendall(
                        (b"100000\r\n" if b"chunked" in head else b"") + b"x" * 0x100000 + (b"\r\n" if b"chunked" in head else b"")
                    )
            except OSError:
                pass
            assert memory(server) - before < 60_000_000
    assert CLIENT.get(f"{server.url}/health").status_code == 200


def answer_to(server, sent):
    """What comes back for bytes that are sent until the server closes the connection; a minute without either is an error."""
    with connect(server) as sock:
        sock.sendall(sent)
        got = b""
        while part := sock.recv(65536):
            got += part
        return got


def test_half_sent_requests_are_given_up(server):
    head = b"POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    with ThreadPoolExecutor(3) as pool:
        got, *others = pool.map(lambda sent: answer_to(server, sent), [head + b'{"text": "A', head[:40], b""])
    assert got.startswith(b"HTTP/1.1 408") and b"[E803]" in got and b"application/problem+json" in got
    assert others == [b"", b""]
    # Whoever answers late to one request does not lose it: only what never comes is given up.
    assert CLIENT.post(f"{server.url}/annotate", json={"text": TEXT}).status_code == 200


def gauge(server, name):
    (line,) = (line for line in CLIENT.get(f"{server.url}/metrics").text.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


def refuses(server):
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_answers_what_is_under_way_and_saves_it(pipeline, tmp_path):  # noqa: F811
    (tmp_path / "posts.jsonl").write_text(
        "".join(f'{{"text": "Ann is number {number}"}}\n' for number in range(4)), encoding="utf8"
    )
    server = Process(pipeline, "--body-seconds", 60, "--queue", tmp_path / "posts.jsonl")
    bodies = [json.dumps({"text": f"Ann is number {number}"}).encode() for number in range(3)]
    bodies.append(b'{"ents": [[0, 3, "PER"]], "revision": 0}')
    socks = [connect(server) for _ in bodies]
    for sock, body, line in zip(socks, bodies, [b"POST /annotate"] * 3 + [b"PUT /queue/4"]):
        sock.sendall(line + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        sock.sendall(b"Content-Length: %d\r\n\r\n" % len(body))
    wait_for(lambda: gauge(server, "rivega_requests_open") == 4)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: refuses(server))
    for number, (sock, body) in enumerate(zip(socks, bodies)):
        with sock:
            sock.sendall(body)
            got = b""
            while part := sock.recv(65536):
                got += part
        assert got.startswith(b"HTTP/1.1 200") and b'"Ann is number %d"' % number in got
    _, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 0 and err == ""
    (row,) = (tmp_path / "posts.corrected.jsonl").read_text(encoding="utf8").splitlines()
    assert json.loads(row)["queue_number"] == 4 and json.loads(row)["ents"][0]["label"] == "PER"


def test_nobody_works_for_a_client_that_has_gone(serving, slow, caplog):  # noqa: F811
    nlp, held = slow
    app = create_app(nlp)
    running = serving(app)
    body = b'{"text": "Ann"}'
    sent = (
        b"POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    first, second = (socket.create_connection(running.sock.getsockname()) for _ in range(2))
    first.sendall(sent)
    wait_for(lambda: held.batches == [1])
    second.sendall(sent)
    batcher = app.state.served.batcher
    wait_for(lambda: len(batcher._jobs) == 1)
    second.close()
    wait_for(lambda: batcher._jobs[0].done.cancelled())
    held.free.set()
    assert first.recv(12) == b"HTTP/1.1 200"
    first.close()
    assert CLIENT.get(f"{running.url}/health").status_code == 200 and held.batches == [1]
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]  # "exception was never retrieved"


def test_a_pipeline_that_is_stuck_keeps_no_server_from_ending(serving, slow):  # noqa: F811
    nlp, held = slow
    app = create_app(nlp, limits=Limits(seconds=0.5))
    running = serving(app)
    assert CLIENT.post(f"{running.url}/annotate", json={"text": "Ann"}).status_code == 503 and held.batches == [1]
    began = time.monotonic()
    running.stop()
    # The thread is still at work; whoever had asked has had their answer.
    assert not running.thread.is_alive() and time.monotonic() - began < 30 and app.state.served.batcher._thread.is_alive()


def test_a_port_that_is_taken_is_told(capsys):
    with listen("127.0.0.1", 0) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        assert is_loopback(sock) and address_of(sock) == f"http://127.0.0.1:{port}/"
        assert main(["serve", "--port", str(port)]) == 2
        assert f"[E819] The server cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
    for host, number in (("no.such.host.invalid", 80), ("127.0.0.1", 70000)):
        with pytest.raises(RivegaError, match="E819"):
            listen(host, number)
    with listen("0.0.0.0", 0) as sock:
        assert not is_loopback(sock)
