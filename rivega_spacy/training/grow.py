"""A deeper network that begins with the answers of a trained one: new residual blocks that add nothing yet.

    rivega vision grow network.safetensors deeper.safetensors --depths 2 2 4 3

A block whose last batch normalisation has scale zero passes on what comes in (Goyal et al. 2017, section 5.1), since what comes in has been
through a ReLU; training then puts it to use ("Net2Net", Chen et al. 2016).
"""

from collections.abc import Sequence

from ..backends.small.network import SmallVision
from ..backends.small.weights import build_network, sizes
from ..post.errors import Errors, RivegaError


def deepen(network: SmallVision, depths: Sequence[int]) -> SmallVision:
    """Add residual blocks at the end of the image encoder's stages.

    network (SmallVision): A trained network.
    depths (Sequence[int]): Blocks of the four stages, none fewer than it has.
    RETURNS (SmallVision): A network with the same answers and more blocks; weights are copies.
    RAISES (RivegaError): E263 if a stage would lose blocks.
    """
    state = network.state_dict()
    config = sizes(state)
    before = config["image_depths"]
    if len(depths) != len(before) or any(new < old for new, old in zip(depths, before)):
        raise RivegaError(Errors.E263.format(depths=list(depths), before=list(before)))
    deeper = build_network({**config, "image_depths": list(depths)})
    deeper.load_state_dict({**deeper.state_dict(), **state})
    return deeper
