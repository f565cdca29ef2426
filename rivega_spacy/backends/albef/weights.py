"""ALBEF's released files: pre-training and fine-tuned layouts, position embeddings of another picture size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...post.errors import Errors, RivegaError
from ..weights import load_state, read_checkpoint, tensors_only
from .model import Albef, AlbefConfig
from .vit import resize_positions

WHAT = "an ALBEF checkpoint"
# What the pre-training file holds besides: contrastive projections, matching head, word prediction, queues.
_PRETRAINING_ONLY = ("vision_proj.", "text_proj.", "itm_head.", "temp", "image_queue", "text_queue", "queue_ptr")


def read_state(path: Any) -> dict[str, torch.Tensor]:
    """The weights of a released file by the fine-tuned layout's names, without the momentum twin and the heads not used here.

    path (Union[str, Path]): `ALBEF.pth`, a fine-tuned file, LAVIS's `albef_snli_ve_lavis.pt`, or safetensors of either.
    RETURNS (Dict[str, Tensor]): `visual_encoder.*`, `text_encoder.*` and, in fine-tuned files, `cls_head.*`.
    RAISES (RivegaError): E730 for another kind of file.
    """
    content = read_checkpoint(path, what=WHAT)
    return to_ve_layout(tensors_only(content.get("model", content), path=path, what=WHAT), path=path)


def to_ve_layout(state: dict[str, torch.Tensor], *, path: Any = "the weights") -> dict[str, torch.Tensor]:
    """Rename the pre-training layout to the fine-tuned one and leave out what visual entailment does not use."""
    if not any(key.startswith("visual_encoder.") for key in state) or not any(key.startswith("text_encoder.") for key in state):
        some = ", ".join(sorted(state)[:3])
        raise RivegaError(Errors.E730.format(path=path, what=WHAT, reason=f"it has no visual_encoder and text_encoder but {some}"))
    kept = {}
    for key, value in state.items():
        part = key.split(".", 1)[0]
        if part.endswith("_m") or key.startswith(_PRETRAINING_ONLY) or key.startswith("text_encoder.cls."):
            continue
        if key.endswith("embeddings.position_ids"):
            continue
        kept[key.replace("text_encoder.bert.", "text_encoder.")] = value
    return kept


def twin_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The momentum twin's weights by the network's own names; empty if the file has none."""
    renamed = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        if part in ("visual_encoder_m", "text_encoder_m", "cls_head_m"):
            renamed[f"{part[:-2]}.{rest}"] = value
    return to_ve_layout(renamed) if renamed else {}


def infer_config(
    state: dict[str, torch.Tensor],
    *,
    image_size: int | None = None,
    vision_heads: int | None = None,
    text_heads: int | None = None,
    path: Any = "the weights",
) -> AlbefConfig:
    """The network's shape, read from the weights.

    state (Dict[str, Tensor]): What `read_state` returns.
    image_size (Optional[int]): Side of the pictures; None keeps the file's, another one resizes the position embeddings.
    vision_heads (Optional[int]), text_heads (Optional[int]): Weights do not tell the number of heads; None takes heads of
        64 channels, as the released networks have.
    RETURNS (AlbefConfig): The shape.
    RAISES (RivegaError): E730 if weights that tell the shape are missing.
    """
    try:
        patches = state["visual_encoder.patch_embed.proj.weight"]
        words = state["text_encoder.embeddings.word_embeddings.weight"]
        positions = state["visual_encoder.pos_embed"]
        text_depth = _count(state, "text_encoder.encoder.layer.")
        fused = {int(key.split(".")[3]) for key in state if ".crossattention." in key}
        types = state.get("text_encoder.embeddings.token_type_embeddings.weight")
        head = state.get("cls_head.2.weight")
        return AlbefConfig(
            image_size=image_size or round((positions.shape[1] - 1) ** 0.5) * patches.shape[-1],
            patch_size=patches.shape[-1],
            vision_width=patches.shape[0],
            vision_depth=_count(state, "visual_encoder.blocks."),
            vision_heads=vision_heads or max(1, patches.shape[0] // 64),
            mlp_ratio=state["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0] / patches.shape[0],
            vocab_size=words.shape[0],
            text_width=words.shape[1],
            text_depth=text_depth,
            text_heads=text_heads or max(1, words.shape[1] // 64),
            text_inner=state["text_encoder.encoder.layer.0.intermediate.dense.weight"].shape[0],
            fusion_layer=min(fused) if fused else text_depth,
            positions=state["text_encoder.embeddings.position_embeddings.weight"].shape[0],
            types=0 if types is None else types.shape[0],
            labels=3 if head is None else head.shape[0],
        )
    except KeyError as error:
        raise RivegaError(Errors.E730.format(path=path, what=WHAT, reason=f"it has no {error.args[0]}")) from error


def load_albef(model: Albef, state: dict[str, torch.Tensor], *, path: Any = "the weights") -> list[str]:
    """Load weights in the fine-tuned layout; position embeddings are resized, a missing head starts at random.

    RETURNS (List[str]): The names that were missing and start at random.
    RAISES (RivegaError): E733, E734.
    """
    state = dict(state)
    key = "visual_encoder.pos_embed"
    own = model.visual_encoder.pos_embed
    if key in state and state[key].ndim == 3 and state[key].shape[-1] == own.shape[-1]:
        state[key] = resize_positions(state[key], own.shape[1])
    has_head = any(name.startswith("cls_head.") for name in state)
    return load_state(
        model, state, path=path, name="ALBEF", may_miss=None if has_head else lambda name: name.startswith("cls_head.")
    )


def albef_from_file(path: Any, *, image_size: int | None = 384, **heads: int | None) -> Albef:
    """A network of the file's shape with the file's weights.

    path (Union[str, Path]): A released file.
    image_size (Optional[int]): Side of the pictures in pixels.
    RETURNS (Albef): On the CPU, in evaluation mode.
    """
    state = read_state(path)
    config = infer_config(state, image_size=image_size, path=Path(path), **heads)
    model = Albef(replace(config))
    load_albef(model, state, path=Path(path))
    return model.eval()


def _count(state: dict[str, torch.Tensor], prefix: str) -> int:
    return 1 + max((int(key[len(prefix) :].split(".", 1)[0]) for key in state if key.startswith(prefix)), default=-1)


def convert(path: Path, *, ema: bool = False) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """For `rivega convert-checkpoint`: the weights by the fine-tuned layout's names, without twin and unused heads.

    ema (bool): An error: the momentum twin is a teacher in training and not what is evaluated.
    RETURNS (Tuple[Dict[str, Tensor], Dict[str, Any]]): Weights; the shape as far as the weights tell it.
    """
    if ema:
        raise RivegaError(Errors.E760.format(path=path))
    state = read_state(path)
    return state, {"config": infer_config(state, path=path).to_dict()}
