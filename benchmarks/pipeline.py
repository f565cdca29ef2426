"""Posts per second and peak memory of a whole pipeline: one by one, and through nlp.pipe.

    python benchmarks/pipeline.py rivega_twitter --posts corpus/test.spacy --photos corpus/photos --n 200

Real posts (texts of a DocBin) beside real photographs (VOC ids divisible by 5, which no part was trained on): every post has a
photograph of its own, so that no cache can help. Ratios are taken in one run, after a warm-up, from medians of the rounds. With `--bf16`
batches of 32 are measured once more, all networks in bfloat16.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import spacy
import torch
from reporting import processor
from spacy.tokens import DocBin
from tqdm import tqdm

from rivega_spacy.post import images

NETWORKS = ("transformer", "rivega_entailment", "rivega_grounder", "rivega_segmenter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--posts", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processor", action="store_true", help="count processor time, where other work shares the machine")
    parser.add_argument("--bf16", action="store_true", help="measure the same pipeline in bfloat16 too")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.processor else time.perf_counter
    started = time.perf_counter()
    nlp = spacy.load(args.model)
    loading = time.perf_counter() - started
    texts = [doc.text for doc in DocBin().from_disk(args.posts).get_docs(spacy.blank("rivega").vocab)][: args.n]
    photos = [path for path in sorted(args.photos.glob("voc2007_test_*/images/*.jpg")) if int(path.stem) % 5 == 0][: args.n]
    posts = [(text, {"image": photo}) for text, photo in zip(texts, photos)]

    pipelines = [nlp]

    def one_by_one() -> None:
        for text, context in posts:
            doc = nlp.make_doc(text)
            doc._.image = context["image"]
            nlp(doc)

    def batches(size: int, nlp: spacy.Language = nlp) -> Callable[[], None]:
        def run() -> None:
            for _ in nlp.pipe(posts, as_tuples=True, batch_size=size):
                pass

        return run

    ways = {
        "one by one": one_by_one,
        "nlp.pipe, batches of 8": batches(8),
        "nlp.pipe, batches of 32": batches(32),
        "nlp.pipe, batches of 128": batches(128),
    }
    if args.bf16:
        pipelines.append(spacy.load(args.model, config={f"components.{name}.model.bf16": True for name in NETWORKS}))
        ways["nlp.pipe, batches of 32, bfloat16"] = batches(32, pipelines[-1])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    batches(32)()
    for _ in tqdm(range(args.rounds), unit=" rounds"):
        for name, way in ways.items():
            for pipeline in pipelines:
                forget_pictures(pipeline)
            started = clock()
            way()
            seconds[name].append(clock() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = {name: len(posts) / statistics.median(values) for name, values in seconds.items()}
    base = rows["one by one"]
    print(
        f"\n{args.model}, {len(posts)} posts, {args.threads} thread(s), torch {torch.__version__}, {processor()}; loading {loading:.1f} s, peak memory {peak:.0f} MiB\n"
    )
    print("| way | posts/s | ratio |\n|---|---|---|")
    for name, rate in rows.items():
        print(f"| {name} | {rate:.1f} | {rate / base:.2f} |")
    if args.output:
        args.output.write_text(json.dumps({"posts_per_second": rows, "peak_mib": peak, "loading_s": loading}, indent=1))


def forget_pictures(nlp: spacy.Language) -> None:
    """Empty every cache of decoded or encoded pictures, so that each way starts equal."""
    images.clear_cache()
    for _, pipe in nlp.pipeline:
        if hasattr(pipe, "clear_cache"):
            pipe.clear_cache()


if __name__ == "__main__":
    main()
