"""The layer that stands for the shared encoder in the model of another component: `rivega.TransformerListener.v1`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from spacy.tokens import Doc
from thinc.api import Model, chain
from thinc.types import Floats2d, Ragged
from transformers.modeling_outputs import BaseModelOutput

from ...post.errors import Errors, RivegaError
from .carrier import TransformerData, WordpieceBatch
from .pooling import token_vectors


class TransformerListener(Model):
    """Gives what the encoder made of a batch, and hands the gradient back to it.

    In training the encoder's component runs first and leaves its output here (`receive`). Otherwise the output is on the docs.

    upstream_name (str): The component it listens to; "*" for any.
    """

    name = "transformer-listener"

    def __init__(self, upstream_name: str) -> None:
        super().__init__(name=self.name, forward=_forward, dims={"nO": None})
        self.upstream_name = upstream_name
        self._batch_id: int | None = None
        self._outputs: list[Any] | None = None
        self._backprop: Callable | None = None

    @classmethod
    def get_batch_id(cls, docs: list[Doc]) -> int:
        """A number that tells batches apart."""
        return sum(token.orth for doc in docs for token in doc)

    def receive(self, batch_id: int, outputs: list[Any], backprop: Callable) -> None:
        """Take what the encoder made of the batch that comes next, and the way back for its gradient."""
        self._batch_id, self._outputs, self._backprop = batch_id, outputs, backprop

    def forget(self) -> None:
        """Let go of the batch, whose graph holds much memory."""
        self._batch_id = self._outputs = self._backprop = None


def _forward(model: TransformerListener, docs: list[Doc], is_train: bool) -> tuple[list[Any], Callable]:
    if is_train and model._batch_id is not None:
        if model._batch_id != model.get_batch_id(docs):
            raise RivegaError(Errors.E901.format(listener=model.upstream_name))
        outputs, backprop = model._outputs, model._backprop

        def give_back(gradients: list[Any]) -> Any:
            model.forget()
            return backprop(gradients) if backprop is not None else []

        return outputs or [], give_back
    found = [doc._.trf_data for doc in docs]
    if is_train and any(data is None for data in found):
        raise RivegaError(Errors.E902.format(listener=model.upstream_name))
    width = None if all(data is not None for data in found) else model.get_dim("nO")
    return [_zeros(len(doc), width, model) if data is None else data for doc, data in zip(docs, found)], lambda gradients: []


def _zeros(length: int, width: int | None, model: Model) -> Any:
    """What stands for a post that the encoder has not seen: zeros, one piece a token."""
    if not length:
        return TransformerData.empty()
    pieces = WordpieceBatch([[""] * length], np.zeros((1, length), dtype="i"), np.ones((1, length), dtype="bool"), [length], None)
    states = model.ops.xp.zeros((1, length, width), dtype="f")
    ops: Any = model.ops
    align = Ragged(ops.asarray1i(np.arange(length)), ops.asarray1i(np.ones(length)))
    return TransformerData(pieces, BaseModelOutput(last_hidden_state=states), align)


def make_listener(
    pooling: Model[Ragged, Floats2d], grad_factor: float = 1.0, upstream: str = "*"
) -> Model[list[Doc], list[Floats2d]]:
    """`rivega.TransformerListener.v1`, and `spacy-transformers.TransformerListener.v1` where that package is not used.

    pooling (Model): From the vectors of a token's pieces to one.
    grad_factor (float): The gradient is multiplied by it on the way to the encoder.
    upstream (str): Name of the encoder's component; "*" for any.
    RETURNS (Model): Token vectors.
    """
    listener = TransformerListener(upstream)
    model: Model = chain(listener, token_vectors(pooling, grad_factor))
    model.set_ref("listener", listener)
    return model


__all__ = ["TransformerListener", "make_listener"]
