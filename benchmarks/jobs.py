"""Jobs: how fast, how flat in memory, whose time it is, and what random kills do to them.

    python benchmarks/jobs.py speed rivega_twitter --posts corpus/photo_posts.jsonl
    python benchmarks/jobs.py stages rivega_twitter --posts corpus/photo_posts.jsonl
    python benchmarks/jobs.py limit rivega_twitter --posts corpus/photo_posts.jsonl
    python benchmarks/jobs.py reduced rivega_twitter --posts corpus/photo_posts.jsonl
    python benchmarks/jobs.py memory --n 500 50000
    python benchmarks/jobs.py kills --kills 20 --what job worker node

`speed` runs the posts one by one through `nlp(doc)` and as a job with one worker and one thread, in turns in one run, and compares the results.
`stages` says which share of a job's time the networks, decoding, and our own code take. `limit` counts the arithmetic of a post and says how
long it would take if all of it ran as fast as one large matrix product. `reduced` enlarges the photographs to the size of a telephone's and
compares reduced decoding of JPEGs with decoding them whole. `memory` runs a job over many cheap posts and reads the
peak of driver and workers. `kills` ends jobs, their workers and nodes of a Ray cluster at random moments, and counts posts that are
lost or doubled.
"""

import argparse
import cProfile
import multiprocessing
import os
import pstats
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import spacy

from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.jobs.annotate import EngineOptions, annotate_job
from rivega_spacy.jobs.bulk.annotating import AnnotateWork, Annotator, forget_pictures
from rivega_spacy.jobs.bulk.job import JobOptions
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.images import read_image
from rivega_spacy.post.jsonl import dump_line
from rivega_spacy.post.post_files import read_posts
from rivega_spacy.post.posts import doc_to_post, post_to_doc

NETWORKS = ("transformer", "rivega_entailment", "rivega_grounder", "rivega_segmenter")
FORK = multiprocessing.get_context("fork")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("speed", "stages", "limit"):
        command = commands.add_parser(name)
        command.add_argument("model")
        command.add_argument("--posts", type=Path, required=True)
        command.add_argument("--n", type=int, default=500)
        command.add_argument("--rounds", type=int, default=3)
        command.add_argument("--batch-size", type=int, nargs="+", default=[64])
        command.add_argument("--bf16", action="store_true")
    large = commands.add_parser("reduced")
    large.add_argument("model")
    large.add_argument("--posts", type=Path, required=True)
    large.add_argument("--n", type=int, default=40)
    large.add_argument("--side", type=int, default=3000, help="the photographs' longer side once they are enlarged")
    memory = commands.add_parser("memory")
    memory.add_argument("--model", help="a pipeline in place of rules")
    memory.add_argument("--posts", type=Path, help="posts for it, as often as need be")
    memory.add_argument("--n", type=int, nargs="+", default=[500, 50_000])
    kills = commands.add_parser("kills")
    kills.add_argument("--kills", type=int, default=20)
    kills.add_argument("--seed", type=int, default=0)
    kills.add_argument(
        "--what", nargs="+", choices=["job", "worker", "node"], default=["job", "worker"], help="node: of a Ray cluster"
    )
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    {"speed": speed, "stages": stages, "limit": limit, "reduced": reduced, "memory": memory_use, "kills": random_kills}[
        args.command
    ](args)


def load(args: argparse.Namespace, *, bf16: bool = False) -> spacy.Language:
    import torch

    torch.set_num_threads(1)
    return spacy.load(args.model, config={f"components.{name}.model.bf16": True for name in NETWORKS} if bf16 else {})


