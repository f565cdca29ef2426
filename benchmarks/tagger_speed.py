"""Where the tagger's time goes, and what other number formats gain and lose.

    python benchmarks/tagger_speed.py MODEL TEST.spacy [--limit 384]

Posts per second of processor time on one core, F1 by offset and type, in single precision, bfloat16 (`bf16`) and with the encoder's linear
layers in eight bits (`eight_bits`), in turns; then the share of each part in single precision. Prints Markdown.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch
from tagger import load, prf, stage_seconds

from rivega_spacy.corpus.reader import bare_copy

BATCH = 128
ROUNDS = 3


def posts_of(docs: list[Any], with_z: bool) -> list[Any]:
    """Bare copies of the posts."""
    posts = [bare_copy(doc) for doc in docs]
    for post in posts:
        post._.knowledge = post._.knowledge if with_z else None
    return posts


# By name: the encoder's `bf16` and `eight_bits`.
FORMATS = {"single precision": (False, False), "bfloat16": (True, False), "eight bits": (False, True)}


def formats(nlp: Any, docs: list[Any]) -> Iterator[str]:
    """Speed and F1 of each variant."""
    encoder = nlp.get_pipe("transformer").model
    gold = [{(ent.start, ent.end, ent.label_) for ent in doc.ents} for doc in docs]
    yield "| knowledge | format | posts/s | : single precision | F1 |"
    yield "|---|---|---|---|---|"
    for with_z in (False, True):
        best = dict.fromkeys(FORMATS, 1e9)
        score = {}
        for _ in range(ROUNDS):
            for name, (bf16, eight_bits) in FORMATS.items():
                encoder.attrs["settings"].bf16, encoder.attrs["settings"].eight_bits = bf16, eight_bits
                posts = posts_of(docs, with_z)
                begin = time.process_time()
                found = list(nlp.pipe(posts, batch_size=BATCH))
                # The least disturbed run: the machine may have other work.
                best[name] = min(best[name], time.process_time() - begin)
                score[name] = prf(gold, [{(ent.start, ent.end, ent.label_) for ent in doc.ents} for doc in found])["f"]
        first = best["single precision"]
        for name, spent in best.items():
            yield f"| {'with' if with_z else 'without'} | {name} | {len(docs) / spent:.0f} | {first / spent:.2f} | {score[name]:.2f} |"
    encoder.attrs["settings"].bf16, encoder.attrs["settings"].eight_bits = FORMATS["single precision"]


def shares(nlp: Any, docs: list[Any]) -> Iterator[str]:
    """Where the time goes."""
    from rivega_spacy.ner.transformer import _pair_encoder

    yield "| knowledge | tokenization and windows | encoder | linear layer | CRF | writing the entities |"
    yield "|---|---|---|---|---|---|"
    for with_z in (False, True):
        spent = [0.0] * 5
        posts = posts_of(docs, with_z)
        for start in range(0, len(posts), BATCH):
            batch = posts[start : start + BATCH]
            started = time.process_time()
            _pair_encoder(nlp.get_pipe("transformer").model)(batch, [post._.knowledge or "" for post in batch])
            windows = time.process_time() - started
            encoder, *rest = stage_seconds(nlp, batch)
            parts = [windows, encoder - windows, *rest]  # the encoder makes its windows once more
            spent = [total + part for total, part in zip(spent, parts)]
        yield f"| {'with' if with_z else 'without'} | " + " | ".join(f"{100 * part / sum(spent):.1f} %" for part in spent) + " |"


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("posts", help=".spacy file (rivega convert)")
    parser.add_argument("--limit", type=int, default=384)
    args = parser.parse_args()
    torch.set_num_threads(1)
    nlp, docs = load(args.model, args.posts, args.limit)
    with nlp.select_pipes(enable=["transformer", "rivega_ner"]):
        for lines in (formats(nlp, docs), [""], shares(nlp, docs)):
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
