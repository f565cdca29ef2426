"""One pipeline whose weights are the mean of several that were trained from the same start ("model soup", Wortsman et al., 2022).

Config, labels and everything that is not a weight come from the first. Runs that differ in their seed end in the same basin, and the
mean of their weights does better than each of them; pipelines that did not start from the same weights do not average.
"""

from collections.abc import Sequence

import torch
from spacy.language import Language

from ..backends.shim import TorchShim
from ..post.errors import Errors, RivegaError


def shims(nlp: Language) -> dict[str, TorchShim]:
    """The networks of a pipeline, by component and place."""
    found = {}
    for name, component in nlp.pipeline:
        model = getattr(component, "model", None)
        if model is None:
            continue
        for place, node in enumerate(model.walk()):
            for shim in node.shims:
                if isinstance(shim, TorchShim):
                    found[f"{name}/{place}"] = shim
    return found


def average(pipelines: Sequence[Language]) -> Language:
    """The first pipeline with the mean of all weights.

    pipelines (Sequence[Language]): Of the same config; the first is changed in place.
    RETURNS (Language): The first.
    RAISES (RivegaError): E265, E266 if networks or their weights do not correspond.
    """
    parts = [shims(nlp) for nlp in pipelines]
    if not parts[0] or any(set(part) != set(parts[0]) for part in parts):
        raise RivegaError(Errors.E265.format(networks=[sorted(part) for part in parts]))
    for name, first in parts[0].items():
        states: list[dict[str, torch.Tensor]] = [part[name].module.state_dict() for part in parts]
        for key, tensor in states[0].items():
            others = [state[key] for state in states if key in state]
            if len(others) < len(states) or any(other.shape != tensor.shape for other in others):
                raise RivegaError(Errors.E266.format(name=name, weight=key))
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([other.float() for other in others]).mean(0))
        first.set_module(first.module)
    return pipelines[0]
