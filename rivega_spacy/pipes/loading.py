"""Pipelines as commands load them: what is wrong with one is told in one line."""

import json
from pathlib import Path
from typing import Any

from spacy.language import Language

from ..post.errors import Errors, RivegaError
from ..post.pipeline_files import check_pipeline_files


def load_pipeline(model: str, *, gpu_id: int = -1, config: dict[str, Any] | None = None) -> Language:
    """`spacy.load`, with errors that say what to do.

    model (str): Installed pipeline or folder.
    gpu_id (int): GPU to use; -1 for the CPU.
    config (Optional[Dict[str, Any]]): Values of its config to change, for example {"components.rivega_ner.min_score": 0.5}.
    RETURNS (Language): The pipeline.
    RAISES (RivegaError): E057 if there is no such GPU, E500 if there is no such pipeline, E058 if it is broken, E976 if it holds what is no file,
        E973 for a value that has no effect on a pipeline that is loaded.
    """
    import spacy

    _check_changes(config or {})
    use_gpu(gpu_id)
    if not spacy.util.is_package(model):
        # spaCy reads meta.json and config.cfg before anything of ours has a say.
        check_pipeline_files(Path(model))
    try:
        return spacy.load(model, config=config or {})
    except RivegaError:
        raise
    except Exception as error:  # files of a pipeline can be wrong in as many ways as there are components
        reason = _first_line(error)
        if isinstance(error, OSError) and "[E050]" in str(error):
            raise RivegaError(Errors.E500.format(model=model, reason=reason)) from error
        raise RivegaError(Errors.E058.format(model=model, reason=_damaged_head(Path(model)) or reason)) from error


def _check_changes(config: dict[str, Any]) -> None:
    """RAISES (RivegaError): E973 for what spaCy would pass over: of components it says itself what they do not have."""
    from spacy.schemas import ConfigSchemaNlp
    from spacy.util import dict_to_dot

    of_nlp = set(ConfigSchemaNlp.__annotations__)
    for name in dict_to_dot(config):
        section, _, rest = name.partition(".")
        if section not in ("components", "nlp", "paths") or (section == "nlp" and rest.partition(".")[0] not in of_nlp):
            raise RivegaError(Errors.E973.format(name=name))


def _damaged_head(folder: Path) -> str:
    """What is wrong with meta.json or config.cfg, which spaCy reads before anything of ours has a say; "" where both can be read."""
    from thinc.api import Config

    for name in ("meta.json", "config.cfg"):
        file = folder / name
        try:
            if file.is_file() and name == "meta.json":
                json.loads(file.read_text(encoding="utf8"))
            elif file.is_file() and "nlp" not in Config().from_disk(file, interpolate=False):
                return f"{file} has no section [nlp]"
        except Exception as error:  # whatever parsers raise
            return f"{file} cannot be read: {_first_line(error)}"
    return ""


def use_gpu(gpu_id: int) -> None:
    """Take a GPU for everything that follows.

    gpu_id (int): Its number; -1 changes nothing.
    RAISES (RivegaError): E057 if it cannot be used, for example because CuPy is not installed.
    """
    if gpu_id < 0:
        return
    from thinc.api import require_gpu

    try:
        require_gpu(gpu_id)
    except Exception as error:  # CuPy and PyTorch have their own errors for what is missing
        raise RivegaError(Errors.E057.format(gpu_id=gpu_id, reason=_first_line(error))) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].split("] ", 1)[-1] if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
