"""Loading weights into a module, with an account of what does not fit, and an optimiser's state; needs nothing but PyTorch.

Large word tables can be written in eight bits: integers from -127 to 127 and one scale a row.
"""

import torch

from ..post.errors import Errors, RivegaError


def load_state(module: torch.nn.Module, state: dict[str, torch.Tensor], *, name: str) -> None:
    """Load weights and say exactly what does not fit.

    module (Module): The network, changed in place.
    state (Dict[str, Tensor]): Weights by name, any floating-point precision.
    name (str): How the error names the network.
    RAISES (RivegaError): E022 with missing and surplus keys and wrong shapes; nothing is loaded then.
    """
    missing, surplus, shapes = mismatches(module, state)
    if missing or surplus or shapes:
        raise RivegaError(Errors.E022.format(name=name, missing=listing(missing), surplus=listing(surplus), shapes=listing(shapes)))
    module.load_state_dict(state)


def mismatches(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> tuple[list[str], list[str], list[str]]:
    """What differs between a network and weights for it.

    RETURNS (Tuple[List[str], List[str], List[str]]): Names that the weights lack, names that the network does not know, and both shapes
        where they differ.
    """
    own = module.state_dict()
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if own[key].shape != state[key].shape
    ]
    return sorted(set(own) - set(state)), sorted(set(state) - set(own)), shapes


ROW_SCALE = ".row_scale"


def pack_rows(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A table's rows in eight bits; what `unpack_rows` gives back packs into the same again.

    table (Tensor): N x W, floating point.
    RETURNS (Optional[Tuple[Tensor, Tensor]]): N x W int8 and N x 1 float16 scales; None where a row's values are beyond what such scales
        can say.
    """
    largest = table.float().abs().amax(dim=1, keepdim=True)
    scale = (largest / 127).half()
    info = torch.finfo(torch.float16)
    if not bool(torch.isfinite(scale).all()) or bool(((scale < info.smallest_normal) & (largest > 0)).any()):
        return None
    steps = table.float() / torch.where(scale > 0, scale.float(), 1.0)
    return steps.round().clamp(-127, 127).to(torch.int8), scale


def unpack_rows(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights with their packed tables in single precision.

    state (Dict[str, Tensor]): Weights by name; the scales of a packed table stand beside it under its name with `ROW_SCALE`.
    RETURNS (Dict[str, Tensor]): Without the scales.
    """
    whole = {name: value for name, value in state.items() if not name.endswith(ROW_SCALE)}
    for name, scale in state.items():
        table = name[: -len(ROW_SCALE)]
        if name.endswith(ROW_SCALE) and table in whole:
            whole[table] = whole[table].float() * scale.float()
    return whole


def listing(names: list[str], limit: int = 5) -> str:
    """The first few names and how many more there are."""
    if not names:
        return "none"
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor]) -> None:
    """Give an optimiser the moments it had.

    optimizer (Optimizer): of the same parameters in the same order, changed in place; its rates stay as they are.
    state (Dict[str, Tensor]): by "index of the parameter.name of the field".
    """
    fields: dict[int, dict[str, torch.Tensor]] = {}
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
