"""Quality and speed of the tagger.

    python benchmarks/tagger.py quality MODEL TEST.spacy       F1 with and without knowledge, and on raw text
    python benchmarks/tagger.py speed MODEL TEST.spacy         posts per second, one by one and in batches
    python benchmarks/tagger.py compare MODEL TEST.spacy --other OTHER    posts per second against another tagger, in turns
    python benchmarks/tagger.py training CORPUS.spacy          pieces per second and memory of `spacy train configs/ner_minilm.cfg`
    python benchmarks/tagger.py crf [--device cuda]            loss and decoding against pytorch-crf

Entities match by offset and type (spaCy's ents_p, ents_r, ents_f). Prints Markdown.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

NO_SPACE_AFTER = {"@", "#", "(", "[", "“", "‘", "$", "£", "€"}
NO_SPACE_BEFORE = re.compile(r"^([.,!?:;)\]…”%]+|n't|['’](s|m|re|ve|ll|d|t)?)$", re.IGNORECASE)

Entity = tuple[int, int, str]


def detokenize(words: Sequence[str]) -> tuple[str, list[int]]:
    """A text as a person would have typed it, by rules, and where each word begins in it."""
    text, starts = "", []
    for number, word in enumerate(words):
        tight = (
            number == 0
            or words[number - 1] in NO_SPACE_AFTER
            or NO_SPACE_BEFORE.match(word)
            or (word == "_" or words[number - 1] == "_")
        )
        text += word if tight else " " + word
        starts.append(len(text) - len(word))
    return text, starts


def spaced(words: Sequence[str]) -> tuple[str, list[int]]:
    """The words with single spaces between them."""
    text, starts = "", []
    for number, word in enumerate(words):
        text += word if number == 0 else " " + word
        starts.append(len(text) - len(word))
    return text, starts


def prf(gold: Iterable[set[Entity]], found: Iterable[set[Entity]]) -> dict[str, float]:
    """Precision, recall and F1 in percent over all posts."""
    right = n_gold = n_found = 0
    for wanted, given in zip(gold, found):
        right += len(wanted & given)
        n_gold += len(wanted)
        n_found += len(given)
    precision, recall = right / max(1, n_found), right / max(1, n_gold)
    f1 = 2 * precision * recall / max(1e-12, precision + recall)
    return {"p": 100 * precision, "r": 100 * recall, "f": 100 * f1, "right": right, "found": n_found, "gold": n_gold}


def load(model: str, path: str, limit: int) -> tuple[Any, list[Any]]:
    """The pipeline and the annotated posts."""
    import spacy

    from rivega_spacy.corpus.docbin import read_docbin

    nlp = spacy.load(model)
    docs = list(read_docbin(path, nlp.vocab))
    return nlp, docs[:limit] if limit else docs


def quality(model: str, path: str, limit: int) -> Iterator[str]:
    """Rows of the quality table."""
    from rivega_spacy.corpus.reader import bare_copy

    nlp, docs = load(model, path, limit)
    keep = [name for name in nlp.pipe_names if name in ("transformer", "rivega_ner")]
    yield "| input | P | R | F1 | right / found / gold |"
    yield "|---|---|---|---|---|"
    per_type: dict[str, dict[str, float]] = {}
    with nlp.select_pipes(enable=keep):
        for with_z in (True, False):
            posts = [bare_copy(doc) for doc in docs]
            for post in posts:
                post._.knowledge = post._.knowledge if with_z else None
            gold = [{(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents} for doc in docs]
            found = [{(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents} for doc in nlp.pipe(posts)]
            yield row("words as annotated", with_z, prf(gold, found))
            for label in sorted({label for ents in gold for _, _, label in ents}) if with_z else ():
                per_type[label] = prf(*([{e for e in ents if e[2] == label} for ents in side] for side in (gold, found)))
        for name, join in (("raw text, single spaces", spaced), ("raw text, detokenised", detokenize)):
            for with_z in (True, False):
                gold, posts = [], []
                for doc in docs:
                    words = [token.text for token in doc]
                    text, starts = join(words)
                    ends = [start + len(word) for start, word in zip(starts, words)]
                    gold.append({(starts[ent.start], ends[ent.end - 1], ent.label_) for ent in doc.ents})
                    post = nlp.make_doc(text)
                    post._.knowledge = doc._.knowledge if with_z else None
                    posts.append(post)
                found = [{(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents} for doc in nlp.pipe(posts)]
                yield row(name, with_z, prf(gold, found))
    yield ""
    yield (
        "By type, words as annotated, with knowledge: "
        + ", ".join(f"{label} {score['f']:.2f}" for label, score in per_type.items())
        + "."
    )


def row(name: str, with_z: bool, score: dict[str, float]) -> str:
    """One row of the quality table."""
    counts = f"{score['right']} / {score['found']} / {score['gold']}"
    return f"| {name}, {'with' if with_z else 'without'} knowledge | {score['p']:.2f} | {score['r']:.2f} | {score['f']:.2f} | {counts} |"


def speed(model: str, path: str, limit: int) -> Iterator[str]:
    """Rows of the speed table."""
    from rivega_spacy.corpus.reader import bare_copy

    nlp, docs = load(model, path, limit or 300)
    keep = [name for name in nlp.pipe_names if name in ("transformer", "rivega_ner")]
    torch.set_num_threads(1)
    yield f"{len(docs)} posts, one thread, median of three runs; in brackets per second of processor time, which other work on the machine disturbs less."
    yield ""
    yield "| knowledge | one by one | nlp.pipe, batches of 128 |"
    yield "|---|---|---|"
    with nlp.select_pipes(enable=keep):
        for with_z in (True, False):
            rates: dict[str, list[tuple[float, float]]] = {"one": [], "batch": []}
            for _ in range(3):
                for kind in rates:
                    posts = [bare_copy(doc) for doc in docs]
                    for post in posts:
                        post._.knowledge = post._.knowledge if with_z else None
                    begin, begin_cpu = time.perf_counter(), time.process_time()
                    if kind == "one":
                        for post in posts:
                            nlp(post)
                    else:
                        for _doc in nlp.pipe(posts, batch_size=128):
                            pass
                    wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
                    rates[kind].append((len(posts) / wall, len(posts) / cpu))
            cells = []
            for kind in ("one", "batch"):
                wall, cpu = (statistics.median(values) for values in zip(*rates[kind]))
                cells.append(f"{wall:.0f} ({cpu:.0f}) posts/s")
            yield f"| {'with' if with_z else 'without'} | " + " | ".join(cells) + " |"


def compare(model: str, path: str, other: str, limit: int) -> Iterator[str]:
    """Rows that set two taggers over the same encoder against each other, and the share of the CRF in ours."""
    import spacy

    from rivega_spacy.corpus.reader import bare_copy

    nlp, docs = load(model, path, limit or 512)
    pipelines = {"ours": nlp, "other": spacy.load(other)}
    torch.set_num_threads(1)

    def fresh(vocab_of: Any, with_z: bool) -> list[Any]:
        posts = []
        for doc in docs:
            post = bare_copy(doc)
            post._.knowledge = doc._.knowledge if with_z else None
            posts.append(vocab_of.make_doc("").from_bytes(post.to_bytes()))
        return posts

    yield f"{len(docs)} posts, one thread, batches of 128, runs in turns, medians of five by processor time (the clock in brackets)."
    yield ""
    yield "| knowledge | ours | other | ours : other |"
    yield "|---|---|---|---|"
    for with_z in (False, True):
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in pipelines}
        for _ in range(5):
            for name, pipeline in pipelines.items():
                posts = fresh(pipeline, with_z)
                keep = [part for part in pipeline.pipe_names if part in ("transformer", "rivega_ner", "ner")]
                with pipeline.select_pipes(enable=keep):
                    begin, begin_cpu = time.perf_counter(), time.process_time()
                    for _doc in pipeline.pipe(posts, batch_size=128):
                        pass
                    rates[name].append((len(posts) / (time.process_time() - begin_cpu), len(posts) / (time.perf_counter() - begin)))
        medians = {name: [statistics.median(values) for values in zip(*pairs)] for name, pairs in rates.items()}
        cells = [f"{cpu:.0f} ({wall:.0f}) posts/s" for cpu, wall in medians.values()]
        yield f"| {'with' if with_z else 'without'} | {cells[0]} | {cells[1]} | {medians['ours'][0] / medians['other'][0]:.2f} |"
    yield ""
    for with_z in (False, True):
        spent = {"encoder": 0.0, "head": 0.0, "CRF": 0.0, "writing": 0.0}
        posts = fresh(nlp, with_z)
        for start in range(0, len(posts), 128):
            for name, seconds in zip(spent, stage_seconds(nlp, posts[start : start + 128])):
                spent[name] += seconds
        total = sum(spent.values())
        shares = ", ".join(f"{name} {100 * value / total:.1f} %" for name, value in spent.items())
        yield f"Shares of the processor time {'with' if with_z else 'without'} knowledge (CRF: Viterbi, constraints, span scores): {shares}."


def stage_seconds(nlp: Any, batch: list[Any]) -> list[float]:
    """Annotate a batch: processor seconds of the encoder, the linear layer, the CRF, and of writing the entities."""
    encoder, tagger = nlp.get_pipe("transformer"), nlp.get_pipe("rivega_ner")
    marks = [time.process_time()]
    encoder.set_annotations(batch, encoder.predict(batch))
    marks.append(time.process_time())
    scores = tagger.model.predict(batch)
    marks.append(time.process_time())
    found = tagger.decode(scores)
    marks.append(time.process_time())
    tagger.set_annotations(batch, found)
    marks.append(time.process_time())
    return [after - before for before, after in zip(marks, marks[1:])]


def training(path: str, limit: int) -> Iterator[str]:
    """Pieces per second and memory of training steps, with knowledge and without."""
    import resource
    from pathlib import Path as FilePath

    from spacy import util
    from spacy.training.initialize import init_nlp

    torch.set_num_threads(1)
    yield "| input | posts/s | pieces/s |"
    yield "|---|---|---|"
    for with_z in (False, True):
        reader = "present" if with_z else "absent"
        changes = {"paths.train": path, "paths.dev": path, "corpora.train.knowledge": reader, "paths.dev_knowledge": reader}
        changes.update({"corpora.train.limit": limit or 960, "components.transformer.model.knowledge_dropout": 0.0})
        config = util.load_config(FilePath(__file__).parent.parent / "configs" / "ner_minilm.cfg", overrides=changes)
        nlp = init_nlp(config)
        examples = list(util.registry.resolve(nlp.config.interpolate()["corpora"])["train"](nlp))
        optimizer = nlp.resume_training()
        optimizer.learn_rate = 1e-5
        encoder, rates = nlp.get_pipe("transformer"), []
        for start in range(0, len(examples) - 31, 32):
            batch = examples[start : start + 32]
            begin = time.process_time()
            nlp.update(batch, sgd=False, drop=0.1)
            for name in nlp.pipe_names:
                nlp.get_pipe(name).finish_update(optimizer)
            spent = time.process_time() - begin
            posts = encoder.model.attrs["cache"].encoder(
                [example.predicted for example in batch], [example.predicted._.knowledge or "" for example in batch]
            )
            pieces = sum(len(window.ids) for post in posts for window in post.windows)
            rates.append((32 / spent, pieces / spent))
        per_post, per_piece = (statistics.median(values) for values in zip(*rates))
        yield f"| {'[s; z]' if with_z else 's'} | {per_post:.1f} | {per_piece:.0f} |"
    yield ""
    yield f"Peak memory of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB; batches of 32 posts, one thread, by processor time."


def crf(device: str = "cpu") -> Iterator[str]:
    """Rows of the CRF table: loss with its gradient, and decoding."""
    from torchcrf import CRF

    from rivega_spacy.ner.crf import ChainScores, length_mask, nll, viterbi

    def finish() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    def timed(run: Callable[[], Any], times: int = 25) -> float:
        run()
        measured = []
        for _ in range(times):
            finish()
            begin = time.perf_counter()
            run()
            finish()
            measured.append(time.perf_counter() - begin)
        # The least disturbed run: the machine may have other work.
        return 1000 * min(measured)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield "| posts x tokens x tags | loss and gradient, pytorch-crf | ours | decode, pytorch-crf | ours |"
    yield "|---|---|---|---|---|"
    for size, width, n_tags in ((32, 60, 9), (32, 256, 9)):
        reference = CRF(n_tags, batch_first=True).to(device)
        emissions = torch.randn(size, width, n_tags, device=device)
        lengths = torch.randint(1, width + 1, (size,), device=device)
        lengths[0] = width
        tags, mask = torch.randint(0, n_tags, (size, width), device=device), length_mask(lengths)
        weights = (reference.start_transitions, reference.end_transitions, reference.transitions)
        scores = ChainScores(emissions, lengths, *(weight.detach() for weight in weights))
        leaf = emissions.clone().requires_grad_()

        def reference_loss() -> None:
            leaf.grad = None
            (-reference(leaf, tags, mask=mask)).backward()

        values = [
            timed(reference_loss),
            timed(lambda: nll(scores, tags)),
            timed(lambda: reference.decode(emissions, mask=mask)),
            timed(lambda: viterbi(scores)),
        ]
        yield f"| {size} x {width} x {n_tags} | " + " | ".join(f"{value:.1f} ms" for value in values) + " |"


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "speed", "compare", "training", "crf"))
    parser.add_argument(
        "model", nargs="?", help="folder of a trained pipeline, or the name of an installed one; for training the posts"
    )
    parser.add_argument("posts", nargs="?", help=".spacy file (rivega convert)")
    parser.add_argument("--limit", type=int, default=0, help="so many posts at most")
    parser.add_argument("--other", help="folder of the pipeline to compare with")
    parser.add_argument("--device", default="cpu", help="of the CRF's measurement")
    args = parser.parse_args()
    if args.what == "crf":
        lines = crf(args.device)
    elif args.what == "training":
        lines = training(args.model, args.limit)
    elif args.what == "compare":
        lines = compare(args.model, args.posts, args.other, args.limit)
    else:
        lines = {"quality": quality, "speed": speed}[args.what](args.model, args.posts, args.limit)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
