"""Hours of mixed load: does memory stay flat, are descriptors given back, does the speed hold?

    python benchmarks/soak.py rivega_twitter --minutes 60 --every 120 --out soak.jsonl

Two processes: this one annotates chunks of posts within spaCy's `memory_zone`, as jobs do, and asks a `rivega serve` in between. Of the posts,
two in three are good, with a picture that was not there before and words that nobody wrote before; the others have damaged pictures, halves
of characters, entities that fit nothing, no text, megabytes of blanks, or are no posts at all. The server also gets requests that break
off, bodies that are no JSON, and pictures to mask, to export and to preview. A line for each interval: resident memory, open descriptors,
threads, decoded pictures kept (their cache has a bound, and memory grows until it is reached), strings in the vocabulary, posts a second of processor time (other work on the machine comes and goes). At the end the drift of the
second half.
"""

import argparse
import base64
import gc
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.jobs.bulk.annotating import AnnotateWork, Annotator
from rivega_spacy.pipes.loading import load_pipeline
from rivega_spacy.post.images import kept_bytes, read_image

DEMO = Path("assets/demo/posts.jsonl")
CHUNK = 16


class Posts:
    """Posts that never repeat. seed (int): The same seed gives the same posts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        posts = [row for _, row in read_json_lines(DEMO)]
        self.seeds = [(post["text"], read_image(DEMO.parent / post["image"])) for post in posts if post.get("image")]

    def good(self) -> dict[str, Any]:
        """A demo post with a new word in it and a new cut of its photograph."""
        text, picture = self.random.choice(self.seeds)
        height, width = picture.shape[:2]
        top, left = self.random.randrange(height // 8), self.random.randrange(width // 8)
        buffer = io.BytesIO()
        cut = Image.fromarray(np.ascontiguousarray(picture[top:, left:]))
        cut.thumbnail((640, 640))
        cut.save(buffer, "JPEG", quality=self.random.randrange(60, 95))
        return {"text": f"{text} {self._word()} {self._word()}", "image": buffer.getvalue()}

    def bad(self) -> Any:
        """Something that is wrong with a post."""
        post = self.good()
        damaged = bytearray(post["image"])
        for _ in range(20):
            damaged[self.random.randrange(len(damaged))] = self.random.randrange(256)
        return self.random.choice(
            [
                {**post, "image": bytes(damaged)},
                {**post, "image": post["image"][: len(post["image"]) // 3]},
                {**post, "image": self.random.randbytes(2000)},
                {**post, "text": "\ud83d" + post["text"] + "\udfff\u202e\0"},
                {**post, "ents": [[5, 2, "PER"], "Ann", [0, 10**9, 7]]},
                {**post, "text": None},
                {**post, "text": " " * 15_000 + self._word()},
                {"text": "".join(chr(self.random.randrange(0x20, 0xD800)) for _ in range(300))},
                {"no": "post"},
            ]
        )

    def some(self, count: int) -> list[Any]:
        """Posts, a third of them bad."""
        return [self.good() if self.random.random() < 2 / 3 else self.bad() for _ in range(count)]

    def _word(self) -> str:
        return f"{self.random.choice(('Zar', 'Kel', 'Mo', 'Tri'))}{self.random.randrange(10**9):x}"


class Server:
    """`rivega serve` as a process of its own."""

    def __init__(self, pipeline: str) -> None:
        command = [sys.executable, "-m", "rivega_spacy", "serve", pipeline, "--port", "0"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if " at http" in line)
        self.url = line.split(" at ")[1].split(" ")[0]
        self.http = httpx.Client(base_url=self.url, timeout=120)

    def ask(self, post: Any, rng: random.Random) -> str:
        """Send a post in one of many ways. RETURNS (str): Path and status."""
        kind = rng.randrange(12)
        if kind == 0:
            return self._break_off()
        if kind == 1:
            return self._post("annotate", content=rng.randbytes(3000), headers={"content-type": "application/json"})
        sent = _as_json(post)
        picture = sent.get("image") if isinstance(sent, dict) else None
        if kind == 2 and picture:
            return self._post("masks", json_of={"image": picture, "boxes": [[10, 10, 120, 150]]})
        if kind == 3 and picture:
            return self._post("preview", json_of={"image": picture})
        if kind == 4 and picture:
            row = {"text": "Ann in Rio", "ents": [{"start": 0, "end": 3, "label": "PER", "boxes": [[5, 5, 60, 70]]}]}
            form = rng.choice(("png", "coco", "labelme", "csv"))
            return self._post(f"export/{form}", json_of={"post": row, "image": picture})
        if kind == 5:
            return self._post("annotate", json_of=[sent, {"text": "Grace Hopper"}, 5])
        return self._post("annotate", json_of=sent)

    def _post(self, path: str, *, json_of: Any = None, **given: Any) -> str:
        if json_of is not None:  # escaped, since halves of characters have no UTF-8
            given = {"content": json.dumps(json_of), "headers": {"content-type": "application/json"}}
        answer = self.http.post(path, **given)
        return f"{path.split('/')[0]} {answer.status_code}"

    def _break_off(self) -> str:
        host, port = self.url.removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(
                b"POST /annotate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
            )
        return "broken off"

    def kept(self) -> float:
        """MB of decoded pictures that it keeps."""
        name = "rivega_picture_cache_bytes "
        lines = self.http.get("metrics").text.splitlines()
        return round(float(next(line for line in lines if line.startswith(name))[len(name) :]) / 1e6, 1)

    def end(self) -> int:
        """Stop it. RETURNS (int): Its exit status."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def _as_json(post: Any) -> Any:
    if not isinstance(post.get("image"), bytes):
        return json.loads(json.dumps(post))
    return {**post, "image": base64.b64encode(post["image"]).decode()}


