"""What the small network learns from when a reader brings views instead of posts: a view, and who asks about it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from .network import SmallVision
from .pictures import PreparedView


class ViewAsker(Protocol):
    """Draws phrases for a batch of views and computes the loss of the answers (`rivega_spacy.training.dense`)."""

    def new_guess(self, network: SmallVision) -> nn.Module:
        """A part that takes part in training only."""

    def loss(
        self, network: SmallVision, guess: nn.Module, views: Sequence[PreparedView], step: int, *, bf16: bool = False
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch of views; its parts, for the log."""


class DenseView(NamedTuple):
    """A view, and what asks about it."""

    view: PreparedView
    asker: ViewAsker
