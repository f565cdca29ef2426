"""The tiny OFA and its vocabulary, in folders that no test changes."""

from pathlib import Path

import pytest
from ofa_tiny import write_folder, write_vocabulary


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("ofa") / "model")


@pytest.fixture(scope="package")
def vocab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabulary(tmp_path_factory.mktemp("vocab"))
