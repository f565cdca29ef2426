"""Loading published OFA weights: fairseq's files, Hugging-Face-style and ModelScope folders, and our own safetensors."""

import math
import re
from pathlib import Path
from typing import Any

import srsly
import torch

from ...post.errors import Errors, RivegaError
from ..conversion import Tensors, find_tensors, read_namespaced, read_safetensors, weights_file
from ..weights import check_finite, load_state
from .config import EXTRA_IMAGE_ROWS, OFAConfig
from .network import OFA

# Names in Hugging-Face-style checkpoints -> names in fairseq's, which are ours. Encoder layers call the norm after attention
# `attn_ln`, decoder layers `self_attn_ln`.
_RENAME = [
    (re.compile(r"^(encoder\.layers\.\d+\.)self_attn_mid_layer_norm\."), r"\1attn_ln."),
    (re.compile(r"^(decoder\.layers\.\d+\.)self_attn_mid_layer_norm\."), r"\1self_attn_ln."),
    (re.compile(r"^(decoder\.layers\.\d+\.)cross_attn_mid_layer_norm\."), r"\1cross_attn_ln."),
    (re.compile(r"^(decoder\.layers\.\d+\.)cross_attn\."), r"\1encoder_attn."),
    (re.compile(r"^(decoder\.layers\.\d+\.)cross_attn_layer_norm\."), r"\1encoder_attn_layer_norm."),
    (re.compile(r"^((?:en|de)coder\.layers\.\d+\.)ffn_layer_norm\."), r"\1ffn_layernorm."),
]
# Buffers that follow from the sizes, and fairseq's version marks.
_IGNORED = re.compile(r"(?:^|\.)(?:version|token_rp_bucket|image_rp_bucket|image_position_idx)$")
_TABLE = "embed_tokens.weight"
_ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight", "shared.weight")
# Options of the published code under which it computes something that is not ported, and the value that is.
_SUPPORTED = {
    "entangle_position_embedding": False,
    "no_scale_embedding": True,
    "add_type_embedding": True,
    "encoder_prompt": False,
    "decoder_prompt": False,
    "scale_resids": False,
    "activation_fn": "gelu",
    "normformer": True,
}


def load_ofa(path: Path, *, vocab_size: int = 0, options: dict[str, Any] | None = None, ema: bool = False) -> OFA:
    """A network with published weights.

    path (Path): fairseq's file, a Hugging-Face-style or ModelScope folder, or what `rivega convert-checkpoint` wrote.
    vocab_size (int): Grow the token table to this many rows, as the published code does for smaller checkpoints.
    options (Optional[Dict[str, Any]]): The published code's settings, where the file does not hold them.
    ema (bool): Take the moving average of the weights that fairseq keeps beside them.
    RETURNS (OFA): Single precision, on the CPU.
    RAISES (RivegaError): E020, E701, E702, E704, E730, E737 unreadable; E022 and E705-E708 if it does not fit, naming what
        differs; E734 where weights are not finite; E760 if there is no moving average.
    """
    state, found = read_ofa(path, ema=ema)
    config, state = fit(state, {**found, **(options or {})}, path=path, vocab_size=vocab_size)
    check_finite(state, path=path, name="OFA")
    network = OFA(config)
    load_state(network, state, name="OFA")
    return network.eval()


