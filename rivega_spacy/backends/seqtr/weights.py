"""SeqTR's released files: with or without `module.`, with or without the moving average; a network of the file's shape."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...post.errors import Errors, RivegaError
from ..weights import load_state, read_checkpoint, tensors_only
from .model import Seqtr, SeqtrConfig

WHAT = "a SeqTR checkpoint"
WORDS = "lan_enc.embedding.weight"


def read_state(path: Any, *, ema: bool = True) -> dict[str, torch.Tensor]:
    """The weights of a released file by the network's names.

    path (Union[str, Path]): A checkpoint of upstream's `tools/train.py`, or safetensors of its weights.
    ema (bool): Take the moving average where the file has one, which is what upstream evaluates.
    RETURNS (Dict[str, Tensor]): Weights by name, without `module.`.
    RAISES (RivegaError): E730 for another kind of file.
    """
    content = read_checkpoint(path, what=WHAT)
    part = content
    if ema and content.get("ema_state_dict"):
        part = content["ema_state_dict"]
    elif "state_dict" in content:
        part = content["state_dict"]
    state = tensors_only(part, path=path, what=WHAT)
    state = {key[len("module.") :] if key.startswith("module.") else key: value for key, value in state.items()}
    for needed in ("vis_enc.darknet.", "lan_enc.", "head.transformer."):
        if not any(key.startswith(needed) for key in state):
            some = ", ".join(sorted(state)[:3])
            raise RivegaError(Errors.E730.format(path=path, what=WHAT, reason=f"it has no {needed}* but {some}"))
    return state


def infer_config(state: dict[str, torch.Tensor], *, heads: int = 8, path: Any = "the weights", **settings: Any) -> SeqtrConfig:
    """The network's shape, read from the weights.

    state (Dict[str, Tensor]): What `read_state` returns.
    heads (int): Attention heads, which weights do not tell.
    settings: What else of SeqtrConfig is to be set, for example max_words.
    RETURNS (SeqtrConfig): The shape.
    RAISES (RivegaError): E730 if weights that tell the shape are missing.
    """
    try:
        stem = state["vis_enc.darknet.0.conv.weight"].shape[0]
        words = state.get(WORDS)
        low = state["fusion.down_bot2mid.1.conv.weight"].shape[0]
        middle = state["fusion.down_mid2top.1.conv.weight"].shape[0] - low
        top = state["fusion.top_project.1.conv.weight"].shape[0]
        queries = state["head.transformer.query_embedding.weight"].shape
        return SeqtrConfig(
            vocab_size=3 if words is None else words.shape[0],
            word_width=state["lan_enc.lstm.weight_ih_l0"].shape[1],
            stem=stem,
            gru_width=state["lan_enc.lstm.weight_hh_l0"].shape[1],
            gru_layers=sum(key.startswith("lan_enc.lstm.weight_hh_l") and not key.endswith("_reverse") for key in state),
            map_channels=(low, middle, top),
            width=queries[1],
            heads=heads,
            inner=state["head.transformer.encoder.layers.0.linear1.weight"].shape[0],
            encoder_layers=_count(state, "head.transformer.encoder.layers."),
            decoder_layers=_count(state, "head.transformer.decoder.layers."),
            decoder_heads=heads,
            decoder_inner=state["head.transformer.decoder.layers.0.linear1.weight"].shape[0],
            bins=queries[0] - 1,
            length=state["head.transformer.seq_positional_encoding.embedding.weight"].shape[0],
            predictor=tuple(state[f"head.predictor.{n}.fc.weight"].shape[0] for n in range(_count(state, "head.predictor.") - 1)),
            **settings,
        )
    except KeyError as error:
        raise RivegaError(Errors.E730.format(path=path, what=WHAT, reason=f"it has no {error.args[0]}")) from error


def load_seqtr(model: Seqtr, state: dict[str, torch.Tensor], *, path: Any = "the weights", keep_words: bool = True) -> None:
    """Load weights by name.

    keep_words (bool): False leaves out the file's word vectors, for a network with another list of words.
    RAISES (RivegaError): E733, E734.
    """
    state = dict(state)
    if not keep_words:
        state.pop(WORDS, None)
    load_state(model, state, path=path, name="SeqTR", may_miss=None if keep_words else lambda name: name == WORDS)


def seqtr_from_file(path: Any, *, vocab_size: int | None = None, ema: bool = True, **settings: Any) -> Seqtr:
    """A network of the file's shape with the file's weights.

    path (Union[str, Path]): A released file.
    vocab_size (Optional[int]): Rows for words where the list is another one than the file's: the file's vectors are then
        left out. None keeps the file's.
    RETURNS (Seqtr): On the CPU, in evaluation mode.
    """
    state = read_state(path, ema=ema)
    config = infer_config(state, path=Path(path), **settings)
    keep = vocab_size is None and WORDS in state
    if vocab_size is not None:
        config = replace(config, vocab_size=vocab_size)
    model = Seqtr(config)
    load_seqtr(model, state, path=Path(path), keep_words=keep)
    return model.eval()


def _count(state: dict[str, torch.Tensor], prefix: str) -> int:
    return 1 + max((int(key[len(prefix) :].split(".", 1)[0]) for key in state if key.startswith(prefix)), default=-1)


def convert(path: Path, *, ema: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """For `rivega convert-checkpoint`: the weights (the moving average if there is one) without `module.`.

    ema (bool): An error if there is no moving average.
    RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): Weights; the shape as far as the weights tell it.
    """
    if ema and not read_checkpoint(path, what=WHAT).get("ema_state_dict"):
        raise RivegaError(Errors.E760.format(path=path))
    state = read_state(path)
    return state, {"config": infer_config(state, path=path).to_dict()}
