"""What the shim saves beside plain weights: packed tables, an optimiser's state.

Large word tables can be written in eight bits: integers from -127 to 127 and one scale a row.
"""

import torch

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
