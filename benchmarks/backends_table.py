"""The table of docs/backends.md: what there is, its licence, size, memory and speed on this CPU.

    python benchmarks/backends_table.py [--networks "SAM base" ...] [--newer PYTHON] [--repeats 2] [--write]
        [--results benchmarks/results/backends_table.json]

Every network runs in a process of its own, at its published size with random weights (memory and speed do not depend on them; nothing is
downloaded), on one thread, in single precision: a picture of 640 x 480 pixels with one expression or one box, a new picture each time, after one
that does not count. Time is processor time, the least of `--repeats`, since other work on the machine only adds to it. Memory is the most that the process
held at all, Python and libraries included (about 0.5 GB). Networks that the installed transformers lacks are measured by `--newer`, the Python of an
environment with a newer one; what cannot be measured says so. Not measured: Florence-2 (with random weights no
answer ends), EdgeTAM (needs timm), and what is for a GPU. `--write` puts
the table into docs/backends.md. `--results` is a file that keeps what was measured: what stands in it is not measured again. A new network is a row of ROWS and a function that makes it.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import backends
import numpy as np
import torch
from reporting import processor

from rivega_spacy.pipes.queries import ImageQueries
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.versions import installed

PAGE = Path(__file__).resolve().parents[1] / "docs" / "backends.md"
HEAD = (
    "| network | as | licence of the weights | parameters | download | memory | ms a picture | transformers | take it for |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
ASKED = Expression("Angelina Jolie", "PER", "a prominent actress and writer in a red shirt")
Ask = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    make (Optional[Callable]): Returns the network's modules and, by what they are taken as, how a picture is asked; None is not measured.
    before (str): Milliseconds of an earlier measurement (benchmarks/results/backends.md), shown with a mark where there is no newer one.
    since (Tuple[int, ...]): The first version of transformers that has the network; () where it does not matter.
    """

    name: str
    taken_as: str
    licence: str
    take: str
    make: Callable[[], tuple[list[torch.nn.Module], dict[str, Ask]]] | None = None
    since: tuple[int, ...] = ()
    parameters: str = ""
    download: str = ""
    before: str = ""


def module_of(model: Any) -> torch.nn.Module:
    """The network of a Thinc model."""
    shim = model.shims[0]
    return shim.ready() if hasattr(shim, "ready") else shim.module


def asked(*models: tuple[str, Any]) -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    """Thinc models by what they are; equal networks count once."""
    modules = [module_of(model) for _, model in models]
    asks = {name: lambda image, model=model: model.predict([ImageQueries(image, [ASKED])]) for name, model in models}
    return list({id(module): module for module in modules}.values()), asks


def small() -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    """What ships: the one network that has its weights."""
    import spacy

    nlp = spacy.load("rivega_twitter", enable=["rivega_entailment", "rivega_grounder"])
    entailment, grounder = (nlp.get_pipe(f"rivega_{name}").model for name in ("entailment", "grounder"))
    # The grounder finds the picture encoded.
    return [module_of(grounder)], {
        "both": lambda image: [model.predict([ImageQueries(image, [ASKED])]) for model in (entailment, grounder)]
    }


def small_segmenter() -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    import spacy

    model = spacy.load("rivega_twitter", enable=["rivega_segmenter"]).get_pipe("rivega_segmenter").model
    box = np.array([[100.0, 80.0, 400.0, 420.0]], dtype="float32")
    return [module_of(model)], {"segmenter": lambda image: model.predict([(image, box)])}


def ofa_large() -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    import ofa

    models, network, _ = ofa.build(argparse.Namespace(small=False, seed=0, bf16=False))
    return [network], asked(("entailment", models["entailment"]), ("grounder", models["grounding"]))[1]


def one(name: str, maker: Callable[[], Any]) -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    return asked((name, maker()))


