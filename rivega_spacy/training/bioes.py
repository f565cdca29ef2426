"""A trained tagger with BIO tags as one with BIOES tags that says the same: E begins as a copy of I, S as a copy of B.

From there on it can be trained; a training that starts from new tags would have to learn them from scratch.
"""

from pathlib import Path
from typing import Any

import torch
from spacy.language import Language

from ..backends.shim import TorchShim, shim_of
from ..ner.schemes import TagScheme
from ..ner.tagger import CRFHead
from ..pipes.loading import load_pipeline
from ..post.errors import Errors, RivegaError

_ORIGIN = {"E": "I", "S": "B"}


def to_bioes(path: Path) -> Language:
    """The pipeline with the other tags.

    path (Path): A pipeline of `transformer` and `rivega_ner` with BIO tags.
    RETURNS (Language): The same with BIOES tags.
    RAISES (RivegaError): E267 if the tags are others already, E866 without such a tagger, E867 for one of another architecture.
    """
    nlp = load_pipeline(str(path))
    if "rivega_ner" not in nlp.pipe_names:
        raise RivegaError(Errors.E866.format(path=path, names=", ".join(nlp.pipe_names) or "none"))
    settings = nlp.config["components"]["rivega_ner"]
    factory = settings.pop("factory")
    old: Any = nlp.get_pipe("rivega_ner")
    if old.cfg["scheme"] != "bio":
        raise RivegaError(Errors.E267.format(path=path, scheme=old.cfg["scheme"]))
    # A head with more than tag scores in it (span detection has tags of its own) would be cut short.
    if type(shim_of(old.model, TorchShim).module) is not CRFHead:
        raise RivegaError(Errors.E867.format(path=path, architecture=settings["model"]["@architectures"]))
    position = nlp.pipe_names.index("rivega_ner")
    nlp.remove_pipe("rivega_ner")
    where = {"before": position} if position < len(nlp.pipe_names) else {"last": True}
    new: Any = nlp.add_pipe(factory, name="rivega_ner", config={**settings, "scheme": "bioes"}, **where)
    before, after = TagScheme(old.labels, "bio"), TagScheme(old.labels, "bioes")
    place = {tag: index for index, tag in enumerate(before.tags)}
    origin = torch.tensor([place[_ORIGIN.get(tag[0], tag[0]) + tag[1:]] for tag in after.tags])
    shim = shim_of(old.model, TorchShim)
    sizes = {**shim.cfg, "n_tags": len(after)}
    head = CRFHead(sizes["width"], sizes["n_tags"], sizes["hidden_width"])
    state = {
        name: weight[origin] if name.startswith(("linear", "start", "end")) else weight
        for name, weight in shim.module.state_dict().items()
    }
    state["transitions"] = state["transitions"][origin][:, origin]
    head.load_state_dict(state)
    new.cfg["labels"] = list(old.labels)
    new.model.set_dim("nO", len(after))
    shim_of(new.model, TorchShim).set_module(head, sizes)
    return nlp
