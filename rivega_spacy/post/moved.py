"""Modules under the names they had before they moved, for scripts and pickles that use them: the same module, with a DeprecationWarning.

Saved pipelines need none of these: they hold registered names (setup.cfg), which do not change when a module moves. The package's own code imports
nothing by its former name. They stay until version `REMOVED_IN`, so that a minor release breaks no script.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from .errors import Errors

PACKAGE = __name__.partition(".")[0]
REMOVED_IN = "1.0"
# Former name within the package -> today's. What lies below a name moved with it, unless it has a line of its own.
MOVED = {
    "asking": "pipes.network_asking",
    "backends.checkpoints": "backends.conversion",
    "batched": "pipes.batched",
    "boxes": "post.boxes",
    "checkpoints": "training.checkpoints",
    "corpus.masks": "training.mask_corpus",
    "corpus.photos": "training.photos",
    "corpus.phrases": "backends.small.phrases",
    "corpus.views": "training.photo_views",
    "enrichment": "jobs.enrich",
    "entailment.albef": "backends.albef.entailment",
    "entailment.chat": "backends.chat.entailment",
    "entailment.itm": "backends.itm.entailment",
    "entailment.models": "backends.small.entailment",
    "entailment.ofa": "backends.ofa.entailment",
    "errors": "post.errors",
    "export.brush": "post.brush",
    "export.outlines": "post.outlines",
    "extensions": "post.extensions",
    "grounding.chat": "backends.chat.grounder",
    "grounding.grounding_dino": "backends.grounding_dino.grounder",
    "grounding.models": "backends.small.grounder",
    "grounding.ofa": "backends.ofa.grounder",
    "grounding.owlv2": "backends.owlv2.grounder",
    "grounding.seqtr": "backends.seqtr.grounder",
    "images": "post.images",
    "jobs.report": "jobs.evaluation_page",
    "jsonl": "post.jsonl",
    "knowledge.bank": "knowledge.example_bank",
    "language": "post.language",
    "networks": "backends",
    "pipes.asking": "pipes.network_asking",
    "posts": "post.posts",
    "queries": "pipes.queries",
    "rendering.annotated": "post.annotated",
    "rle": "post.rle",
    "schedules": "training.schedules",
    "segmentation.clipseg": "backends.clipseg.segmenter",
    "segmentation.grabcut": "backends.grabcut.segmenter",
    "segmentation.hf_sam": "backends.sam.hf_segmenter",
    "segmentation.sam": "backends.sam.segmenter",
    "segmentation.small": "backends.small.segmenter",
}


def present_name(name: str) -> str | None:
    """Where a module of the package is today; None if it has not moved.

    name (str): Its former full name, for example "rivega_spacy.images".
    RETURNS (Optional[str]): For example "rivega_spacy.post.images".
    """
    package, _, rest = name.partition(".")
    if package != PACKAGE:
        return None
    parts = rest.split(".")
    for count in range(len(parts), 0, -1):
        found = MOVED.get(".".join(parts[:count]))
        if found is not None:
            return ".".join([PACKAGE, found, *parts[count:]])
    return None


class MovedModules(MetaPathFinder, Loader):
    """Finds a module under its former name, as the same module object."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        name = present_name(fullname)
        return None if name is None else ModuleSpec(fullname, self, origin=name)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = str(spec.origin)
        warnings.warn(Errors.W069.format(former=spec.name, name=name, gone=REMOVED_IN), DeprecationWarning, stacklevel=2)
        module = importlib.import_module(name)
        # The import system is about to give the module this spec; it keeps its own.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader_state is not None:
            module.__spec__ = spec.loader_state


def install() -> None:
    """Make former names importable; calling it again changes nothing."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
