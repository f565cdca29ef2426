"""Reading the files that published networks are released in, without running anything that is in them."""

import argparse
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..post.errors import Errors, RivegaError
from ..post.files import open_output
from .weights import read_checkpoint

Tensors = dict[str, torch.Tensor]

# Network -> ("module:function", part of a tensor's name that only this network has). The function takes the path and returns the
# tensors under our names and what else is needed to build the network, as JSON.
CONVERTERS: dict[str, tuple[str, str]] = {
    "ofa": ("rivega_spacy.backends.ofa.checkpoint:convert", "image_rel_pos_table_list"),
    "albef": ("rivega_spacy.backends.albef.weights:convert", "visual_encoder.blocks."),
    "seqtr": ("rivega_spacy.backends.seqtr.weights:convert", "vis_enc.darknet."),
}
METADATA_KEY = "rivega"


def read_namespaced(path: Path, *, what: str) -> dict[str, Any]:
    """Read a checkpoint file of fairseq's, which keeps its settings in an `argparse.Namespace`: the one class let through.

    path (Path): .safetensors, or what torch.save wrote (.pt, .pth, .bin).
    what (str): How errors call the thing expected.
    RETURNS (Dict[str, Any]): The file's top level, tensors in CPU memory.
    RAISES (RivegaError): E020, E730, E737; see `weights.read_checkpoint`.
    """
    with torch.serialization.safe_globals([argparse.Namespace]):
        return read_checkpoint(path, what=what)


def read_safetensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and our own note from a safetensors file.

    RETURNS (Tuple[Tensors, Dict[str, Any]]): The note is empty if `rivega convert-checkpoint` did not write the file.
    RAISES (RivegaError): E020, E701.
    """
    if not Path(path).is_file():
        raise RivegaError(Errors.E020.format(path=path))
    try:
        with safe_open(str(path), framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            if not isinstance(note, dict):
                raise ValueError("its note is no object")
            return {name: file.get_tensor(name) for name in file.keys()}, note
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise RivegaError(Errors.E701.format(path=path, reason=error)) from error


def find_tensors(content: Any, *, path: Path, under: tuple[str, ...] = ("model", "state_dict", "model_state_dict")) -> Tensors:
    """The dict of tensors within what a checkpoint file holds; `module.` before every name is taken off.

    content (Any): A file's top level.
    path (Path): For errors.
    under (Tuple[str, ...]): Where to look for it, if not at the top.
    RAISES (RivegaError): E702 if there is none.
    """
    candidates = [content] + [content.get(key) for key in under] if isinstance(content, dict) else []
    for candidate in candidates:
        if isinstance(candidate, dict):
            tensors = {name: value for name, value in candidate.items() if isinstance(value, torch.Tensor)}
            if tensors and len(tensors) == len(candidate):
                if all(name.startswith("module.") for name in tensors):
                    return {name[len("module.") :]: value for name, value in tensors.items()}
                return tensors
    found = ", ".join(str(key) for key in content)[:200] if isinstance(content, dict) else type(content).__name__
    raise RivegaError(Errors.E702.format(path=path, found=found or "nothing"))


def recognise(path: Path) -> str:
    """Which of our ports a checkpoint is of.

    path (Path): File, or folder with the weights in it.
    RETURNS (str): A key of CONVERTERS.
    RAISES (RivegaError): E703 if none knows its tensors.
    """
    file = weights_file(path)
    names: list[str] = list(find_tensors(read_namespaced(file, what="a checkpoint"), path=file))
    for network, (_, mark) in CONVERTERS.items():
        if any(mark in name for name in names):
            return network
    raise RivegaError(Errors.E703.format(path=path, known=", ".join(sorted(CONVERTERS)), names=", ".join(names[:5])))


def weights_file(path: Path) -> Path:
    """The file with the weights: the path itself, or the one in the folder that has a usual name.

    RAISES (RivegaError): E020 if there is nothing, E704 if the folder has no such file.
    """
    path = Path(path)
    if not path.exists():
        raise RivegaError(Errors.E020.format(path=path))
    if path.is_file():
        return path
    names = ("model.safetensors", "pytorch_model.bin", "state_dict.safetensors")
    for name in names:
        if (path / name).is_file():
            return path / name
    raise RivegaError(Errors.E704.format(path=path, names=", ".join(names)))


def convert(source: Path, target: Path, *, network: str | None = None, ema: bool = False) -> tuple[str, int]:
    """Write a published checkpoint as safetensors, which holds nothing that could run.

    source (Path): File or folder as published.
    target (Path): .safetensors file.
    network (Optional[str]): A key of CONVERTERS; None looks at the names of the tensors.
    ema (bool): Take the moving average of the weights (E760 where the file has none). SeqTR's is taken anyway.
    RETURNS (Tuple[str, int]): Which network it was, and how many tensors were written.
    """
    network = network or recognise(source)
    module, _, function = CONVERTERS[network][0].partition(":")
    run: Callable[..., tuple[Tensors, dict[str, Any]]] = getattr(importlib.import_module(module), function)
    tensors, note = run(Path(source), ema=ema)
    data = save(
        {name: value.contiguous().clone() for name, value in tensors.items()},
        metadata={METADATA_KEY: json.dumps({"network": network, **note}, sort_keys=True)},
    )
    with open_output(target, binary=True) as out:
        out.write(data)
    return network, len(tensors)
