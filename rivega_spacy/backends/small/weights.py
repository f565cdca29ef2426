"""Networks from and to their weights."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ...post.errors import Errors, RivegaError
from ...post.files import open_output
from ..folding import channels_last
from ..weights import load_state, read_checkpoint, tensors_only
from .network import SmallVision
from .seen import SeenVision

WHAT = "weights of the small vision network"
# The only backbone there is; a config names it, so that another may come.
LITE = "efficientnet_lite0"
# Present since calibration came in; earlier files get the neutral values.
_OPTIONAL = ("shown_calibration", "box_calibration")


def build_network(config: dict[str, Any]) -> SmallVision:
    """A network of the sizes in a config, without weights.

    config (Dict[str, Any]): Arguments of SmallVision, or, with `backbone`, of SeenVision; `size`, which is the input's, is passed over.
    RETURNS (SmallVision): The network, convolutions in the layout that is fastest on CPUs.
    """
    settings = {key: value for key, value in config.items() if key not in ("size", "backbone")}
    network = SeenVision(**settings) if config.get("backbone") else SmallVision(**settings)
    return channels_last(network)


def save_network(network: SmallVision, path: Path) -> None:
    """Write weights in half precision.

    network (SmallVision): The network.
    path (Path): A .safetensors file.
    """
    state = {k: v.detach() for k, v in network.state_dict().items()}
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    with open_output(path, binary=True) as out:
        out.write(save({k: v.contiguous().clone() for k, v in half.items()}))


def load_network(path: Path, config: dict[str, Any]) -> SmallVision:
    """A network with the weights of a file.

    path (Path): What `save_network` wrote.
    config (Dict[str, Any]): Sizes that the file has to have; those of vocabulary and word table, and what is not given, are read
        from it.
    RETURNS (SmallVision): The network.
    RAISES (RivegaError): E204 if there is no such file, E730 if it is none of weights; E022 if it does not fit the sizes.
    """
    if not Path(path).is_file():
        raise RivegaError(Errors.E204.format(path=path))
    state = tensors_only(read_checkpoint(path, what=WHAT), path=path, what=WHAT)
    network = build_network({**sizes(state), **config, **vocabulary_sizes(state)})
    for name in _OPTIONAL:
        state.setdefault(name, network.state_dict()[name])
    load_state(network, state, name=str(path))
    return network


def sizes(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Config entries that follow from the weights.

    state (Dict[str, torch.Tensor]): Weights by name, all or some.
    RETURNS (Dict[str, Any]): What SmallVision takes, as far as the weights are there.
    """
    found: dict[str, Any] = {}
    if "heat_features.weight" in state:
        found["width"], found["image_width"] = state["heat_features.weight"].shape[:2]
        found["box_width"] = state["box_features.weight"].shape[0]
    if "image.narrow.0.weight" in state:
        found["backbone"], found["middle"] = LITE, state["image.narrow.0.weight"].shape[1]
        found["depth"] = len({name.split(".")[2] for name in state if name.startswith("image.coarse.")})
    blocks = {tuple(map(int, name.split(".")[2:4])) for name in state if name.startswith("image.stages.")}
    if blocks:
        stages = range(1 + max(blocks)[0])
        found["image_depths"] = [sum(place == stage for place, _ in blocks) for stage in stages]
        found["image_widths"] = [state[f"image.stages.{stage}.0.first.0.weight"].shape[0] for stage in stages]
    return {**found, **vocabulary_sizes(state)}


def vocabulary_sizes(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Config entries that follow from the vocabulary.

    state (Dict[str, torch.Tensor]): Weights by name.
    RETURNS (Dict[str, Any]): vocab_size, vocab_bytes, word_width where the word table is there; nouns where their table is.
    """
    found: dict[str, Any] = {}
    if "text.table" in state:
        rows, width = state["text.table"].shape
        found = {"vocab_size": rows, "vocab_bytes": state["text.vocab_bytes"].numel(), "word_width": width}
    if "nouns.text" in state:
        found["nouns"] = [state["nouns.text"].numel(), state["nouns.start"].numel() - 1, state["nouns.column"].numel()]
    return found
