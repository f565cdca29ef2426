"""What is missing for which feature, how to get it, and what would be faster."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from ..pipes.loading import load_pipeline
from ..post.errors import RivegaError
from ..post.posts import annotate
from .machine import DEVELOPMENT, Machine, requirements

State = Literal["ok", "missing", "advice", "problem"]
# What each extra is for, in the order in which it is told. Extras of which nothing is said here are told by their names.
FEATURES = {
    "llm": "language models at OpenAI-compatible servers (captions, knowledge, expansions)",
    "export": "Parquet, in and out",
    "serve": "the browser page and the HTTP API",
    "train": "project.yml and the training of tokenizers",
    "cluster": "jobs over several machines (Ray)",
    "crf": "pytorch-crf in place of our own CRF",
    "sam": "Segment Anything (`rivega.SAM.v1`)",
    "cv": "GrabCut (`rivega.GrabCut.v1`)",
    "gpu": "what networks on a graphics card need beside PyTorch",
}
_GPU = (
    "`--gpu-id N` takes the card that nvidia-smi lists as N (counted anew where CUDA_VISIBLE_DEVICES chooses some); -1, the default, is the CPU. "
    "It needs two packages: PyTorch built for CUDA, which runs the networks, and CuPy for the same CUDA, which thinc keeps its arrays in."
)


@dataclass
class Finding:
    """state (str): "ok"; "missing", what an optional feature lacks; "advice", what would be faster or safer; "problem", what stops work.
    about (str): What it is about.
    detail (str): What was found.
    remedy (str): What to do; empty if there is nothing to do.
    """

    state: State
    about: str
    detail: str
    remedy: str = ""


def examine(machine: Machine, pipeline: str | None = "rivega_twitter") -> list[Finding]:
    """Look at the installation and try it.

    machine (Machine): From `read_machine`.
    pipeline (Optional[str]): Installed pipeline or folder to try on a post; None leaves that out.
    RETURNS (List[Finding]): Packages, features, graphics cards, speed, pictures, the pipeline.
    """
    findings = [*_packages(), *_features(), *_graphics(machine), *_speed(machine), *_pictures()]
    return findings if pipeline is None else [*findings, _try(pipeline)]


def _packages() -> list[Finding]:
    wrong = [
        Finding("problem", need.name, found, f"pip install '{need}'")
        for need in requirements()
        if need.marker is None and (found := _misfit(need))
    ]
    return wrong or [Finding("ok", "packages", "all that are needed are installed, in versions that fit")]


def _features() -> list[Finding]:
    extras = {str(need.marker).split('"')[1] for need in requirements() if need.marker is not None and "extra" in str(need.marker)}
    findings = []
    for extra in [*(name for name in FEATURES if name in extras), *sorted(extras - set(FEATURES) - set(DEVELOPMENT))]:
        about = FEATURES.get(extra, f"the extra `{extra}`")
        lacking = [found for need in requirements(extra) if (found := _misfit(need))]
        if lacking:
            findings.append(Finding("missing", about, "; ".join(lacking), f"pip install 'rivega_spacy[{extra}]'"))
        else:
            findings.append(Finding("ok", about, ", ".join(need.name for need in requirements(extra))))
    return findings


def _misfit(need: Requirement) -> str:
    try:
        found = version(need.name)
    except PackageNotFoundError:
        return f"{need.name} is not installed"
    return "" if need.specifier.contains(found, prereleases=True) else f"{need.name} is {found}, not {need.specifier}"


def _graphics(machine: Machine) -> list[Finding]:
    about = "graphics card"
    cupy = f"pip install cupy-cuda{machine.cuda.split('.')[0]}x" if machine.cuda else ""
    if machine.gpus and machine.cupy:
        cards = ", ".join(f"{card['gpu_id']} {card['name']}" for card in machine.gpus)
        return [Finding("ok", about, f"`--gpu-id`: {cards}. {_GPU}")]
    if machine.gpus:
        return [Finding("missing", about, f"PyTorch sees {machine.gpus[0]['name']}, but CuPy cannot be imported. {_GPU}", cupy)]
    if machine.nvidia and machine.cuda is None:
        remedy = "install PyTorch for your CUDA: https://pytorch.org/get-started/locally/"
        return [Finding("missing", about, f"There is an NVIDIA driver, but this PyTorch is built without CUDA. {_GPU}", remedy)]
    if machine.nvidia:
        detail = f"There is an NVIDIA driver, but PyTorch (CUDA {machine.cuda}) sees no card: its driver may be too old. {_GPU}"
        return [Finding("missing", about, detail, "run nvidia-smi, and look at CUDA_VISIBLE_DEVICES")]
    return [Finding("ok", about, f"none here, so the CPU is used. {_GPU}")]


def _speed(machine: Machine) -> list[Finding]:
    findings = []
    if machine.threads < machine.cores:
        findings.append(
            Finding(
                "advice",
                "speed",
                f"PyTorch computes with {machine.threads} of {machine.cores} cores",
                f"unset OMP_NUM_THREADS and MKL_NUM_THREADS, or `rivega annotate --n-process {machine.cores // machine.threads}`",
            )
        )
    elif machine.cores > 1:
        detail = f"{machine.cores} cores compute one batch together; over many posts processes of their own are faster"
        findings.append(
            Finding(
                "advice", "speed", detail, f"`OMP_NUM_THREADS=1 rivega annotate --n-process {machine.cores}`, where memory allows"
            )
        )
    if machine.memory_bytes is not None and machine.memory_bytes < 2 * 1024**3:
        detail = f"the machine has {machine.memory_bytes / 1024**3:.1f} GiB of memory"
        findings.append(Finding("advice", "memory", detail, "`rivega annotate --batch-size 8`, one process"))
    if {"avx512_bf16", "amx_bf16"} & set(machine.flags):
        detail = "the processor computes in bfloat16: networks may be faster with it (measure it: `rivega benchmark`), and scores differ a little"
        findings.append(
            Finding("advice", "speed", detail, "`bf16 = true` in `[components.NAME.model]` of the config (docs/vision.md)")
        )
    if platform.machine().lower() not in ("x86_64", "amd64", "arm64", "aarch64"):
        findings.append(
            Finding("advice", "speed", f"PyTorch has slow kernels for {platform.machine()}", "use another machine for many posts")
        )
    return findings


def _pictures() -> list[Finding]:
    from PIL import features

    lacking = [name for name in ("jpg", "zlib", "webp", "avif", "libtiff") if not features.check(name)]
    findings = []
    if lacking:
        detail = f"this Pillow is built without {', '.join(lacking)}: such files cannot be read"
        findings.append(Finding("missing", "pictures", detail, "pip install --force-reinstall pillow"))
    if "jpg" not in lacking and not features.check("libjpeg_turbo"):
        detail = "this Pillow decodes JPEG without libjpeg-turbo, which is several times as fast"
        findings.append(Finding("advice", "pictures", detail, "pip install --force-reinstall pillow"))
    return findings or [Finding("ok", "pictures", "JPEG (turbo), PNG, WebP, AVIF, TIFF, GIF and BMP can be read")]


def _try(pipeline: str) -> Finding:
    """Load a pipeline and give it a post with a picture: what is wrong with its set-up shows at the first post."""
    import numpy as np

    try:
        nlp = load_pipeline(pipeline)
        post = {"text": "Ada Lovelace at the Eiffel Tower in Paris", "image": np.full((64, 64, 3), 128, dtype="uint8")}
        (doc,) = annotate(nlp, [post])
    except RivegaError as error:
        return Finding("problem", Path(pipeline).name, str(error), "see the message")
    if doc._.rivega_errors:
        return Finding("problem", Path(pipeline).name, doc._.rivega_errors[0]["message"], "see the message")
    return Finding(
        "ok", f"{Path(pipeline).name} {nlp.meta.get('version', '')}", f"annotates a post ({len(doc.ents)} entities found)"
    )


__all__ = ["FEATURES", "Finding", "examine"]
