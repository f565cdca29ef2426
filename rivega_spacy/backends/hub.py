"""Networks of the transformers library: loaded from a folder or what the model hub gave, saved with their tokenizer in one file."""

import copy
import importlib
import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from ..post.errors import Errors, RivegaError
from ..post.hub import local_only
from ..post.versions import hub_class
from .backend import BackendShim, Loaded
from .common import Common
from .weights import check_finite, listing

# `model_type` of config.json -> (module of transformers, config class, model class)
Kinds = dict[str, tuple[str, str, str]]


def hub_shim(
    common: Common,
    kinds: Kinds,
    *,
    name: str,
    max_tokens: int,
    prepare: Callable[[nn.Module, Common], None],
    lr_scale: Callable[[str], float] | None = None,
    since: str = "",
) -> BackendShim:
    """The shim of a network of the transformers library.

    common (Common): Where its weights are, how it is run, trained and saved.
    kinds (Kinds), max_tokens (int): See `load_hub`. name (str): How errors call the network.
    prepare, lr_scale: See BackendShim. since (str): The version of transformers that brought the network; "" for all supported ones.
    """
    load = partial(load_hub, kinds=kinds, what=f"{name} network", max_tokens=max_tokens, since=since)
    return BackendShim(
        name=name,
        build=partial(build_hub, kinds=kinds, since=since),
        load=None if common.path is None else partial(load, str(common.path)),
        load_from=load,
        tools=hub_tools,
        common=common,
        prepare=prepare,
        reading={"max_tokens": max_tokens},
        lr_scale=lr_scale,
    )


def load_hub(path: str, kinds: Kinds, *, what: str, max_tokens: int, since: str = "") -> Loaded:
    """A network and its tokenizer from a folder in transformers' layout, or of the model hub (`post/hub.py`).

    path (str): The folder, or a name such as "Salesforce/blip-itm-base-coco".
    kinds (Kinds): Which networks are meant.
    what (str): How errors call them.
    max_tokens (int): Tokens of an expression that are read, special ones included.
    since (str): The version of transformers that brought the network; "" for all supported ones.
    RETURNS (Loaded): The network in single precision and what is saved beside it.
    RAISES (RivegaError): E900 if transformers is too old, E732 not at hand, E730 another kind of network, E733 weights that do not fit, E734 not finite.
    """
    from transformers import AutoConfig, AutoTokenizer

    _asked_for(kinds, since)
    local = local_only()
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=local)
        if config.model_type not in kinds:
            reason = f"its config.json says {config.model_type!r}, not {' or '.join(sorted(kinds))}"
            raise RivegaError(Errors.E730.format(path=path, what=what, reason=reason))
        module, _, name = kinds[config.model_type]
        model_class = getattr(importlib.import_module(module), name)
        network, info = model_class.from_pretrained(
            path, output_loading_info=True, torch_dtype=torch.float32, local_files_only=local
        )
        tokenizer = AutoTokenizer.from_pretrained(path, use_fast=True, local_files_only=local)
    except RivegaError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise RivegaError(Errors.E732.format(what=what, path=path, reason=reason)) from error
    missing = [key for key in info["missing_keys"] if not key.endswith("position_ids")]
    surplus = [key for key in info["unexpected_keys"] if not key.endswith("position_ids")]
    shapes = [f"{key} {tuple(a)} instead of {tuple(b)}" for key, a, b in info["mismatched_keys"]]
    if missing or shapes:
        parts = {"missing": listing(missing), "surplus": listing(surplus), "shapes": listing(shapes)}
        raise RivegaError(Errors.E733.format(path=path, name=what, **parts))
    check_finite(network.state_dict(), path=path, name=what)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise RivegaError(Errors.E731.format(what=f"tokenizer at {path}", reason="it has no fast form (tokenizer.json)"))
    mean, std = _normalisation(path)
    saved = {
        "kind": config.model_type,
        "config": json.loads(network.config.to_json_string(use_diff=False)),
        "tokenizer": backend.to_str(),
        "pad": int(tokenizer.pad_token_id or 0),
        "max_tokens": max_tokens,
        "mean": mean,
        "std": std,
    }
    return network.eval(), saved


