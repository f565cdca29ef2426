"""Files of posts of which most lines are hostile, through everything that reads such files; see fuzz.py, which runs them.

Counted as breaches: a line without its result, results out of order, a post that is not answered, a damaged line that is.
"""

import json
import random
import resource
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language

from rivega_spacy.corpus.converting import convert_sources
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.corpus.formats.assemble import Sources
from rivega_spacy.jobs.annotate import annotate_here
from rivega_spacy.jobs.bulk.annotating import AnnotateWork
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.post.jsonl import read_lines
from rivega_spacy.post.post_files import read_posts
from rivega_spacy.post.text import replace_surrogates
from rivega_spacy.serve.app import create_app
from rivega_spacy.serve.correcting import CorrectionQueue

# Saving writes all that was saved before as well: so many of the posts are saved.
SAVED = 200
# Of files that a damaged line ends.
ENDED = 16


def rules_pipeline() -> Language:
    """Names by rule."""
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    return nlp


def _told(count: int, posts: int, spent: float, breaches: int) -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{count} lines, {posts} of them posts: {spent:.0f} s of processor time, at most {most} MiB; {breaches} breaches")
    return breaches


def hostile_line(number: int, rng: random.Random) -> tuple[bytes, bool]:
    """A line of a file of posts.

    RETURNS (Tuple[bytes, bool]): The line, without its end; whether it is a post.
    """
    kind = rng.randrange(12)
    if kind >= 8:
        odd = rng.choice(("", "\u202e", "\x1b[2J", "<script>", "=1+1", "\0", "e\u0301" * 40, "\ud83d", "x" * rng.choice((1, 4000))))
        post = {"id": str(number), "text": f"Ada sang {odd}", "own": [None, 10**30, {odd: odd}]}
        return json.dumps(post, ensure_ascii=rng.random() < 0.7 or odd == "\ud83d").encode(), True
    good = json.dumps({"id": str(number), "text": "Ada sang"}).encode()
    place = rng.randrange(1, len(good))
    damaged = (
        good[:place],
        b"[" * rng.choice((1, 2000)),
        b'{"text":' * rng.choice((1, 2000)),
        b"?" + rng.randbytes(rng.randrange(80)).replace(b"\n", b"").replace(b"\r", b""),
        b"\xff\xfe" + good,
        json.dumps({"id": number, "text": rng.choice((None, 5, ["Ada"], {"text": "Ada"}))}).encode(),
        rng.choice((b"null", b"[]", b"3", b'"Ada"', b"NaN", b"1e999", b"-")),
        good + good,
    )
    return damaged[kind], False


def fuzz_lines(count: int, seed: int) -> int:
    """Through `rivega annotate`. RETURNS (int): Breaches."""
    rng = random.Random(seed)
    lines = [hostile_line(number, rng) for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules_pipeline().to_disk(folder / "rules")
        (folder / "posts.jsonl").write_bytes(b"\n".join(line for line, _ in lines) + b"\n")
        started = time.process_time()
        posts = read_posts(folder / "posts.jsonl")
        tallies = list(annotate_here(posts, folder / "annotated.jsonl", AnnotateWork(str(folder / "rules"))))
        spent = time.process_time() - started
        with open(folder / "annotated.jsonl", "rb") as found:
            rows = [json.loads(row) for row in found]
    breaches = abs(len(rows) - count) + abs(len(tallies) - count)
    for number, ((_, is_post), row) in enumerate(zip(lines, rows)):
        if not answered_as_it_should(number, is_post, row):
            breaches += 1
            print(f"line {number + 1}: {str(row)[:200]}")
    return _told(count, sum(is_post for _, is_post in lines), spent, breaches)


def answered_as_it_should(number: int, is_post: bool, row: dict[str, Any]) -> bool:
    """Whether a line's result is that of a post, or says why the line is none."""
    answered = row.get("id") == str(number) and [ent["label"] for ent in row["ents"]] == ["PER"]
    # Half of a character in a post becomes U+FFFD, with a note.
    noted = bool(row["errors"]) and "\ufffd" not in row["text"]
    return is_post == answered and is_post != noted


ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 1e308, float("nan"), "", "x", "\x1b[2J", "<b>", [], [None], [[]], {}, {"x": {}}, [1, "2"], [[1, 2]], [0, 3, "PER"], [0, 10**9, "PER"],
    [2, 1, "PER"], [0, 3, "B-\tx"], {"start": 0, "end": 3, "label": "PER", "boxes": [[1, 2]]}, {"start": 0, "end": 3, "label": 5}, {"size": [1, 1], "counts": "0"},
)  # fmt: skip
_FIELDS = (
    "ents",
    "image",
    "caption",
    "knowledge",
    "expansions",
    "boxes",
    "masks",
    "tokens",
    "tags",
    "spaces",
    "errors",
    "unclear",
    "description",
)


