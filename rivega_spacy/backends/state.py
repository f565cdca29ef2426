"""What the shim saves beside plain weights: packed tables, an optimiser's state.

Large word tables can be written in eight bits: integers from -127 to 127 and one scale a row.
"""

import torch

ROW_SCALE = ".row_scale"
# What AdamW keeps of a parameter; the last with `amsgrad` alone.
_FIELDS = {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}


def pack_rows(table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A table's rows in eight bits; what `unpack_rows` gives back packs into the same again.

    table (Tensor): N x W, floating point.
    RETURNS (Optional[Tuple[Tensor, Tensor]]): N x W int8 and N x 1 float16 scales; None if a row's values are beyond what such scales
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


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, torch.Tensor]) -> None:
    """Give an optimiser the moments it had.

    optimizer (Optimizer): of the same parameters in the same order, changed in place; its rates stay as they are.
    state (Dict[str, Tensor]): by "index of the parameter.name of the field".
    RAISES (ValueError): If it is of other parameters: the fused step would read and write beyond their memory.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    fields: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters):
            raise ValueError(f"there is no parameter {key[:40]!r}")
        if name not in _FIELDS or value.shape != (() if name == "step" else parameters[int(index)].shape):
            raise ValueError(f"{key[:40]!r} of shape {tuple(value.shape)} does not fit")
        fields.setdefault(int(index), {})[name] = value
    needed = _FIELDS if any(group.get("amsgrad") for group in optimizer.param_groups) else _FIELDS - {"max_exp_avg_sq"}
    if any(not needed <= set(found) for found in fields.values()):
        raise ValueError("the moments of a parameter are not complete")
    optimizer.load_state_dict({"state": fields, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if value.shape == parameter.shape:
                # The fused step walks both through memory side by side: they must lie alike (channels last, say), and a file keeps
                # no layout.
                own[name] = torch.empty_like(parameter).copy_(value)
