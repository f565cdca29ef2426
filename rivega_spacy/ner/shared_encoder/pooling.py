"""From the vectors of pieces to those of tokens."""

from collections.abc import Callable
from typing import Any

import numpy as np
from thinc.api import Model, chain
from thinc.types import Floats2d, Ragged
from transformers.modeling_outputs import BaseModelOutput

from .carrier import TransformerData


def token_vectors(pooling: Model[Ragged, Floats2d], grad_factor: float) -> Model[list[Any], list[Floats2d]]:
    """A layer that pools the pieces of each token, of all posts at once.

    pooling (Model): From n rows of pieces, grouped by token, to one row a token.
    grad_factor (float): The gradient is multiplied by it.
    """
    return Model("trfs2arrays", _pool, layers=[pooling], attrs={"grad_factor": grad_factor})


def _pool(model: Model, posts: list[Any], is_train: bool) -> tuple[list[Any], Callable]:
    ops: Any = model.ops
    xp, factor = ops.xp, model.attrs["grad_factor"]
    # Empty posts have no vectors; their width is of no account.
    full = [n for n, post in enumerate(posts) if "last_hidden_state" in post.model_output and len(post.align.lengths)]
    outputs: list[Any] = [ops.alloc2f(0, 0) for _ in posts]
    if not full:
        return outputs, lambda gradients: [_empty_gradient(post) for post in posts if "last_hidden_state" in post.model_output]
    states = [posts[n].model_output["last_hidden_state"] for n in full]
    starts = np.cumsum([0, *(state.shape[0] * state.shape[1] for state in states)])
    rows, lengths = [], []
    for n, start in zip(full, starts):
        places, counts = _filled(posts[n].align)
        rows.append(np.where(places >= 0, places + start, -1))
        lengths.append(counts)
    width = states[0].shape[-1]
    # One row of zeros at the end, for tokens without a piece (index -1).
    flat = xp.concatenate([*(ops.reshape2f(state, -1, width) for state in states), ops.alloc2f(1, width)])
    index = ops.asarray1i(np.concatenate(rows))
    pooled, back = model.layers[0](Ragged(flat[index], ops.asarray1i(np.concatenate(lengths))), is_train)
    ends = np.cumsum([len(counts) for counts in lengths])
    for n, start, end in zip(full, [0, *ends[:-1]], ends):
        outputs[n] = pooled[start:end]

    def backprop(gradients: list[Any]) -> list[TransformerData]:
        pieces = back(xp.concatenate([gradients[n] for n in full])).dataXd
        total = ops.alloc2f(*flat.shape)
        ops.scatter_add(total, index % len(flat), pieces)
        total *= factor
        found = []
        parts = dict(zip(full, zip(starts, starts[1:], states)))
        for n, post in enumerate(posts):
            if n in parts:
                start, end, state = parts[n]
                found.append(_gradient(post, total[start:end].reshape(state.shape)))
            elif "last_hidden_state" in post.model_output:
                found.append(_empty_gradient(post))
        return found

    return outputs, backprop


def _filled(align: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Places and counts of pieces, with -1 as the one piece of posts of which no token has any, which pooling could not take."""
    counts = np.asarray(_on_cpu(align.lengths), dtype="i")
    places = np.asarray(_on_cpu(align.dataXd), dtype="i")
    if not counts.sum():
        return np.full(len(counts), -1, dtype="i"), np.ones(len(counts), dtype="i")
    return places, counts


def _on_cpu(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array


def _gradient(post: Any, states: Any) -> TransformerData:
    return TransformerData(post.wordpieces, BaseModelOutput(last_hidden_state=states), post.align)


def _empty_gradient(post: Any) -> TransformerData:
    return _gradient(post, post.model_output["last_hidden_state"] * 0)


def split_posts() -> Model:
    """A layer from what the encoder made of a batch to what each post gets; its way back joins the gradients of the posts."""
    return Model("split-trf-batch", _split)


def _split(model: Model, batch: Any, is_train: bool) -> tuple[list[Any], Callable]:
    return batch.doc_data, lambda posts: batch.unsplit_by_doc([list(post.model_output.values()) for post in posts])


def own_encoder(transformer: Model) -> Model:
    """An encoder of one component's own, in the place of a listener (`nlp.replace_listeners`)."""
    return chain(transformer, split_posts())


__all__ = ["own_encoder", "split_posts", "token_vectors"]
