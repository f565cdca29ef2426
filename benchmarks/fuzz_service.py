"""Hostile lines sent to a `rivega serve` of its own, by several clients at once; see fuzz.py, which runs it.

Lines that are JSON go in lists of one to sixty-four or alone, some of the posts as forms, the others alone. Connections are kept, and some are
closed. A tenth of the posts have a picture, or something in its place. Counted as breaches: a status other than what the line calls for, a result
out of order, an answer for which the server took more than two seconds of processor time (the other clients' share included), a connection that
ends without one, anything in the server's log, descriptors that it keeps, and memory that goes on growing.
"""

import base64
import http.client
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
from fuzz_lines import answered_as_it_should, hostile_line, rules_pipeline
from PIL import Image

CLIENTS = 4
SLOW = 2.0  # seconds of the server's processor time: the machine may be doing other things
# Growth between the middle and the end of a long run that is none: what the allocator keeps comes and goes.
GROWTH = 20_000_000
_BOUNDARY = "x" * 30
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


# How a line is: a post, one whose picture is none, or no post.
WHOLE, SPOILT, NONE = "whole", "spoilt", "none"


@dataclass
class Sent:
    """A request, and what has to come back.

    body (bytes), headers (Dict[str, str]): Of POST /annotate.
    lines (List[Tuple[int, str]]): The number of each line in it, and how it is: WHOLE, SPOILT or NONE.
    status (int): Of the answer.
    listed (bool): Whether the answer is a list.
    """

    body: bytes
    headers: dict[str, str]
    lines: list[tuple[int, str]]
    status: int
    listed: bool = False


@dataclass
class Found:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    spent: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), (9, 90, 200)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _picture()
_WHOLE = base64.b64encode(PNG).decode()
# In place of a picture, and whether it is one.
PICTURES: tuple[tuple[Any, bool], ...] = (
    (f"data:image/png;base64,{_WHOLE}", True), (_WHOLE, True), (f"data:image/svg+xml;base64,{_WHOLE}", True), (None, True), ("", True),
    (f"data:image/png;base64,{_WHOLE[:40]}", False), ("/etc/passwd", False), ("file:///etc/passwd", False), ("http://127.0.0.1:1/a.png", False),
    ("data:image/png;base64,", False), ("data:,x", False), ("data:" * 500, False), ("../" * 40, False), ({"path": "/etc/passwd"}, False),
    ([1, 2], False), (10**400, False), (True, False), ("\0", False), ("\ud83d", False), (_WHOLE[:-8] + "!!!!" + _WHOLE[-4:], False),
)  # fmt: skip


def requests_of(count: int, rng: random.Random) -> Any:
    """So many lines as requests. YIELDS (Sent): One after another; a list comes when it is full."""
    waiting: list[tuple[int, bytes, str]] = []
    full = rng.randrange(1, 65)
    for number in range(count):
        line, is_post = hostile_line(number, rng)
        value = _value(line)
        kind = WHOLE if is_post else NONE
        if is_post and rng.random() < 0.1:
            picture, fits = rng.choice(PICTURES)
            line, kind = json.dumps({**value, "image": picture}).encode(), WHOLE if fits else SPOILT
        if value is _NO_JSON:
            yield Sent(line, JSON, [(number, NONE)], 400)
        elif is_post and rng.random() < 0.2:
            yield _form(number, value, rng)
        elif rng.random() < 0.3:
            yield Sent(line, JSON, [(number, kind)], 200 if kind == WHOLE else 422)
        else:
            waiting.append((number, line, kind))
        if len(waiting) == full or (waiting and number == count - 1):
            body = b"[" + b",".join(each for _, each, _ in waiting) + b"]"
            yield Sent(body, JSON, [(place, how) for place, _, how in waiting], 200, True)
            waiting, full = [], rng.randrange(1, 65)


_NO_JSON = object()


