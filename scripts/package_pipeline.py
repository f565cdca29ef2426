"""Turn a finished pipeline into an installable source folder with a fixed name: assets/rivega_twitter.

    python scripts/package_pipeline.py training/rivega_twitter assets

`spacy package` names its folder by version; a fixed name keeps the history of the weights files in one place and the
install command the same.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import srsly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pipeline", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    meta = srsly.read_json(args.pipeline / "meta.json")
    name = f"{meta['lang']}_{meta['name']}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spacy", "package", str(args.pipeline), folder, "--build", "none", "--force"]
        subprocess.run(command, check=True)
        target = args.out / name
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(Path(folder) / f"{name}-{meta['version']}"), target)
    # The package's setup.py copies its meta.json to these places on every build; put there now, a build changes nothing.
    for copy in (target / name / "meta.json", target / name / f"{name}-{meta['version']}" / "meta.json"):
        shutil.copyfile(target / "meta.json", copy)
    print(f"{target}: install with `pip install {target}`")


if __name__ == "__main__":
    main()
