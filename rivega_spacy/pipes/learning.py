"""One step of training, as components whose loss is computed from all that their model answers take it."""

from collections.abc import Sequence
from typing import Any, cast

from spacy.pipeline import TrainablePipe
from spacy.training import Example
from thinc.api import Optimizer, set_dropout_rate


def learn_from(
    pipe: TrainablePipe,
    inputs: Sequence[Any],
    examples: Sequence[Example],
    *,
    drop: float,
    sgd: Optimizer | None,
    losses: dict[str, float],
) -> dict[str, float]:
    """Let a component's model answer, hold that against gold (`get_loss`), and pass the gradient back.

    pipe (TrainablePipe): The component. inputs (Sequence[Any]): What its model takes.
    examples (Sequence[Example]): What `get_loss` compares with. drop (float): Dropout, where the model has any.
    sgd (Optional[Optimizer]): Takes the step; None keeps the gradients. losses (Dict[str, float]): Added to under the component's name.
    RETURNS (Dict[str, float]): `losses`.
    """
    set_dropout_rate(pipe.model, drop)
    outputs, backprop = cast(Any, pipe.model).begin_update(inputs)
    loss, gradient = pipe.get_loss(examples, outputs)
    backprop(gradient)
    if sgd is not None:
        pipe.finish_update(sgd)
    losses[pipe.name] += loss
    return losses


__all__ = ["learn_from"]