def speed(args: argparse.Namespace) -> None:
    """Processor seconds, not those of the clock: others work on the machine."""
    nlp = load(args)
    half = load(args, bf16=True) if args.bf16 else nlp
    posts = list(read_posts(args.posts))[: args.n]
    seconds: dict[str, list[float]] = {}
    found: dict[str, list[dict[str, Any]]] = {}

    def one_by_one() -> list[dict[str, Any]]:
        return [doc_to_post(nlp(post_to_doc(nlp, post))) for post in posts]

    def chunks(size: int, nlp: spacy.Language = nlp) -> list[dict[str, Any]]:
        annotator = Annotator(nlp, AnnotateWork(args.model))
        return [row for start in range(0, len(posts), size) for row in annotator.rows(posts[start : start + size])]

    ways: dict[str, Callable[[], list[dict[str, Any]]]] = {"nlp(doc), one by one": one_by_one}
    for size in args.batch_size:
        ways[f"chunks of {size}"] = partial(chunks, size)
    if args.bf16:
        ways[f"chunks of {args.batch_size[-1]}, bfloat16"] = partial(chunks, args.batch_size[-1], half)
    for warm in (nlp, half):
        Annotator(warm, AnnotateWork(args.model)).rows(posts[:16])
    for _ in range(args.rounds):
        for name, way in ways.items():
            forget_pictures()
            started = time.process_time()
            found[name] = way()
            seconds.setdefault(name, []).append(time.process_time() - started)
    base = statistics.median(next(iter(seconds.values())))
    print("| way | posts/s of processor time | ratio |\n|---|---|---|")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {len(posts) / median:.1f} | {base / median:.2f} |")
    one, *others = found.values()
    for name, rows in zip(list(found)[1:], others):
        print(f"{name} against one by one: {differences(one, rows)}")


def differences(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> str:
    """Posts with other entities, boxes or masks, and the largest difference of scores and boxes."""
    apart, masks, score, box = 0, 0, 0.0, 0.0
    for a, b in zip(one, two):
        keys = [[(ent["start"], ent["end"], ent["label"], ent["groundable"]) for ent in row["ents"]] for row in (a, b)]
        if keys[0] != keys[1]:
            apart += 1
            continue
        for x, y in zip(a["ents"], b["ents"]):
            for name in ("score", "groundable_score", "box_score", "mask_score"):
                if x[name] is not None:
                    score = max(score, abs(x[name] - y[name]))
            box = max([box, *(abs(p - q) for m, n in zip(x["boxes"], y["boxes"]) for p, q in zip(m, n))])
            masks += x["mask_rle"] != y["mask_rle"]
    return f"{apart} posts with other entities or verdicts, {masks} other masks, scores {score:.1e}, boxes {box:.1e} px at most"


def stages(args: argparse.Namespace) -> None:
    """Own time of functions, summed by whose they are."""
    nlp = load(args, bf16=args.bf16)
    posts = list(read_posts(args.posts))[: args.n]
    annotator = Annotator(nlp, AnnotateWork(args.model))
    annotator(posts[:16])
    profile = cProfile.Profile()
    profile.enable()
    for start in range(0, len(posts), args.batch_size[0]):
        annotator(posts[start : start + args.batch_size[0]])
    profile.disable()
    shares: dict[str, float] = {}
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        shares[whose(file, function)] = shares.get(whose(file, function), 0.0) + own
    total = sum(shares.values())
    print("| part | share | ms a post |\n|---|---|---|")
    for name, value in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"| {name} | {100 * value / total:.1f} % | {1000 * value / len(posts):.2f} |")