def mm_grounding_dino() -> Any:
    """Swin-T, as the published tiny ones."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    from rivega_spacy.backends.mm_grounding_dino.grounder import mm_grounding_dino as make

    table = backends.tokenizer(backends.bert_words(), "[CLS]", "[SEP]", "[UNK]")
    return backends.hub(make(), MMGroundingDinoForObjectDetection(MMGroundingDinoConfig()), table, pad=0, max_tokens=128)


def clip_words() -> str:
    words = {word: 2000 + n for n, word in enumerate(backends.words())}
    return backends.tokenizer({**words, "<unk>": 1, "<first>": 49406, "<last>": 49407}, "<first>", "<last>", "<unk>")


def sam3() -> Any:
    from transformers import Sam3Config, Sam3Model

    from rivega_spacy.backends.sam3.segmenter import TOKENS, sam3_segmenter

    return backends.hub(sam3_segmenter(), Sam3Model(Sam3Config()), clip_words(), pad=0, max_tokens=TOKENS)


def prompted(kind: str, config: str, network: str) -> tuple[list[torch.nn.Module], dict[str, Ask]]:
    """A segmenter of transformers that is told boxes."""
    import transformers

    if kind == "sam":
        from rivega_spacy.backends.sam.hf_segmenter import HFSamSegmenter as Segmenter
    else:
        from rivega_spacy.backends.sam2.segmenter import HFSam2Segmenter as Segmenter
    made = getattr(transformers, network)(getattr(transformers, config)()).eval()
    segmenter = Segmenter(lambda: made, device="cpu")
    box = np.array([[100.0, 80.0, 400.0, 420.0]])
    return [made], {"segmenter": lambda image: segmenter([(image, box)])}


APACHE = "Apache 2.0"
ROWS = [
    Row("small (ships)", "`SmallEntailment.v2`, `SmallGrounder.v2`", APACHE, "a CPU; nothing to download", small, download="comes along"),
    Row("OFA-large", "`OFAEntailment`, `OFAGrounder`", APACHE, "the paper's best variant; one network for both; trained here", ofa_large, parameters="473 M", download="1.9 GB"),
    Row("ALBEF", "`ALBEFEntailment`", "BSD-3-Clause (of the code)", "the paper's entailment variant; three labels; trained here", partial(one, "entailment", backends.albef), before="1,200", parameters="210 M", download="0.84 GB"),
    Row("SeqTR", "`SeqTRGrounder`", "none stated for the weights", "the paper's light grounder; trained here", partial(one, "grounder", backends.seqtr), before="1,400", parameters="104 M", download="0.42 GB"),
    Row("BLIP base, matching", "`ITMEntailment`", "BSD-3-Clause", "entailment without training of one's own", partial(one, "entailment", backends.blip), before="1,300", parameters="224 M", download="0.9 GB"),
    Row("BLIP-2 ViT-g, matching", "`ITMEntailment`", "MIT", "the same, on a GPU", parameters="1,172 M", download="4.7 GB"),
    Row("Grounding DINO tiny", "`GroundingDINO`, `GroundingScore`", APACHE, "boxes without training of one's own", partial(one, "grounder", backends.dino), before="14,000", parameters="172 M", download="0.69 GB"),
    Row("MM Grounding DINO tiny, LLMDet tiny", "`MMGroundingDINO`, `GroundingScore`", APACHE, "the same with better weights", lambda: one("grounder", mm_grounding_dino), (4, 55)),
    Row("OWLv2 base", "`OWLv2`, `GroundingScore`", APACHE, "many entities a picture: each costs one short text", partial(one, "grounder", backends.owlv2), before="20,000", parameters="155 M", download="0.62 GB"),
    Row("OWLv2 large", "`OWLv2`, `GroundingScore`", APACHE, "the same, on a GPU", parameters="438 M", download="1.75 GB"),
    Row("Florence-2 base", "`Florence2`, `GroundingScore`", "see its card", "a small vision-language model", None, (4, 56), "231 M", "0.9 GB"),
    Row("Florence-2 large", "`Florence2`, `GroundingScore`", "see its card", "the same, on a GPU", None, (4, 56), "770 M", "3.1 GB"),
    Row("a chat model", "`ChatEntailment`, `ChatGrounder`", "its own", "a server that is there already", None, (), "any", "elsewhere"),
    Row("small segmenter (ships)", "`SmallSegmenter.v3`", APACHE, "a CPU; nothing to download", small_segmenter, download="comes along"),
    Row("SAM base", "`HFSam`, `SAM`", APACHE, "sharper masks with any transformers", partial(prompted, "sam", "SamConfig", "SamModel")),
    Row("SAM 2.1 tiny", "`HFSam2`", APACHE, "the first choice with a newer transformers", partial(prompted, "sam2", "Sam2Config", "Sam2Model"), (4, 56), download="0.16 GB"),
    Row("EdgeTAM", "`HFSam2`", APACHE, "the smallest SAM 2; needs timm and torchvision", None, (4, 57), "14 M", "0.06 GB"),
    Row("SAM 3", "`SAM3` (no boxes)", "SAM License, gated", "grounder and segmenter in one, on a GPU", lambda: one("text segmenter", sam3), (5, 0)),
]  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    parser.add_argument("--newer", default=sys.executable)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(measured(next(row for row in ROWS if row.name == args.one), args.repeats)))
        return 0
    known: dict[str, Any] = {}
    if args.results is not None and args.results.is_file():
        known = json.loads(args.results.read_text(encoding="utf8"))
    for name in args.networks:
        row = next(row for row in ROWS if row.name == name)
        if row.make is not None and name not in known and (values := found(row, args)):
            known[name] = values
            if args.results is not None:
                args.results.write_text(json.dumps(known, indent=1) + "\n", encoding="utf8")
    table = "\n".join([HEAD, *(line(row, known.get(row.name, {})) for row in ROWS)])
    print(table)
    if args.write:
        text = PAGE.read_text(encoding="utf8")
        PAGE.write_text(re.sub(r"\| network \| as \|(.*\n)(\|.*\n)+", lambda _: table + "\n", text), encoding="utf8")
    return 0


def found(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own measures; nothing where the network cannot be made there."""
    python = sys.executable if installed("transformers") >= row.since else args.newer
    command = [python, __file__, "--one", row.name, "--repeats", str(args.repeats)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if python != sys.executable:
        environment["PYTHONPATH"] = str(PAGE.parents[1])
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(f"{row.name} was not measured: {done.stderr.strip().splitlines()[-1]}\n")
        return {}
    sys.stderr.write(f"{row.name}: {done.stdout}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(row: Row, repeats: int) -> dict[str, Any]:
    """Parameters in millions, milliseconds by what is asked, most memory in GB."""
    assert row.make is not None
    torch.set_num_threads(1)
    torch.manual_seed(0)
    modules, asks = row.make()
    random = np.random.default_rng(0)

    def seconds(ask: Ask) -> float:
        image = random.integers(0, 256, (480, 640, 3)).astype("uint8")
        started = time.process_time()
        ask(image)
        return time.process_time() - started

    with torch.inference_mode():
        times = {name: min([seconds(ask) for _ in range(repeats + 1)][1:]) for name, ask in asks.items()}
    return {
        "when": str(date.today()),
        "processor": processor(),
        "transformers": ".".join(map(str, installed("transformers"))),
        "parameters": sum(value.numel() for module in modules for value in module.parameters()) / 1e6,
        "ms": {name: 1000 * value for name, value in times.items()},
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def line(row: Row, values: dict[str, Any]) -> str:
    """The row in Markdown."""
    millions = values.get("parameters")
    parameters = row.parameters or ("–" if millions is None else f"{millions:.0f} M" if millions >= 10 else f"{millions:.1f} M")
    download = row.download or ("–" if millions is None else f"{millions * 4 / 1000:.2g} GB")
    memory = f"{values['memory']:.1f} GB" if values else "–"
    times = values.get("ms", {})
    named = {
        name: f"{round(value, 2 - len(str(int(value)))):,.0f}" if value >= 100 else f"{value:.0f}" for name, value in times.items()
    }
    shown = (
        "; ".join(f"{name} {value}" for name, value in named.items())
        if len(named) > 1
        else next(iter(named.values()), f"{row.before} ¹" if row.before else "–")
    )
    since = ".".join(map(str, row.since)) or "any"
    cells = [row.name, row.taken_as, row.licence, parameters, download, memory, shown, since, row.take]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
