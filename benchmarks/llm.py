"""What asking language models costs on our side, and what survives a `kill -9`.

    python benchmarks/llm.py [overhead] [server] [cached] [kills] [memory] --out benchmarks/results/llm.md

- overhead: a server that answers at once; CPU of this process a call, for the openai package alone and for the whole path.
- server: `transformers serve` (a real server, with a random Llama); our throughput over that of bare sockets, the server's limit.
- cached: 10,000 posts through `rivega enrich` twice; the second run must ask nothing.
- kills: 20 times `kill -9` at a random moment of a run; nothing kept may be lost, nothing kept may be asked again.
- memory: 100,000 posts streamed through the component; resident memory on the way.
"""

import argparse
import http.client
import importlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import spacy
from llm.servers import FaultProxy, RealServer, completion, save_tiny_llama

import rivega_spacy
from rivega_spacy.cli import main as rivega
from rivega_spacy.knowledge.component import KnowledgeRefiner
from rivega_spacy.knowledge.selection import make_msea, no_examples
from rivega_spacy.llm.base import Answer, ChatRequest, finished
from rivega_spacy.llm.openai_chat import OpenAIChat
from rivega_spacy.llm.store import AnswerStore

KNOWLEDGE = (
    "Named entities: 1. Marlow United (organization, football club) 2. Petar Oyelaran (person, football player). Reasoning: A club "
    "signs a player, who is presented with a shirt; the image of a man with a shirt is most likely directly related to the text."
)
INSTANT = f"""
import asyncio
body = {json.dumps(completion(KNOWLEDGE)).encode()!r}
reply = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body
class Instant(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        while True:
            end = self.data.find(b"\\r\\n\\r\\n")
            if end < 0:
                return
            head = self.data[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\\r")[0])
            if len(self.data) < end + 4 + length:
                return
            self.data = self.data[end + 4 + length:]
            self.transport.write(reply)
async def main():
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
WORDS = [
    "Marlow",
    "United",
    "sign",
    "Petar",
    "Oyelaran",
    "Nordhavn",
    "tonight",
    "great",
    "game",
    "cup",
    "final",
    "train",
    "late",
    "coffee",
    "with",
    "Rex",
    "at",
    "Kessel",
    "Bridge",
]
CONFIG = """
[store]
@misc = "rivega.AnswerStore.v1"
path = "{store}"
[models]
[models.sage]
@misc = "rivega.OpenAIChat.v1"
model = "sage"
base_url = "{url}"
concurrency = 8
[examples]
@misc = "rivega.MSEA.v1"
n = 5
[enrich]
knowledge = ["sage"]
batch_size = 128
"""


def texts(count: int) -> Iterator[str]:
    """Posts of 16 words; a number makes each of them a post of its own."""
    rng = random.Random(0)
    for number in range(count):
        yield " ".join([*rng.choices(WORDS, k=15), str(number)])


class Instant:
    """The server that answers at once, a process of its own."""

    def __enter__(self) -> str:
        self.process = subprocess.Popen([sys.executable, "-c", INSTANT], stdout=subprocess.PIPE, text=True)
        return f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def __exit__(self, *error: Any) -> None:
        self.process.kill()
        self.process.wait()


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of CPU (all threads of this process)."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def overhead(count: int = 2000) -> list[str]:
    """CPU of a call."""
    lines = ["| what, 8 in flight | CPU a call | calls a second |", "|---|---|---|"]

    def row(name: str, found: tuple[float, float]) -> None:
        lines.append(f"| {name} | {1000 * found[1] / count:.2f} ms | {count / found[0]:.0f} |")

    nlp = spacy.blank("rivega")
    with Instant() as url, tempfile.TemporaryDirectory() as folder:
        import openai

        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        model = OpenAIChat("sage", base_url=url, concurrency=8)
        refiner = KnowledgeRefiner(nlp.vocab, model, no_examples, store=AnswerStore(Path(folder) / "warm.sqlite"))
        prompts = [refiner._request(nlp.make_doc(text), []) for text in texts(count)]

        def bare(request: ChatRequest) -> str:
            messages: Any = [{"role": message.role, "content": message.text} for message in request.messages]
            reply = client.chat.completions.create(model="sage", messages=messages, max_tokens=512, temperature=0.0)
            return reply.choices[0].message.content or ""

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(bare, prompts[:50]))
            row("openai package alone", timed(lambda: list(pool.map(bare, prompts))))
        [future.result() for future in model.submit(prompts[:50])]
        row("rivega.OpenAIChat.v1 (retries, pace, budget)", timed(lambda: [future.result() for future in model.submit(prompts)]))
        docs = [nlp.make_doc(text) for text in texts(count)]
        row("rivega_knowledge with store, no examples", timed(lambda: list(refiner.pipe(docs))))
        refiner = KnowledgeRefiner(nlp.vocab, model, make_msea(), store=AnswerStore(Path(folder) / "msea.sqlite"))
        docs = [nlp.make_doc(text) for text in texts(count)]
        row("rivega_knowledge with store and MSEA (N = 5)", timed(lambda: list(refiner.pipe(docs))))
        model.close()
    return lines


def server(count: int = 16, tokens: int = 32) -> list[str]:
    """Throughput over a real server."""
    lines = ["| in flight | bare sockets | rivega.OpenAIChat.v1 | ratio |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        real = RealServer(save_tiny_llama(Path(folder) / "llama"), Path(folder) / "server.log")
        try:
            nlp = spacy.blank("rivega")
            probe = OpenAIChat(real.model, base_url=real.url)
            refiner = KnowledgeRefiner(nlp.vocab, probe, no_examples, max_tokens=tokens)
            prompts = [refiner._request(nlp.make_doc(text), []) for text in texts(count)]
            host = real.url.split("/")[2]

            def bare(part: Sequence[ChatRequest]) -> None:
                connection = http.client.HTTPConnection(host)
                for request in part:
                    messages = [{"role": message.role, "content": message.text} for message in request.messages]
                    body = {"model": real.model, "messages": messages, "max_tokens": tokens, "temperature": 0.0}
                    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
                    reply = connection.getresponse()
                    data = reply.read()
                    if reply.status != 200:
                        raise RuntimeError(data)

            bare(prompts[:4])
            for flight in (1, 8):
                model = OpenAIChat(real.model, base_url=real.url, concurrency=flight)
                model.submit(prompts[:1])[0].result()

                def ours() -> None:
                    answers = [future.result() for future in model.submit(prompts)]
                    if any(answer.error for answer in answers):
                        raise RuntimeError(next(answer.error for answer in answers if answer.error))

                with ThreadPoolExecutor(flight) as pool:
                    parts = [prompts[n::flight] for n in range(flight)]
                    seconds = {"bare": 0.0, "ours": 0.0}
                    # Many short turns, first one and then the other first, because other work on the machine comes and goes.
                    for turn in range(10):
                        works = [("bare", lambda: list(pool.map(bare, parts))), ("ours", ours)]
                        for name, work in works if turn % 2 else works[::-1]:
                            seconds[name] += timed(work)[0]
                model.close()
                limit, our = (10 * count / seconds[name] for name in ("bare", "ours"))
                lines.append(f"| {flight} | {limit:.1f} calls/s | {our:.1f} calls/s | {our / limit:.2f} |")
        finally:
            real.close()
    return lines


def cached(count: int = 10_000) -> list[str]:
    """A second run."""
    lines = ["| run | clock | CPU | calls |", "|---|---|---|---|"]
    with Instant() as url, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        posts = folder / "posts.jsonl"
        posts.write_text(
            "".join(json.dumps({"id": str(n), "text": text, "ents": []}) + "\n" for n, text in enumerate(texts(count)))
        )
        (folder / "e.cfg").write_text(CONFIG.format(store=folder / "a.sqlite", url=url))
        for run in ("first", "second"):
            out = folder / f"{run}.jsonl"
            before = stored(folder / "a.sqlite")
            clock, cpu = timed(lambda: rivega(["enrich", str(posts), str(out), "--config", str(folder / "e.cfg")]))
            lines.append(f"| {run} | {clock:.1f} s | {cpu:.1f} s | {stored(folder / 'a.sqlite') - before} |")
        if (folder / "first.jsonl").read_bytes() != (folder / "second.jsonl").read_bytes():
            raise RuntimeError("the two runs differ")
    return lines


def stored(path: Path) -> int:
    """Answers in a store."""
    return len(stored_posts(path))


def stored_posts(path: Path) -> list[str]:
    """Ids of the posts with an answer in a store."""
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT post FROM answers")]
    except sqlite3.OperationalError:  # killed before the tables were made
        return []
    finally:
        connection.close()


def enrich_quietly(arguments: list[str]) -> None:
    """`rivega enrich` in a process that is going to be killed."""
    sys.stdout = open(os.devnull, "w")
    os._exit(rivega(arguments))


def kills(count: int = 20, posts: int = 1500) -> list[str]:
    """Death at random moments."""
    rng = random.Random(int(os.environ.get("SEED", "0")))
    asked: Counter = Counter()

    def answer(body: dict[str, Any]) -> str:
        asked[body["messages"][-1]["content"].rsplit("Text: << ", 1)[1].split(" >>")[0].rsplit(" ", 1)[1]] += 1
        return KNOWLEDGE

    lost = again = in_flight = done = 0
    importlib.import_module("openai")  # before the fork, so that the children lose no time with it

    context = multiprocessing.get_context("fork")
    with FaultProxy(answer) as proxy, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = "".join(json.dumps({"id": str(n), "text": text, "ents": []}) + "\n" for n, text in enumerate(texts(posts)))
        (folder / "posts.jsonl").write_text(lines)
        (folder / "e.cfg").write_text(CONFIG.format(store=folder / "a.sqlite", url=proxy.url))
        arguments = ["enrich", str(folder / "posts.jsonl"), str(folder / "out.jsonl"), "--config", str(folder / "e.cfg")]
        while done < count:
            kept, before = set(stored_posts(folder / "a.sqlite")), Counter(asked)
            process = context.Process(target=enrich_quietly, args=(arguments,))
            process.start()
            if done % 4:
                # In the thick of it: some time after this run's first call. Every fourth one dies at any time after its start.
                while process.exitcode is None and sum(asked.values()) == sum(before.values()):
                    process.join(0.002)
            process.join(rng.uniform(0.0, 0.8))
            if process.exitcode is not None:
                break
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            done += 1
            now = set(stored_posts(folder / "a.sqlite"))
            lost += len(kept - now)
            again += sum(asked[post] - before[post] for post in kept)
            if sqlite3.connect(folder / "a.sqlite").execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise RuntimeError("the store is damaged")
        progress = stored(folder / "a.sqlite")
        process = context.Process(target=enrich_quietly, args=(arguments,))
        process.start()
        process.join()
        rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        complete = sum(row.get("knowledge") == KNOWLEDGE for row in rows)
        in_flight = sum(number - 1 for number in asked.values())
    return [
        f"{done} kills at random moments of a run over {posts} posts, 8 calls in flight; {progress} answers were kept by then.",
        f"Kept answers lost: {lost}. Kept answers asked again: {again}. Questions asked a second time because their answer was in",
        f"flight at a kill: {in_flight} (at most 8 a kill, {8 * done} in all). Posts complete in the end: {complete} of {posts}.",
    ]


class Canned:
    """A model in this process that answers at once."""

    name, recorded = "canned", False

    def identity(self) -> dict[str, Any]:
        return {"name": self.name}

    def submit(self, requests: Sequence[ChatRequest]) -> list["Future[Answer]"]:
        return [finished(Answer(KNOWLEDGE, input_tokens=100, output_tokens=60)) for _ in requests]

    def close(self) -> None:
        """Nothing to close."""


def resident() -> float:
    """Resident memory of this process, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(count: int = 100_000) -> list[str]:
    """A long stream."""
    lines = ["| posts | resident memory |", "|---|---|"]
    nlp = spacy.blank("rivega")
    with tempfile.TemporaryDirectory() as folder:
        refiner = KnowledgeRefiner(nlp.vocab, Canned(), make_msea(), store=AnswerStore(Path(folder) / "a.sqlite"))
        # Numbers within a thousand: spaCy's own vocabulary keeps every word that it has seen. The caption makes the posts differ.
        docs = (doc for doc in _numbered(nlp, count))
        for number, doc in enumerate(refiner.pipe(docs), start=1):
            if not doc._.knowledge:
                raise RuntimeError(doc._.rivega_errors)
            if number in (1000, 10_000, 30_000, 100_000):
                lines.append(f"| {number} | {resident():.0f} MiB |")
    return lines