def state_of(process: psutil.Process) -> dict[str, float]:
    """Resident MB, open descriptors and threads."""
    with process.oneshot():
        return {
            "mb": round(process.memory_info().rss / 1e6, 1),
            "descriptors": process.num_fds(),
            "threads": process.num_threads(),
        }


def drift(rows: list[dict[str, Any]], who: str, what: str) -> float:
    """Slope of the second half of the intervals, an hour."""
    half = rows[len(rows) // 2 :]
    if len(half) < 2:
        return 0.0
    hours = [row["seconds"] / 3600 for row in half]
    return float(np.polyfit(hours, [row[who][what] for row in half], 1)[0])


def main() -> None:
    """Print and keep a line an interval, then the drift."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=120, help="seconds of an interval")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON lines, one an interval")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    posts, rng = Posts(args.seed), random.Random(args.seed + 1)
    nlp = load_pipeline(args.pipeline)
    annotator = Annotator(nlp, AnnotateWork(args.pipeline))
    server = Server(args.pipeline)
    me, it = psutil.Process(), psutil.Process(server.process.pid)
    rows: list[dict[str, Any]] = []
    answers: Counter[str] = Counter()
    total: Counter[str] = Counter()
    begun = mark = time.monotonic()
    done: Counter[str] = Counter()
    spent = {"annotate": 0.0, "serve": 0.0}
    try:
        while time.monotonic() - begun < 60 * args.minutes:
            given = posts.some(CHUNK)
            started = time.process_time()
            found = annotator.rows(given)
            if len(found) != len(given):
                raise SystemExit(f"{len(given)} posts became {len(found)}")
            spent["annotate"] += time.process_time() - started
            done["annotate"] += len(found)
            total["with errors"] += sum(bool(row["errors"]) for row in found)
            given = posts.some(CHUNK)
            started = sum(it.cpu_times()[:2])
            for post in given:
                answers[server.ask(post, rng)] += 1
            spent["serve"] += sum(it.cpu_times()[:2]) - started
            done["serve"] += len(given)
            if time.monotonic() - mark >= args.every:
                mark = time.monotonic()
                gc.collect()
                row = {
                    "seconds": round(mark - begun),
                    "annotate": {
                        **state_of(me),
                        "kept mb": round(kept_bytes() / 1e6, 1),
                        "strings": len(nlp.vocab.strings),
                        "posts/s": round(done["annotate"] / spent["annotate"], 2),
                    },
                    "serve": {**state_of(it), "kept mb": server.kept(), "posts/s": round(done["serve"] / spent["serve"], 2)},
                }
                rows.append(row)
                total.update(done)
                done, spent = Counter(), dict.fromkeys(spent, 0.0)
                print(json.dumps(row), flush=True)
                if args.out is not None:
                    args.out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    finally:
        status = server.end()
    print(f"posts: {dict(total)}; answers: {dict(sorted(answers.items()))}; status of the server at SIGTERM: {status}")
    for who in ("annotate", "serve"):
        for what in ("mb", "kept mb", "descriptors", "threads", "posts/s"):
            values = [row[who][what] for row in rows]
            if values:
                print(
                    f"{who} {what}: {values[0]} first, {values[-1]} last, {max(values)} most; second half {drift(rows, who, what):+.2f} an hour"
                )


if __name__ == "__main__":
    main()
