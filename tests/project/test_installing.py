"""How the package is installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_an_editable_install_is_a_plain_path(tmp_path):
    """A finder, setuptools' other way, comes behind the folders of sys.path: beside a clone, Python would take the clone's folder for the package."""
    home = tmp_path / "rivega_spacy"
    (home / "rivega_spacy").mkdir(parents=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "rivega_spacy/__init__.py"):
        shutil.copy(ROOT / name, home / name)
    build = "from setuptools import build_meta; print(build_meta.build_editable('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=home, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(home / done.stdout.split()[-1]) as wheel:
        paths = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".pth")]
        finders = [name for name in wheel.namelist() if name.endswith(".py")]
    assert [path.strip() for path in paths] == [str(home)] and not finders