def limit(args: argparse.Namespace) -> None:
    """Floating-point operations of matrix products and convolutions, by component; a multiplication and an addition are two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from rivega_spacy.backends import packed

    # The counter knows PyTorch's own convolutions alone.
    packed.works = lambda kind: False  # type: ignore[assignment]
    nlp = load(args)
    posts = list(read_posts(args.posts))[: args.n]
    docs = [post_to_doc(nlp, post) for post in posts]
    total = 0.0
    for name, component in nlp.pipeline:
        with FlopCounterMode(display=False) as counter:
            docs = list(component.pipe(docs, batch_size=args.batch_size[0]))
        total += counter.get_total_flops() / len(posts)
        print(f"{name}: {counter.get_total_flops() / len(posts) / 1e9:.2f} G a post")
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.rand(1024, 1024).to(kind)
        times = []
        for _ in range(20):
            started = time.process_time()
            matrix @ matrix
            times.append(time.process_time() - started)
        speed = 2 * 1024**3 / statistics.median(times)
        print(f"{kind}: {total / 1e9:.2f} G at {speed / 1e9:.0f} G/s are {1000 * total / speed:.1f} ms a post at the least")


def whose(file: str, function: str) -> str:
    if "torch" in file or "torch" in function or "transformers" in file or "tokenizers" in function.lower() or "thinc" in file:
        return "networks (PyTorch, transformers, Thinc)"
    if "Imaging" in function or "PIL" in file or "PIL" in function:
        return "pictures: decoding, scaling (Pillow)"
    if "rivega_spacy" in file:
        parts = Path(file).parts
        return f"ours: {parts[parts.index('rivega_spacy') + 1].removesuffix('.py')}"
    if "spacy" in file or "spacy" in function:
        return "spaCy"
    return "Python, NumPy, called by ours"


def reduced(args: argparse.Namespace) -> None:
    """Whole and reduced decoding in turns, on the same enlarged photographs."""
    from PIL import Image

    args.bf16 = False
    nlp = load(args)
    with tempfile.TemporaryDirectory() as name:
        posts = []
        for number, post in enumerate(list(read_posts(args.posts))[: args.n]):
            picture = Image.fromarray(read_image(post["image"]))
            scale = args.side / max(picture.size)
            path = Path(name) / f"{number}.jpg"
            picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC).save(
                path, quality=90
            )
            posts.append({**post, "image": str(path)})
        models = [nlp.get_pipe(component).model for component in ("rivega_entailment", "rivega_grounder")]
        promises = [model.attrs["picture_side"] for model in models]
        found, seconds = {}, {}
        for way in ("whole", "reduced", "whole", "reduced"):
            for model, promised in zip(models, promises):
                model.attrs["picture_side"] = promised if way == "reduced" else (lambda _: 0)
            started = time.process_time()
            found[way] = Annotator(nlp, AnnotateWork(args.model)).rows(posts)
            seconds[way] = time.process_time() - started
    pairs = [(x, y) for a, b in zip(found["whole"], found["reduced"]) for x, y in zip(a["ents"], b["ents"])]
    verdicts = sum(x["groundable"] != y["groundable"] for x, y in pairs)
    scores = [abs(x["groundable_score"] - y["groundable_score"]) for x, y in pairs if x["groundable_score"] is not None]
    ious = [float(box_iou(np.array(x["box"]), np.array([y["box"]]))[0, 0]) for x, y in pairs if x["box"] and y["box"]]
    print(
        f"{len(posts)} posts, {args.side} px: whole {len(posts) / seconds['whole']:.1f}, reduced {len(posts) / seconds['reduced']:.1f} posts/s"
    )
    print(
        f"{len(pairs)} entities, {verdicts} other verdicts, scores {statistics.mean(scores):.4f} apart (at most {max(scores):.4f}); ",
        end="",
    )
    print(f"{len(ious)} boxes, IoU of the two {statistics.mean(ious):.4f} (at least {min(ious):.4f})")


def cheap_pipeline(folder: Path) -> str:
    """A pipeline of rules, so that many posts take little time."""
    nlp = spacy.blank("rivega")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Ada"}])
    nlp.to_disk(folder)
    return str(folder)


def cheap_posts(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf8") as lines:
        for number in range(count):
            lines.write(dump_line({"id": str(number), "text": f"Ada sang song {number} and {number % 977} more of them in Rome"}))
    return path


def run_job(model: str, posts: Path, folder: Path, *, workers: int = 2, engine: str = "local", shard_size: int = 100) -> int:
    options = JobOptions(shard_size=shard_size, chunk_size=16 if shard_size < 1000 else 64, resume=True)
    where = EngineOptions(engine, workers, "auto" if engine == "ray" else None)
    _, tallies = annotate_job(read_posts(posts), folder, AnnotateWork(model), options, where)
    return sum(tally.posts for tally in tallies)


def memory_use(args: argparse.Namespace) -> None:
    print("| posts | driver and workers at most, MiB | seconds |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = args.model or cheap_pipeline(place / "pipeline")
        for count in args.n:
            posts = cheap_posts(place / "posts.jsonl", count)
            if args.posts:
                given = list(read_posts(args.posts))
                posts.write_text("".join(dump_line(given[number % len(given)]) for number in range(count)), encoding="utf8")
            started = time.perf_counter()
            job = FORK.Process(target=run_job, args=(model, posts, place / f"job-{count}"), kwargs={"shard_size": 1000})
            job.start()
            peak = 0.0
            while job.is_alive():
                peak = max(peak, sum(map(proportional_bytes, [job.pid, *children(job.pid)])))
                time.sleep(0.05)
            print(f"| {count} | {peak / 2**20:.0f} | {time.perf_counter() - started:.1f} |")


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def proportional_bytes(pid: int) -> float:
    """Memory of a process, with its share of what it has in common with others."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * float(line.split()[1])
    except OSError:
        pass
    return 0.0


