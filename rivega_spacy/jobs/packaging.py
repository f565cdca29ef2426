"""Turn a finished pipeline into an installable source folder with a fixed name: assets/rivega_twitter.

`spacy package` names its folder by version; a fixed name keeps the history of the weights files in one place and the
install command the same.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import srsly


def package(pipeline: Path, out: Path) -> Path:
    """Write the source folder of a pipeline's package.

    pipeline (Path): The finished pipeline.
    out (Path): Folder that it is written into, in place of one of that name.
    RETURNS (Path): The source folder.
    """
    meta = srsly.read_json(pipeline / "meta.json")
    name = f"{meta['lang']}_{meta['name']}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spacy", "package", str(pipeline), folder, "--build", "none", "--force"]
        subprocess.run(command, check=True)
        target = out / name
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(Path(folder) / f"{name}-{meta['version']}"), target)
    # The package's setup.py copies its meta.json to these places on every build; put there now, a build changes nothing.
    for copy in (target / name / "meta.json", target / name / f"{name}-{meta['version']}" / "meta.json"):
        shutil.copyfile(target / "meta.json", copy)
    return target
