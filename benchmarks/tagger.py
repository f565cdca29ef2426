"""Quality and speed of the tagger.

    python benchmarks/tagger.py quality MODEL TEST.spacy       F1 with and without knowledge, and on raw text
    python benchmarks/tagger.py speed MODEL TEST.spacy         posts per second, one by one and in batches
    python benchmarks/tagger.py crf                            loss and decoding against pytorch-crf

Entities match by offset and type (spaCy's ents_p, ents_r, ents_f). Prints Markdown.
"""
import argparse
import re
import statistics
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence, Set, Tuple

import torch

NO_SPACE_AFTER = {"@", "#", "(", "[", "“", "‘", "$", "£", "€"}
NO_SPACE_BEFORE = re.compile(r"^([.,!?:;)\]…”%]+|n't|['’](s|m|re|ve|ll|d|t)?)$", re.IGNORECASE)

Entity = Tuple[int, int, str]


def detokenize(words: Sequence[str]) -> Tuple[str, List[int]]:
    """A text as a person would have typed it, by rules, and where each word begins in it."""
    text, starts = "", []
    for number, word in enumerate(words):
        tight = number == 0 or words[number - 1] in NO_SPACE_AFTER or NO_SPACE_BEFORE.match(word) or (word == "_" or words[number - 1] == "_")
        text += word if tight else " " + word
        starts.append(len(text) - len(word))
    return text, starts


def spaced(words: Sequence[str]) -> Tuple[str, List[int]]:
    """The words with single spaces between them."""
    text, starts = "", []
    for number, word in enumerate(words):
        text += word if number == 0 else " " + word
        starts.append(len(text) - len(word))
    return text, starts


def prf(gold: Iterable[Set[Entity]], found: Iterable[Set[Entity]]) -> Dict[str, float]:
    """Precision, recall and F1 in percent over all posts."""
    right = n_gold = n_found = 0
    for wanted, given in zip(gold, found):
        right += len(wanted & given)
        n_gold += len(wanted)
        n_found += len(given)
    precision, recall = right / max(1, n_found), right / max(1, n_gold)
    f1 = 2 * precision * recall / max(1e-12, precision + recall)
    return {"p": 100 * precision, "r": 100 * recall, "f": 100 * f1, "right": right, "found": n_found, "gold": n_gold}


def load(model: str, path: str, limit: int) -> Tuple[Any, List[Any]]:
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
    per_type: Dict[str, Dict[str, float]] = {}
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
    yield "By type, words as annotated, with knowledge: " + ", ".join(f"{label} {score['f']:.2f}" for label, score in per_type.items()) + "."


def row(name: str, with_z: bool, score: Dict[str, float]) -> str:
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
            rates: Dict[str, List[Tuple[float, float]]] = {"one": [], "batch": []}
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


def crf() -> Iterator[str]:
    """Rows of the CRF table: loss with its gradient, and decoding."""
    from torchcrf import CRF

    from rivega_spacy.ner.crf import ChainScores, length_mask, nll, viterbi

    def timed(run: Callable[[], Any], times: int = 25) -> float:
        run()
        measured = []
        for _ in range(times):
            begin = time.perf_counter()
            run()
            measured.append(time.perf_counter() - begin)
        # The least disturbed run: the machine may have other work.
        return 1000 * min(measured)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield "| posts x tokens x tags | loss and gradient, pytorch-crf | ours | decode, pytorch-crf | ours |"
    yield "|---|---|---|---|---|"
    for size, width, n_tags in ((32, 60, 9), (32, 256, 9)):
        reference = CRF(n_tags, batch_first=True)
        emissions = torch.randn(size, width, n_tags)
        lengths = torch.randint(1, width + 1, (size,))
        lengths[0] = width
        tags, mask = torch.randint(0, n_tags, (size, width)), length_mask(lengths)
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
    parser.add_argument("what", choices=("quality", "speed", "crf"))
    parser.add_argument("model", nargs="?", help="folder of a trained pipeline, or the name of an installed one")
    parser.add_argument("posts", nargs="?", help=".spacy file (rivega convert)")
    parser.add_argument("--limit", type=int, default=0, help="so many posts at most")
    args = parser.parse_args()
    lines = crf() if args.what == "crf" else {"quality": quality, "speed": speed}[args.what](args.model, args.posts, args.limit)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