def random_kills(args: argparse.Namespace) -> None:
    """Kill the job in one half of the cases, one of its workers in the other; then count."""
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        model = cheap_pipeline(place / "pipeline")
        count = 4000
        posts = cheap_posts(place / "posts.jsonl", count)
        run_job(model, posts, place / "whole")
        for what in sorted({*args.what} - {"node"}):
            kills = lost = doubled = 0
            runs = 0
            while kills < args.kills:
                folder = place / f"{what}-{runs}"
                runs += 1
                done = False
                while not done:
                    job = FORK.Process(target=run_job, args=(model, posts, folder))
                    job.start()
                    if kills < args.kills:
                        time.sleep(rng.uniform(0.3, 2.5))
                        targets = [job.pid] if what == "job" else children(job.pid)
                        if job.is_alive() and targets:
                            os.kill(rng.choice(targets), signal.SIGKILL)
                            kills += 1
                    job.join()
                    done = job.exitcode == 0
                ids = [row["id"] for row in rows_of(folder)]
                lost += len(set(map(str, range(count))) - set(ids))
                doubled += len(ids) - len(set(ids))
                assert bytes_of(folder) == bytes_of(place / "whole")
            print(
                f"{what}: {kills} kills in {runs} jobs of {count} posts: {lost} lost, {doubled} doubled, bytes as without kills",
                flush=True,
            )
        if "node" in args.what:
            kill_nodes(args, rng, model, posts, place)


def kill_nodes(args: argparse.Namespace, rng: random.Random, model: str, posts: Path, place: Path) -> None:
    """Kill nodes of a cluster of this machine while jobs run on it; each is replaced."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_worker_niceness="0", RAY_USAGE_STATS_ENABLED="0")
    os.environ.update(RAY_health_check_period_ms="500", RAY_health_check_failure_threshold="4")
    node = {"node_ip_address": "127.0.0.2", "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **node})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **node)
    ray.init(address=cluster.address, log_to_driver=False, _node_ip_address="127.0.0.2")
    kills = lost = doubled = runs = 0
    while kills < args.kills:
        folder = place / f"node-{runs}"
        runs += 1
        job = threading.Thread(target=run_job, args=(model, posts, folder), kwargs={"engine": "ray"})
        job.start()
        while job.is_alive() and not list(folder.glob("part-*")):
            time.sleep(0.1)
        while job.is_alive():
            # Nodes can only be made in the main thread.
            time.sleep(rng.uniform(0.1, 1.5))
            if job.is_alive() and kills < args.kills:
                cluster.remove_node(rng.choice(list(cluster.worker_nodes)), allow_graceful=False)
                kills += 1
                cluster.add_node(num_cpus=1, **node)
        ids = [row["id"] for row in rows_of(folder)]
        lost += len(set(map(str, range(4000))) - set(ids))
        doubled += len(ids) - len(set(ids))
        assert bytes_of(folder) == bytes_of(place / "whole")
        print(f"ray node: {kills} kills in {runs} jobs: {lost} lost, {doubled} doubled", file=sys.stderr, flush=True)
    print(f"ray node: {kills} kills in {runs} jobs of 4000 posts: {lost} lost, {doubled} doubled, bytes as without kills")
    ray.shutdown()
    cluster.shutdown()


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("part-*")):
        yield from (row for _, row in read_json_lines(file))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("part-*")}


if __name__ == "__main__":
    main()