def _numbered(nlp: Any, count: int) -> Iterator[Any]:
    for number, text in enumerate(texts(count)):
        doc = nlp.make_doc(f"{text.rsplit(' ', 1)[0]} {number % 1000}")
        doc._.caption = f"picture number {number}"
        yield doc


PARTS: dict[str, tuple[str, Callable[[], list[str]]]] = {
    "overhead": (
        "Overhead of our side, against a server that answers at once (target: under 2 ms of CPU a call, 500 calls/s)",
        overhead,
    ),
    "server": ("Throughput over `transformers serve`, as a ratio of what it gives to bare sockets", server),
    "cached": ("10,000 posts twice (target for the second run: under 10 s, no call)", cached),
    "kills": ("`kill -9` (target: nothing lost, nothing asked twice)", kills),
    "memory": ("Memory over a stream (target: flat from 1,000 to 100,000 posts)", memory),
}


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, and write where asked."""
    blocks = []
    for name in arguments.parts or PARTS:
        title, part = PARTS[name]
        load = os.getloadavg()[0]
        lines = part()
        note = f"Load of the machine when it began: {load:.1f} on {os.cpu_count()} cores."
        blocks.append("\n".join([f"## {name}: {title}", "", *lines, "", note, ""]))
        sys.stdout.write(blocks[-1] + "\n")
        sys.stdout.flush()
        if arguments.out is not None:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            head = (
                f"# Language models: what our side costs\n\n`python benchmarks/llm.py`, rivega_spacy {rivega_spacy.__version__}.\n"
            )
            arguments.out.write_text("\n".join([head, *blocks]), encoding="utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure (default: all)")
    parser.add_argument("--out", type=Path, default=None, help="Markdown file to write")
    run(parser.parse_args())
