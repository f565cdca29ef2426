"""Which recipe someone means who says what to train, with which network, on what machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..post.errors import Errors, RivegaError
from .fragment import Recipe, compose, extend
from .parts import PARTS

# What `--optimize` chooses if no backend is named.
EFFICIENT = {"tagger": "minilm", "entailment": "itm", "grounder": "owlv2", "pipeline": "twitter"}
ACCURATE = {"tagger": "xlmr", "entailment": "ofa", "grounder": "ofa", "pipeline": "paper"}
# Recipe -> what changes on the other kind of machine. Recipes of published networks are for a GPU, those of small ones for a CPU.
ON_GPU = {
    "ner_minilm": "gpu_tagger",
    "vision_small": "gpu_vision",
    "vision_small_more": "gpu_vision",
    "vision_scratch": "gpu_vision_scratch",
    "segmenter_small": "gpu_segmenter",
    "segmenter_small_student": "gpu_segmenter",
    "segmenter_small_more": "gpu_segmenter",
    "segmenter_phrases": "gpu_segmenter_phrases",
}
ON_CPU = {f"ner_{encoder}{data}": "cpu_tagger" for encoder in ("bert", "xlmr") for data in ("", "_2015", "_2017")} | {
    "ner_modern": "cpu_tagger"
}
TRAINED = ("tagger", "entailment", "grounder", "vision", "segmenter")


def choose(
    part: str, *, backend: str | None = None, encoder: str | None = None, gpu: bool | None = None, optimize: str | None = None
) -> Recipe:
    """The recipe for a part of the pipeline.

    part (str): One of PARTS.
    backend (Optional[str]): What it is made of; None leaves that to `optimize`, or takes the default.
    encoder (Optional[str]): Folder or hub name of the tagger's encoder, in place of the recipe's own.
    gpu (Optional[bool]): Whether it is trained on a GPU; None takes the machine that the recipe is written for.
    optimize (Optional[str]): "efficiency" or "accuracy".
    RETURNS (Recipe): Composed, not validated.
    RAISES (RivegaError): E541 for a choice that there is not, E542 for one that has no effect on this part.
    """
    backends = _known("part", part, PARTS)
    if optimize is not None:
        table = _known("optimize", optimize, {"efficiency": EFFICIENT, "accuracy": ACCURATE})
        if backend is not None or part not in table:
            raise RivegaError(Errors.E542.format(option="optimize", part=part, backend=backend or next(iter(backends))))
        backend = table[part]
    backend = backend or next(iter(backends))
    name = _known("backend", backend, backends)
    recipe = compose(name)
    if encoder is not None:
        if "encoder" not in recipe.config.get("paths", {}):
            raise RivegaError(Errors.E542.format(option="encoder", part=part, backend=backend))
        recipe.config["paths"]["encoder"] = encoder
    if gpu is not None:
        if part not in TRAINED:
            raise RivegaError(Errors.E542.format(option="gpu", part=part, backend=backend))
        if gpu:
            extend(recipe, "gpu")
        changes = (ON_GPU if gpu else ON_CPU).get(name)
        if changes is not None:
            extend(recipe, changes)
    return recipe


def named_for(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with the commands in its head naming the file that it is written to."""
    own = f"configs/{recipe.name}.cfg"
    recipe.head = [line.replace(own, str(path)) for line in recipe.head]
    return recipe


def _known(option: str, value: str, table: dict[str, Any]) -> Any:
    if value not in table:
        raise RivegaError(Errors.E541.format(option=option, value=value, known=", ".join(table)))
    return table[value]
