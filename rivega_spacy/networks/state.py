"""Loading weights into a module, with an account of what does not fit, and an optimiser's state; needs nothing but PyTorch."""
from typing import Dict

import torch

from ..errors import Errors, RivegaError


def load_state(module: torch.nn.Module, state: Dict[str, torch.Tensor], *, name: str) -> None:
    """Load weights and say exactly what does not fit.

    module (Module): The network, changed in place.
    state (Dict[str, Tensor]): Weights by name, any floating-point precision.
    name (str): How the error names the network.
    RAISES (RivegaError): E022 with missing and surplus keys and wrong shapes; nothing is loaded then.
    """
    own = module.state_dict()
    missing = sorted(set(own) - set(state))
    surplus = sorted(set(state) - set(own))
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if own[key].shape != state[key].shape
    ]
    if missing or surplus or shapes:
        parts = [", ".join(part[:5]) + (f" and {len(part) - 5} more" if len(part) > 5 else "") or "none" for part in (missing, surplus, shapes)]
        raise RivegaError(Errors.E022.format(name=name, missing=parts[0], surplus=parts[1], shapes=parts[2]))
    module.load_state_dict(state)


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Dict[str, torch.Tensor]) -> None:
    """Give an optimiser the moments it had.

    optimizer (Optimizer): of the same parameters in the same order, changed in place; its rates stay as they are.
    state (Dict[str, Tensor]): by "index of the parameter.name of the field".
    """
    fields: Dict[int, Dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        index, name = key.split(".")
        fields.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": fields, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if value.shape == parameter.shape:
                # The fused step walks both through memory side by side: they must lie alike (channels last, say), and a file keeps
                # no layout.
                own[name] = torch.empty_like(parameter).copy_(value)
