"""The options that networks from elsewhere have in common, as one block: an architecture's arguments stay apart for configs alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from .compiling import Compiled


@dataclass(frozen=True)
class Common:
    """How a network is read, run, trained and saved, whatever it computes.

    path (Optional[str]): Its published weights; None for a saved pipeline, or where `[initialize]` names them.
    bf16 (bool): Compute in bfloat16.
    compiled (Compiled): Compile the layers with torch.compile.
    gradient_checkpointing (bool): Less memory and more time in training.
    freeze (Optional[Sequence[str]]): Beginnings of the names of parameters that are not trained.
    averaging (float): Decay of a moving average of the weights; 0 keeps none.
    half_on_disk (bool): Save in half precision.
    save_weights (bool): Save the weights with the component. Without, they stay at `path`, and components of one path share one network.
    """

    path: str | None = None
    bf16: bool = False
    compiled: Compiled = False
    gradient_checkpointing: bool = False
    freeze: Sequence[str] | None = None
    averaging: float = 0.0
    half_on_disk: bool = True
    save_weights: bool = True


__all__ = ["Common"]
