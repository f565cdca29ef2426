"""Turn a finished pipeline into an installable source folder with a fixed name: assets/rivega_twitter.

`spacy package` names its folder by version; a fixed name keeps the history of the weights files in one place and the
install command the same.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import srsly
from packaging.requirements import Requirement

from ..post.pipeline_files import check_given_out
from .machine import PACKAGE, requirements


def package(pipeline: Path, out: Path) -> Path:
    """Write the source folder of a pipeline's package.

    pipeline (Path): The finished pipeline.
    out (Path): Folder that it is written into, in place of one of that name.
    RETURNS (Path): The source folder.
    RAISES (RivegaError): E977 for a link out of the pipeline's folder.
    """
    from spacy.cli.package import package as write_package

    check_given_out(pipeline)
    meta = srsly.read_json(pipeline / "meta.json")
    name = f"{meta['lang']}_{meta['name']}"
    with tempfile.TemporaryDirectory() as folder:
        write_package(pipeline, Path(folder), create_sdist=False, require_parent=True, force=True)
        target = out / name
        if target.exists():
            shutil.rmtree(target)
        shutil.move(str(Path(folder) / f"{name}-{meta['version']}"), target)
    written = srsly.read_json(target / "meta.json")
    written["requirements"] = own_requirements(written["requirements"])
    srsly.write_json(target / "meta.json", written)
    # The package's setup.py copies its meta.json to these places on every build; put there now, a build changes nothing.
    for copy in (target / name / "meta.json", target / name / f"{name}-{meta['version']}" / "meta.json"):
        shutil.copyfile(target / "meta.json", copy)
    return target


def own_requirements(lines: Iterable[str]) -> list[str]:
    """What a pipeline asks for beyond what this package asks for by itself.

    lines (Iterable[str]): Requirements as `spacy package` writes them: it adds the packages of the components in the versions that are installed,
        which are fewer than the pipeline works with, and would hold pip back from others.
    RETURNS (List[str]): Those that are left.
    """
    settled = {need.name for need in requirements()}
    needs = [Requirement(line) for line in lines]
    return [str(need) for need in needs if need.name == PACKAGE or need.name not in settled]