def _value(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf8"))
    except (ValueError, RecursionError):
        return _NO_JSON


def _form(number: int, post: dict[str, Any], rng: random.Random) -> Sent:
    """A post as a form; a picture that is none is refused."""
    picture = rng.choice((None, PNG, PNG, PNG[:30], b"<svg/>", b"\0"))
    fields = [("id", None, post["id"].encode()), ("text", None, post["text"].encode("utf8", "surrogatepass"))]
    if picture is not None:
        fields.append(("image", rng.choice(("a.png", "../../a", "a\\b", "")), picture))
    if rng.random() < 0.3:
        fields += [(f"own{place}", None, b"x") for place in range(rng.choice((1, 40)))]
    parts = []
    for name, file, value in fields:
        named = "" if file is None else f'; filename="{file}"'
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        parts.append(head.encode() + value + b"\r\n")
    kind = WHOLE if picture in (None, PNG) else SPOILT
    return Sent(b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode(), FORM, [(number, kind)], 200 if kind == WHOLE else 422)


def fuzz_service(count: int, seed: int) -> int:
    """Through POST /annotate. RETURNS (int): Breaches."""
    rng = random.Random(seed)
    found = Found()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules_pipeline().to_disk(folder / "rules")
        with open(folder / "log", "wb") as log:
            process = _serve(folder / "rules", log)
        try:
            address = next(line for line in process.stdout or () if " at http" in line).split("http://")[1].split("/")[0]
            watched = psutil.Process(process.pid)
            # What the first requests of each kind set up stays: threads, codecs.
            with closing(http.client.HTTPConnection(address, timeout=120)) as connection:
                for first in requests_of(64, random.Random(-1)):
                    _ask(connection, first, watched, Found(), threading.Lock())
            before = watched.memory_info().rss
            at_rest = watched.num_fds()
            memory = _send_all(count, rng, address, found, watched)
            after = watched.memory_info().rss
            spent = sum(watched.cpu_times()[:2])
            _until(lambda: watched.num_fds() <= at_rest)
            kept = watched.num_fds() - at_rest
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(120)
            if process.stdout is not None:
                process.stdout.close()
        said = (folder / "log").read_text(encoding="utf8", errors="replace")
    if said or status != 0:
        found.breaches.append(f"status {status}, log: {said[:2000]}")
    if kept > 0:
        found.breaches.append(f"{kept} descriptors more than before")
    middle = max(memory[: len(memory) // 2], default=before)
    if count >= 10_000 and after - middle > GROWTH:
        found.breaches.append(f"memory grew from {middle >> 20} MiB in the first half to {after >> 20} MiB")
    for breach in found.breaches[:50]:
        print(breach)
    slowest = max(found.seconds, default=0.0)
    print(
        f"{len(found.seconds)} requests of {CLIENTS} clients: {dict(sorted(found.statuses.items()))}; median {1000 * statistics.median(found.seconds):.0f} ms, "
        f"slowest {1000 * slowest:.0f} ms, with {1000 * found.spent:.0f} ms of processor time at most; the server: {spent:.0f} s of processor time, {before >> 20} MiB at first, {middle >> 20} MiB at most in the first "
        f"half, {after >> 20} MiB at the end, {max(kept, 0)} descriptors kept, {len(said)} letters in its log"
    )
    print(f"{count} lines: {len(found.breaches)} breaches")
    return len(found.breaches)


def _serve(pipeline: Path, log: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "rivega_spacy", "serve", str(pipeline), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)


def _send_all(count: int, rng: random.Random, address: str, found: Found, watched: psutil.Process) -> list[int]:
    """RETURNS (List[int]): The server's resident bytes, every thousand requests."""
    made = requests_of(count, rng)
    lock = threading.Lock()
    memory: list[int] = []
    taken = 0

    def client(place: int) -> None:
        nonlocal taken
        connection = http.client.HTTPConnection(address, timeout=120)
        own = random.Random(place)
        while True:
            with lock:
                some = list(islice(made, 16))
                taken += len(some)
                if taken // 1000 > len(memory):
                    memory.append(watched.memory_info().rss)
            if not some:
                break
            for sent in some:
                _ask(connection, sent, watched, found, lock)
                if own.random() < 0.02:
                    connection.close()
        connection.close()

    threads = [threading.Thread(target=client, args=(place,)) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return memory


def _ask(connection: http.client.HTTPConnection, sent: Sent, watched: psutil.Process, found: Found, lock: threading.Lock) -> None:
    started, spent = time.perf_counter(), sum(watched.cpu_times()[:2])
    wrong: list[str] = []
    status = 0
    try:
        connection.request("POST", "/annotate", body=sent.body, headers=sent.headers)
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        wrong = _wrong(sent, status, answer.headers.get("Content-Type", ""), body)
    except (OSError, http.client.HTTPException) as error:
        wrong.append(f"no answer: {error!r}")
        connection.close()
    seconds, spent = time.perf_counter() - started, sum(watched.cpu_times()[:2]) - spent
    if spent > SLOW:
        wrong.append(f"it took {spent:.1f} s")
    with lock:
        found.seconds.append(seconds)
        found.spent = max(found.spent, spent)
        found.statuses[status] += 1
        found.breaches += [f"line {sent.lines[0][0] + 1}, {sent.body[:120]!r}: {each}" for each in wrong]


def _wrong(sent: Sent, status: int, kind: str, body: bytes) -> list[str]:
    """What is wrong with an answer."""
    if status != sent.status:
        return [f"{status} {body[:200]!r}"]
    try:
        value = json.loads(body)
    except ValueError as error:
        return [f"{error}: {body[:200]!r}"]
    if status != 200:
        told = isinstance(value, dict) and value.get("status") == status and str(value.get("detail", "")).startswith("[E")
        return [] if told and kind == "application/problem+json" else [f"{kind} {body[:200]!r}"]
    rows = value if sent.listed else [value]
    if len(rows) != len(sent.lines):
        return [f"{len(rows)} results for {len(sent.lines)} lines"]
    return [f"line {number + 1}: {str(row)[:200]}" for (number, kind), row in zip(sent.lines, rows) if not _fits(number, kind, row)]


def _fits(number: int, kind: str, row: dict[str, Any]) -> bool:
    if kind != SPOILT:
        return answered_as_it_should(number, kind == WHOLE, row)
    # What is wrong with its picture costs a post of a list its picture alone.
    return bool(row["errors"]) and answered_as_it_should(number, True, {**row, "errors": row["errors"][1:]})


def _until(condition: Any) -> None:
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
