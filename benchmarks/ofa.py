"""OFA at random weights: expressions a second, what sharing a picture's encoding gives, what the decoder's cache gives.

    python benchmarks/ofa.py [--parts sharing stages decoder] [--tasks entailment grounding] [--repeats 2] [--small] [--bf16]
        [--threads 1] [--output FILE]

Weights are random (speed does not depend on them), the network is OFA-large unless `--small`. Time is processor time of the process,
which other processes on the machine lengthen less than the clock's; ways that are compared take turns, and the median of
`--repeats` is given. "One call an entity" calls the same model once for every entity and keeps nothing between calls. "As published"
is one call an entity, too, done as the published code does it: batch normalisation is not folded, every layer's position bias is
gathered pair by pair, the decoder runs once for every label (entailment), or the encoder's output is copied for every beam and
projected for each of the copies (grounding). Attention is PyTorch's fused one in all of them. For GPUs: benchmarks/ofa_gpu.py.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import processor
from tqdm import tqdm

from rivega_spacy.backends.ofa.decoding import BeamOptions, Trie, beam_search, score_labels
from rivega_spacy.backends.ofa.entailment import LABELS, label_tokens, ofa_entailment
from rivega_spacy.backends.ofa.grounder import ofa_grounder
from rivega_spacy.backends.ofa.network import OFA, DecoderCache, EncoderOutput
from rivega_spacy.backends.ofa.pictures import to_pixels
from rivega_spacy.backends.ofa.serving import (
    Question,
    encode_pictures,
    encode_questions,
    pad_rows,
    pictures_of,
    published_expression,
)
from rivega_spacy.backends.ofa.tokens import OFATokenizer, entailment_prompt, grounding_prompt
from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.expressions import Expression

# Expressions of usual length, and a usual caption.
EXPRESSIONS = [
    Expression("Garfield Park", "LOC", "a prominent park filled with plants in a tropical setting"),
    Expression("Angelina Jolie", "PER", "a prominent actress and writer in a red shirt"),
    Expression("San Francisco", "LOC", "a city with a significant building"),
    Expression("Donald Trump", "PER", "a singer on religious freedom and immigration in a hall"),
]
# Sides of the pictures, in pixels.
SIDES = {"entailment": 480, "grounding": 512}
CAPTION = "two women in a green house with plants"
SMALL = {
    "width": 256,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "heads": 4,
    "decoder_heads": 4,
    "encoder_ffn": 1024,
    "decoder_ffn": 1024,
    "resnet_layers": [3, 4, 6],
}
VOCABULARY = Path(__file__).resolve().parents[1] / "tests" / "backends" / "ofa" / "gpt2_subset"


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["sharing", "stages", "decoder"], default=["sharing", "stages", "decoder"])
    parser.add_argument("--tasks", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--small", action="store_true", help="a small network, to try the script")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    models, network, tokenizer = build(args)
    image = np.random.default_rng(args.seed).integers(0, 256, (768, 1024, 3)).astype("uint8")
    lines = [f"# OFA{'' if args.small else '-large'} at random weights", "", environment(args), ""]
    for name, measure in {"sharing": partial(sharing, models), "stages": stages, "decoder": caching}.items():
        if name in args.parts:
            lines += measure(network, tokenizer, image, args)
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, encoding="utf8")
    return 0


def build(args: argparse.Namespace) -> tuple[dict[str, Any], OFA, OFATokenizer]:
    """Both architectures on one network."""
    options = {"network": SMALL if args.small else {}, "seed": args.seed, "bf16": args.bf16, "batch_size": 16}
    with tempfile.TemporaryDirectory() as folder:
        # Real merges, so that lengths are real; the numbers of the tokens do not matter.
        shutil.copyfile(VOCABULARY / "encoder.json", Path(folder) / "vocab.json")
        shutil.copyfile(VOCABULARY / "vocab.bpe", Path(folder) / "merges.txt")
        entailment = ofa_entailment(vocab=folder, **options)
        network = entailment.shims[0].ready()
        grounding = ofa_grounder(vocab=folder, **options)
        grounding.shims[0].set_module(network, entailment.shims[0].cfg)
    return {"entailment": entailment, "grounding": grounding}, network, entailment.shims[0].tools


def environment(args: argparse.Namespace) -> str:
    """Where and how."""
    command = "python benchmarks/ofa.py " + " ".join(sys.argv[1:])
    kind = "bfloat16" if args.bf16 else "float32"
    return (
        f"`{command.strip()}`, seed {args.seed}, {date.today()}, {processor()}, {args.threads} thread(s) of {torch.get_num_threads()}, "
        f"torch {torch.__version__}, {kind}. Processor time, median of {args.repeats}. {__doc__.split(chr(10) * 2)[2].strip()}"
    ).replace("\n", " ")


def take_turns(ways: dict[str, Callable[[], Any]], repeats: int, title: str = "") -> dict[str, float]:
    """Median processor seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in tqdm(list(ways.items()), desc=title):
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def sharing(
    models: dict[str, Any], network: OFA, tokenizer: OFATokenizer, image: np.ndarray, args: argparse.Namespace
) -> list[str]:
    """Expressions a second, by how many are asked about a picture."""
    lines = [
        "## Expressions a second",
        "",
        "| task | entities a picture | batched | one call an entity | as published | times one call | times published |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    published = {"entailment": published_entailment, "grounding": published_grounding}
    texts = EXPRESSIONS[: max(args.entities)]
    for task in args.tasks:
        model = models[task]
        model.predict([ImageQueries(image[:64, :64], [Expression(expansion="warm")])])
        ways: dict[str, Callable[[], Any]] = {}
        for count in args.entities:
            ways[f"batched {count}"] = partial(model.predict, [ImageQueries(image, texts[:count], CAPTION)])
        # Calls for one entity know nothing of each other: those of several entities take the sum of theirs.
        for i, text in enumerate(texts):
            ways[f"alone {i}"] = partial(model.predict, [ImageQueries(image, [text], CAPTION)])
            ways[f"published {i}"] = partial(as_published, published[task], network, tokenizer, image, text)
        seconds = take_turns(ways, args.repeats, task)
        for count in args.entities:
            alone, upstream = (sum(seconds[f"{name} {i}"] for i in range(count)) for name in ("alone", "published"))
            row = [count / seconds[f"batched {count}"], count / alone, count / upstream]
            lines.append(
                f"| {task} | {count} | {row[0]:.3f} | {row[1]:.3f} | {row[2]:.3f} | {row[0] / row[1]:.2f} | {row[0] / row[2]:.2f} |"
            )
    return lines + [""]


def as_published(way: Callable[..., None], network: OFA, *given: Any) -> None:
    """Gradients are allowed but nothing needs any: so the network gathers its biases as in training, and keeps no graph."""
    network.requires_grad_(False)
    with torch.enable_grad():
        way(network, *given)


def published_entailment(network: OFA, tokenizer: OFATokenizer, image: np.ndarray, text: Expression) -> None:
    """One entity: the picture, the encoder, and the decoder over the whole prompt for each label."""
    source = tokenizer.source(entailment_prompt(published_expression(text), CAPTION))
    picture = network.encoder.pictures(to_pixels(image, 480)[None])
    encoded = network.encode(torch.tensor([source]), picture)
    rows = pad_rows([source[:-1] + label_tokens(tokenizer, label) for label in LABELS], network.config.pad)
    states, _ = network.decode(rows, copied(encoded, len(rows)))
    network.logits(states)


def published_grounding(network: OFA, tokenizer: OFATokenizer, image: np.ndarray, text: Expression) -> None:
    """One entity: the picture, the encoder, and five steps of five beams, each with a copy of the encoder's output."""
    source = tokenizer.source(grounding_prompt(published_expression(text)))
    encoded = network.encode(torch.tensor([source]), network.encoder.pictures(to_pixels(image, 512)[None]))
    run_steps(network, network.decoder.start(copied(encoded, 5)), 5)


def copied(encoded: EncoderOutput, count: int) -> EncoderOutput:
    """The encoder's output once for every row."""
    lengths = None if encoded.lengths is None else encoded.lengths * count
    return EncoderOutput(encoded.states.repeat(count, 1, 1), encoded.positions, lengths)


def run_steps(network: OFA, cache: DecoderCache, rows: int) -> None:
    """Five steps; which tokens are chosen does not matter to the time."""
    for _ in range(5):
        network.step(torch.full((rows,), network.config.bin_0), cache).topk(10)


@torch.inference_mode()
def stages(network: OFA, tokenizer: OFATokenizer, image: np.ndarray, args: argparse.Namespace) -> list[str]:
    """Where the time of one expression goes."""
    lines = ["## Seconds of one expression", ""]
    lines += ["| task | picture stem | stem as published | encoder | encoder as published | decoder |", "|---|---|---|---|---|---|"]
    for task in args.tasks:
        size = SIDES[task]
        source, prompt = question(tokenizer, task, EXPRESSIONS[0])
        wanted = {0: ImageQueries(image, [])}
        picture = encode_pictures(network, wanted, image_size=size)
        encoded = encode_questions(network, [Question(0, 0, source)], picture)
        ways = {
            "stem": lambda: encode_pictures(network, wanted, image_size=size),
            "plain": lambda: network.encoder.pictures(to_pixels(image, size)[None]),
            "encoder": lambda: encode_questions(network, [Question(0, 0, source)], picture),
            "gathered": lambda: as_published(encode_questions, network, [Question(0, 0, source)], picture),
        }
        if task == "entailment":
            trie = Trie(tuple(tuple(label_tokens(tokenizer, label)) for label in LABELS), tokenizer.eos)
            ways["decoder"] = partial(score_labels, network, encoded, [prompt], trie)
        else:
            first = network.config.bin_0
            options = BeamOptions(no_repeat_ngram=3, allowed=(first, first + network.config.bins), bins_only=True)
            ways["decoder"] = partial(beam_search, network, encoded, options)
        seconds = take_turns(ways, args.repeats)
        lines.append(
            f"| {task} | "
            + " | ".join(f"{seconds[name]:.2f}" for name in ("stem", "plain", "encoder", "gathered", "decoder"))
            + " |"
        )
    return lines + [""]


def question(tokenizer: OFATokenizer, task: str, text: Expression) -> tuple[list[int], list[int]]:
    """Source and decoder prompt."""
    cleaned = published_expression(text)
    source = tokenizer.source(entailment_prompt(cleaned, CAPTION) if task == "entailment" else grounding_prompt(cleaned))
    return source, source[:-1]


def beams_sharing(network: OFA, encoded: EncoderOutput) -> None:
    """Our beams: one row at first, then five on one memory."""
    samples = encoded.states.shape[0]
    cache = network.decoder.start(encoded)
    network.step(torch.full((samples,), network.config.bos), cache).topk(10)
    cache.select(torch.arange(samples).repeat_interleave(5))
    for _ in range(4):
        network.step(torch.full((5 * samples,), network.config.bin_0), cache).topk(10)


@torch.inference_mode()
def caching(network: OFA, tokenizer: OFATokenizer, image: np.ndarray, args: argparse.Namespace) -> list[str]:
    """The decoder alone: five steps of five beams for a box."""
    source, _ = question(tokenizer, "grounding", EXPRESSIONS[0])
    picture = encode_pictures(network, {0: ImageQueries(image, [])}, image_size=512)
    encoded = encode_questions(network, [Question(0, 0, source)], picture)

    def no_cache() -> None:
        for step in range(5):
            rows = 1 if step == 0 else 5
            tokens = torch.full((rows, step + 1), network.config.bin_0)
            states, _ = network.decode(tokens, copied(encoded, rows))
            network.logits(states[:, -1]).topk(10)

    def no_cache_shared_rows() -> None:
        for step in range(5):
            # Beams as further rows of one sample's queries cannot be had without a cache: only one beam, for comparison.
            states, _ = network.decode(torch.full((1, step + 1), network.config.bin_0), encoded)
            network.logits(states[:, -1]).topk(10)

    ways = {
        "cache, beams share the memory (ours)": lambda: beams_sharing(network, encoded),
        "cache, a memory for every beam (as published)": lambda: run_steps(network, network.decoder.start(copied(encoded, 5)), 5),
        "no cache, beam 5": no_cache,
        "cache, beam 1": lambda: run_steps(network, network.decoder.start(encoded), 1),
        "no cache, beam 1": no_cache_shared_rows,
    }
    seconds = take_turns(ways, args.repeats)
    ours = seconds["cache, beams share the memory (ours)"]
    lines = ["## The decoder of grounding: four locations and the end mark", "", "| way | seconds | times ours |", "|---|---|---|"]
    lines += [f"| {name} | {value:.3f} | {value / ours:.2f} |" for name, value in seconds.items()]
    pictures_of(network).clear()
    return lines + [""]


if __name__ == "__main__":
    sys.exit(main())
