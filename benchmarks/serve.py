"""`rivega serve` under load: requests a second and p95 by clients, batching on and off, and what memory does.

python benchmarks/serve.py rivega_twitter --seconds 12 --requests 3000
"""

import argparse
import asyncio
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

from rivega_spacy.corpus.posts_jsonl import read_json_lines

DEMO = Path("assets/demo/posts.jsonl")


def start(pipeline: str, *words: str) -> tuple[subprocess.Popen, str]:
    """The server as a process of its own, and its address."""
    command = [sys.executable, "-m", "rivega_spacy", "serve", pipeline, "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    for line in process.stdout:
        if " at http" in line:
            return process, line.split(" at ")[1].split(" ")[0]
    raise SystemExit("the server did not start")


def forms(path: Path) -> list[tuple[dict[str, str], dict[str, tuple[str, bytes]]]]:
    """Requests of posts with their pictures."""
    posts = [row for _, row in read_json_lines(path)]
    return [
        ({"text": post["text"]}, {"image": ("x.jpg", (path.parent / post["image"]).read_bytes())})
        for post in posts
        if "image" in post
    ]


async def load(url: str, clients: int, seconds: float, requests: list) -> tuple[list[float], float]:
    """Every client sends its next request when it has its answer: times of the answers, and how long it went on."""
    times: list[float] = []
    started = time.perf_counter()

    async def client(http: httpx.AsyncClient, number: int) -> None:
        place = number
        while time.perf_counter() - started < seconds:
            fields, files = requests[place % len(requests)]
            place += 1
            before = time.perf_counter()
            answer = await http.post("annotate", data=fields, files=files)
            assert answer.status_code == 200 and not answer.json()["errors"], answer.text
            times.append(time.perf_counter() - before)

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=httpx.Limits(max_connections=clients)) as http:
        await asyncio.gather(*(client(http, number) for number in range(clients)))
    return times, time.perf_counter() - started


def memory(process: subprocess.Popen) -> float:
    """Resident MB of a process."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def batch_size(url: str) -> float:
    """Posts a batch so far."""
    values = dict(line.rsplit(" ", 1) for line in httpx.get(f"{url}metrics").text.splitlines() if not line.startswith("#"))
    return float(values["rivega_batch_posts_sum"]) / float(values["rivega_batch_posts_count"])


def main() -> None:
    """Print a row for each setting, then memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipeline")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3, help="settings take turns, since other work on the machine comes and goes")
    parser.add_argument("--requests", type=int, default=3000, help="small requests, for memory")
    args = parser.parse_args()
    requests = forms(DEMO)
    servers = {name: start(args.pipeline, "--max-batch", size) for name, size in (("on", "16"), ("off", "1"))}
    rows: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _, url in servers.values():
        asyncio.run(load(url, 4, 3, requests))
    for _ in range(args.rounds):
        for clients in (1, 32):
            for name, (_, url) in servers.items():
                times, taken = asyncio.run(load(url, clients, args.seconds, requests))
                p95 = statistics.quantiles(times, n=20)[18]
                rows.setdefault((name, clients), []).append((len(times) / taken, statistics.median(times), p95))
    print("| batching | clients | requests/s | median | p95 |\n|---|---|---|---|---|")
    for (name, clients), found in sorted(rows.items(), key=lambda row: row[0][1]):
        rate, middle, p95 = (statistics.median(values) for values in zip(*found))
        print(f"| {name} | {clients} | {rate:.1f} | {1000 * middle:.0f} ms | {1000 * p95:.0f} ms |")
    process, url = servers["on"]
    print(f"posts a batch, batching on, all rounds: {batch_size(url):.1f}")
    held = [memory(process)]
    with httpx.Client(base_url=url, timeout=120) as http:
        for number in range(args.requests):
            http.post("annotate", json={"text": f"Grace Hopper {number} paved the way for COBOL"})
            if (number + 1) % (args.requests // 3) == 0:
                held.append(memory(process))
    print("resident MB before and after each third of the small requests: " + ", ".join(f"{value:.0f}" for value in held))
    for process, _ in servers.values():
        process.send_signal(signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    main()