def read_ofa(path: Path, *, ema: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """Tensors of a checkpoint under our names, in the precision of the file, and the settings found beside them.

    RAISES (RivegaError): E020, E701, E702, E704, E730, E737; E705 if the three copies of the token table differ; E760.
    """
    path = Path(path)
    file = weights_file(path)
    options: dict[str, Any] = {}
    if file.suffix == ".safetensors":
        content, note = read_safetensors(file)
        options.update(note.get("options", {}))
    else:
        content = read_namespaced(file, what="an OFA checkpoint")
    for name in ("configuration.json", "config.json"):
        if path.is_dir() and (path / name).is_file():
            options.update(_settings(srsly.read_json(path / name)))
    if isinstance(content, dict):
        options.update(_settings(content))
    tensors = _averaged(content, file) if ema else find_tensors(content, path=file)
    return rename(tensors, path=file), options


def _averaged(content: Any, path: Path) -> Tensors:
    """What fairseq keeps under `extra_state` when it is trained with `--store-ema`, in single precision where it has that."""
    extra = content.get("extra_state") if isinstance(content, dict) else None
    if not isinstance(extra, dict) or not isinstance(extra.get("ema"), dict) or not extra["ema"]:
        raise RivegaError(Errors.E760.format(path=path))
    averaged = find_tensors({"model": extra["ema"]}, path=path)
    precise = extra.get("ema_fp32")
    for name, value in precise.items() if isinstance(precise, dict) else ():
        if name in averaged and isinstance(value, torch.Tensor) and value.shape == averaged[name].shape:
            averaged[name] = value
    return averaged


def rename(tensors: Tensors, *, path: Path) -> Tensors:
    """Any of the published namings to ours; recomputable buffers are left out, the token table is kept once.

    RAISES (RivegaError): E705 if copies of the token table differ.
    """
    state: Tensors = {}
    for name, value in tensors.items():
        if name in _ALIASES:
            if _TABLE in state and not torch.equal(state[_TABLE], value):
                raise RivegaError(Errors.E705.format(path=path, name=name))
            state[_TABLE] = value
        elif not _IGNORED.search(name):
            for pattern, new in _RENAME:
                name = pattern.sub(new, name)
            state[name] = value
    return state


def fit(state: Tensors, options: dict[str, Any], *, path: Path, vocab_size: int = 0) -> tuple[OFAConfig, Tensors]:
    """Sizes from the shapes of the tensors, and the tensors completed to what the network has.

    state (Tensors): From `read_ofa`.
    options (Dict[str, Any]): The published code's settings.
    RAISES (RivegaError): E706 if a tensor that tells a size is missing, E707 if shapes contradict each other, E708
        where the settings ask for something that is not ported.
    """
    for name, value in _SUPPORTED.items():
        if name in options and options[name] != value:
            raise RivegaError(Errors.E708.format(path=path, name=name, value=options[name], supported=value))
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    config = _sizes(shapes, options, path)
    _check_settings(config, options, path)
    state = dict(state)
    for name in shapes:
        if name.endswith("running_mean"):
            state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.zeros((), dtype=torch.long))
    for part in ("encoder", "decoder"):
        name = f"{part}.embed_image_positions.weight"
        if name in state and state[name].ndim == 2:
            state[name] = _grow(state[name], config.image_positions)
    if vocab_size > config.vocab_size:
        config = config.but(vocab_size=vocab_size)
        state[_TABLE] = _grow(state[_TABLE], vocab_size)
    return config.but(bin_0=int(options.get("bin_0_index", config.vocab_size - config.bins))), state


