"""Write sbom.cdx.json (CycloneDX 1.6) and docs/licences.md: what the demo and the tests install, the shipped weights with their digests, their data.

    python ci/lock.py && python ci/sbom.py

Packages and hashes are those of ci/locks/; licences are read from the metadata of the packages as they are installed beside this Python, so run
it in the environment of `make test`. The data behind the weights are listed by hand in ci/weights_data.json. Equal input gives equal bytes.
"""

import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SBOM, PAGE = ROOT / "sbom.cdx.json", ROOT / "docs" / "licences.md"
MODEL = ROOT / "assets" / "rivega_twitter"
NOT_STATED = "not stated"
# Their metadata say nothing and their LICENSE files do, or they are for another system.
BY_HAND = {
    "segment-anything": "Apache-2.0",
    "wheel": "MIT",
    "colorama": "BSD License",
    "cffi": "MIT-0",
    "pycparser": "BSD-3-Clause",
}


def read_lock(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and SHA-256 digests of each package of a lock, those of all builds of it together."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in path.read_text(encoding="utf8").splitlines():
        pin = re.match(r"([a-z0-9-]+)==([^\s;\\]+)", line)
        if pin:
            name, version = pin[1], pin[2].partition("+")[0]
            found.setdefault(name, (version, []))
        elif name:
            found[name][1].extend(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def licence_of(name: str) -> str:
    """An installed package's licence as its metadata has it: the expression, the field's first line, or the classifiers."""
    if name in BY_HAND:
        return BY_HAND[name]
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return NOT_STATED
    if about.get("License-Expression"):
        return about["License-Expression"]
    classes = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License :: ")]
    classes = [name for name in classes if name != "OSI Approved"]
    field = (about.get("License") or "").strip()
    if field and "\n" not in field and len(field) <= 60 and field != "UNKNOWN":
        return field
    return " / ".join(classes) or NOT_STATED


def library(name: str, version: str, digests: list[str], only_tests: bool) -> dict[str, Any]:
    """A package as a component."""
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "scope": "excluded" if only_tests else "required",
        # Of a package with many files, those of all of them: which one is installed depends on the machine.
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(digests)],
        "licenses": [{"license": {"name": licence_of(name)}}],
        "purl": purl,
    }


def weights() -> dict[str, Any]:
    """The shipped pipeline, its files with digests, and the data behind them."""
    meta = json.loads((MODEL / "meta.json").read_text(encoding="utf8"))
    folder = MODEL / "rivega_twitter" / f"rivega_twitter-{meta['version']}"
    data = json.loads((ROOT / "ci" / "weights_data.json").read_text(encoding="utf8"))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "type": "machine-learning-model",
        "bom-ref": f"pkg:pypi/rivega-twitter@{meta['version']}",
        "name": "rivega_twitter",
        "version": meta["version"],
        "licenses": [{"license": {"id": meta["license"]}}],
        "components": [
            {
                "type": "file",
                "bom-ref": f"rivega_twitter/{path.relative_to(folder).as_posix()}",
                "name": path.relative_to(folder).as_posix(),
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
            }
            for path in files
        ],
        "modelCard": {
            "modelParameters": {
                "datasets": [{"type": "dataset", "name": row["name"], "description": row["licence"]} for row in data]
            }
        },
    }


def bill() -> dict[str, Any]:
    """The whole of it."""
    init = (ROOT / "rivega_spacy" / "__init__.py").read_text(encoding="utf8")
    version = re.findall(r'^__version__ = "(.+)"', init, re.M)[0]
    demo, test = read_lock(ROOT / "ci" / "locks" / "demo.txt"), read_lock(ROOT / "ci" / "locks" / "test.txt")
    model = weights()
    libraries = [library(name, *test[name], only_tests=name not in demo) for name in sorted(test)]
    me = f"pkg:pypi/rivega-spacy@{version}"
    content = {
        "components": [model, *libraries],
        "dependencies": [
            {"ref": me, "dependsOn": sorted(each["bom-ref"] for each in libraries if each["scope"] == "required")},
            {"ref": model["bom-ref"], "dependsOn": [me]},
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    about = {
        "type": "application",
        "bom-ref": me,
        "name": "rivega_spacy",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": me,
    }
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return {**head, "metadata": {"component": about}, **content}


def page(sbom: dict[str, Any]) -> str:
    """The licences for people."""
    libraries = [each for each in sbom["components"] if each["type"] == "library"]
    rows = {
        scope: [f"| {each['name']} | {each['version']} | {_cell(each)} |" for each in libraries if each["scope"] == scope]
        for scope in ("required", "excluded")
    }
    data = json.loads((ROOT / "ci" / "weights_data.json").read_text(encoding="utf8"))
    head = ["| package | version | licence as its metadata states it |", "|---|---|---|"]
    return "\n".join(
        [
            "# Licences",
            "",
            "Made by `python ci/sbom.py`, which also writes `sbom.cdx.json` (CycloneDX 1.6): every package with the hashes of its files, every file",
            "of the shipped pipeline with its SHA-256. The package itself and the shipped weights are under Apache 2.0; weights of others: [backends](backends.md).",
            "",
            "## The data behind the weights of rivega_twitter",
            "",
            "None of it is passed on. Most photographs come without a licence, or with one for research or non-commercial use (SOD, DAVIS 2016, CamVid, a part of",
            "COCO), and the shop signs from a repository under GPL-3.0. Whether any of that reaches weights trained on them is not settled, so who needs",
            "certainty trains without them (docs/training.md).",
            "",
            "| data | behind | licence |",
            "|---|---|---|",
            *(f"| {row['name']} | {', '.join(f'`{part}`' for part in row['behind'])} | {row['licence']} |" for row in data),
            "",
            "## What an installation brings along",
            "",
            *head,
            *rows["required"],
            "",
            "## What the tests need besides",
            "",
            *head,
            *rows["excluded"],
            "",
        ]
    )


def _cell(component: dict[str, Any]) -> str:
    return component["licenses"][0]["license"]["name"].replace("|", "/")


def main() -> None:
    """Write both files."""
    sbom = bill()
    SBOM.write_text(json.dumps(sbom, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    PAGE.write_text(page(sbom), encoding="utf8")
    unknown = [each["name"] for each in sbom["components"] if each["type"] == "library" and _cell(each) == NOT_STATED]
    sys.stdout.write(f"{SBOM.name}: {len(sbom['components'])} components; licence not stated: {', '.join(unknown) or 'none'}\n")


if __name__ == "__main__":
    main()
