"""One pipeline whose weights are the mean of several that were trained from the same start ("model soup", Wortsman et al., 2022).

    python scripts/average_pipelines.py OUTPUT PIPELINE PIPELINE ...

Config, labels and everything that is not a weight come from the first. Runs that differ in their seed end in the same basin, and the
mean of their weights does better than each of them; pipelines that did not start from the same weights do not average.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import spacy
import torch
from spacy.language import Language

from rivega_spacy.backends.shim import TorchShim


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
    RAISES (SystemExit): Where networks or their weights do not correspond.
    """
    parts = [shims(nlp) for nlp in pipelines]
    if not parts[0] or any(set(part) != set(parts[0]) for part in parts):
        raise SystemExit(f"The pipelines have no networks in common: {[sorted(part) for part in parts]}. Give runs of one config.")
    for name, first in parts[0].items():
        states: list[dict[str, torch.Tensor]] = [part[name].module.state_dict() for part in parts]
        for key, tensor in states[0].items():
            others = [state.get(key) for state in states]
            if any(other is None or other.shape != tensor.shape for other in others):
                raise SystemExit(f"{name}: {key} is not the same in all pipelines. Give runs of one config and one start.")
            if tensor.is_floating_point():
                tensor.copy_(torch.stack([other.float() for other in others]).mean(0))
        first.set_module(first.module)
    return pipelines[0]


def main() -> None:
    """Average and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("pipelines", type=Path, nargs="+")
    args = parser.parse_args()
    average([spacy.load(path) for path in args.pipelines]).to_disk(args.output)
    print(f"mean of {len(args.pipelines)} pipelines -> {args.output}")


if __name__ == "__main__":
    main()