def _asked_for(kinds: Kinds, since: str) -> None:
    for _, _, name in kinds.values() if since else ():
        hub_class(name, since=since)


def build_hub(saved: dict[str, Any], kinds: Kinds, since: str = "") -> nn.Module:
    """The network of a saved config, with random weights. saved (Dict[str, Any]): What `load_hub` returned beside it."""
    _asked_for(kinds, since)
    module, config_name, model_name = kinds[saved["kind"]]
    library = importlib.import_module(module)
    # Config classes take their nested dicts apart while they read them.
    config = getattr(library, config_name).from_dict(copy.deepcopy(saved["config"]))
    return getattr(library, model_name)(config).eval()


class Tokens:
    """A fast tokenizer from its saved form.

    saved (Dict[str, Any]): What `load_hub` returned beside the network.
    """

    def __init__(self, saved: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.pad = saved["pad"]
        self._tokenizer = Tokenizer.from_str(saved["tokenizer"])
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(saved["max_tokens"])

    @cached_property
    def special(self) -> frozenset[int]:
        """Indices of tokens that are no text: those of the tokenizer's own signs."""
        return frozenset(index for index, token in self._tokenizer.get_added_tokens_decoder().items() if token.special)

    def index(self, token: str) -> int | None:
        """The index of a token, or None if there is none."""
        return self._tokenizer.token_to_id(token)

    def __call__(self, texts: Sequence[str], *, length: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """texts (Sequence[str]): n. RETURNS (Tuple[Tensor, Tensor]): indices and mask, n x t int64, padded to the longest."""
        rows = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        length = length or max((len(row) for row in rows), default=1)
        ids = torch.full((len(rows), length), self.pad, dtype=torch.long)
        mask = torch.zeros((len(rows), length), dtype=torch.long)
        for n, row in enumerate(rows):
            ids[n, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[n, : len(row)] = 1
        return ids, mask


class Pictures(NamedTuple):
    """Mean and deviation that a network's pictures are normalised with, 3 each, of values 0..1."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Pictures":
        """From what `load_hub` saved."""
        return cls(np.array(saved["mean"], dtype="float32"), np.array(saved["std"], dtype="float32"))

    def resized(self, image: np.ndarray, height: int, width: int, resample: int = Image.Resampling.BICUBIC) -> np.ndarray:
        """image (ndarray): HxWx3 uint8 RGB. RETURNS (ndarray): 3 x height x width float32, normalised."""
        picture = Image.fromarray(image)
        if picture.size != (width, height):
            picture = picture.resize((width, height), resample)
        return self.normalised(np.asarray(picture))

    def normalised(self, image: np.ndarray) -> np.ndarray:
        """image (ndarray): HxWx3 uint8. RETURNS (ndarray): 3xHxW float32."""
        values = (image.astype("float32") * np.float32(1 / 255) - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(2, 0, 1))


class Tools(NamedTuple):
    """What a transformers network needs besides weights."""

    tokens: Tokens
    pictures: Pictures


def hub_tools(saved: dict[str, Any]) -> Tools:
    """Tokenizer and picture preparation from what `load_hub` saved."""
    return Tools(Tokens(saved), Pictures.of(saved))


def _normalisation(path: str) -> tuple[list[float], list[float]]:
    from transformers import ImageProcessingMixin

    if not (Path(path) / "preprocessor_config.json").is_file() and Path(path).is_dir():
        # CLIP's values, with which BLIP and OWLv2 were trained.
        return [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    found, _ = ImageProcessingMixin.get_image_processor_dict(path, local_files_only=local_only())
    return [float(x) for x in found["image_mean"]], [float(x) for x in found["image_std"]]
