"""What a run stands on: versions of packages, processors, memory, graphics cards."""

import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PACKAGE = "rivega_spacy"
# Extras for those who work on this package.
DEVELOPMENT = ("test", "lint", "docs")
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass
class Machine:
    """versions (Dict[str, str]): Package -> version, of those that are installed and that this package may use.
    processor (str), cores (int), memory_bytes (Optional[int]): Of the machine; the cores that this process may use.
    flags (List[str]): Instruction sets of the processor that networks gain by.
    threads (int): How many threads PyTorch computes with.
    cuda (Optional[str]): The CUDA version that PyTorch was built for; None for a build without.
    gpus (List[Dict[str, Any]]): Number (`--gpu-id`), name and bytes of memory of each card that PyTorch sees.
    cupy (bool): Whether CuPy can be imported, which thinc needs for `--gpu-id`.
    nvidia (bool): Whether the machine has a driver of NVIDIA, whatever PyTorch sees.
    """

    versions: dict[str, str]
    processor: str
    cores: int
    memory_bytes: int | None
    flags: list[str]
    threads: int
    cuda: str | None
    gpus: list[dict[str, Any]] = field(default_factory=list)
    cupy: bool = False
    nvidia: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def read_machine() -> Machine:
    """This machine, as far as it can be seen from Python."""
    import torch

    gpus = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            gpus.append({"gpu_id": number, "name": card.name, "memory_bytes": card.total_memory})
    lines = _lines("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return Machine(
        versions=versions(),
        processor=names[0] if names else platform.processor() or platform.machine(),
        cores=cores(),
        memory_bytes=_memory(),
        flags=[flag for flag in _CPU_FLAGS if flag in flags],
        threads=torch.get_num_threads(),
        cuda=torch.version.cuda,
        gpus=gpus,
        cupy=_can_import("cupy"),
        nvidia=Path("/proc/driver/nvidia/version").exists(),
    )


def versions() -> dict[str, str]:
    """Package -> version: Python, this package, and what of its requirements and extras is installed."""
    found = {"python": platform.python_version()}
    used = [need.name for need in requirements() if not any(f'"{extra}"' in str(need.marker) for extra in DEVELOPMENT)]
    for name in dict.fromkeys([PACKAGE, "thinc", *used]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def requirements(extra: str | None = None) -> list[Requirement]:
    """What this package asks for; with the name of an extra, what that adds."""
    needs = [Requirement(line) for line in requires(PACKAGE) or ()]
    if extra is None:
        return needs
    return [need for need in needs if need.marker is not None and need.marker.evaluate({"extra": extra})]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return int(line.split()[1]) * 1024
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf8", errors="replace").splitlines()
    except OSError:
        return []


def _can_import(name: str) -> bool:
    try:
        __import__(name)
    except Exception:  # a build for another CUDA fails in ways of its own
        return False
    return True


__all__ = ["DEVELOPMENT", "PACKAGE", "Machine", "cores", "read_machine", "requirements", "versions"]