def annotated_line(number: int, rng: random.Random) -> tuple[str, str]:
    """RETURNS (Tuple[str, str]): An annotated post of which fields hold anything, as a line, and its text."""
    odd = rng.choice(
        ("", "\u202e", "\x1b[2J", "<script>", "=1+1", "\0", "e\u0301" * 40, "\ud83d", "\u2028", "x" * rng.choice((1, 4000)))
    )
    text = f"Ada sang {odd}"
    post: dict[str, Any] = {"id": str(number), "text": text, "ents": [[0, 3, "PER"], *rng.sample(ODD, rng.randrange(4))]}
    for _ in range(rng.randrange(3)):
        post[rng.choice(_FIELDS)] = rng.choice(ODD)
    return json.dumps(post), replace_surrogates(text)


def fuzz_convert(count: int, seed: int) -> int:
    """Through `rivega convert`: each post becomes a doc with its text; a line that is no JSON object ends it with the line's number, and without
    a file. RETURNS (int): Breaches."""
    rng = random.Random(seed)
    lines = [annotated_line(number, rng) for number in range(count)]
    breaches = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources, out = Sources(text=folder / "posts.jsonl", format="posts"), folder / "train.spacy"
        sources.text.write_text("".join(f"{line}\n" for line, _ in lines), encoding="utf8")
        started = time.process_time()
        convert_sources(sources, out)
        docs = list(read_docbin(out, spacy.blank("rivega").vocab))
        spent = time.process_time() - started
        breaches += abs(len(docs) - count)
        for number, ((_, text), doc) in enumerate(zip(lines, docs)):
            if doc.text != text or doc.user_data["id"] != str(number) or any(not ent.text.strip() for ent in doc.ents):
                breaches += 1
                print(f"line {number + 1}: {doc.text[:80]!r}")
        out.unlink()
        for _ in range(min(count, ENDED)):
            place = rng.randrange(min(count, 100))
            damaged = next(
                line for line, is_post in iter(lambda: hostile_line(0, rng), None) if not is_post and not _is_object(line)
            )
            whole = [line.encode() for line, _ in lines[: place + 2]]
            whole[place : place + 1] = [damaged]
            sources.text.write_bytes(b"\n".join(whole) + b"\n")
            try:
                convert_sources(sources, out)
                reason = "it was converted"
            except RivegaError as error:
                reason = str(error)
            if f"line {place + 1}" not in reason or out.exists():
                breaches += 1
                print(f"{damaged[:60]!r} as line {place + 1}: {reason[:200]}")
    return _told(count, count, spent, breaches)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def fuzz_queue(count: int, seed: int) -> int:
    """Through the queue of `rivega serve`: every line is an item, posts can be saved, the others say why not, and whoever starts again goes on.
    RETURNS (int): Breaches."""
    rng = random.Random(seed)
    lines = [hostile_line(number, rng) for number in range(count)]
    breaches = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "posts.jsonl").write_bytes(b"\n".join(line for line, _ in lines) + b"\n")
        started = time.process_time()
        queue = CorrectionQueue(folder / "posts.jsonl", folder / "corrected.jsonl")
        breaches += abs(queue.total - count)
        for number, (_, is_post) in enumerate(lines, start=1):
            item = queue.item(number)
            fits = item["post"]["text"].startswith("Ada sang") and item["post"]["id"] == str(number - 1)
            # What has a text of its own, whatever else is wrong with the line.
            if (item["fault"] is None) != is_post or (is_post and not fits):
                breaches += 1
                print(f"line {number}: {str(item)[:200]}")
        spent = time.process_time() - started
        chosen = sorted(rng.sample(range(1, count + 1), min(count, SAVED)))
        with _client(queue) as client:
            for number in chosen:
                shown = client.get(f"/queue/{number}")
                saved = client.put(f"/queue/{number}", json={"ents": [[0, 3, "PER"]], "revision": 0})
                if shown.status_code != 200 or (saved.status_code == 200) != lines[number - 1][1] or saved.status_code >= 500:
                    breaches += 1
                    print(f"line {number}: {saved.status_code} {saved.text[:200]}")
        again = CorrectionQueue(folder / "posts.jsonl", folder / "corrected.jsonl")
        kept = [row["queue_number"] for _, row in read_lines(again.path) if isinstance(row, dict)]
        if kept != [number for number in chosen if lines[number - 1][1]] or again.summary()["saved"] != len(kept):
            breaches += 1
            print(f"saved again: {kept[:20]}")
    return _told(count, sum(is_post for _, is_post in lines), spent, breaches)


def _client(queue: CorrectionQueue) -> Any:
    with warnings.catch_warnings():
        # Starlette would rather have the next version of httpx.
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    return TestClient(create_app(rules_pipeline(), queue=queue), base_url="http://localhost", raise_server_exceptions=False)
