"""OFA on a GPU at random weights: expressions a second in bfloat16, and their share of the GPU's measured peak.

    python benchmarks/ofa_gpu.py [--batch 16 64] [--entities 1 2 4] [--seconds 10] [--compiled] [--output FILE]

Needs torch and this repository, neither spaCy nor fairseq. Entailment is asked at 480 pixels (three labels, scored along their trie),
grounding at 512 (beam 5, four locations). A pass has `--batch` expressions about batch / entities pictures; preparation of pictures and
texts is left out, since it belongs to the processor. Computing is `torch.autocast` in bfloat16 over single-precision weights, which
is what the components' `bf16 = true` does. Operations are counted by torch (products of matrices, convolutions, attention; a
multiplication and an addition are two), the peak is the fastest of a few square products in bfloat16 measured here, so that the share
says how far from this very GPU's best a pass is. Median over the passes of `--seconds`, after two that do not count.
`--device cpu --small` tries the script.
"""

import argparse
import statistics
import sys
import time
import types
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
try:
    import rivega_spacy  # noqa: F401
except ImportError:
    # The networks need torch alone: without spaCy and what it brings, they are reached past the package's own imports.
    package = types.ModuleType("rivega_spacy")
    package.__path__ = [str(ROOT / "rivega_spacy")]
    sys.modules["rivega_spacy"] = package

from rivega_spacy.backends.compiling import compile_parts  # noqa: E402
from rivega_spacy.backends.ofa.config import OFAConfig  # noqa: E402
from rivega_spacy.backends.ofa.decoding import BeamOptions, Trie, beam_search, score_labels  # noqa: E402
from rivega_spacy.backends.ofa.network import OFA, Patches  # noqa: E402

SMALL = {
    "width": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "heads": 2,
    "decoder_heads": 2,
    "encoder_ffn": 64,
    "decoder_ffn": 64,
}
SMALL.update(resnet_layers=[1, 1, 1], resnet_width=8)
SIDES = {"entailment": 480, "grounding": 512}
# " no", " yes" and " maybe" in the published vocabulary.
LABELS = ((117,), (4420,), (2085,))
# Tokens of a question, start and end marks included: about an expression and a caption, about an expression.
LENGTHS = {"entailment": (30, 46), "grounding": (20, 36)}


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--entities", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--compiled", action="store_true", help="compile the layers")
    parser.add_argument("--small", action="store_true", help="a small network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("No CUDA device is at hand. Nothing was measured.\n")
        return 1
    device = torch.device(args.device)
    config = OFAConfig.from_dict({**OFAConfig().to_dict(), **(SMALL if args.small else {})})
    network = OFA(config).reset_parameters(args.seed).eval().to(device)
    if args.compiled:
        compile_parts([*network.encoder.layers, *network.decoder.layers], True)
    top = peak(device, 1024 if args.small else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    lines = [
        f"`python benchmarks/ofa_gpu.py {' '.join(sys.argv[1:])}`, seed {args.seed}, {date.today()}, {name}, torch {torch.__version__}; "
        f"measured bfloat16 peak {top / 1e12:.1f} TFLOP/s.",
        "",
        "| task | batch | entities a picture | expressions a second | TFLOP/s | share of the peak |",
        "|---|---|---|---|---|---|",
    ]
    for task in SIDES:
        for batch in args.batch:
            for entities in args.entities:
                if batch % entities == 0:
                    work, rate = measure(network, task, batch, entities, args)
                    lines.append(
                        f"| {task} | {batch} | {entities} | {batch * rate:.1f} | {work * rate / 1e12:.1f} | {work * rate / top:.1%} |"
                    )
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf8")
    return 0


def measure(network: OFA, task: str, batch: int, entities: int, args: argparse.Namespace) -> tuple[int, float]:
    """RETURNS (Tuple[int, float]): Operations of a pass, and passes a second."""
    step = passing(network, task, batch, entities, args.seed)
    device = network.embed_tokens.weight.device
    with torch.inference_mode():
        # Counting looks at what needs gradients. Autocast keeps its copies of weights only where they do, as the components' do.
        network.requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            step()
        network.requires_grad_(True)
        step()
        found = [clocked(step, device)]
        while sum(found) < args.seconds:
            found.append(clocked(step, device))
    return counter.get_total_flops(), 1.0 / statistics.median(found)


def passing(network: OFA, task: str, batch: int, entities: int, seed: int) -> Callable[[], object]:
    """A pass over questions of usual lengths, longest first, as the components ask them."""
    device, side = network.embed_tokens.weight.device, SIDES[task]
    config = network.config
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.empty(batch // entities, 3, side, side).normal_(generator=generator)
    pixels = pixels.to(device, memory_format=torch.channels_last)
    lengths = torch.randint(*LENGTHS[task], (batch,), generator=generator).sort(descending=True).values.tolist()
    tokens = torch.full((batch, lengths[0]), config.pad)
    for i, length in enumerate(lengths):
        tokens[i, :length] = torch.randint(4, 50000, (length,), generator=generator)
    owner = (torch.arange(batch) // entities).to(device)
    prompts: list[list[int]] = [tokens[i, : length - 1].tolist() for i, length in enumerate(lengths)]
    tokens = tokens.to(device)
    stem = network.encoder.embed_images.folded()
    trie = Trie(LABELS, config.eos)
    options = BeamOptions(no_repeat_ngram=3, allowed=(config.bin_0, config.bin_0 + config.bins), bins_only=True)

    def step() -> object:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            seen = network.encoder.pictures(pixels, stem)
            encoded = network.encode(tokens, Patches(seen.states[owner], seen.height, seen.width))
            if task == "entailment":
                return score_labels(network, encoded, prompts, trie).cpu()
            return beam_search(network, encoded, options)

    return step


def peak(device: torch.device, size: int) -> float:
    """Operations a second of the fastest square product in bfloat16."""
    best: dict[int, float] = {}
    for side in (size // 2, size):
        a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
        times = [clocked(lambda: a @ b, device, rounds=10) for _ in range(5)]
        best[side] = 2 * side**3 / min(times)
    return max(best.values())


def clocked(work: Callable[[], object], device: torch.device, rounds: int = 1) -> float:
    """Seconds of a round by the clock, the GPU's queue emptied before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(rounds):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / rounds


if __name__ == "__main__":
    sys.exit(main())