def convert(path: Path, *, ema: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """For `rivega convert-checkpoint`: checked tensors, and the settings that shapes do not tell."""
    state, options = read_ofa(path, ema=ema)
    config, state = fit(state, options, path=path)
    load_state(OFA(config), state, name="OFA")
    return state, {"options": {"attn_scale_factor": config.scale_factor, "num_bins": config.bins, "bin_0_index": config.bin_0}}


def _sizes(shapes: dict[str, tuple[int, ...]], options: dict[str, Any], path: Path) -> OFAConfig:
    def shape(name: str, dims: int) -> tuple[int, ...]:
        if name not in shapes:
            raise RivegaError(Errors.E706.format(path=path, name=name, names=", ".join(sorted(shapes)[:5])))
        if len(shapes[name]) != dims:
            raise RivegaError(Errors.E707.format(path=path, reason=f"{name} has the shape {shapes[name]}, not {dims} dimensions"))
        return shapes[name]

    def count(pattern: str) -> int:
        found = {int(match.group(1)) for match in map(re.compile(pattern).match, shapes) if match}
        return max(found) + 1 if found else 0

    vocab, width = shape(_TABLE, 2)
    relations = shape("encoder.token_rel_pos_table_list.0.weight", 2)[0]
    offsets = shape("encoder.image_rel_pos_table_list.0.weight", 2)[0]
    span = math.isqrt(max(0, offsets - EXTRA_IMAGE_ROWS))
    if span**2 + EXTRA_IMAGE_ROWS != offsets or span % 2 == 0 or relations % 2 == 0:
        reason = f"tables of {relations} token and {offsets} patch relations belong to no bucket size"
        raise RivegaError(Errors.E707.format(path=path, reason=reason))
    heads = shape("encoder.layers.0.self_attn.c_attn", 1)[0]
    decoder_heads = shape("decoder.layers.0.self_attn.c_attn", 1)[0]
    if width % heads or width % decoder_heads:
        raise RivegaError(
            Errors.E707.format(path=path, reason=f"{heads} or {decoder_heads} heads do not divide a width of {width}")
        )
    stages = count(r"encoder\.embed_images\.layer(\d+)\.") - 1
    return OFAConfig(
        width=width,
        heads=heads,
        decoder_heads=decoder_heads,
        encoder_layers=count(r"encoder\.layers\.(\d+)\."),
        decoder_layers=count(r"decoder\.layers\.(\d+)\."),
        encoder_ffn=shape("encoder.layers.0.fc1.weight", 2)[0],
        decoder_ffn=shape("decoder.layers.0.fc1.weight", 2)[0],
        resnet_layers=tuple(count(rf"encoder\.embed_images\.layer{i + 1}\.(\d+)\.") for i in range(stages)),
        resnet_width=shape("encoder.embed_images.conv1.weight", 4)[0],
        vocab_size=vocab,
        positions=shape("encoder.embed_positions.weight", 2)[0],
        token_buckets=(relations + 1) // 2,
        image_buckets=(span + 1) // 2,
        scale_factor=float(options.get("attn_scale_factor", 2.0)),
        bins=int(options.get("num_bins", 1000)),
    )


def _check_settings(config: OFAConfig, options: dict[str, Any], path: Path) -> None:
    """Settings that name a size must agree with the tensors."""
    told = {
        "width": ("encoder_embed_dim", "d_model"),
        "encoder_layers": ("encoder_layers",),
        "decoder_layers": ("decoder_layers",),
        "heads": ("encoder_attention_heads",),
        "decoder_heads": ("decoder_attention_heads",),
        "encoder_ffn": ("encoder_ffn_embed_dim", "encoder_ffn_dim"),
        "decoder_ffn": ("decoder_ffn_embed_dim", "decoder_ffn_dim"),
        "token_buckets": ("token_bucket_size",),
        "image_buckets": ("image_bucket_size",),
    }
    for name, keys in told.items():
        for key in keys:
            if key in options and options[key] != getattr(config, name):
                reason = f"`{key}` is {options[key]}, its tensors say {getattr(config, name)}"
                raise RivegaError(Errors.E707.format(path=path, reason=reason))
    if config.bins >= config.vocab_size:
        raise RivegaError(
            Errors.E707.format(path=path, reason=f"{config.bins} location tokens in a vocabulary of {config.vocab_size}")
        )


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    """The published code's settings, wherever a file keeps them."""
    if not isinstance(content, dict):
        return {}
    found: dict[str, Any] = {}
    nested = content.get("cfg")
    if not isinstance(nested, dict):
        nested = {}
    for part in (nested.get("task"), nested.get("model"), content.get("args"), content.get("hf_config")):
        values = part if isinstance(part, dict) else getattr(part, "__dict__", {})
        found.update(values)
    names = ("attn_scale_factor", "num_bins", "bin_0_index", "d_model", "encoder_layers", "decoder_layers", "normformer")
    found.update({name: content[name] for name in names if name in content and not isinstance(content[name], torch.Tensor)})
    return found


def _grow(table: torch.Tensor, rows: int) -> torch.Tensor:
    """Add random rows, as the published code does when it loads a smaller table; always the same ones."""
    if table.shape[0] >= rows:
        return table
    generator = torch.Generator().manual_seed(table.shape[0])
    extra = torch.empty(rows - table.shape[0], table.shape[1]).normal_(0.0, table.shape[1] ** -0.5, generator=generator)
    return torch.cat([table, extra.to(table.dtype)])
