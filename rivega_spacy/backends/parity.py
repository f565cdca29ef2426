"""Which of our ports can be compared with reference outputs of the published code, and how: the table behind `rivega parity`.

A folder of references holds `config.json` (with `arch`), `state_dict.safetensors`, `inputs.safetensors` and
`outputs.safetensors`. A network registers the function that runs such a folder through our port.
"""

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import srsly

from ..post.errors import Errors, RivegaError

if TYPE_CHECKING:
    import torch


class Comparison(NamedTuple):
    """One compared tensor.

    name (str): How the folder calls it, for example "fwd.encoder_out".
    difference (float): Largest absolute difference; for tokens and boxes that must be equal, the number that are not; NaN
        where it could not be compared.
    tolerance (float): The largest difference that is allowed.
    ok (bool): Whether it holds.
    """

    name: str
    difference: float
    tolerance: float
    ok: bool

    @classmethod
    def close(cls, name: str, found: "torch.Tensor | None", expected: "torch.Tensor", tolerance: float) -> "Comparison":
        """Numbers that may differ by so much. None, or a tensor of another shape, differs."""
        if found is None or found.shape != expected.shape:
            return cls(name, math.nan, tolerance, False)
        difference = float((found.double() - expected.double()).abs().max()) if expected.numel() else 0.0
        return cls(name, difference, tolerance, difference <= tolerance)

    @classmethod
    def equal(cls, name: str, wrong: int) -> "Comparison":
        """Things that must be equal, of which so many are not."""
        return cls(name, float(wrong), 0.0, wrong == 0)


class References(NamedTuple):
    """What a folder holds of a run of the published code.

    folder (Path): Where it lies, for what a port reads besides.
    config (Dict[str, Any]): Its sizes and settings.
    state (Dict[str, Tensor]), inputs (Dict[str, Tensor]), outputs (Dict[str, Tensor]): Weights, what was put in, what came out.
    """

    folder: Path
    config: dict[str, Any]
    state: dict[str, "torch.Tensor"]
    inputs: dict[str, "torch.Tensor"]
    outputs: dict[str, "torch.Tensor"]

    @property
    def weights(self) -> Path:
        """The file of `state`, as errors name it."""
        return self.folder / FILES[0]


# `arch` in config.json -> "module:function" (references: References) -> List[Comparison]; modules are imported only when asked for.
PARITY: dict[str, str] = {
    "ofa": "rivega_spacy.backends.ofa.parity:compare",
    "albef_ve": "rivega_spacy.backends.albef.parity:compare",
    "seqtr": "rivega_spacy.backends.seqtr.parity:compare",
}

FILES = ("state_dict.safetensors", "inputs.safetensors", "outputs.safetensors")


def compare_folder(folder: Path) -> list[Comparison]:
    """Run a folder of references through our port.

    folder (Path): See the top of this file.
    RETURNS (List[Comparison]): One for each reference tensor.
    RAISES (RivegaError): E020 if a file is missing, E701 if one is damaged, E700 if `arch` names no port of ours, E761 if config.json or the inputs
        lack something, E762 where sizes do not belong together; and what loading weights raises.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise RivegaError(Errors.E020.format(path=path))
    config = srsly.read_json(path)
    arch = config.get("arch") if isinstance(config, dict) else None
    if arch not in PARITY:
        raise RivegaError(Errors.E700.format(path=path, arch=arch, known=", ".join(sorted(PARITY))))
    from .conversion import read_safetensors

    state, inputs, outputs = (read_safetensors(Path(folder) / name)[0] for name in FILES)
    module, _, function = PARITY[arch].partition(":")
    compare: Callable[[References], list[Comparison]] = getattr(importlib.import_module(module), function)
    try:
        return compare(References(Path(folder), config, state, inputs, outputs))
    except KeyError as error:
        raise RivegaError(Errors.E761.format(folder=folder, name=error.args[0])) from error
    except (ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        if isinstance(error, RivegaError):
            raise
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"
        raise RivegaError(Errors.E762.format(folder=folder, reason=reason)) from error
